"""How many guests may be changed at once, and which one may restart.

A host that gets two hundred boots at once is a host that is down, so only so many guests are
changed at a time, and only one of them is restarted. Two rules keep one guest from holding up all
others for its long timeouts:

* a place is given back after `HANDOVER` seconds, even if the guest's task still runs;
* so that this has an end, at most `OVERRUN` times the limit run in all.

The place for restarts is not given back early: two halves of a service that were declared to be
restarted must never be down together. For the same reason the scheduler restarts nobody while
another guest did not come back from its restart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from felhom_agent.daemon.record import Run

HANDOVER = 60.0
OVERRUN = 3


@dataclass(frozen=True)
class Places:
    """The rules for a limit; what runs is the scheduler's, and times are its clock."""

    limit: int

    def is_free(self, runs: Collection[Run], now: float) -> bool:
        """Given what runs, return whether another guest may begin now."""
        young = sum(now < run.began + HANDOVER for run in runs)
        return young < self.limit and len(runs) < OVERRUN * self.limit

    def next_free(self, runs: Collection[Run], now: float) -> float:
        """Given what runs, return when a place is given back by time alone; infinity if none is."""
        if len(runs) >= OVERRUN * self.limit:
            return math.inf
        handovers = (run.began + HANDOVER for run in runs)
        return min((moment for moment in handovers if moment > now), default=math.inf)


def may_restart(runs: Iterable[Run]) -> bool:
    """Given what runs, return whether the place for restarts is free."""
    return not any(run.restarts for run in runs)
