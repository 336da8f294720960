"""The guests and one-shot jobs that wait for a place, in their order.

There are two lines: for guests of which only the configuration is to be changed, and for those that
are to be started, stopped or restarted. Neither waits for the other.

Belongs to the main thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from felhom_agent.daemon.jobs import Job
from felhom_agent.planning.actions import Need

Entry = int | Job


@dataclass(frozen=True)
class Activity:
    """The guests that are being reconciled, those that wait for a place, and when (seconds since
    the epoch) those are tried again that wait for that; `since` is when the one that runs longest
    began (None: nobody runs).
    """

    running: frozenset[int] = frozenset()
    queued: frozenset[int] = frozenset()
    due: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    since: float | None = None


class Waiting:
    """Both lines; a guest stands in one of them at most once."""

    def __init__(self) -> None:
        self._changes: deque[Entry] = deque()
        self._power: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._changes) + len(self._power)

    def __contains__(self, need: Need) -> bool:
        """Return whether anybody waits for such a place."""
        return bool(self._line(need))

    def guests(self) -> frozenset[int]:
        """Return the guests that wait."""
        return frozenset(
            entry for line in (self._changes, self._power) for entry in line
            if not isinstance(entry, Job)
        )  # fmt: skip

    def add(self, entry: Entry, need: Need) -> None:
        """Let a guest or a job wait, after all that wait already."""
        self._line(need).append(entry)

    def drop(self, vmid: int) -> None:
        """Let a guest wait no more."""
        for line in (self._changes, self._power):
            if vmid in line:
                line.remove(vmid)

    def serve(
        self, need: Need, is_free: Callable[[], bool], begin: Callable[[Entry], bool]
    ) -> None:
        """Go through a line in its order while there are places; `begin` is given each entry and
        returns whether it needs to wait no more.
        """
        line = self._line(need)
        kept: deque[Entry] = deque()
        while line and is_free():
            entry = line.popleft()
            if not begin(entry):
                kept.append(entry)
        line.extendleft(reversed(kept))

    def _line(self, need: Need) -> deque[Entry]:
        return self._changes if need is Need.CHANGE else self._power
