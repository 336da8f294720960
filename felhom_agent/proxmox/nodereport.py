"""What a hub is told of the node, left behind by each snapshot, so that a report asks nothing.

A `NodeReport` holds what the report needs and no more: the node's own figures, and of each guest
the row; of those that the owner named for the hub, the name and the options that are reported, too.
A `Reporter` keeps the latest one. It withdraws it where the node's figures could not be had with a
later snapshot, and does not hand it out once it is too old: a heartbeat must not lie.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from felhom_agent.errors import Unanswered
from felhom_agent.model import ActualGuest, Kind, RunState

Row = Mapping[str, Any]

REPORTED_OPTIONS = ("cores", "memory", "description", "tags", "onboot")
REPORTED_FIGURES = ("pveversion", "uptime", "cpu", "cpuinfo", "loadavg", "memory", "rootfs")


@dataclass(frozen=True)
class ReportedGuest:
    """One guest as a snapshot saw it; `state` is None where PVE does not tell it.

    `seen` tells whether the hub may see more than that it is there; without it there is neither
    name nor options. `options` has those of `REPORTED_OPTIONS` that are set, as PVE gives them; it
    is None where the configuration could not be read.
    """

    vmid: int
    kind: Kind
    state: RunState | None
    name: str = ""
    options: Row | None = None
    seen: bool = False


@dataclass(frozen=True)
class NodeReport:
    """A node and its guests at a moment: seconds since the epoch at which the snapshot began, so
    that nothing in it is older; `status` has the node's figures as PVE gives them.
    """

    at: float
    status: Row
    guests: tuple[ReportedGuest, ...]


@dataclass(frozen=True)
class _Kept:
    """The latest report or why there is none; when its snapshot began (monotonic seconds)."""

    report: NodeReport | None
    began: float = 0.0
    why: str = ""


class Reporter:
    """Keeps the latest report of a node.

    Threads: `begin`, `saw`, `publish` and `withdraw` belong to the thread that takes snapshots,
    with `_began` and `_options`. `_kept` is replaced as a whole there, and read as a whole by
    `latest`. `_news` is an Event that is set after each such replacement, and by `wake`; the one
    thread that reports clears it in `latest`, before it reads, and waits for it in `wait`, so that
    what was replaced in between is either read or ends the wait.
    """

    def __init__(
        self,
        named: Callable[[int], bool],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        max_age: Callable[[], float],
    ) -> None:
        """`named` tells of a vmid whether the owner named it for the hub, `now` the seconds since
        the epoch, `monotonic` those by which a report ages, `max_age` how old it may become. All
        are called from both threads.
        """
        self.named = named
        self._now = now
        self._monotonic = monotonic
        self._max_age = max_age
        self._began = (0.0, 0.0)
        self._options: dict[int, Row] = {}
        self._kept = _Kept(None)
        self._news = threading.Event()

    def begin(self) -> None:
        """Hear that a snapshot begins."""
        self._began = (self._now(), self._monotonic())
        self._options = {}

    def saw(self, guest: ActualGuest) -> None:
        """Hear of a guest of this snapshot whose configuration was read, or could not be."""
        if guest.config is not None:
            self._options[guest.vmid] = options_of(guest.config)

    def publish(self, status: Row, guests: Iterable[ActualGuest]) -> None:
        """Given the node's figures and all its guests, replace the report."""
        reported = tuple(self._reported(guest) for guest in guests)
        at, began = self._began
        self._replace(_Kept(NodeReport(at, figures_of(status), reported), began))

    def withdraw(self, why: str) -> None:
        """Hear that this snapshot makes no report, and why; nor does an earlier one any more."""
        self._replace(_Kept(None, why=why))

    def latest(self) -> NodeReport | None:
        """Return the latest report, or None before the first snapshot. Raise Unanswered if it was
        withdrawn, or is too old.

        Of guests that are not named for the hub any more, it has only that they are there.
        """
        self._news.clear()
        kept, longest = self._kept, self._max_age()
        if kept.report is None:
            if kept.why:
                raise Unanswered(kept.why)
            return None
        if self._monotonic() - kept.began > longest:
            raise Unanswered(f"the node was last observed more than {longest:.0f} s ago")
        guests = tuple(g if self.named(g.vmid) else _bare(g) for g in kept.report.guests)
        return replace(kept.report, guests=guests)

    def wait(self, seconds: float) -> None:
        """Return when something was replaced since `latest`, after `wake`, or after `seconds`."""
        self._news.wait(seconds)

    def wake(self) -> None:
        """End a wait; from any thread."""
        self._news.set()

    def _reported(self, guest: ActualGuest) -> ReportedGuest:
        found = ReportedGuest(guest.vmid, guest.kind, guest.state)
        if not self.named(guest.vmid):
            return found
        return replace(found, name=guest.name, options=self._options.get(guest.vmid), seen=True)

    def _replace(self, kept: _Kept) -> None:
        self._kept, self._options = kept, {}
        self._news.set()


def options_of(config: Row) -> Row:
    """Given a configuration, return the options of it that are reported."""
    return MappingProxyType({key: config[key] for key in REPORTED_OPTIONS if key in config})


def figures_of(status: Row) -> Row:
    """Given what GET /nodes/N/status answers, return the figures that are reported."""
    return MappingProxyType({key: status[key] for key in REPORTED_FIGURES if key in status})


def _bare(guest: ReportedGuest) -> ReportedGuest:
    return ReportedGuest(guest.vmid, guest.kind, guest.state)
