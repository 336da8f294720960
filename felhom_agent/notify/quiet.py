"""While a backup holds a guest, nobody is woken because of it.

A backup (vzdump) locks its guest for minutes or hours, every night. What the agent says of the
guest meanwhile, first of all that it is locked, is kept back until the lock is gone. What has been
settled by then was worth nobody's sleep, and is dropped; the rest is told.

The lock is gone once a pass that began after the guest was last said to be locked has not seen it.
Then its lane gets `GRACE` seconds to bring the guest in line. A lock that stays longer than
`MAX_QUIET` is no backup any more but one that a crash left behind: a person must act, and is told.

Pure: times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from felhom_agent.notify.notice import Notice

GRACE: Final = 30.0
MAX_QUIET: Final = 12 * 3600.0
MAX_KEPT: Final = 10
"""How many notices of one guest are kept; the oldest go first."""
LOCKED: Final = "locked (backup)"
"""How a plan calls the lock (`planning/withhold.py`)."""

_STATUSES: Final = frozenset(
    {"guest-blocked", "guest-retry", "guest-refused", "guest-differs", "guest-converged"}
)
_SETTLES: Final = {
    # What the agent says last of how a guest is counts, and nothing that it said before.
    **dict.fromkeys(_STATUSES, _STATUSES),
    "guest-resumed": frozenset({"guest-paused"}),
    "operation-settled": frozenset({"operation-in-flight"}),
}
HEARD: Final = frozenset(_SETTLES)
"""Events that are listened to although nobody is to be told of them: they settle others."""


@dataclass(frozen=True)
class Backups:
    """Which guests a backup held when a pass looked that began at `seen_at` (0: none did)."""

    seen_at: float = 0.0
    vmids: frozenset[int] = frozenset()


@dataclass
class _Kept:
    """What is kept of one guest: since when, when it was last known to be locked, since when it is
    known not to be (None: it is not).
    """

    since: float
    locked_at: float
    free_since: float | None = None
    notices: list[Notice] = field(default_factory=list)


class QuietGuests:
    """The notices that are kept back."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def take(self, notice: Notice, backups: Backups, now: float, *, wanted: bool) -> bool:
        """Given a notice, return whether it was kept back, or has settled what was; `wanted` tells
        whether somebody is to be told of it at all.
        """
        vmid = notice.vmid
        if vmid is None:
            return False
        says_locked = LOCKED in notice.text
        if not (says_locked or vmid in self._kept or vmid in backups.vmids):
            return False
        kept = self._kept.setdefault(vmid, _Kept(now, now))
        if says_locked:
            kept.locked_at, kept.free_since = now, None
        settled = _SETTLES.get(notice.event, frozenset())
        before = len(kept.notices)
        kept.notices = [each for each in kept.notices if each.event not in settled]
        ends = notice.event in _ENDS and len(kept.notices) < before
        if wanted and not ends:
            kept.notices = [*kept.notices, notice][-MAX_KEPT:]
        return True

    def released(self, backups: Backups, now: float) -> Iterator[Notice]:
        """Yield what is to be told now, and keep it no longer."""
        for vmid, kept in list(self._kept.items()):
            if self._is_over(vmid, kept, backups, now):
                del self._kept[vmid]
                yield from kept.notices

    @property
    def waits(self) -> bool:
        """Whether anything is kept back."""
        return bool(self._kept)

    @staticmethod
    def _is_over(vmid: int, kept: _Kept, backups: Backups, now: float) -> bool:
        if now - kept.since >= MAX_QUIET:
            return True
        if vmid in backups.vmids:
            kept.locked_at, kept.free_since = max(kept.locked_at, backups.seen_at), None
        elif kept.free_since is None and backups.seen_at > kept.locked_at:
            kept.free_since = now
        return kept.free_since is not None and now - kept.free_since >= GRACE


_ENDS: Final = frozenset({"guest-converged", "guest-resumed", "operation-settled"})
