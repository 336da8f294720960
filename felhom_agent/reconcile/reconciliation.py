"""One guest being reconciled, once: on its lane, one action at a time.

What is in flight is settled; then the plan's first action is done, the guest observed, planned
again, and so on until the plan is empty or something stands in the way. So the success of every act
is read back from PVE, not believed.

What it acts on:

* the declaration is fetched when it begins and again before every act and after every wait; one
  that was withdrawn or changed meanwhile is never carried out;
* whether the guest may be changed is asked right before every call (`gate`);
* what a pass saw counts as the first observation, if nothing was done to the guest since, and for a
  power action only while it is younger than `MAX_AGE`; a configuration write carries the digest
  of what was seen, so PVE itself refuses it if that is no longer true. What is done only while
  the guest is stopped is never done by what a pass saw;
* what PVE denies the token is left out and reported; the rest is done (`denials`).

Belongs to the guest's lane from the moment it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from felhom_agent.errors import (
    Changed,
    Denied,
    FelhomError,
    Held,
    Interrupted,
    NoQuorum,
    NotShown,
    OutcomeUnknown,
    Stale,
    TaskFailed,
)
from felhom_agent.model import (
    Action,
    Actual,
    Blocked,
    Converged,
    DesiredGuest,
    GuestPlan,
    Kind,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Start,
    Stop,
)
from felhom_agent.planning.actions import Need, as_desired, describe, need_of
from felhom_agent.planning.lowering import only_while_stopped
from felhom_agent.planning.ordering import first_write
from felhom_agent.planning.volumes import changes_volume
from felhom_agent.proxmox.answers import by_words, denied_by_task
from felhom_agent.reconcile import outcomes
from felhom_agent.reconcile.bulk import wants_power
from felhom_agent.reconcile.denials import Denials
from felhom_agent.reconcile.executor import NoEffect
from felhom_agent.reconcile.gate import Proposal
from felhom_agent.reconcile.means import Means
from felhom_agent.service.events import INTERNAL_ERROR
from felhom_agent.service.logging import fields, within
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)

# A guest has at most three kinds of actions to do; more rounds mean that somebody works against us.
_MAX_ROUNDS = 6
# Seconds for which a guest that wants a volume waits for the first pass.
_FIRST_PASS = 5.0
MAX_AGE = 5.0
"""Seconds for which what a pass saw is good enough to start or stop a guest."""
CLEANUP = 1.0
"""Seconds that are left between our stop of a VM and its start.

PVE cleans up after a process that has ended, some 0.5 s later and with the guest's configuration
locked. Where the VM runs again by then, it takes that for the old process, and waits for 30 s
(recorded: calls-9.2/208b-lock-after-restart-tries; qemu-server 9.1.13 adebb971). The lane waits, in
its place: the guest is down already, nobody else may start one instead, and what begins a restart
is to end it. The wait ends at once when the agent gives up waiting for tasks.
"""
STOPPED_BY_US = "was stopped by us for a restart and is still down"
IN_VAIN = "it was restarted, and what waits for a restart still does"


@dataclass(frozen=True)
class Seen:
    """A guest's declaration, what was seen of it and what that came to; begun at that second of
    the monotonic clock.
    """

    declared: DesiredGuest
    actual: Actual
    plan: GuestPlan
    begun: float


@dataclass(frozen=True)
class Reconciled:
    """What a lane tells the scheduler of a guest.

    `held` tells that a hold stands in the way, `wants` what the guest's place must allow to go on,
    where the present one does not; `restart_in_vain` that it was restarted and the restart changed
    nothing. `defect` tells that the agent itself is wrong, and not what it met.
    """

    outcome: Outcome
    held: bool = False
    wants: Need | None = None
    restart_in_vain: bool = False
    defect: bool = False


class Reconciliation:
    """Reconciles a guest."""

    def __init__(
        self,
        means: Means,
        vmid: int,
        seen: Seen | None,
        *,
        number: int,
        granted: Need,
        release: Callable[[], None],
        restart_in_vain: bool,
    ) -> None:
        """`number` is that of the pass that asks; see `Engine.reconcile` for the rest."""
        self.vmid = vmid
        self._number = number
        self._doing: Action | None = None
        self._denials = Denials(means.node.client.token_id)
        self._means = means
        self._seen = seen
        self._granted = granted
        self._release = release
        self._in_vain = restart_in_vain
        self._may_be_cleaned_up = False

    def run(self) -> Reconciled:
        """Return what comes of the guest; whatever stands in the way is an outcome, too.

        Raise Interrupted if the agent is stopping.
        """
        with within(**{"pass": self._number}):
            return self._run()

    def _run(self) -> Reconciled:
        open_restart = self._means.operations.has_open_restart
        try:
            result = self._reconcile()
        except Interrupted:
            if open_restart(self.vmid):
                text = "%s: %s; the agent starts it when it runs again"
                extra = fields(vmid=self.vmid)
                _log.warning(text, self._means.names.guest(self.vmid), STOPPED_BY_US, extra=extra)
            raise
        except Held as error:
            result = Reconciled(Blocked(str(error), observed=error.observed), held=True)
        except FelhomError as error:
            token_id = self._means.node.client.token_id
            if held := _wants_quorum(error):
                self._means.quorum.note_lost()
            result = Reconciled(outcomes.of_error(error, self._doing, token_id), held=held)
        except Exception as error:  # a bug of ours must not take the daemon along
            extra = fields(INTERNAL_ERROR, vmid=self.vmid)
            text = "%s: internal error; it is tried again; please report it"
            _log.exception(text, self._means.names.guest(self.vmid), extra=extra)
            result = Reconciled(Retry(0.0, f"internal error: {described(error)}"), defect=True)
        if not isinstance(result.outcome, Converged) and open_restart(self.vmid):
            # Said first, whatever else stands in the way.
            why = f"{STOPPED_BY_US}; {result.outcome.why}"
            result = replace(result, outcome=replace(result.outcome, why=why))
        return result

    def _withdrawn(self) -> Reconciled:
        """Return what comes of a guest that is no longer declared."""
        if self._means.operations.has_open_restart(self.vmid):
            text = "%s: %s, and its declaration was withdrawn; start it by hand"
            extra = fields(vmid=self.vmid)
            _log.error(text, self._means.names.guest(self.vmid), STOPPED_BY_US, extra=extra)
        return Reconciled(Converged())

    def _reconcile(self) -> Reconciled:
        # What was in flight may have been a stop that has only just ended.
        self._may_be_cleaned_up = self._means.settle(self.vmid)
        seen = self._observed() if self._may_be_cleaned_up else self._at_first()
        restarted = False
        rounds = 0
        while rounds < _MAX_ROUNDS + self._denials.tries:
            rounds += 1
            if seen is None:
                return self._withdrawn()
            plan = self._denials.left(seen.plan)
            if not plan.actions:
                return Reconciled(plan.outcome)
            if stands := self._stands(plan, restarted=restarted):
                return stands
            try:
                seen = self._act(replace(seen, plan=plan))
            except (Stale, Changed):
                seen = self._observed()
            except (Denied, OutcomeUnknown, TaskFailed) as error:
                seen = self._without_denied(seen, error)
            except Held as error:
                seen = self._start_unchanged(plan, error)
            else:
                restarted |= plan.begins_restart
        raise NoEffect("somebody else keeps changing this guest")

    def _stands(self, plan: GuestPlan, *, restarted: bool) -> Reconciled | None:
        """Given a plan, return what stands in its way before anything is tried; None if nothing."""
        if plan.begins_restart and (restarted or self._in_vain):
            # Else it would be restarted over and over for what no restart mends.
            return Reconciled(Refused(IN_VAIN), restart_in_vain=True)
        if (need := need_of(plan.actions)) > self._granted:
            return Reconciled(Retry(0.0, "waits for its place"), wants=need)
        if self._means.planner.others is None and any(map(changes_volume, plan.actions)):
            return Reconciled(Retry(_FIRST_PASS, "the other guests were not observed yet"))
        return None

    def _at_first(self) -> Seen | None:
        """Return what the pass saw where that is good enough, else observe."""
        seen, declared = self._seen, self._means.declared(self.vmid)
        if seen is None or declared is None:
            return self._observed()
        if declared != seen.declared:
            plan = self._means.planner.plan(declared, seen.actual)
            seen = Seen(declared, seen.actual, plan, seen.begun)
        if any(only_while_stopped(declared, action) for action in seen.plan.actions):
            return self._observed()
        fresh = self._means.clock() - seen.begun <= MAX_AGE
        by_digest = bool(seen.plan.actions) and isinstance(seen.plan.actions[0], SetConfig)
        return seen if fresh or by_digest else self._observed()

    def _observed(self) -> Seen | None:
        """Observe the guest and plan; None if it is no longer declared."""
        if self._means.declared(self.vmid) is None:
            return None
        begun = self._means.clock()
        actual = self._means.observe(self.vmid)
        declared = self._means.declared(self.vmid)
        if declared is None:
            return None
        return Seen(declared, actual, self._means.planner.plan(declared, actual), begun)

    def _act(self, seen: Seen) -> Seen | None:
        """Do the plan's first action and confirm it; return what is seen then.

        Raise Stale or Changed if the world or the declaration moved before it, and nothing was
        done; else what stood in the way.
        """
        means = self._means
        action = first_write(seen.plan.actions[0], seen.actual.config_of(self.vmid))
        proposal = self._proposal(seen, action)
        self._ask_the_node(action, proposal)
        if isinstance(action, Start):
            self._leave_to_clean_up(action)
        self._doing = action
        try:
            operation = means.executor.begin(proposal)
        except OutcomeUnknown as error:
            means.settle_ended(self.vmid, error)
            raise
        if not isinstance(action, Stop):  # which works without quorum
            means.quorum.note_back()
        self._doing = None
        if not isinstance(action, SetConfig):
            self._may_be_cleaned_up = isinstance(action, Stop)
        if self._granted is Need.POWER and need_of(seen.plan.actions[1:]) is Need.CHANGE:
            # What comes now is only read; the next guest need not wait for that.
            self._granted = Need.CHANGE
            self._release()
        begun = means.clock()
        actual = means.observe(self.vmid)
        declared = means.declared(self.vmid)
        wanted = seen.declared if declared == seen.declared else as_desired(action)
        plan = means.planner.plan_after(wanted, actual, action)
        means.executor.confirm(operation, action, plan)
        if declared is None:
            return None
        if declared != seen.declared:
            plan = means.planner.plan(declared, actual)
        return Seen(declared, actual, plan, begun)

    def _ask_the_node(self, action: Action, proposal: Proposal) -> None:
        """Given what is about to be done, raise Held if it is to start or stop the guest, and the
        node as a whole stands in the way.
        """
        means = self._means
        # Without quorum PVE would shut it down, and not start it again.
        if isinstance(action, Stop):
            quorum = means.quorum
            if why := quorum.why_no_restart() if action.restart else quorum.why_no_stop():
                raise Held(f"{why}; would {proposal.would}")
        if wants_power([action]) and not proposal.ends_restart and (why := means.bulk.why_not()):
            raise Held(f"{why}; would {proposal.would}")

    def _without_denied(
        self, seen: Seen | None, error: Denied | OutcomeUnknown | TaskFailed
    ) -> Seen | None:
        """Given how a try ended, leave out from now on what PVE denied; return what to go on from.

        Raise that error if it was no denial, or there is nothing that could be done without it.
        """
        denied = _denied_in(error)
        if denied is None:
            raise error
        means, doing = self._means, self._doing
        means.node.observer.note_denied()
        # What is in flight was asked for; it is a look at it that was denied.
        asked = bool(means.operations.in_flight(self.vmid))
        if (
            asked
            or doing is None
            or not self._denials.add(doing, denied, means.node.observer.facts)
        ):
            raise error
        self._doing = None
        return seen if denied is error else self._observed()

    def _leave_to_clean_up(self, start: Start) -> None:
        """Give PVE the time to clean up after a stop of a VM. Raise Interrupted if that is cut
        short.
        """
        if not self._may_be_cleaned_up or start.kind is not Kind.QEMU:
            return
        if self._means.node.cancel_waits.wait(CLEANUP):
            raise Interrupted("the agent is stopping")

    def _start_unchanged(self, plan: GuestPlan, error: Held) -> Seen | None:
        """Given a plan and what holds it, start the guest as it is if the plan is a change and a
        start, and it may be started; return what is seen then. Raise that error if not.

        What holds a change must not keep down a guest that a power cut, or we, have stopped.
        """
        # A start that was not shown is none of ours, unless it ends our restart.
        unwanted = isinstance(error, NotShown)
        if unwanted and not self._means.operations.has_open_restart(self.vmid):
            raise error
        if not _starts_changed(plan):
            raise error
        fresh = self._observed()  # PVE's digest guards a change, and no start
        if fresh is None or not _starts_changed(fresh.plan):
            return fresh
        start = replace(fresh.plan, actions=fresh.plan.actions[1:])
        try:
            return self._act(replace(fresh, plan=start))
        except (Stale, Changed):
            return self._observed()
        except Held:
            raise error from None

    def _proposal(self, seen: Seen, action: Action) -> Proposal:
        """Given a plan and what of it is about to be done, return what the gate is asked."""
        return Proposal(
            action,
            ", ".join(describe(each) for each in seen.plan.actions),
            seen.declared,
            seen.actual.config_of(self.vmid),
            ends_restart=isinstance(action, Start)
            and self._means.operations.has_open_restart(self.vmid),
            is_in_force=lambda: self._means.declared(self.vmid) == seen.declared,
            name=seen.plan.name,
        )


def _denied_in(error: Denied | OutcomeUnknown | TaskFailed) -> Denied | None:
    """Given how a try ended, return what PVE denied, if that is what it ended with.

    A VM's worker that is denied one key may have written others by then.
    """
    if isinstance(error, Denied):
        return error
    if isinstance(error, TaskFailed):
        return denied_by_task(error.text)
    return error.if_untouched if isinstance(error.if_untouched, Denied) else None


def _starts_changed(plan: GuestPlan) -> bool:
    """Return whether all that is planned is a change, and the start that comes after it."""
    return tuple(map(type, plan.actions)) == (SetConfig, Start)


def _wants_quorum(error: FelhomError) -> bool:
    """Return whether PVE did not do it for want of quorum: by its answer, or by a task's end."""
    if isinstance(error, TaskFailed):
        return by_words(error.text) is NoQuorum
    return isinstance(error, NoQuorum)
