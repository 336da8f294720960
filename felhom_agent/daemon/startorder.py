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
from collections.abc import Mapping

from felhom_agent.daemon.places import HANDOVER
from felhom_agent.daemon.record import GuestRecord, Run
from felhom_agent.planning.actions import Need
from felhom_agent.planning.startup import StartRank


class StartOrder:
    """Remembers until when no guest is to be started, because one was a moment ago."""

    def __init__(self) -> None:
        self.rests_until = -math.inf

    def started(self, startup: StartRank | None, now: float) -> None:
        """Note that a guest has been started just now."""
        if startup is not None:
            self.rests_until = max(self.rests_until, now + startup.up)

    def turn(
        self, records: Mapping[int, GuestRecord], runs: Mapping[int, Run], now: float
    ) -> float:
        """Given all records and what runs, by guest, return the highest order of which a guest may
        be started now; -infinity if none may.
        """
        if now < self.rests_until:
            return -math.inf
        # One of which a job runs may wait for long.
        waiting = (
            record.startup.order for vmid, record in records.items()
            if record.startup and _waits_for_start(record) and vmid not in runs
        )  # fmt: skip
        starting = (
            run.startup.order for run in runs.values()
            if run.startup and now < run.began + HANDOVER
        )  # fmt: skip
        return min((*waiting, *starting), default=math.inf)


def _waits_for_start(record: GuestRecord) -> bool:
    """Return whether a guest waits for nothing but its place to be started. One that turned out to
    need a restart may wait for long.
    """
    return record.queued and record.need is Need.POWER
