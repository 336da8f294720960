"""How many guests may be changed, started and restarted at once.

A host that gets two hundred boots at once is a host that is down, so only so many guests are
started or stopped at a time, and only one of them is restarted. A change of a configuration needs
no such place: it is done at once, and how many calls are under way is the client's (`CHANGES` only
bounds the threads). Two rules keep one guest from holding up all others for its long timeouts:

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
from felhom_agent.planning.actions import Need

HANDOVER = 60.0
OVERRUN = 3
CHANGES = 8
"""How many guests' configurations are worked on at once: two are written, four are read, and some
wait for the disk or for their turn."""


@dataclass(frozen=True)
class Places:
    """The rules, for how many guests may be started or stopped at once; what runs is the
    scheduler's, and times are its clock.
    """

    power: int
    changes: int = CHANGES

    def is_free(self, need: Need, runs: Collection[Run], now: float) -> bool:
        """Given a need and what runs, return whether another guest with it may begin now."""
        limit, alike = self._of(need, runs)
        young = sum(now < run.began + HANDOVER for run in alike)
        return young < limit and len(alike) < OVERRUN * limit

    def next_free(self, need: Need, runs: Collection[Run], now: float) -> float:
        """Given a need and what runs, return when a place for it is given back by time alone;
        infinity if none is.
        """
        limit, alike = self._of(need, runs)
        if len(alike) >= OVERRUN * limit:
            return math.inf
        handovers = (run.began + HANDOVER for run in alike)
        return min((moment for moment in handovers if moment > now), default=math.inf)

    def _of(self, need: Need, runs: Collection[Run]) -> tuple[int, list[Run]]:
        """Return the limit for a need, and the runs that count towards it."""
        changes = need is Need.CHANGE
        alike = [run for run in runs if (run.need is Need.CHANGE) == changes]
        return (self.changes if changes else self.power), alike


def may_restart(runs: Iterable[Run]) -> bool:
    """Given what runs, return whether the place for restarts is free."""
    return not any(run.need is Need.RESTART for run in runs)
