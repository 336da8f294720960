"""Reading the configurations of guests, side by side, for one snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from felhom_agent.errors import Interrupted, Unanswered, Unchanged
from felhom_agent.model import ActualGuest
from felhom_agent.proxmox.rows import Odd
from felhom_agent.service.flag import Signal


def unexpected(vmid: int, odd: Odd) -> Unanswered:
    """Return the error that an answer about a guest makes no sense."""
    return Unanswered(f"unexpected response from PVE for guest {vmid}: {odd}", status=200)


class Reading:
    """Reads configurations for one snapshot, and gives up once that makes no sense any more.

    A node that lets one question time out would let hundreds, one after the other; and an agent
    that is told to stop must not go on asking. What was given up is read at the next look.
    """

    def __init__(self, read: Callable[[ActualGuest], ActualGuest], shutting_down: Signal) -> None:
        self._read = read
        self._shutting_down = shutting_down
        self._hopeless = threading.Event()

    @property
    def timed_out(self) -> bool:
        """Whether the node did not answer in time."""
        return self._hopeless.is_set()

    def __call__(self, guest: ActualGuest) -> ActualGuest:
        """Given a guest, return it with its configuration, or `unread` if that cannot be had."""
        if self._hopeless.is_set():
            return replace(guest, unread="not read: the node did not answer in time")
        if self._shutting_down.is_set():
            return guest
        try:
            return self._read(guest)
        except Unchanged as error:
            if error.timed_out:
                self._hopeless.set()
            return replace(guest, unread=error.text)
        except Interrupted:
            return guest
