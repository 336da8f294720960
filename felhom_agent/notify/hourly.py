"""How many notices may go out within any hour, and which did not. Pure.

A notice that finds a place goes out; one that finds none is counted by its event, and all that were
counted follow as one summary, which takes a place like any other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

HOUR: Final = 3600.0


class HourlyLimit:
    """At most `per_hour` within any hour; times are monotonic seconds."""

    def __init__(self, per_hour: int) -> None:
        self._sent: deque[float] = deque(maxlen=per_hour)
        self._untold: Counter[str] = Counter()

    def take(self, event: str, now: float) -> bool:
        """Given a notice's event, return whether it may go out; else it is counted."""
        # What was not told yet goes first.
        if not self._untold and self._place(now):
            return True
        self.miss(event)
        return False

    def is_full(self, now: float) -> bool:
        """Return whether no notice can go out at present."""
        return len(self._sent) == self._sent.maxlen and now - self._sent[0] < HOUR

    def miss(self, event: str, number: int = 1) -> None:
        """Count a notice that did not arrive."""
        self._untold[event] += number

    def summary(self, now: float) -> Mapping[str, int]:
        """Return what a summary has to tell, and forget it; empty if there is nothing to tell, or
        no place.
        """
        if not self._untold or not self._place(now):
            return {}
        counts, self._untold = dict(self._untold), Counter()
        return counts

    def due(self, now: float) -> float:
        """Return the seconds until a summary may go out; infinite if there is nothing to tell."""
        if not self._untold:
            return float("inf")
        return self._sent[0] + HOUR - now if self.is_full(now) else 0.0

    def _place(self, now: float) -> bool:
        """Take a place if there is one."""
        if self.is_full(now):
            return False
        self._sent.append(now)
        return True
