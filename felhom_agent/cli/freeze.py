"""`felhom-agent freeze`: the running agent shall change nothing on this host."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command, some_text
from felhom_agent.cli.out import say


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "freeze",
        run,
        summary="Change nothing on this host until `thaw`, or for a time. It outlives restarts.",
        example='freeze --ttl 2h --why "the storage is moved"',
    )
    parser.add_argument(
        "--ttl", dest="seconds", type=ask.duration, metavar="TIME", help="90s, 15m, 2h, 1d"
    )
    parser.add_argument(
        "--why", type=some_text, required=True, metavar="TEXT", help="shown wherever it holds"
    )


def run(arguments: argparse.Namespace) -> int:
    given = {"seconds": arguments.seconds, "why": arguments.why}
    ask.tell(arguments.config, "/v1/freeze", given)
    say("`felhom-agent thaw` ends it.")
    return 0
