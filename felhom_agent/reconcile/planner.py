"""Plans of guests, with the memory of who they are.

`plan` itself is pure (`planning.plan`); this brings together what it is a function of: the
identities that the journal remembers, and what the node's task list said when the latest pass
read it. A guest is remembered before the first act on it, and again when the agent itself changed
what it is known by.

A guest that is as declared, and that has not changed since in anything that its plan depends on,
is not planned again. Only such a plan is kept: it depends on no other guest, while one that
changes a volume asks who holds it.

Threads: `history` is replaced as a whole by the main thread and read as a whole by lanes;
`Identities` has a lock of its own; `plans`, and what is kept for it, belong to the main thread.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace

from felhom_agent.journal.identities import Identities
from felhom_agent.model import (
    NOBODY,
    UNREADABLE,
    Action,
    Actual,
    ActualGuest,
    Desired,
    DesiredGuest,
    Facts,
    GuestPlan,
    Known,
    Mode,
    SetConfig,
    Stop,
)
from felhom_agent.planning.identity import is_witness, known_now
from felhom_agent.planning.plan import plan, plan_guest


@dataclass(frozen=True)
class _Settled:
    """The plan of a guest that is as declared, and all that it depends on."""

    declared: DesiredGuest
    actual: ActualGuest
    facts: Facts
    known: Known
    born: int | None
    plan: GuestPlan


class Planner:
    """Plans one guest or all."""

    def __init__(
        self,
        identities: Identities,
        open_restarts: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        """`open_restarts` returns the guests that we have shut down for a restart."""
        self._identities = identities
        self._open_restarts = open_restarts
        self._settled: dict[int, _Settled] = {}
        self.history = UNREADABLE

    def plans(self, desired: Desired, actual: Actual) -> dict[int, GuestPlan]:
        """Given what is desired and a snapshot, return the plans of all declared guests."""
        known = self._identities.all()
        settled = {v: s for v, s in self._settled.items() if v in desired.guests}
        kept = {
            vmid: before.plan
            for vmid, before in settled.items()
            if before == self._basis(desired.guests[vmid], actual, known, before.plan)
        }
        rest = {v: guest for v, guest in desired.guests.items() if v not in kept}
        plans = plan(
            replace(desired, guests=rest), actual, known, self.history, self._open_restarts()
        )
        for vmid, guest in rest.items():
            found = self._basis(guest, actual, known, plans[vmid])
            if found is None or plans[vmid].drifted:
                self._settled.pop(vmid, None)
            else:
                self._settled[vmid] = found
        return dict(sorted((kept | plans).items()))

    def forget_others(self, vmids: Container[int]) -> None:
        """Given the guests that are declared, keep nothing of others."""
        self._settled = {v: kept for v, kept in self._settled.items() if v in vmids}

    def plans_of(self, declared: Mapping[int, DesiredGuest], part: Actual) -> dict[int, GuestPlan]:
        """Given some declarations and a snapshot that holds their guests, return their plans."""
        return self.plans(Desired(declared), part)

    def _basis(
        self,
        declared: DesiredGuest,
        actual: Actual,
        known: Mapping[int, Known],
        found: GuestPlan,
    ) -> _Settled | None:
        """Return what a plan depends on, with the plan; None if the guest is not there."""
        vmid = declared.vmid
        guest = actual.guests.get(vmid)
        if guest is None:
            return None
        born = self.history.born(vmid)
        return _Settled(declared, guest, actual.facts, known.get(vmid, NOBODY), born, found)

    def has_unknown(self, vmids: Iterable[int]) -> bool:
        """Given vmids, return whether any of their guests was never remembered."""
        known = self._identities.all()
        return any(vmid not in known or known[vmid].born is None for vmid in vmids)

    def plan(self, declared: DesiredGuest, actual: Actual) -> GuestPlan:
        """Given a declaration and a snapshot that holds its guest, return its plan.

        Raise JournalError if the guest is to be acted on and cannot be remembered.
        """
        ends_restart = declared.vmid in self._open_restarts()
        return self._plan(declared, actual, ends_restart=ends_restart)

    def _plan(self, declared: DesiredGuest, actual: Actual, *, ends_restart: bool) -> GuestPlan:
        known = self._identities.of(declared.vmid)
        found = plan_guest(declared, actual, known, self.history, ends_restart=ends_restart)
        if found.actions:
            self.remember([declared.vmid], actual)
        return found

    def plan_after(self, declared: DesiredGuest, actual: Actual, action: Action) -> GuestPlan:
        """Given a declaration and a snapshot taken after an action on its guest, return its plan.

        Raise JournalError if the action changed what the guest is known by and that cannot be kept.
        """
        if isinstance(action, SetConfig) and any(is_witness(c.key) for c in action.changes):
            self.remember([declared.vmid], actual)
        if isinstance(action, Stop) and action.restart:
            # It is confirmed, and an open restart, by this very plan.
            return self._plan(declared, actual, ends_restart=True)
        return self.plan(declared, actual)

    def remember_planned(
        self, desired: Desired, actual: Actual, plans: dict[int, GuestPlan]
    ) -> None:
        """Given a pass's plans, remember every guest that is looked after.

        Raise JournalError if that cannot be kept.
        """
        enforced = [
            vmid
            for vmid, found in plans.items()
            if vmid in desired.guests
            and not (found.withheld or found.unread)
            and desired.guests[vmid].mode is Mode.ENFORCE
        ]
        self.remember(enforced, actual)

    def forget_gone(self, desired: Desired, actual: Actual, is_gone: Callable[[int], bool]) -> None:
        """Given a pass's snapshot and a closer look at one guest, note which of the guests that
        were known are gone. Raise JournalError if that cannot be kept.
        """
        here = actual.guests.keys() | actual.elsewhere.keys() | actual.hidden
        known = self._identities.all()
        missing = [v for v in desired.guests.keys() - here if v in known and not known[v].gone]
        self._identities.seen_gone([vmid for vmid in missing if is_gone(vmid)])

    def remember(self, vmids: Iterable[int], actual: Actual) -> None:
        """Given vmids and a snapshot, keep who their guests are. Raise JournalError if it cannot
        be kept.
        """
        guests = [actual.guests[vmid] for vmid in vmids if vmid in actual.guests]
        found = {guest.vmid: known_now(guest, self.history) for guest in guests}
        if not self.history.readable:
            # What the list said before is still true; that it says nothing now is no news.
            before = {vmid: self._identities.of(vmid).born for vmid in found}
            found = {vmid: replace(known, born=before[vmid]) for vmid, known in found.items()}
        self._identities.remember(found)
