"""A signed operation being carried out, on its guest's lane.

The order is the promise:

1. What is in flight of the guest is settled. A hold, a cluster without quorum, or HA, armed or not,
   lets the job wait. Quorum and HA are asked for anew, and once more before each act.
2. The job is examined once more, with lists and guest read anew; the decision is durable, then the
   nonce is burnt. From here on the job has one try, whatever comes.
3. The guest is paused, unless the signer wants the agent to go on: a rollback is not healed away,
   also not by an agent that ended in the middle of it.
4. The act is an operation of the journal with the nonce as its key, and what came of it is looked
   up. A guest that is to be stopped first is looked at once more before the act itself.

PVE takes no digest with a DELETE or a rollback: what a person changes between the last look and
PVE's own lock is not noticed. A crash leaves the operation in flight; recovery finds out what came
of it and never asks PVE again (`recovery.py`), and `SignedOutcomes` writes it down.

Threads: everything here runs on the guest's lane and is kept by nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from felhom_agent.authz.acts import acts_of
from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.examiner import Authorization, Examiner
from felhom_agent.authz.jobs import JobState
from felhom_agent.authz.observed import (
    ObservedGuest,
    refuse_other_guest,
    refuse_other_identity,
    refuse_other_state,
)
from felhom_agent.authz.refusals import OperationRefused, OutsideTime, StateChanged
from felhom_agent.desired.fingerprint import fingerprint
from felhom_agent.errors import FelhomError, Held
from felhom_agent.irreversible import Act, Destroy, PullPlug
from felhom_agent.journal.operation import Operation, State
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.model import ActualGuest
from felhom_agent.planning.actions import describe
from felhom_agent.reconcile.gate import Proposal
from felhom_agent.reconcile.holds import Holds
from felhom_agent.reconcile.means import Means
from felhom_agent.reconcile.signedoutcomes import PAUSES, STOP, SignedOutcomes
from felhom_agent.reconcile.signedview import SignedView
from felhom_agent.service.events import INTERNAL_ERROR
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)

SIGNER = "a signed operation"
"""By whose word a guest is paused afterwards."""
_STOPPED = "; it was stopped for this"
_ASKED_TO_STOP = "; PVE was asked to stop it for this"
_STATES = {
    State.INTENT: JobState.RUNNING,
    State.TASK: JobState.RUNNING,
    State.SUCCEEDED: JobState.DONE,
    State.FAILED: JobState.FAILED,
    State.UNKNOWN: JobState.UNKNOWN,
}


@dataclass(frozen=True)
class SignedEnd:
    """How a job stands after a try: at which stage it was refused or waits, why, and PVE's task."""

    state: JobState
    why: str = ""
    stage: str = ""
    upid: str = ""


@dataclass(frozen=True)
class SignedParts:
    """What signed operations need besides what all lanes share."""

    examiner: Examiner
    view: SignedView
    outcomes: SignedOutcomes
    suspensions: Suspensions
    holds: Holds


class SignedWork:
    """Carries out signed operations."""

    def __init__(self, means: Means, parts: SignedParts) -> None:
        self._means = means
        self._parts = parts

    def run(self, job: SignedJob, operation: SignedOperation) -> SignedEnd:
        """Given a job that was examined, and what it says, try to carry it out; return how it
        stands then. Raises nothing.
        """
        parts = self._parts
        try:
            self._means.settle(operation.vmid)
            if why := self._stands(operation):
                parts.examiner.review(job, parts.view.observe)
                return SignedEnd(JobState.PENDING, why)
            leave = parts.examiner.authorize(job, parts.view.observe)
        except OperationRefused as error:
            return refused(error)
        except FelhomError as error:
            return self._unseen(job, error)
        except Exception as error:  # a bug of ours must not take the lane along
            return SignedEnd(JobState.PENDING, self._internal(operation, error))
        parts.outcomes.open(leave)
        return self._carried_out(leave)

    def _unseen(self, job: SignedJob, error: FelhomError) -> SignedEnd:
        """Given a job whose guest cannot be looked at, let it wait, unless it is over without that:
        its time has passed, or its key was taken away.
        """

        def observe(_: SignedOperation) -> ObservedGuest:
            raise error

        try:
            self._parts.examiner.review(job, observe)
        except OperationRefused as refusal:
            return refused(refusal)
        except FelhomError:
            pass
        return SignedEnd(JobState.PENDING, str(error))

    def _stands(self, operation: SignedOperation) -> str:
        """Return what stands in the way for now; empty if nothing does."""
        held = self._parts.holds.may_do_signed(operation.vmid)
        return held or self._ask_the_node(operation)

    def _ask_the_node(self, operation: SignedOperation) -> str:
        """Ask PVE; return why it would not do what was signed, or not all of it; else empty."""
        if why := self._means.quorum.why_no_signed():
            return why
        guest = self._parts.view.actual(operation.vmid).guests.get(operation.vmid)
        return _why_not_ready(operation, guest) if guest is not None else ""

    def _carried_out(self, leave: Authorization) -> SignedEnd:
        """Do what was authorized, as far as it goes; return what came of it."""
        (operation, _), why = leave.examined.on_guest(), ""
        end_pause: Callable[[], object] | None = None
        try:
            end_pause = self._pause(operation)
            self._do(leave)
        except FelhomError as error:
            why = str(error)
        except Exception as error:  # as above
            why = self._internal(operation, error)
        done = self._means.operations.job(leave.key)
        if done is None:
            why += self._after_stop(leave)
            self._parts.outcomes.close(leave, why)
        if end_pause and (done is None or done.untouched):
            self._end_pause(operation, end_pause)
        if done is None:
            return SignedEnd(JobState.FAILED, why)
        return SignedEnd(_STATES[done.state], done.why or why, upid=done.upid)

    def _after_stop(self, leave: Authorization) -> str:
        """Return what is to be said of the stop before an act that was not begun; empty if PVE was
        not asked for one, or did nothing.
        """
        stop = self._means.operations.job(leave.key + STOP)
        if stop is None or stop.state is State.FAILED:
            return ""
        return _STOPPED if stop.state is State.SUCCEEDED else _ASKED_TO_STOP

    def _do(self, leave: Authorization) -> None:
        """Do the acts. Raise what stands in the way."""
        operation, guest = leave.examined.on_guest()
        *first, last = acts_of(operation)
        running = guest.running is not False
        for act in first if running else ():
            self._act(leave, act, leave.key + STOP)
        if first:
            self._look_again(operation)
        self._act(leave, last, leave.key)

    def _act(self, leave: Authorization, act: Act, key: str) -> Operation:
        """Do one act as one operation, and look what came of it."""
        examined = leave.examined
        operation, _ = examined.on_guest()
        if why := self._ask_the_node(operation):
            raise Held(f"{why}; would {describe(act)}")
        proposal = Proposal(act, describe(act), name=operation.name, leave=leave)
        # With the agent's own challenge no clock of the host's has a say.
        expires = examined.until if examined.operation.times else None
        begun = self._means.executor.begin(proposal, key=key, expires=expires)
        return self._means.recovery.confirm(begun)

    def _look_again(self, operation: SignedOperation) -> None:
        """Raise OperationRefused unless the guest is the one that was signed, as it was, and down.

        It was stopped since the examination, which took its time.
        """
        guest = self._parts.view.observe(operation)
        refuse_other_guest(operation, guest)
        if guest is None:
            return
        refuse_other_identity(operation, guest)
        refuse_other_state(operation, guest)
        if guest.running is not False:
            raise StateChanged(f"{operation.guest} runs")

    def _pause(self, operation: SignedOperation) -> Callable[[], object] | None:
        """Leave the guest alone from now on; return what takes that back, None if it was so before.
        Raise JournalError if it cannot be kept.

        A pause that a person ends, and nothing else, is left as it is. Any other would end under
        the guest: by time, or with a declaration that was changed before the act.
        """
        suspensions, vmid = self._parts.suspensions, operation.vmid
        if operation.resume or operation.act not in PAUSES:
            return None
        before = next((s for s in suspensions.all() if s.vmid == vmid and not s.freeze), None)
        if before is not None and before.left is None and not before.declared:
            return None
        # Where nobody knows yet what is declared, only a person ends it.
        knows, declared = self._means.knows_declared(vmid), self._means.declared(vmid)
        known = fingerprint(declared) if knows else ""
        suspensions.pause(vmid, None, f"after {PAUSES[operation.act]}", SIGNER, known)
        if before is None:
            return partial(suspensions.resume, vmid, SIGNER)
        left = None if before.left is None else max(1.0, before.left)
        return partial(suspensions.pause, vmid, left, before.why, before.by, before.declared)

    def _end_pause(self, operation: SignedOperation, end: Callable[[], object]) -> None:
        try:
            end()
        except FelhomError as error:
            text = "%s: nothing was done, and it stays paused: %s"
            _log.warning(text, self._means.names.guest(operation.vmid), error)

    def _internal(self, operation: SignedOperation, error: Exception) -> str:
        text = "%s: internal error in a signed operation; please report it"
        guest = self._means.names.guest(operation.vmid)
        _log.exception(text, guest, extra=fields(INTERNAL_ERROR, vmid=operation.vmid))
        return f"internal error: {described(error)}"


def refused(error: OperationRefused) -> SignedEnd:
    """Given why a job that was taken before does not happen, return how it stands."""
    if error.temporary:
        state = JobState.PENDING
    else:
        late = isinstance(error, OutsideTime)
        state = JobState.EXPIRED if late else JobState.REFUSED
    return SignedEnd(state, str(error), error.stage)


def _why_not_ready(operation: SignedOperation, guest: ActualGuest) -> str:
    """Return why PVE would refuse it now, or do something else than was signed."""
    stops = any(isinstance(act, PullPlug) for act in acts_of(operation))
    purges = any(isinstance(act, Destroy) and act.purge for act in acts_of(operation))
    if not guest.ha_state:
        return ""
    first = "take it out first: ha-manager remove"
    if guest.ha_disarmed:
        # Some stops are lost, others undone later (recorded: calls-9.2/205-ha-armed/015-024, 067).
        mode = guest.ha_disarmed
        return f"HA manages {operation.guest} and is disarmed (resource mode {mode}); {first}"
    if stops or not purges:
        # PVE hands a stop to HA, which says OK before anything is done, and may start the guest
        # again; it destroys no guest that HA has (recorded: 140-ha-no-crm/017-034).
        return f"HA manages {operation.guest}; {first}"
    return ""
