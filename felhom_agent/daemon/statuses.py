"""The status of each guest, which its record keeps: logged when it is news, and as a snapshot."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from types import MappingProxyType

from felhom_agent.daemon.record import GuestRecord
from felhom_agent.model import Blocked, Converged, GuestStatus, Outcome, outcome_word
from felhom_agent.service.events import (
    GUEST_BLOCKED,
    GUEST_CONVERGED,
    GUEST_DIFFERS,
    GUEST_REFUSED,
    GUEST_RETRY,
)
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_EVENTS = {
    "converged": GUEST_CONVERGED,
    "retry": GUEST_RETRY,
    "blocked": GUEST_BLOCKED,
    "refused": GUEST_REFUSED,
}


def announce(guest: str, vmid: int, outcome: Outcome) -> None:
    """Given what a guest is called, its number and an outcome that is news, log it."""
    observed = isinstance(outcome, Blocked) and outcome.observed
    # That somebody wanted a guest to be observed only is nothing to be warned of.
    quiet = observed or isinstance(outcome, Converged)
    name = outcome_word(outcome)
    event = GUEST_DIFFERS if observed else _EVENTS[name]
    words = f"{outcome} again" if isinstance(outcome, Converged) else str(outcome)
    extra = fields(event, vmid=vmid, outcome=name, upid=getattr(outcome, "upid", ""))
    _log.log(logging.INFO if quiet else logging.WARNING, "%s: %s", guest, words, extra=extra)


def next_tries(records: Mapping[int, GuestRecord], since_epoch: float) -> Mapping[int, float]:
    """Given all records, and what makes seconds since the epoch of the scheduler's clock, return
    when each declared guest is tried again that waits for that, for other threads to read.
    """
    return MappingProxyType(
        {
            vmid: since_epoch + r.not_before
            for vmid, r in records.items()
            if r.declared and math.isfinite(r.not_before)
        }
    )


def snapshot(records: Mapping[int, GuestRecord]) -> Mapping[int, GuestStatus]:
    """Given all records, return the statuses of the declared guests, for other threads to read."""
    return MappingProxyType(
        {vmid: r.status for vmid, r in records.items() if r.status and r.declared}
    )
