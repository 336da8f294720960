"""All that is known of one guest between two passes.

One record per declared guest, owned by the scheduler and used on the main thread alone. It is
forgotten as a whole once its guest is no longer declared and nothing of it runs; a changed
declaration resets the failures, the time before which it is not tried and "a restart was in vain",
and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from felhom_agent.model import (
    Action,
    Converged,
    DesiredGuest,
    GuestStatus,
    Outcome,
    Retry,
    SetConfig,
)
from felhom_agent.planning.actions import Need
from felhom_agent.planning.startup import StartRank

if TYPE_CHECKING:
    from felhom_agent.reconcile.reconciliation import Seen


@dataclass(frozen=True)
class Run:
    """What runs on a guest's lane: since when, what its place allows, how the guest was declared
    when it began, and its place among those that start, if it is to be started.
    """

    began: float
    need: Need
    declared: DesiredGuest | None = None
    startup: StartRank | None = None


@dataclass
class GuestRecord:
    """One guest; times are the scheduler's clock, in seconds.

    `declared` is None once the guest is no longer declared. `not_before` is when it may be tried
    again, infinity if only a change can help. `attempted` is what was last tried, so that a
    different plan is tried at once. `queued_at` is since when it waits for a place (None: it does
    not), `need` what that place must allow; `startup` is its place among those that start, if it is
    to be started. `seen` is what the latest pass saw of it. `acted` is when its lane last ended,
    `end` which one that was of all ends.
    """

    vmid: int
    declared: DesiredGuest | None = None
    status: GuestStatus | None = None
    not_before: float = -math.inf
    failures: int = 0
    restart_in_vain: bool = False
    attempted: tuple[Action, ...] = ()
    queued_at: float | None = None
    need: Need = Need.POWER
    startup: StartRank | None = None
    seen: Seen | None = None
    acted: float = -math.inf
    end: int = 0

    @property
    def queued(self) -> bool:
        """Whether it waits for a place."""
        return self.queued_at is not None

    def declare(self, declared: DesiredGuest | None) -> None:
        """Take another declaration; what failed under the one before counts no more."""
        self.reset()
        self.failures = 0
        self.restart_in_vain = False
        self.declared = declared

    def reset(self) -> None:
        """Let the guest be tried at once."""
        self.not_before = -math.inf
        self.attempted = ()

    def settle(self) -> None:
        """Forget what failed: the guest is as declared."""
        self.reset()
        self.failures = 0
        self.restart_in_vain = False
        self.need = Need.POWER
        self.startup = None

    def wait(self, until: float) -> None:
        """Leave the guest alone until then."""
        self.not_before = until

    def is_due(self, actions: tuple[Action, ...], now: float) -> bool:
        """Given what would be done, return whether it shall be tried now."""
        if self.not_before == math.inf:
            return not self.is_refused(actions)
        return now >= self.not_before or actions != self.attempted

    def is_refused(self, actions: tuple[Action, ...]) -> bool:
        """Given what would be done, return whether it was refused, and is not tried again.

        PVE judges a change by the guest's file, too: once that is another one, nothing is known.
        """
        same = actions == self.attempted and _digests(actions) == _digests(self.attempted)
        return self.not_before == math.inf and same

    def note(self, outcome: Outcome, now: float) -> bool:
        """Given an outcome and the time in seconds since the epoch, keep it; return whether it is
        news.
        """
        before = self.status.outcome if self.status else None
        news = _is_news(before, outcome)
        same = None if news else self.status
        self.status = GuestStatus(outcome, same.since if same else now)
        return news


def _digests(actions: tuple[Action, ...]) -> list[str]:
    """Return on which versions of the guest's file changes were planned."""
    return [action.digest for action in actions if isinstance(action, SetConfig)]


def _is_news(before: Outcome | None, now: Outcome) -> bool:
    if isinstance(now, Converged):
        return before is not None and not isinstance(before, Converged)
    if isinstance(before, Retry) and isinstance(now, Retry):
        return before.why != now.why
    return before != now
