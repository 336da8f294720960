"""`felhom-agent history`: what the agent did, from its journal. Safe beside a running agent."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from datetime import datetime

from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import Operation, replay


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "history",
        run,
        summary="Show what was done to the guests, from the journal.",
        example="history 101",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")


def run(arguments: argparse.Namespace) -> int:
    path = load(arguments.config).journal.directory / NAME
    operations = replay(read(path))
    wanted = set(arguments.vmid)
    for line in story(o for o in operations if not wanted or o.vmid in wanted):
        say(line)
    return 0


def story(operations: Iterable[Operation]) -> Iterator[str]:
    """Given operations, yield a line for each: when, how long, which guest, what, how it ended."""
    for operation in operations:
        begun = datetime.fromtimestamp(operation.begun).astimezone()
        seconds = f"{operation.ended - operation.begun:6.1f} s" if operation.ended else "       -"
        why = f" ({operation.why})" if operation.why else ""
        yield (f"{begun:%Y-%m-%d %H:%M:%S}  {seconds}  {operation.state:<9}  {operation.text}{why}")
