"""What is known of the node: the latest snapshot, kept up to date by looks at single guests.

A pass asks for the node as it is (`of`); how much of that is read anew, `Eyes` decides. Between two
passes, guests are looked at that the host has told of and that have settled, and the configurations
are read whose hour has come (`look_at_due`).

What we have done something to since it was seen is outdated: it is never compared with what is
declared before it was looked at again.

Belongs to the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from felhom_agent.daemon.eyes import Eyes, Look
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.errors import Interrupted, Unchanged
from felhom_agent.model import Actual, ActualGuest, Desired
from felhom_agent.proxmox.births import busy_guests
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.observer import READERS

_log = logging.getLogger(__name__)

CALM_READERS: Final = 2
"""How many configurations are read side by side where the host tells of what is urgent."""
MANY: Final = 16
"""How many guests are looked at one after the other; more of them by a sweep."""


class Sight:
    """What is known of a node; `clock` tells monotonic seconds. `look` is how much of what the
    present pass compares was read by it.
    """

    def __init__(
        self, node: Node, eyes: Eyes, scheduler: Scheduler, clock: Callable[[], float]
    ) -> None:
        self._node = node
        self._eyes = eyes
        self._scheduler = scheduler
        self._clock = clock
        # On this thread, so that a stop need not wait for an answer.
        self._asking = node.client.abandoned_by(node.shutting_down)
        self._actual: Actual | None = None
        self._seen_at: dict[int, float] = {}
        self._covered: frozenset[int] = frozenset()
        self.look = Look.ALL

    def begin(self, wanted: Look) -> None:
        """Given how much is wanted read, begin a pass."""
        self.look = self._eyes.how(wanted)

    def of(self, desired: Desired, begun: float, arrived: Callable[[Actual], None]) -> Actual:
        """Given what is desired, and when the pass began, return the node as it is now, as far as
        that is read. `arrived` is called with parts as they are read. Raise as `Observer.snapshot`.
        """
        before, vmids = self._actual, desired.guests.keys()
        if before is None:
            self.look = Look.ALL
        elif self.look is Look.KNOWN and not vmids <= self._covered:
            self.look = Look.LISTED
        if before is not None and self.look is Look.KNOWN:
            return before
        listed = before is not None and self.look is Look.LISTED
        known = self._still_known(before, desired) if before and listed else {}
        actual = self._node.observer.snapshot(
            vmids, desired.raw, arrived, known, CALM_READERS if self._eyes.working else READERS
        )
        if before is not None:
            # What we have done something to is no news.
            seen = {v: g for v, g in before.guests.items() if not self._is_outdated(v)}
            self._eyes.compare(seen, actual.guests)
        self._seen_at = dict.fromkeys(actual.guests, begun)
        self._covered = frozenset(vmids)
        read = {v for v in vmids if v in actual.guests} - known.keys()
        self._eyes.swept(self.look, read, vmids)
        self._actual = actual
        return actual

    def seen_at(self, vmid: int, begun: float) -> float:
        """Given a guest, and when the pass began, return when the guest was seen as it is known."""
        return self._seen_at.get(vmid, begun) if self.look is Look.KNOWN else begun

    def is_past(self, vmid: int) -> bool:
        """Return whether what the pass knows of a guest is of before we did something to it."""
        return self.look is Look.KNOWN and self._is_outdated(vmid)

    def look_at_due(self, declared: frozenset[int]) -> bool:
        """Given the guests that are declared, look at those that the host has told of and that have
        settled, and read those whose hour has come; return whether anything is news, so that a
        pass makes sense.
        """
        before = self._actual
        if before is None or not self._eyes.working:
            return False
        self._eyes.want(vmid for vmid in self._seen_at if self._is_outdated(vmid))
        # What could not be read is asked for again at each turn.
        self._eyes.want(v for v, guest in before.guests.items() if guest.unread)
        try:
            news = self._look_at_all(self._eyes.due(declared))
            return self._read_by_the_hour() or news
        except Interrupted:
            return False
        except Unchanged as error:
            _log.debug("guests cannot be looked at: %s; it is tried again", error)
            return False

    def _still_known(self, before: Actual, desired: Desired) -> dict[int, ActualGuest]:
        """Return the guests whose configuration is surely as it was seen."""
        return {
            vmid: guest
            for vmid, guest in before.guests.items()
            if vmid in desired.guests
            and guest.config is not None
            and self._eyes.is_known(vmid)
            and not self._is_outdated(vmid)
        }

    def _is_outdated(self, vmid: int) -> bool:
        """Return whether we have done something to a guest since it was seen."""
        seen = self._seen_at.get(vmid)
        return seen is not None and self._scheduler.acted(vmid) >= seen

    def _look_at_all(self, due: list[int]) -> bool:
        """Look at guests, unless we, or PVE, are at work on them; return whether anything is news.
        Where there are many, the next pass does it, which reads side by side. Raise Unchanged if
        PVE cannot be asked; then none of them is due for a while.
        """
        if not due:
            return False
        try:
            power = any(map(self._eyes.changed_power, due))
            busy = busy_guests(self._asking) if power else frozenset()
            ready = []
            for vmid in due:
                if vmid in busy or self._scheduler.runs(vmid):
                    self._eyes.put_off(vmid)
                else:
                    ready.append(vmid)
            if len(ready) > MANY:
                self._eyes.sweep()
                return True
            for vmid in ready:
                self._look_at(vmid)
        except Unchanged:
            for vmid in due:
                self._eyes.put_off(vmid)
            raise
        return bool(ready)

    def _look_at(self, vmid: int) -> None:
        begun = self._clock()
        found = self._node.observer.look_at(vmid)
        self._eyes.looked(vmid)
        self._seen_at[vmid] = begun
        self._actual = _merged(self._actual or found, vmid, found)

    def _read_by_the_hour(self) -> bool:
        """Read the configurations whose turn it is; return whether one was another than was known.
        Raise Unchanged if PVE cannot be asked.
        """
        whole, news = self._actual, False
        for vmid in self._eyes.to_read():
            guest = whole.guests.get(vmid) if whole else None
            self._eyes.read(vmid)
            if whole is None or guest is None or guest.config is None:
                continue
            found = self._node.observer.read_again(guest)
            if found == guest:
                continue
            if not self._is_outdated(vmid) and self._eyes.is_known(vmid):
                self._eyes.compare({vmid: guest}, {vmid: found})
                news |= found.digest != guest.digest
            whole = self._actual = replace(whole, guests={**whole.guests, vmid: found})
        return news


def _merged(whole: Actual, vmid: int, found: Actual) -> Actual:
    """Given a snapshot, and a later one of one guest, return the first with what the second says
    of that guest.
    """
    guests = {v: guest for v, guest in whole.guests.items() if v != vmid}
    elsewhere = {v: node for v, node in whole.elsewhere.items() if v != vmid}
    if vmid in found.guests:
        guests[vmid] = found.guests[vmid]
    if vmid in found.elsewhere:
        elsewhere[vmid] = found.elsewhere[vmid]
    hidden = (whole.hidden - {vmid}) | (found.hidden & {vmid})
    return replace(whole, guests=guests, elsewhere=elsewhere, hidden=hidden)
