"""`felhom-agent journal`: is the agent's memory whole, and what to do if it is not.

`verify` only looks, also beside a running agent. `repair` cuts out what is damaged and keeps a copy
of all; the agent must not run meanwhile, and its lock sees to that.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from felhom_agent.cli.asowner import run_as_owner
from felhom_agent.cli.codes import DATAERR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load
from felhom_agent.durable.line import Content
from felhom_agent.journal import lock
from felhom_agent.journal.content import NAME
from felhom_agent.journal.operation import State, replay
from felhom_agent.journal.repair import inspect, repair


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "journal",
        run,
        summary="Check the journal (`verify`), or cut out what is damaged in it (`repair`).",
        example="journal verify",
    )
    parser.add_argument("what", choices=("verify", "repair"))


def run(arguments: argparse.Namespace) -> int:
    directory = load(arguments.config).journal.directory
    if arguments.what == "verify":
        return _verify(directory / NAME)
    code = run_as_owner(directory, arguments.words)
    if code is not None:
        return code
    with lock.held(directory):
        return _repair(directory)


def _verify(path: Path) -> int:
    content, size = inspect(path)
    state = "damaged" if content.damage else "good"
    say(f"{path}: {state}, {len(content.records)} records, {size} bytes")
    for line in (*_findings(path, content), *_story(content)):
        say(f"  {line}")
    if content.damage:
        say(f"  the agent does not start on it; {_remedy(content)}")
    return DATAERR if content.damage else OK


def _remedy(content: Content) -> str:
    """Given a journal that is not good, return what to do; a newer version's lines are good."""
    if any(damage.newer for damage in content.damage):
        return "install that version again"
    return "`felhom-agent journal repair` cuts it out, or put back a copy of the file"


def _repair(directory: Path) -> int:
    done = repair(directory, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    path = directory / NAME
    if done is None:
        say(f"{path}: nothing is damaged, nothing was changed")
        return OK
    say(f"{path}: {len(done.content.records)} intact records were kept; cut out:")
    for line in _findings(path, done.content):
        say(f"  {line}")
    say(f"The file as it was is kept as {done.copy}. Now it says:")
    for line in _story(inspect(path)[0]):
        say(f"  {line}")
    return OK


def _findings(path: Path, content: Content) -> Iterator[str]:
    for damage in content.damage:
        yield f"{path}:{damage.line}: {damage.text}"
    if content.tail:
        yield (
            f"{len(content.tail)} bytes at the end are of a write that a crash cut short; they "
            f"were promised to nobody, and are set aside at the next start"
        )


def _story(content: Content) -> Iterator[str]:
    operations = replay(content.records)
    states = Counter(operation.state for operation in operations)
    ends = ", ".join(f"{states[s]} {s}" for s in (State.SUCCEEDED, State.FAILED, State.UNKNOWN))
    in_flight = [operation for operation in operations if operation.in_flight]
    yield f"{len(operations)} operations: {ends}, {len(in_flight)} in flight"
    for operation in in_flight:
        yield f"in flight: {operation.guest}: {operation.text} op={operation.op_id}"
    if jobs := {operation.key for operation in operations if operation.key}:
        yield f"{len(jobs)} one-shot jobs are remembered"
