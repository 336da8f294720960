"""How an apply gets on, live: what each guest does or waits for, how long, and what PVE says of it.

What has ended is a line that stays. On a terminal what goes on is shown below and redrawn; in a
pipe each step is a line when it begins. An agent that goes away is waited for a while, since it may
be restarted; an agent that begins anew knows nothing of the apply, and that is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

from felhom_agent.cli.out import complain, say_styled
from felhom_agent.cli.terminal import Line, Part, Style, put, width
from felhom_agent.daemon.temporary import Ask
from felhom_agent.errors import FelhomError
from felhom_agent.proxmox.node import Node
from felhom_agent.service.controlclient import ControlRefused, NoAgent

PAUSE = 0.5
"""Seconds between two looks."""
AWAY = 30.0
"""Seconds for which an agent that went away is waited for."""
_MAX_LIVE = 10
_DONE = {
    "succeeded": Part("done", Style.GOOD),
    "failed": Part("failed", Style.BAD),
    "unknown": Part("unknown", Style.WARN),
}


@dataclass(frozen=True)
class Followed:
    """What came of an apply: its guests as the agent told them last, and whether the person
    interrupted it, or the agent went away.
    """

    guests: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False
    away: bool = False

    @property
    def open(self) -> bool:
        """Whether of some guest it is not known yet what comes of it."""
        return any(guest["outcome"] is None for guest in self.guests)


def follow(
    ask: Ask,
    name: str,
    names: Mapping[int, str],
    node: Node,
    *,
    goes_on: bool,
    quiet: bool = False,
) -> Followed:
    """Given how to ask the agent, an apply's name, the guests' names and the node, show how it gets
    on until it has ended; return what came of it.

    Ctrl-C withdraws what has not begun. Where the agent goes on without this command (`goes_on`),
    what has begun is left to it; else it is followed to its end, or to the next Ctrl-C: a guest
    that is shut down for its restart has nobody else who starts it. Raise FelhomError if the agent
    stays away or has forgotten the apply.
    """
    shown = _Shown(names, node, quiet=quiet)
    rest = threading.Event()
    try:
        return _until_ended(ask, name, shown, rest)
    except KeyboardInterrupt:
        shown.clear()
        ask("POST", "/v1/withdraw", {"apply": name})
    found = Followed(ask("GET", f"/v1/apply?apply={name}", None)["guests"], interrupted=True)
    if goes_on or not found.open:
        return found
    try:
        complain(
            "what has not begun is withdrawn; what has begun is ended first (Ctrl-C: leave it)"
        )
        return replace(_until_ended(ask, name, shown, rest), interrupted=True)
    except KeyboardInterrupt:
        shown.clear()
        return found


def _until_ended(ask: Ask, name: str, shown: _Shown, rest: threading.Event) -> Followed:
    heard, last = time.monotonic(), Followed(away=True)
    told = False
    while True:
        try:
            found = ask("GET", f"/v1/apply?apply={name}", None)
            heard, told = time.monotonic(), False
            last = Followed(found["guests"], away=True)
        except NoAgent as error:
            if time.monotonic() - heard > AWAY:
                if not last.guests:
                    raise
                shown.clear()
                complain(str(error))
                return last
            if not told:
                shown.clear()
                complain(f"the agent does not answer; it is waited for, for {AWAY:.0f} s")
            told = True
        except ControlRefused as error:
            # An agent that began anew knows nothing of it.
            if error.status != HTTPStatus.NOT_FOUND or not last.guests:
                raise
            shown.clear()
            complain(str(error))
            return last
        else:
            shown.show(found["guests"])
            if not found["open"]:
                shown.clear()
                return Followed(found["guests"])
        rest.wait(PAUSE)


class _Shown:
    """What is on the screen; belongs to the command's thread."""

    def __init__(self, names: Mapping[int, str], node: Node, *, quiet: bool) -> None:
        self._names = names
        self._room = max((len(_label(v, name)) for v, name in names.items()), default=0)
        self._last_line = _LastLines(node)
        self._quiet = quiet
        self._told: set[tuple[str, str]] = set()
        self._live = 0

    def show(self, guests: list[dict[str, Any]]) -> None:
        """Given the guests as the agent tells them, show what is new, and what goes on."""
        if self._quiet:
            return
        self.clear()
        live: list[Line] = []
        for guest in guests:
            vmid = guest["vmid"]
            label = _label(vmid, self._names.get(vmid, "")).ljust(self._room)
            for step in guest["steps"]:
                if step["state"] in _DONE:
                    self._tell(step, "ended", self._ended(label, step))
                elif width() is None:
                    self._tell(step, "begun", (f"  {label}  {step['what']}  ...",))
                else:
                    live.append(self._going_on(label, step))
            if guest["outcome"] is None and (words := _idle(guest)):
                live.append((f"  {label}  ", Part(words, Style.DIM)))
        if width() is not None:
            self._draw(live)

    def clear(self) -> None:
        """Take away what goes on from the screen."""
        if self._live:
            say_styled(f"\x1b[{self._live}A\x1b[J", end="")
        self._live = 0

    def _draw(self, live: list[Line]) -> None:
        """Show what goes on, each in one line: else it could not be taken away again."""
        room = (width() or 80) - 1
        lines = live[:_MAX_LIVE]
        if len(live) > _MAX_LIVE:
            lines.append((f"  and {len(live) - _MAX_LIVE} more",))
        for line in lines:
            put(_cut(line, room))
        self._live = len(lines)

    def _tell(self, step: dict[str, Any], what: str, line: Line) -> None:
        if (step["op"], what) not in self._told:
            self._told.add((step["op"], what))
            put(line, hang=6)

    def _ended(self, label: str, step: dict[str, Any]) -> Line:
        seconds = f"{step['seconds']:.1f}" if step["seconds"] is not None else "?"
        why = f"  {step['why']}" if step["why"] else ""
        task = f"  {step['upid']}" if step["upid"] and step["state"] != "succeeded" else ""
        return (f"  {label}  {step['what']}  ", _DONE[step["state"]], f"  {seconds} s{why}{task}")

    def _going_on(self, label: str, step: dict[str, Any]) -> Line:
        seconds = _since(step["begun"])
        said = self._last_line.of(step["upid"])
        return (f"  {label}  {step['what']}  ... {seconds} s  ", Part(said, Style.DIM))


def _idle(guest: dict[str, Any]) -> str:
    """Return what is to be said of a guest without a step of its own that goes on."""
    if guest["activity"] == "queued":
        return "waits for a place"
    open_steps = [step for step in guest["steps"] if step["state"] not in _DONE]
    begun_before = guest["activity"] == "running" and not open_steps
    return "the agent is at work on it" if begun_before else ""


def _label(vmid: int, name: str) -> str:
    return f"{vmid} {name}".rstrip()


class _LastLines:
    """The last line of the log of each task that is under way, asked for now and then."""

    _EVERY = 2.0

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}

    def of(self, upid: str) -> str:
        """Given a UPID, return what its task said last; its UPID, if it has said nothing."""
        if not upid:
            return ""
        then, said = self._known.get(upid, (float("-inf"), ""))
        if self._clock() - then >= self._EVERY:
            with suppress(FelhomError):  # it is only for a person's eyes
                said = self._node.tasks.last_words(upid)
            self._known[upid] = (self._clock(), said)
        return said or upid


def _since(begun: str) -> str:
    """Return how many seconds ago something began."""
    try:
        passed = datetime.now().astimezone() - datetime.fromisoformat(begun)
    except ValueError:
        return "?"
    return f"{max(0.0, passed.total_seconds()):.0f}"


def _cut(line: Line, room: int) -> Line:
    """Return as much of a line as fits."""
    parts: list[str | Part] = []
    for part in line:
        text = part.text if isinstance(part, Part) else part
        kept = text[:room]
        room -= len(kept)
        parts.append(Part(kept, part.style) if isinstance(part, Part) else kept)
    return tuple(parts)
