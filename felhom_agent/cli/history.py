"""`felhom-agent history`: what the agent did, from its journal. Safe beside a running agent.

Of a damaged journal the intact part is told, and on stderr what is damaged; the exit code is 65
then. `--follow` goes on until Ctrl-C, or until nobody reads its stdout any more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from felhom_agent.cli.codes import DATAERR, OK
from felhom_agent.cli.command import Commands, add_command, vmid, whole
from felhom_agent.cli.moment import day_of, since, until
from felhom_agent.cli.out import complain, say, say_json, say_json_line, wait
from felhom_agent.cli.story import HANG, Story, as_json
from felhom_agent.cli.terminal import put, width
from felhom_agent.config.agentfile import load
from felhom_agent.durable.line import Damage
from felhom_agent.journal.content import NAME, remedy_of
from felhom_agent.journal.follow import Follower
from felhom_agent.journal.operation import Operation
from felhom_agent.journal.tail import Tail, Wanted, latest

SCHEMA = 1
USUAL = 20
MAX_TOLD = 10
"""How many damaged lines are told."""
POLL = 0.5
"""Seconds between two looks at the journal with --follow."""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "history",
        run,
        summary="Show what was done to the guests, newest last, from the journal.",
        example="history 101 --since 2d --failed",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")
    parser.add_argument(
        "-n", dest="limit", type=whole(0, 999_999_999), default=USUAL, metavar="N",
        help="only the last N (default: %(default)s; 0: all)",
    )  # fmt: skip
    parser.add_argument(
        "--since", type=_moment(since), metavar="TIME",
        help='begun since then: 2d or 90m ago, "2026-11-24", "2026-11-24T09:00", "09:00"',
    )  # fmt: skip
    parser.add_argument(
        "--until", type=_moment(until), metavar="TIME",
        help="begun until then; a day counts to its end",
    )  # fmt: skip
    parser.add_argument("--failed", action="store_true", help="only failed and unknown ones")
    parser.add_argument("--follow", action="store_true", help="go on as they begin and end")
    parser.add_argument(
        "--json", action="store_true", help="print JSON; with --follow an object a line"
    )
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    _refuse_contradictions(arguments)
    path = load(arguments.config).journal.directory / NAME
    wanted = _wanted(arguments)
    if arguments.follow:
        return _follow(path, wanted, as_data=arguments.json)
    try:
        tail = latest(path, wanted)
    except FileNotFoundError:
        tail = None
    if arguments.json:
        say_json(_answer(path, tail or Tail()), schema=SCHEMA)
    else:
        _say(path, tail)
    return OK if tail is None else _complain(path, tail.damage, tail.lost)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    begin, end = arguments.since, arguments.until
    if begin is not None and end is not None and begin > end:
        arguments.usage_error("--since is after --until, so nothing can match")
    if arguments.follow and end is not None:
        arguments.usage_error("--follow goes on from now, so it takes no --until")


def _wanted(arguments: argparse.Namespace) -> Wanted:
    begin, end = arguments.since, arguments.until
    return Wanted(
        limit=arguments.limit,
        since=float("-inf") if begin is None else begin,
        until=float("inf") if end is None else end,
        vmids=frozenset(arguments.vmid),
        failed=arguments.failed,
    )


def _say(path: Path, tail: Tail | None) -> None:
    if tail is None:
        say(f"Nothing yet: the agent has not run here, it would keep its journal in {path}.")
    elif tail.operations:
        for line in _story().lines(tail.operations):
            put(line, hang=HANG)
    elif tail.empty:
        say(f"Nothing yet: the agent has changed no guest so far, by its journal {path}.")
    else:
        say("Nothing matches: the journal has other operations; leave out what narrows it down.")


def _answer(path: Path, tail: Tail) -> dict[str, object]:
    return {
        "journal": str(path),
        "operations": [as_json(operation) for operation in tail.operations],
        "damage": [{"line": d.line, "text": d.text, "newer": d.newer} for d in tail.damage],
        "lost": tail.lost,
    }


def _complain(path: Path, damage: Iterable[Damage], lost: int = 0) -> int:
    """Tell what is damaged, what a person does about it, and how many operations cannot be told;
    return the exit code.
    """
    # A newer version's lines first: a repair would cut out what is good.
    found = sorted(damage, key=lambda each: not each.newer)
    for each in found[:MAX_TOLD]:
        complain(f"{path}:{each.line}: {each.text}; {remedy_of(each)}")
    if more := len(found[MAX_TOLD:]):
        complain(f"{path}: and {more} more lines")
    if lost:
        complain(f"{path}: not shown, since the line that says what they are is lost: {lost}")
    return DATAERR if found else OK


def _follow(path: Path, wanted: Wanted, *, as_data: bool) -> int:
    follower = Follower(path)
    story = _story()

    def tell(operations: Iterable[Operation]) -> None:
        if as_data:
            for operation in operations:
                say_json_line(as_json(operation), schema=SCHEMA)
            return
        story.today, story.columns = day_of(time.time()), width()
        for line in story.lines(operations):
            put(line, hang=HANG)

    try:
        tail = follower.start(wanted)
        if tail.empty and not tail.damage:
            complain(f"nothing yet; waits for {path}")
        tell(tail.operations)
        _complain(path, tail.damage, tail.lost)
        while True:
            wait(POLL)
            operations, damage = follower.news()
            tell(o for o in operations if wanted.fits(o))
            _complain(path, damage)
    finally:
        follower.close()


def _story() -> Story:
    return Story(day_of(time.time()), width())


def _moment(meaning: Callable[[str, float], float]) -> Callable[[str], float]:
    def moment(text: str) -> float:
        try:
            return meaning(text, time.time())
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return moment
