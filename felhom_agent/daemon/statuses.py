"""The status of each guest: kept in its record, logged when it is news, published as a snapshot.

Belongs to the main thread; `published` is replaced as a whole and may be read from any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from felhom_agent.daemon.record import GuestRecord
from felhom_agent.model import Converged, GuestStatus, Outcome, Retry
from felhom_agent.service.events import (
    GUEST_BLOCKED,
    GUEST_CONVERGED,
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


class Statuses:
    """Notes outcomes; `now` tells the seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._changed = False
        self.published: Mapping[int, GuestStatus] = MappingProxyType({})

    def note(self, record: GuestRecord, outcome: Outcome) -> None:
        """Given a guest's record and outcome, keep it, and log it if it is news."""
        before = record.status.outcome if record.status else None
        news = _is_news(before, outcome)
        if record.status is None or news or type(before) is not type(outcome):
            record.status = GuestStatus(outcome, self._now())
        else:
            record.status = GuestStatus(outcome, record.status.since)
        self._changed = True
        if news:
            level = logging.INFO if isinstance(outcome, Converged) else logging.WARNING
            name = type(outcome).__name__.lower()
            extra = fields(_EVENTS[name], vmid=record.vmid, outcome=name)
            _log.log(level, "guest %d: %s", record.vmid, outcome, extra=extra)

    def forget(self) -> None:
        """Hear that a record was forgotten."""
        self._changed = True

    def publish(self, records: Mapping[int, GuestRecord]) -> None:
        """Given all records, let other threads see their statuses as they are now."""
        if self._changed:
            self._changed = False
            self.published = MappingProxyType(
                {vmid: r.status for vmid, r in records.items() if r.status and r.declared}
            )


def _is_news(before: Outcome | None, now: Outcome) -> bool:
    if isinstance(now, Converged):
        return before is not None and not isinstance(before, Converged)
    if isinstance(before, Retry) and isinstance(now, Retry):
        return before.why != now.why
    return before != now
