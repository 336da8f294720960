"""A signed operation on the host: who may sign, keys that are taken back, the end of a freeze.

It is examined once more with the lists read anew; the decision is durable, then the nonce is burnt,
then it is done, at most once. A freeze does not hold it: to end that, and to take a stolen key
back, is what it is for. What an earlier process left without a last word is looked for where its
effect would be (`is_done`). Where the disk fails in the middle, it may be in force after the next
start though it is not now: then it gets no last word before that start.

Threads: runs on the lane of what belongs to no guest, one after the other; keeps nothing.
"""

from __future__ import annotations

import logging
from typing import Final

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
from felhom_agent.service.events import AGENT_WARNED, INTERNAL_ERROR
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)

NOT_KNOWN: Final = "whether it is done is found out when the agent is restarted"


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

    def is_done(self, entry: AuditEntry) -> bool | None:
        """Given an authorization that an earlier process left, return whether it was done; None if
        nobody can tell now.
        """
        if entry.act == THAW:
            return not self._suspensions.frozen()
        return self._is_kept(entry.blob)

    def _done(self, leave: Authorization, job: SignedJob, operation: HostOperation) -> SignedEnd:
        end = SignedEnd(JobState.DONE)
        try:
            self._do(job, operation)
        except FelhomError as error:
            end = self._cut_off(job, operation, str(error))
        except Exception as error:  # as above
            end = self._cut_off(job, operation, _internal(error))
        if end.state is JobState.RUNNING:
            return end
        try:
            self._examiner.settled(leave, str(end.state), why=end.why)
        except JournalError as error:
            text = "signed %s of this host is %s, and that could not be written down: %s"
            _log.error(text, operation.act, end.state, error)
        return end

    def _cut_off(self, job: SignedJob, operation: HostOperation, why: str) -> SignedEnd:
        """Given a job that did not come to its end, and why, return how it stands: it has failed,
        or may be done all the same, which the next start finds out.
        """
        if not self._may_be_done(job, operation):
            return SignedEnd(JobState.FAILED, why)
        text = f"{why}; {NOT_KNOWN}"
        _log.error("signed %s of this host: %s", operation.act, text, extra=fields(AGENT_WARNED))
        return SignedEnd(JobState.RUNNING, text)

    def _do(self, job: SignedJob, operation: HostOperation) -> None:
        if operation.act == ROTATION:
            self._trust.rotate(job, operation)
        elif operation.act == REVOCATION:
            self._trust.revoke(job, operation)
        else:
            self._suspensions.thaw(SIGNER)

    def _may_be_done(self, job: SignedJob, operation: HostOperation) -> bool:
        """Given a job whose effect could not be made durable, return whether it may be so all the
        same: a record, or a name, of which the disk did not say that it is there.
        """
        return operation.act == THAW or self._is_kept(job.hash) is not False

    def _is_kept(self, blob: str) -> bool | None:
        try:
            return self._trust.has(blob)
        except FelhomError as error:
            _log.error("a signed operation on this host has no last word yet: %s", error)
            return None


def no_guest(_: Operation) -> ObservedGuest | None:
    """Return that there is no guest: what is done to the host concerns none."""
    return None


def _internal(error: Exception) -> str:
    text = "internal error in a signed operation on this host; please report it"
    _log.exception("%s", text, extra=fields(INTERNAL_ERROR))
    return f"internal error: {described(error)}"
