"""`felhom-agent events`: what happened lately, and (`-f`) what happens now.

The running agent keeps its newest 1,000 events in memory and tells them at its control socket. Who
follows asks once a second for what is beyond the number that it knows: no connection is held, so
nobody takes a place of the socket for long. A process that was started again numbers anew and has
another name, which is how that is noticed. Older events are in the system's journal.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from felhom_agent.cli import answers, ask
from felhom_agent.cli.codes import OK
from felhom_agent.cli.command import Commands, add_command, vmid, whole
from felhom_agent.cli.out import complain, say_json, say_json_line, wait
from felhom_agent.cli.terminal import MIN_LAST, Line, Part, Style, cells, put, width
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable
from felhom_agent.service.controlclient import ControlRefused, call

SCHEMA: Final = 1
MOST: Final = 1000
"""How many events can be asked for; the agent keeps no more."""
_USUAL: Final = 20
_PAUSE: Final = 1.0
_NOT_FOUND: Final = 404
_MAX_GUEST: Final = 24
_MAX_EVENT: Final = 24
_MAX_TEXT: Final = 1000
_BEFORE: Final = 15 + 2 + 7 + 2
"""Cells of a line before the guest: the time and the level."""
_STYLES: Final = {"error": Style.BAD, "warning": Style.WARN, "info": None, "debug": Style.DIM}
# Not by strftime: its names follow the locale.
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)

Event = dict[str, Any]


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "events",
        run,
        summary="Show the newest events of the running agent, newest last.",
        example="events -f 101",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only events of these guests")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C"
    )
    parser.add_argument(
        "-n",
        dest="count",
        type=whole(0, MOST),
        default=_USUAL,
        metavar="N",
        help=f"how many at first, up to {MOST} (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON (with -f: an object per line)"
    )


def run(arguments: argparse.Namespace) -> int:
    source = EventSource(ask.socket_of(arguments.config), frozenset(arguments.vmid))
    found, _ = source.read()
    first = found[-arguments.count :] if arguments.count else []
    if arguments.json and not arguments.follow:
        say_json({**source.about, "events": first}, schema=SCHEMA)
        return OK
    page = Page()
    show(first, source, page, as_json=arguments.json)
    if arguments.follow:
        follow(source, page, wait, as_json=arguments.json)
    return OK


class EventSource:
    """The events of an agent, each once; `about` is what was last told of all of them."""

    def __init__(self, path: Path, vmids: frozenset[int]) -> None:
        self._path = path
        self._vmids = vmids
        self._after = 0
        self.run = ""
        self.about: dict[str, Any] = {}

    def read(self) -> tuple[list[Event], str]:
        """Return the events that are new, and a word about what came between; empty if nothing.

        Raise FelhomError if the agent cannot be asked, or does not make sense.
        """
        answer = self._ask(self._after)
        run, word = answers.text(answer, "run"), ""
        if self.run and run != self.run:
            # Its numbers are others: what is beyond ours may be anything.
            answer, self._after = self._ask(0), 0
            run, word = answers.text(answer, "run"), "the agent was started again"
        elif self.run and (missed := (answers.whole(answer, "oldest") or 0) - self._after - 1) > 0:
            word = f"{missed} events came too fast; journalctl -u felhom-agent has them"
        new = [e for e in answers.rows(answer, "events") if _number(e) > self._after]
        self.run = run
        newest = answers.whole(answer, "newest") or 0
        self._after = max([self._after, newest, *map(_number, new)])
        self.about = {k: v for k, v in answer.items() if k not in ("schema", "events")}
        return [e for e in new if not self._vmids or e.get("vmid") in self._vmids], word

    def _ask(self, after: int) -> dict[str, Any]:
        try:
            answer = call(self._path, "GET", f"/v1/events?after={after}" if after else "/v1/events")
        except ControlRefused as error:
            if error.status != _NOT_FOUND:
                raise
            text = "the agent that runs is older than this command, and keeps no events; "
            text += "journalctl -u felhom-agent shows them; systemctl restart felhom-agent mends it"
            raise FelhomError(text) from None
        if not (answers.text(answer, "run") and isinstance(answer.get("events"), list)):
            raise FelhomError(f"{self._path}: what answers there is no felhom-agent")
        return answer


class Page:
    """Lines of events in columns, which get wider as wider events come."""

    def __init__(self) -> None:
        self._guest = self._event = 0

    def lines(self, events: Sequence[Event], columns: int | None = None) -> Iterator[Line]:
        """Given events and how many cells a line has (None: as many as it needs), yield a line for
        each: when, how bad, which guest, which kind, what. Where columns leave the text too little
        room, nothing is aligned.
        """
        self._guest = max([self._guest, *(cells(_guest(event)) for event in events)])
        self._event = max([self._event, *(cells(_kind(event)) for event in events)])
        guest, kind = self._guest, self._event
        start = _BEFORE + guest + 2 * bool(guest) + kind + 2
        if columns is not None and start + MIN_LAST > columns:
            guest = kind = 0
        return (_line(event, guest, kind) for event in events)


def _line(event: Event, guest: int, kind: int) -> Line:
    """Return the line of an event, with so many cells for its guest and its kind."""
    level, named = answers.text(event, "level"), _guest(event)
    return [
        Part(_when(event), Style.DIM),
        Part(f"  {printable(level, 7):<7}", _STYLES.get(level)),
        "  " + _padded(named, guest) + "  " * bool(guest or named),
        Part(_padded(_kind(event), kind), Style.STRONG),
        "  " + printable(_sentence(event), _MAX_TEXT),
    ]


def show(events: Sequence[Event], source: EventSource, page: Page, *, as_json: bool) -> None:
    """Given events, print them, a line each. Raise as `say` does."""
    if as_json:
        for event in events:
            own = {k: v for k, v in event.items() if k not in ("schema", "run")}
            say_json_line({"run": source.run, **own}, schema=SCHEMA)
        return
    for line in page.lines(events, width()):
        put(line, hang=4)


def follow(
    source: EventSource, page: Page, wait: Callable[[float], object], *, as_json: bool
) -> None:
    """Print what happens until Ctrl-C; say once when the agent is away, and when it is back.

    `wait` lets so many seconds go by. Raise as `say` does.
    """
    away = False
    while True:
        wait(_PAUSE)
        try:
            new, word = source.read()
        except FelhomError as error:
            if not away:
                complain(f"waiting for the agent: {error}")
            away = True
            continue
        if away:
            complain("the agent answers again")
        if word:
            complain(word)
        away = False
        show(new, source, page, as_json=as_json)


def _number(event: Event) -> int:
    return answers.whole(event, "number") or 0


def _when(event: Event) -> str:
    moment = answers.moment(event, "at")
    try:
        then = datetime.fromtimestamp(moment) if moment is not None else None
    except (OverflowError, OSError, ValueError):
        then = None
    if then is None:
        return "?" * 15
    return f"{_MONTHS[then.month - 1]} {then.day:02d} {then:%H:%M:%S}"


def _guest(event: Event) -> str:
    number = answers.vmid(event)
    if number is None:
        return ""
    return printable(f"{number} {answers.text(event, 'name')}".rstrip(), _MAX_GUEST)


def _kind(event: Event) -> str:
    return printable(answers.text(event, "event"), _MAX_EVENT)


def _sentence(event: Event) -> str:
    """Return what happened, without the guest that the line names already."""
    text, number = answers.text(event, "text"), answers.vmid(event)
    name = answers.text(event, "name")
    for start in (f"guest {number}: ", f"guest {number} {name}: ", f"{number} {name}: "):
        if number is not None and text.startswith(start):
            return text.removeprefix(start)
    return text


def _padded(text: str, size: int) -> str:
    return text + " " * (size - cells(text))
