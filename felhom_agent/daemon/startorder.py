"""When a guest may be started, if others are to be started, too: in PVE's own order.

Guests of a lower order go first: as long as one of them waits for its start or is being started,
none of a higher order begins. After one with `up` has been started, no other begins for that many
seconds. Guests of the same order are started together, as far as there are places.

A start that fails, or takes longer than `HANDOVER`, holds up nobody any more: one guest that does
not come up must not keep all others down.

Belongs to the main thread; times are the scheduler's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from felhom_agent.daemon.places import HANDOVER
from felhom_agent.daemon.record import GuestRecord, Run
from felhom_agent.planning.startup import StartRank


class StartOrder:
    """Remembers until when no guest is to be started, because one was a moment ago."""

    def __init__(self) -> None:
        self.rests_until = -math.inf

    def started(self, startup: StartRank | None, now: float) -> None:
        """Note that a guest has been started just now."""
        if startup is not None:
            self.rests_until = max(self.rests_until, now + startup.up)

    def may_start(
        self, startup: StartRank, records: Iterable[GuestRecord], runs: Iterable[Run], now: float
    ) -> bool:
        """Given a guest's place among those that start, all records and what runs, return whether
        it may be started now.
        """
        if now < self.rests_until:
            return False
        waiting = (r.startup.order for r in records if r.queued and r.startup)
        starting = (r.startup.order for r in runs if r.startup and now < r.began + HANDOVER)
        lowest = min(min(waiting, default=math.inf), min(starting, default=math.inf))
        return startup.order <= lowest
