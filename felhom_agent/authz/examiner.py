"""Decides about jobs, and writes every decision down before anybody acts on it.

`examine` looks at a job when it comes in, and burns nothing; `authorize` looks again, under the
guest's lane immediately before the act, and is the only way to an `Authorization`. A decision that
cannot be made durable is an error of the journal, and the act does not happen.

A job that waits is looked at again and again; the audit log has that once.

Threads: one lock guards the few decisions that were last written down of jobs that wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.challenge import is_remembered
from felhom_agent.authz.check import (
    STAGES,
    Dependencies,
    Observe,
    Progress,
    SignedJob,
    Stage,
    progress,
    refused_at,
)
from felhom_agent.authz.ledger import Audit
from felhom_agent.authz.observed import ObservedGuest
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.rate import Rate
from felhom_agent.authz.refusals import (
    NonceSpent,
    OperationRefused,
    OutsideTime,
    TooManyJobs,
    WrongHost,
)
from felhom_agent.authz.signerline import Role
from felhom_agent.errors import FelhomError, JournalError
from felhom_agent.journal.audit import AUTHORIZED, AuditEntry
from felhom_agent.journal.signed import Decision, NonceTaken, Spent

_MAX_WAITING = 256


@dataclass(frozen=True)
class Examined:
    """A job that passed every stage: what it says, whose keys signed it in which role, the SHA-256
    of its bytes, until when it is good (seconds since the epoch), and the guest as it was found
    (None: it is done to the host).
    """

    operation: Operation
    role: Role
    fingerprint: str
    hash: str
    until: float
    guest: ObservedGuest | None
    source: str = ""

    def on_guest(self) -> tuple[SignedOperation, ObservedGuest]:
        """Return the operation and its guest. Raise WrongHost if it is done to the host."""
        if not isinstance(self.operation, SignedOperation) or self.guest is None:
            raise WrongHost("it is done to the host, and to no guest")
        return self.operation, self.guest


@dataclass(frozen=True)
class Authorization:
    """The permission for one act, once: its nonce is burnt, and the decision is in the audit
    log.
    """

    examined: Examined
    decision: Decision

    @property
    def key(self) -> str:
        """The key of the one-shot job that carries it out."""
        return key_of(self.examined.operation.nonce)


def key_of(nonce: str) -> str:
    """Given a nonce, return the key of the one-shot job that it is burnt for."""
    return f"signed-{nonce}"


@dataclass(frozen=True)
class StageReport:
    """What one stage found: passed, refused (and why), or not reached (`passed` is None)."""

    stage: Stage
    passed: bool | None
    text: str = ""


class Examiner:
    """Examines jobs on this host."""

    def __init__(
        self,
        means: Dependencies,
        audit: Audit,
        now: Callable[[], float],
        rate: Rate | None = None,
    ) -> None:
        self._means = means
        self._audit = audit
        self._now = now
        self._rate = rate or Rate()
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}

    def examine(self, job: SignedJob, observe: Observe) -> Examined:
        """Given a job that came in, return what it says if it would be done now.

        Raise OperationRefused, by its stage; a temporary one may be tried again until it ends.
        JournalError if the decision cannot be kept; what `observe` raises.
        """
        self._refuse_flood(job)
        found = Progress(job, self._means, observe)
        examined = self._through(found)
        self._write(_entry("accepted", found, self._now()))
        return examined

    def authorize(self, job: SignedJob, observe: Observe) -> Authorization:
        """Given a job whose guest's lane the caller is in, return the permission to do it now.

        The nonce is burnt from then on, whatever comes of it. Raise as `examine` does; no nonce is
        burnt then.
        """
        found = Progress(job, self._means, observe)
        examined = self._through(found)
        operation, now = examined.operation, self._now()
        remembered = operation.challenge if is_remembered(operation.challenge) else ""
        spending = Spent(operation.nonce, job.hash, examined.until, now, remembered)
        entry = _entry(AUTHORIZED, found, now)
        # A journal that is closed already, perhaps for a moment, costs no job its one try.
        self._means.facts.check()
        try:
            spent = self._means.facts.burn(spending, lambda: self._audit.append(entry))
        except NonceTaken as error:
            refusal = NonceSpent(str(error))
            self._write_refusal(found, refusal)
            raise refusal from None
        except JournalError:
            # It says "authorized" perhaps, and nobody is.
            with suppress(JournalError):
                self._audit.append(_entry("failed", found, now, "it could not be written down"))
            raise
        return Authorization(examined, spent.decision)

    def review(self, job: SignedJob, observe: Observe) -> None:
        """Given a job that waits, return if it would still be done. Nothing is written down then,
        and nothing burnt. Raise as `examine` does.
        """
        self._through(Progress(job, self._means, observe))

    def report(self, job: SignedJob, observe: Observe) -> tuple[StageReport, ...]:
        """Given a job, return what each stage finds. Nothing is written down or burnt.

        Raise what `observe` raises, but for a refusal.
        """
        found = Progress(job, self._means, observe)
        passed: list[StageReport] = []
        try:
            passed.extend(StageReport(stage, True) for stage in progress(found))
        except OperationRefused as error:
            failed = StageReport(refused_at(error), False, str(error))
            rest = STAGES[len(passed) + 1 :]
            return (*passed, failed, *(StageReport(stage, None) for stage in rest))
        return tuple(passed)

    def settled(
        self, authorization: Authorization, decision: str, *, why: str = "", upid: str = "",
        exit_status: str = "",
    ) -> Decision:  # fmt: skip
        """Given what was authorized, and what came of it ("done", "failed", "unknown"), write it
        down. Raise JournalError if it cannot be kept.
        """
        entry = replace(
            entry_of(authorization), at=self._now(), decision=decision, why=why, upid=upid,
            exit=exit_status,
        )  # fmt: skip
        return self._audit.append(entry)

    def _through(self, found: Progress) -> Examined:
        """Go through all stages. Raise OperationRefused once it is written down."""
        try:
            for _ in progress(found):
                pass
        except OperationRefused as error:
            self._write_refusal(found, error)
            raise
        except FelhomError:
            self._refuse_late(found)
            raise
        (role, keys), job = found.whose(), found.job
        return Examined(found.read(), role, keys, job.hash, found.until, found.guest, job.source)

    def _refuse_late(self, found: Progress) -> None:
        """Given a job whose guest cannot be looked at, raise OutsideTime if it has ended."""
        if not found.proven or found.operation is None:
            return
        try:
            self._means.clock.until(found.operation)
        except OutsideTime as error:
            if not error.temporary:
                self._write_refusal(found, error)
                raise

    def _refuse_flood(self, job: SignedJob) -> None:
        """Raise TooManyJobs; that is not written down, or the log would be flooded instead."""
        if wait := self._rate.take(job.source.partition(":")[0]):
            raise TooManyJobs(f"too many signed jobs at once; again in {wait:.0f} s")

    def _write_refusal(self, found: Progress, error: OperationRefused) -> None:
        word = "waits" if error.temporary else "refused"
        self._write(replace(_entry(word, found, self._now(), str(error)), stage=error.stage))

    def _write(self, entry: AuditEntry) -> None:
        said = f"{entry.decision} {entry.stage}"
        with self._lock:
            if entry.decision == "waits" and self._said.get(entry.blob) == said:
                return
        self._audit.append(entry)
        with self._lock:
            self._said.pop(entry.blob, None)
            self._said[entry.blob] = said
            while len(self._said) > _MAX_WAITING:
                del self._said[next(iter(self._said))]


def entry_of(authorization: Authorization) -> AuditEntry:
    """Given what was authorized, return what the audit log has of it, at no time yet."""
    e = authorization.examined
    return AuditEntry(
        0.0, AUTHORIZED, "", "", e.operation.act, e.operation.vmid, e.operation.name, e.role,
        e.fingerprint, e.hash, e.operation.nonce, e.operation.digest, e.source,
    )  # fmt: skip


def _entry(decision: str, found: Progress, now: float, why: str = "") -> AuditEntry:
    """Given how far a job came, return the decision with all that is known of it; nothing that it
    says counts before its signature was found good.
    """
    entry = AuditEntry(now, decision, "", why, blob=found.job.hash, source=found.job.source)
    if found.proven:
        role, keys = found.whose()
        entry = replace(entry, role=role, fingerprint=keys)
    operation = found.operation
    if operation is None:
        return entry
    return replace(
        entry,
        act=operation.act,
        vmid=operation.vmid,
        name=operation.name,
        nonce=operation.nonce,
        digest=operation.digest,
    )
