"""How long from one pass to the next.

The interval of the settings, longer or shorter by chance so that many hosts do not come in step;
while the node cannot be looked at, a shorter wait that doubles from failure to failure.

Belongs to the main loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.config import ReconcileConfig

_MOST_DOUBLINGS = 16


class Pace:
    """Counts the looks in a row that failed; `chance` returns a number from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.failures = 0

    def failed(self) -> None:
        """Note that the node could not be looked at."""
        self.failures += 1

    def answered(self) -> int:
        """Note that it could; return how many looks before had failed."""
        before, self.failures = self.failures, 0
        return before

    def pause(self, settings: ReconcileConfig) -> float:
        """Given the settings, return the seconds until the next pass."""
        if self.failures:
            backoff = settings.backoff_first * 2.0 ** min(self.failures - 1, _MOST_DOUBLINGS)
            return min(backoff, settings.interval, settings.backoff_cap)
        return settings.interval * (1.0 + settings.jitter * (self._chance() - 0.5))
