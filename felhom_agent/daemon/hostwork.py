"""A signed operation on the host: who may sign, keys that are taken back, the end of a freeze.

It is examined once more with the lists read anew; the decision is durable, then the nonce is burnt,
then it is done, at most once. A freeze does not hold it: to end that, and to take a stolen key
back, is what it is for. What an earlier process left without a last word is looked for where its
effect would be (`is_done`).

Threads: runs on the lane of what belongs to no guest, one after the other; keeps nothing.
"""

from __future__ import annotations

import logging

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.examiner import Authorization, Examiner
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, THAW, HostOperation
from felhom_agent.authz.jobs import JobState
from felhom_agent.authz.observed import ObservedGuest
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.authz.trust import Trust
from felhom_agent.errors import FelhomError, JournalError
from felhom_agent.journal.audit import AuditEntry
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.reconcile.signedwork import SIGNER, SignedEnd, refused
from felhom_agent.service.events import INTERNAL_ERROR
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)


class HostWork:
    """Carries out signed operations on the host."""

    def __init__(self, examiner: Examiner, trust: Trust, suspensions: Suspensions) -> None:
        self._examiner = examiner
        self._trust = trust
        self._suspensions = suspensions

    def run(self, job: SignedJob, operation: HostOperation) -> SignedEnd:
        """Given a job that was examined, and what it says, try to carry it out; return how it
        stands then. Raises nothing.
        """
        try:
            leave = self._examiner.authorize(job, no_guest)
        except OperationRefused as error:
            return refused(error)
        except FelhomError as error:
            return SignedEnd(JobState.PENDING, str(error))
        except Exception as error:  # a bug of ours must not take the lane along
            return SignedEnd(JobState.PENDING, _internal(error))
        return self._done(leave, job, operation)

    def is_done(self, entry: AuditEntry) -> bool:
        """Given an authorization that an earlier process left, return whether it was done."""
        if entry.act == THAW:
            return not self._suspensions.frozen()
        return self._trust.has(entry.blob)

    def _done(self, leave: Authorization, job: SignedJob, operation: HostOperation) -> SignedEnd:
        end = SignedEnd(JobState.DONE)
        try:
            self._do(job, operation)
        except FelhomError as error:
            end = self._cut_off(job, str(error))
        except Exception as error:  # as above
            end = self._cut_off(job, _internal(error))
        try:
            self._examiner.settled(leave, str(end.state), why=end.why)
        except JournalError as error:
            text = "signed %s of this host is %s, and that could not be written down: %s"
            _log.error(text, operation.act, end.state, error)
        return end

    def _cut_off(self, job: SignedJob, why: str) -> SignedEnd:
        """Given a job that did not come to its end, and why, return how it stands."""
        if not self._trust.has(job.hash):
            return SignedEnd(JobState.FAILED, why)
        text = f"{why}; it is kept, and counts from the agent's next start: felhom-agent signers"
        return SignedEnd(JobState.UNKNOWN, text)

    def _do(self, job: SignedJob, operation: HostOperation) -> None:
        if operation.act == ROTATION:
            self._trust.rotate(job, operation)
        elif operation.act == REVOCATION:
            self._trust.revoke(job, operation)
        else:
            self._suspensions.thaw(SIGNER)


def no_guest(_: Operation) -> ObservedGuest | None:
    """Return that there is no guest: what is done to the host concerns none."""
    return None


def _internal(error: Exception) -> str:
    text = "internal error in a signed operation on this host; please report it"
    _log.exception("%s", text, extra=fields(INTERNAL_ERROR))
    return f"internal error: {described(error)}"
