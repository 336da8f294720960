"""When each guest is due for a turn.

A pass finds guests that differ; whether one gets a turn now depends on how its last turn ended:

* `Retry`: once its delay is over;
* `Blocked` by PVE: after the longest back-off, or once something changed;
* `Refused`: only once something changed.

"Something changed" means the declaration or the plan: what is wanted, or what stands in the way.

Belongs to the main loop's thread; it reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from felhom_agent.model import Blocked, Outcome, Refused, Retry


@dataclass(frozen=True)
class _Entry:
    subject: Hashable
    due: float
    retries: bool


class Agenda:
    """Remembers until when each guest is left alone; times are the caller's clock."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self._entries: dict[int, _Entry] = {}
        self._subjects: dict[int, Hashable] = {}

    def begins(self, vmid: int, subject: Hashable) -> None:
        """Note what a guest's turn that begins now is about."""
        self._subjects[vmid] = subject
        self._entries.pop(vmid, None)

    def ended(self, vmid: int, outcome: Outcome, now: float) -> None:
        """Note how a guest's turn ended."""
        subject = self._subjects.get(vmid)
        match outcome:
            case Retry(delay):
                self._entries[vmid] = _Entry(subject, now + delay, retries=True)
            case Blocked():
                self._entries[vmid] = _Entry(subject, now + self.longest, retries=False)
            case Refused():
                self._entries[vmid] = _Entry(subject, math.inf, retries=False)
            case _:
                self._entries.pop(vmid, None)

    def is_due(self, vmid: int, subject: Hashable, now: float) -> bool:
        """Given a guest that differs, return whether it gets a turn now."""
        entry = self._entries.get(vmid)
        return entry is None or entry.subject != subject or now >= entry.due

    def next_retry(self) -> float:
        """Return the time of the earliest retry; infinity if there is none."""
        return min((e.due for e in self._entries.values() if e.retries), default=math.inf)

    def take_retries(self, now: float) -> list[int]:
        """Return, once, the guests whose retry is due."""
        due = [vmid for vmid, e in self._entries.items() if e.retries and now >= e.due]
        for vmid in due:
            del self._entries[vmid]
        return sorted(due)

    def forget(self, vmid: int) -> None:
        """Forget a guest that is in line again, or no longer declared."""
        self._entries.pop(vmid, None)
        self._subjects.pop(vmid, None)

    def clear(self) -> None:
        """Let every guest be due: an operator asked for a fresh look."""
        self._entries.clear()
