"""What must be looked at, and when: by what the host tells, and by the clock.

While the host tells of every write, start and stop (`proxmox/hints.py`), a pass need not ask for
what it knows:

* a guest that was written to is looked at `WRITTEN` seconds after the last write, one that was
  started or stopped `settle` seconds after the last event of either sort: a person who stops,
  changes and starts a guest is not disturbed. Until then nothing is done to it. What happens while
  our own lane is at work on the guest is ours, and costs one look;
* every `SWEEP` seconds the listings are read, and in each `HOURLY` seconds every configuration,
  spread evenly. Drift that only these find was missed by the hints; it is counted, and said;
* whatever the hints lost (pmxcfs began anew, too many events) has all guests read again; what was
  heard shortly before still settles.

Where the host tells nothing, or not all, each pass reads everything, and nothing here counts.

Belongs to the main thread.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum
from typing import Final, Protocol

from felhom_agent.model import ActualGuest
from felhom_agent.proxmox.hints import Heard
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import HINTS, HINTS_MISSED
from felhom_agent.service.logging import fields
from felhom_agent.service.names import Names

_log = logging.getLogger(__name__)

SWEEP: Final = 300.0
"""Seconds between two readings of the listings."""
HOURLY: Final = 3600.0
"""Seconds within which each guest's configuration is read once."""
WRITTEN: Final = 5.0
"""Seconds without another write after which a changed configuration is looked at."""
BUSY: Final = 5.0
"""Seconds after which a guest is looked at again that has a task running, or could not be seen."""
LATE: Final = 5.0
"""Seconds by which a hint may come later than a sweep that saw the same."""


class Look(IntEnum):
    """How much of the node a pass reads; each has what the ones before have."""

    KNOWN = 1
    """Nothing: what is known is compared with what is declared now."""
    LISTED = 2
    """The listings, and the configurations that may be others by now."""
    ALL = 3
    """Everything."""


class Host(Protocol):
    """Who tells of this host (see `proxmox.hints.Hints`)."""

    def look(self) -> Heard:
        """Return what was told since the look before; never blocks, raises nothing."""
        ...

    def close(self) -> None:
        """Listen no more."""
        ...


class Eyes:
    """Decides what is looked at; `clock` tells monotonic seconds, `settle` returns for how many of
    them a started or stopped guest is left alone.
    """

    def __init__(
        self,
        host: Host | None,
        clock: Callable[[], float],
        settle: Callable[[], float],
        names: Names,
        ours: Callable[[int], bool] = lambda _: False,
        counters: Counters | None = None,
    ) -> None:
        """`ours` tells whether our own lane is at work on a guest, or was a moment ago; `counters`
        count what is heard.
        """
        self._counters = counters or Counters()
        self._host = host
        self._clock = clock
        self._settle = settle
        self._names = names
        self._quiet: dict[int, float] = {}
        self._power: set[int] = set()
        self._suspects: dict[int, tuple[float, str]] = {}
        self._ours = ours
        self._reads: dict[int, float] = {}
        self._unread = "the agent begins"
        self._next_sweep = -math.inf
        self.working = False
        self.missed = 0

    @property
    def listens(self) -> bool:
        """Whether there is anybody to listen to."""
        return self._host is not None

    def listen(self) -> bool:
        """Hear what the host has told; return whether there is something to do at once."""
        if self._host is None:
            return False
        heard, now, before = self._host.look(), self._clock(), self.working
        self.working = heard.working
        if before and not heard.working:
            self._unread = "what the host told was lost"
        if heard.everything:
            self._unread = heard.everything
        if heard.written:
            self._counters.add(HINTS, "config", by=len(heard.written))
        if heard.power:
            self._counters.add(HINTS, "power", by=len(heard.power))
        for vmid in heard.written | heard.power:
            self._suspects.pop(vmid, None)
            if self._ours(vmid):
                self._quiet.setdefault(vmid, now)
                continue
            if vmid in heard.power:
                self._power.add(vmid)
            # Who changes a guest that was just stopped is not done with it.
            self._leave(vmid, now + (self._settle() if vmid in self._power else WRITTEN))
        self._count_missed(now)
        return before != heard.working or (heard.working and bool(heard.everything))

    def how(self, wanted: Look) -> Look:
        """Given how much whoever asks for a pass wants read, return how much is read."""
        if not self.working or self._unread:
            return Look.ALL
        return max(wanted, Look.LISTED if self._clock() >= self._next_sweep else Look.KNOWN)

    def quiet_until(self, vmid: int) -> float:
        """Given a guest, return until when, by the clock, it is left alone; the past: it is not."""
        return self._quiet.get(vmid, -math.inf) if self.working else -math.inf

    def is_known(self, vmid: int) -> bool:
        """Return whether nothing was heard of a guest since it was looked at."""
        return vmid not in self._quiet

    def want(self, vmids: Iterable[int]) -> None:
        """Given guests that we have done something to, look at them."""
        now = self._clock()
        for vmid in vmids:
            self._quiet.setdefault(vmid, now)

    def due(self, declared: Collection[int]) -> list[int]:
        """Given the guests that are declared, return those of them that are to be looked at now,
        and forget what was heard of others.
        """
        now = self._clock()
        over = [vmid for vmid, until in self._quiet.items() if until <= now]
        for vmid in over:
            if vmid not in declared:
                self._forget(vmid)
        return sorted(vmid for vmid in over if vmid in declared) if self._may_look else []

    def next_due(self) -> float:
        """Return when a guest is to be looked at next, by the clock; infinity if none is."""
        return min(self._quiet.values(), default=math.inf) if self._may_look else math.inf

    @property
    def _may_look(self) -> bool:
        """Whether single guests are looked at: else the next pass reads all of them."""
        return self.working and not self._unread

    def sweep(self) -> None:
        """Let the next pass read the listings, and whoever was heard of."""
        self._next_sweep = -math.inf

    def changed_power(self, vmid: int) -> bool:
        """Return whether a guest was started or stopped since it was looked at."""
        return vmid in self._power

    def put_off(self, vmid: int) -> None:
        """Leave a guest alone a little longer: it has a task running, or could not be looked at."""
        self._quiet[vmid] = self._clock() + BUSY

    def looked(self, vmid: int) -> None:
        """Note that a guest was looked at, by itself."""
        self._forget(vmid)
        self._reads[vmid] = self._clock() + HOURLY

    def read(self, vmid: int) -> None:
        """Note that a guest's configuration was read by the hour."""
        self._reads[vmid] = self._clock() + HOURLY

    def swept(self, look: Look, read: Collection[int], declared: Collection[int]) -> None:
        """Given how much a pass has read, and whose configurations, note it."""
        now = self._clock()
        if look is Look.KNOWN:
            return
        self._next_sweep = now + SWEEP
        self._reads = {v: at for v, at in self._reads.items() if v in declared}
        for vmid in [v for v in read if self._quiet.get(v, math.inf) <= now]:
            self._forget(vmid)
        if look is Look.ALL:
            self._unread = ""
            # From here on evenly, in the order of their numbers.
            share = HOURLY / max(1, len(declared))
            self._reads = {v: now + share * (n + 1) for n, v in enumerate(sorted(declared))}
            return
        for vmid in read:
            self._reads[vmid] = now + HOURLY

    def to_read(self) -> list[int]:
        """Return the guests whose configuration is due by the hour."""
        now = self._clock()
        return sorted(v for v, at in self._reads.items() if at <= now)

    def compare(self, before: Mapping[int, ActualGuest], now: Mapping[int, ActualGuest]) -> None:
        """Given what was known of guests, and what a pass or the hourly reading found, let what no
        hint had told settle as if one had. It was missed, unless all was read since hints were
        lost, or one comes yet.
        """
        if not self.working:
            return
        moment = self._clock()
        for vmid in before.keys() & now.keys() - self._quiet.keys():
            old, new = before[vmid], now[vmid]
            power = old.state != new.state and None not in (old.state, new.state)
            written = old.digest != new.digest and bool(old.digest and new.digest)
            if not (power or written):
                continue
            if not self._unread:
                what = "started or stopped" if power else "written to"
                self._suspects[vmid] = (moment + LATE, what)
            if power:
                self._power.add(vmid)
            self._leave(vmid, moment + (self._settle() if power else WRITTEN))

    def _count_missed(self, now: float) -> None:
        """Count, and say, what was seen and no hint has told by now."""
        for vmid in [v for v, (until, _) in self._suspects.items() if until <= now]:
            _, what = self._suspects.pop(vmid)
            self.missed += 1
            self._counters.add(HINTS_MISSED)
            text = "%s: was %s, and no hint of the host has told; found by looking (%d by now)"
            extra = fields(vmid=vmid, hints_missed=self.missed)
            _log.warning(text, self._names.guest(vmid), what, self.missed, extra=extra)

    def _leave(self, vmid: int, until: float) -> None:
        self._quiet[vmid] = max(until, self._quiet.get(vmid, until))

    def _forget(self, vmid: int) -> None:
        self._quiet.pop(vmid, None)
        self._power.discard(vmid)
