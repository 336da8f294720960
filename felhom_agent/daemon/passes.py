"""One pass over the whole node after the other: what is desired, what is there, what differs.

A pass that fails is trouble that is said once (`health`), and another pass comes. The node's task
list is read where it can matter: for guests that are not known yet, and for those that differ.

Where there are many guests, what only a configuration write mends is begun while others are still
read. What is to be started waits for the end of the pass, since only then their order is known; so
does a change of a volume, since another guest may hold it.

A guest whose lane ran during a pass is left to the next one: what was seen of it may be older than
what was done.

Belongs to the main thread; `latest` is replaced as a whole and may be read from any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from felhom_agent.daemon.eyes import Look
from felhom_agent.daemon.health import Health
from felhom_agent.daemon.history import HistoryReader
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.daemon.sight import Sight
from felhom_agent.desired.fingerprint import is_of
from felhom_agent.errors import Interrupted, JournalError
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.model import Actual, ActualGuest, Desired, GuestPlan, RunState, SetConfig
from felhom_agent.planning.volumes import changes_volume
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.brake import Brake
from felhom_agent.reconcile.bulk import BulkTasks
from felhom_agent.reconcile.planner import Planner
from felhom_agent.reconcile.quorum import Quorum
from felhom_agent.reconcile.reconciliation import Seen
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import PASS, PASS_SECONDS
from felhom_agent.service.logging import within
from felhom_agent.service.names import Names


@dataclass(frozen=True)
class Pass:
    """One pass: when it began (seconds since the epoch; 0: none did), how many seconds it took,
    whether the node could be observed, and who was declared. `settles_in` are the seconds after
    which it makes sense to look at the guest files again, which are being written; 0: they are not.
    `plans` are those of the latest pass that could observe the node, and `here` are the guests that
    it saw there, declared or not (None: no pass had to look yet). `desired` is what was last read,
    with the problems of the files; `trouble` why the pass failed, or what troubles the node;
    `succeeded` when the last one that went well ended (seconds since the epoch; 0: none did).
    """

    begun: float = 0.0
    seconds: float = 0.0
    good: bool = False
    declared: frozenset[int] = frozenset()
    settles_in: float = 0.0
    plans: Mapping[int, GuestPlan] = field(default_factory=lambda: MappingProxyType({}))
    here: Mapping[int, ActualGuest] | None = None
    desired: Desired = field(default_factory=Desired)
    trouble: str = ""
    succeeded: float = 0.0


class Passes:
    """Observes a node; `clock` tells monotonic seconds, `now` those since the epoch."""

    def __init__(
        self,
        node: Node,
        operations: Operations,
        planner: Planner,
        quorum: Quorum,
        bulk: BulkTasks,
        brake: Brake,
        scheduler: Scheduler,
        health: Health,
        clock: Callable[[], float],
        now: Callable[[], float],
        names: Names,
        suspensions: Suspensions,
        sight: Sight,
        between: Callable[[], None] = lambda: None,
        counters: Counters | None = None,
    ) -> None:
        """`names` hear what guests are called; `suspensions` are the pauses, of which some end with
        another declaration; `sight` is what is known of the node; `between` is called now and then
        while guests are read, to take in lanes that ended; `counters` count the passes.
        """
        self._counters = counters or Counters()
        self._names = names
        self._suspensions = suspensions
        self._sight = sight
        self._node = node
        self._operations = operations
        self._planner = planner
        self._quorum = quorum
        self._bulk = bulk
        self._brake = brake
        self._scheduler = scheduler
        self._health = health
        self._clock = clock
        self._now = now
        self._between = between
        self._history = HistoryReader(node.client.abandoned_by(node.shutting_down))
        self._history_read = False
        self._declared: frozenset[int] = frozenset()
        self._settles_in = 0.0
        self._plans: Mapping[int, GuestPlan] = MappingProxyType({})
        self._here: Mapping[int, ActualGuest] | None = None
        self._desired = Desired()
        self._compared: tuple[Desired, Actual, int] | None = None
        self.latest = Pass()
        self.failure: Exception | None = None
        """What the latest pass failed of."""

    def run(self, load: Callable[[], Desired], *, remember: bool, look: Look = Look.ALL) -> bool:
        """Given how to load what is desired, observe, and enqueue each guest that needs it.

        `remember` tells whether new identities can be written down, `look` how much is read where
        the host tells of all that happens. Return whether the pass did what it had to do.
        """
        self.failure = None
        self._sight.begin(look)
        self._scheduler.number += 1
        begun, since = self._now(), self._clock()
        with within(**{"pass": self._scheduler.number}):
            good = self._try(load, since, remember=remember)
        seconds = self._clock() - since
        self.latest = Pass(
            begun, seconds, good, self._declared, self._settles_in, self._plans, self._here,
            self._desired, self._health.trouble, self._now() if good else self.latest.succeeded,
        )  # fmt: skip
        self._counters.add(PASS, "good" if good else "failed")
        self._counters.observe(PASS_SECONDS, seconds)
        return good

    def _try(self, load: Callable[[], Desired], begun: float, *, remember: bool) -> bool:
        try:
            desired = load()
            self._declared = frozenset(desired.guests.keys() | desired.held.keys())
            self._settles_in = desired.settles_in
            self._desired = desired
            self._end_pauses(desired)
            self._scheduler.declare(desired)
            self._brake.declare(desired.guests, self._planner.others or ())
            self._planner.forget_others(desired.guests.keys())
            self._scheduler.settle_first(self._busy() - self._declared)
            self._quorum.look_again()
            if self._declared:
                self._compare(desired, remember=remember)
            else:
                self._bulk.look_again(())
                self._brake.review({}, {})
                self._plans = MappingProxyType({})
                if self._node.observer.reporter is not None:
                    # Nobody is declared yet; the hub is told of the node all the same.
                    self._here = self._node.observer.snapshot(()).guests
        except Interrupted:
            return False
        except Exception as error:  # a bug of ours must not end the daemon
            self.failure = error
            self._health.failed(error)
            self._scheduler.failed_to_look(f"the node could not be observed: {error}", begun)
            return False
        self._scheduler.look_at_applied(begun)
        self._health.ended_well()
        return True

    def _end_pauses(self, desired: Desired) -> None:
        """End each pause that was to end with another declaration of its guest."""
        for each in self._suspensions.all():
            known = desired.complete and each.vmid not in desired.held
            if not each.declared or not (each.vmid in desired.guests or known):
                continue
            if not is_of(each.declared, desired.guests.get(each.vmid)):
                with suppress(JournalError):  # it is told elsewhere, and the pause holds
                    self._suspensions.resume(each.vmid, "a changed declaration")

    def _compare(self, desired: Desired, *, remember: bool) -> None:
        self._history_read = False
        begun, ends = self._clock(), self._scheduler.ends
        actual = self._sight.of(
            desired,
            begun,
            lambda part: self._begin_early(desired, part, begun, ends, remember=remember),
        )
        self._health.observed(slowly=actual.timed_out)
        state = (desired, actual, self._scheduler.ends)
        if self._is_as_before(state):
            return
        self._compared = state
        found = {vmid: guest.name for vmid, guest in actual.guests.items()}
        self._names.learn(found, keep=self._declared)
        self._scheduler.max_workers = actual.facts.max_workers
        self._planner.others = actual.guests
        self._brake.declare(desired.guests, actual.guests)
        plans = self._with_history(lambda: self._planner.plans(desired, actual), actual)
        self._plans, self._here = MappingProxyType(plans), actual.guests
        untouched = {
            vmid: plan
            for vmid, plan in plans.items()
            if not self._scheduler.was_touched(vmid, ends) and not self._sight.is_past(vmid)
        }
        if remember:
            self._planner.remember_planned(desired, actual, untouched)
            self._planner.forget_gone(desired, actual, self._is_gone)
        self._bulk.look_again(plans.values())
        self._close_restarts(actual, ends)
        # A guest whose lane ran counts, too: it may be the brake that held it. What is not tried
        # does not: it would take the place of what may be done.
        tried = {v: found for v, found in plans.items() if self._scheduler.may_try(found)}
        self._brake.review(tried, desired.guests)
        self._consider(desired, actual, untouched, begun)

    def _is_as_before(self, state: tuple[Desired, Actual, int]) -> bool:
        """Given what is desired, what is known of the node, and how many lanes have ended, return
        whether the pass before compared the same and left nothing to do, so that this one need not.
        """
        if self._compared is None or self._sight.look is not Look.KNOWN:
            return False
        same = self._compared[1] is state[1] and self._compared[2] == state[2]
        return same and self._scheduler.settled and self._compared[0] == state[0]

    def _begin_early(
        self, desired: Desired, part: Actual, begun: float, ends: int, *, remember: bool
    ) -> None:
        """Given a part of what is there, enqueue whose configuration alone is to be written."""
        self._between()
        found = {vmid: guest.name for vmid, guest in part.guests.items()}
        self._names.add(found)
        if self._planner.others is not None:
            self._planner.others = {**self._planner.others, **part.guests}
        wanted = {
            vmid: desired.guests[vmid]
            for vmid in part.guests.keys() - self._busy()
            if not self._scheduler.was_touched(vmid, ends)
        }
        plans = self._with_history(lambda: self._planner.plans_of(wanted, part), part)
        early = {vmid: plan for vmid, plan in plans.items() if _may_begin_early(plan)}
        if remember:
            self._planner.remember_planned(desired, part, early)
        self._consider(desired, part, early, begun)

    def _consider(
        self, desired: Desired, actual: Actual, plans: dict[int, GuestPlan], begun: float
    ) -> None:
        seen = {
            vmid: Seen(desired.guests[vmid], actual, found, self._sight.seen_at(vmid, begun))
            for vmid, found in plans.items()
            if found.actions
        }
        looked = begun if self._sight.look is not Look.KNOWN else -math.inf
        self._scheduler.consider(plans, seen, self._busy(), looked)

    def _busy(self) -> set[int]:
        """Return the guests that have operations in flight."""
        return {operation.vmid for operation in self._operations.in_flight()}

    def _with_history(
        self, plan: Callable[[], dict[int, GuestPlan]], actual: Actual
    ) -> dict[int, GuestPlan]:
        """Given how to plan, return the plans; read the task list first where it can matter."""
        plans = plan()
        differ = any(found.actions or found.withheld for found in plans.values())
        unknown = self._planner.has_unknown(plans.keys() & actual.guests.keys())
        # Of what is known and was planned so before, the list was asked then.
        asked = self._sight.look is Look.KNOWN and plans == self._plans
        if self._history_read or asked or not (differ or unknown):
            return plans
        self._history_read = True
        before, self._planner.history = self._planner.history, self._history.read()
        return plans if self._planner.history == before else plan()

    def _is_gone(self, vmid: int) -> bool:
        """Ask PVE about one guest alone: a listing may leave out a guest that is only hidden."""
        actual = self._node.observer.observe_guest(vmid)
        return vmid not in actual.guests.keys() | actual.elsewhere.keys() | actual.hidden

    def _close_restarts(self, actual: Actual, ends: int) -> None:
        """A guest that runs is not down because of a restart of ours, whoever started it."""
        for vmid in self._operations.open_restarts():
            guest = actual.guests.get(vmid)
            runs = guest is not None and guest.state is RunState.RUNNING
            if runs and not self._scheduler.was_touched(vmid, ends):
                self._operations.close_restart(vmid)


def _may_begin_early(plan: GuestPlan) -> bool:
    """Return whether a plan depends on no other guest, and on no order."""
    return all(
        isinstance(action, SetConfig) and not changes_volume(action) for action in plan.actions
    ) and bool(plan.actions)
