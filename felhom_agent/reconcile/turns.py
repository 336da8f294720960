"""Who gets a turn: guests that differ, that have something in flight, or whose wait is over.

A pass comes to plans; whoever has one gets a turn on its lane, unless it has one already or is to
be left alone for now (see `agenda`). While changes are `forbidden` nobody gets a turn, and what
would be done is said instead.

Belongs to the main loop's thread; lanes only put how their turn ended into the loop's inbox, by way
of `report`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future

from felhom_agent.errors import FelhomError, Interrupted, QueueClosed
from felhom_agent.journal.operations import Operations
from felhom_agent.model import Blocked, Desired, DesiredGuest, GuestPlan, Outcome
from felhom_agent.reconcile import outcomes
from felhom_agent.reconcile.actions import describe
from felhom_agent.reconcile.agenda import Agenda
from felhom_agent.reconcile.engine import Engine

_log = logging.getLogger(__name__)

Report = Callable[[int, Outcome | None], None]
"""Hears, on any thread, of a guest whose turn ended, and how; None: it was interrupted."""


class Turns:
    """Gives turns; `number` is that of the pass, `reasons` are why nothing may be changed."""

    def __init__(
        self, engine: Engine, operations: Operations, longest: float, report: Report
    ) -> None:
        self._engine = engine
        self._operations = operations
        self._report = report
        self._agenda = Agenda(longest)
        self._running: set[int] = set()
        self.number = 0
        self.reasons: dict[str, str] = {}

    @property
    def forbidden(self) -> str:
        """Why nothing may be changed; empty if it may."""
        return "; ".join(self.reasons.values())

    @property
    def running(self) -> int:
        """How many turns have not ended."""
        return len(self._running)

    def next_retry(self) -> float:
        """Return when the next wait of a guest is over, by the caller's clock."""
        return self._agenda.next_retry()

    def consider(
        self, desired: Desired, plans: Mapping[int, GuestPlan], clock: Callable[[], float]
    ) -> None:
        """Given what is desired and planned, give a turn to each guest that needs one now."""
        for vmid, guest_plan in plans.items():
            if vmid not in self._running:
                self._consider(desired.guests[vmid], guest_plan, clock())

    def retry(self, now: float) -> None:
        """Give a turn to each guest whose wait is over."""
        for vmid in self._agenda.take_retries(now):
            self.give(vmid)

    def give(self, vmid: int) -> None:
        """Give a guest a turn, unless it has one."""
        if vmid in self._running or self.forbidden:
            return
        try:
            future = self._engine.look_at(vmid, self.number)
        except QueueClosed:
            return
        except RuntimeError as error:  # the system gives us no thread
            _log.error("guest %d: cannot be looked at now: %s", vmid, error)
            return
        self._running.add(vmid)
        future.add_done_callback(lambda f: self._report(vmid, _outcome_of(f)))

    def ended(self, vmid: int, outcome: Outcome | None, now: float) -> None:
        """Note how a turn ended."""
        self._running.discard(vmid)
        if outcome is not None:
            self._agenda.ended(vmid, outcome, now)

    def clear(self, longest: float) -> None:
        """Let every guest be due; from now on `longest` is the longest wait, in seconds."""
        self._agenda.longest = longest
        self._agenda.clear()

    def _consider(self, guest: DesiredGuest, guest_plan: GuestPlan, now: float) -> None:
        in_flight = self._operations.in_flight(guest.vmid)
        # What is in flight is settled by a turn, also where nothing else is left to do.
        if not guest_plan.actions and not in_flight:
            self._agenda.forget(guest.vmid)
            self._engine.note(guest.vmid, outcomes.of_plan(guest_plan))
            return
        if self.forbidden:
            would = [f"find out what became of {o.text}" for o in in_flight]
            would += [describe(action) for action in guest_plan.actions]
            self._engine.note(guest.vmid, Blocked(f"{self.forbidden}; would {', '.join(would)}"))
            return
        # Texts stand for the values: a declaration holds mappings, which have no hash.
        subject = (repr(guest), *map(str, guest_plan.actions))
        if self._agenda.is_due(guest.vmid, subject, now):
            self._agenda.begins(guest.vmid, subject)
            self.give(guest.vmid)


def _outcome_of(future: Future[Outcome]) -> Outcome | None:
    """Return how a turn ended; None if it was interrupted."""
    try:
        return future.result(timeout=0)
    except (Interrupted, QueueClosed, CancelledError):
        return None
    except FelhomError as error:
        _log.error("a turn was lost: %s", error)
        return None
