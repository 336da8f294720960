"""How long to wait after failures in a row: for one guest, and for the passes over a node.

The wait doubles with every failure, up to a cap, and a share of it is drawn by chance so that many
guests, and many hosts, do not come back in step. It keeps no count: whoever counts the failures
asks with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from felhom_agent.config.settings import ReconcileConfig

_MAX_DOUBLINGS = 32


@dataclass(frozen=True)
class Backoff:
    """The settings: `first` and `cap` in seconds; `chance` returns a number from 0 to 1."""

    first: float
    cap: float
    jitter: float
    chance: Callable[[], float]

    @classmethod
    def of(cls, settings: ReconcileConfig, chance: Callable[[], float]) -> Backoff:
        """Given the settings, return the back-off that they ask for."""
        return cls(settings.backoff_first, settings.backoff_cap, settings.jitter, chance)

    def delay(self, failures: int) -> float:
        """Given how many failures there were in a row (1 or more), return the seconds to wait."""
        doubled = self.first * 2.0 ** min(max(failures, 1) - 1, _MAX_DOUBLINGS)
        return min(self.cap, doubled) * (1.0 - self.jitter * self.chance())
