"""The signed jobs of one agent: taken in, kept while they wait, handed to lanes, told of.

A job comes by the control socket, out of root's spool directory, or carried by a hub. It is
examined at once, on the thread that brings it. What is good, or may be good later, is durable
before it is answered, and then waits for the main loop, which hands it to its guest's lane now and
at each pass until it has ended. A job is known by the SHA-256 of its signed bytes: the same bytes
brought twice are one job.

What is refused is told and not kept. A person may bring it again by the socket. Out of the spool it
is not examined again, which would happen at each start. Nor is it from a hub, once enough had
signed it: a hub could hold what was refused until the guest is as it was, and nobody expects it any
more. What one way was refused does not keep another from bringing it.

How jobs stood in the last 7 days is what the audit log says; so it outlives the process.

Threads: one lock guards the table and what waits, for no longer than it takes to look; examining
and writing are done outside of it. `submit`, `status` and `heard` are called on any
thread, `ended` on lanes, `due` by the main loop.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from felhom_agent.authz.check import HUB, STAGES, SignedJob
from felhom_agent.authz.examiner import Examiner
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.jobs import KEPT_SECONDS, JobState, JobStatus, after, statuses_of
from felhom_agent.authz.operation import Operation, parse
from felhom_agent.authz.refusals import OperationRefused
from felhom_agent.errors import FelhomError
from felhom_agent.journal.audit import AuditEntry
from felhom_agent.journal.pendingjobs import MAX_PENDING, KeptJob, PendingJobs
from felhom_agent.journal.signed import SignedFacts
from felhom_agent.reconcile.signedoutcomes import NOT_KEPT
from felhom_agent.reconcile.signedview import SignedView
from felhom_agent.reconcile.signedwork import SignedEnd
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_NAMES = [stage.name for stage in STAGES]
# Before the signature was found good, what a job says is what somebody claims.
_PROVEN: Final = frozenset(_NAMES[_NAMES.index("signature") + 1 :])
# Enough have signed it: what is refused from here on is the operation, and not who carries it.
_APPROVED: Final = frozenset(_NAMES[_NAMES.index("threshold") + 1 :])
SPOOL: Final = "spool"
"""The way in of jobs that lie there and are found again at each start."""
MAX_LISTED: Final = 1000
"""How many jobs are remembered at most."""


class TooManyWait(FelhomError):
    """As many signed jobs wait as may."""

    temporary = True


class BeingExamined(FelhomError):
    """The same bytes are being examined with other signatures."""

    temporary = True


@dataclass(frozen=True)
class DueJob:
    """A job that waits for its lane, and what it says."""

    job: SignedJob
    operation: Operation


class SignedJobs:
    """All signed jobs that are known; `now` tells seconds since the epoch, `wake` lets the main
    loop hand over what waits.
    """

    def __init__(
        self,
        examiner: Examiner,
        view: SignedView,
        pending: PendingJobs,
        now: Callable[[], float],
    ) -> None:
        self._examiner = examiner
        self._view = view
        self._pending = pending
        self._now = now
        self._lock = threading.Lock()
        self._table: dict[str, JobStatus] = {}
        self._due: dict[str, DueJob] = {}
        self._handed: set[str] = set()
        self._examining: dict[str, tuple[bytes, ...]] = {}
        # Of each job and way the signatures that were examined last (None: an earlier process did),
        # and by the hub's names which job it is.
        self._brought: dict[tuple[str, str], tuple[bytes, ...] | None] = {}
        self._carried: dict[str, str] = {}
        self.wake: Callable[[], None] = lambda: None

    def resume(self, entries: Iterable[AuditEntry]) -> None:
        """Given the decisions of the audit log, know how jobs stand. To be called before any thread
        asks.
        """
        found = tuple(entries)
        self._table = statuses_of(found, self._now() - KEPT_SECONDS)
        for entry in found:
            if entry.blob in self._table and entry.source.startswith(f"{HUB}:"):
                self._note_carried(entry.blob, entry.source)
            elif entry.blob in self._table and entry.source == SPOOL:
                self._note_brought((entry.blob, SPOOL), None)

    def take_up(self, kept: Iterable[KeptJob], facts: SignedFacts) -> None:
        """Given the jobs that earlier processes kept, and which nonces were burnt, let those wait
        that had no last word and no try. To be called after `resume`, before any thread asks.
        """
        for each in kept:
            job = SignedJob(each.blob, each.signatures, each.source)
            try:
                operation = parse(each.blob)
            except OperationRefused as error:
                _log.warning("%s: is no signed job: %s; it is removed", self._pending.path, error)
                self._pending.drop(each.hash)
                continue
            status = self._table.get(each.hash)
            if facts.spent(operation.nonce) is not None or (status and status.state.final):
                self._pending.drop(each.hash)  # it had its try
            else:
                self._due[each.hash] = DueJob(job, operation)
                self._table.setdefault(each.hash, _status(each.hash, operation, self._now()))

    def submit(self, job: SignedJob) -> JobStatus:
        """Given a job, examine it, keep it if it may be done, and return how it stands.

        Raise TooManyWait if as many wait as may, BeingExamined, TooManyJobs or VerifierFailed if it
        could not be examined now, JournalError if nothing can be kept, Unchanged if PVE cannot be
        asked.
        """
        with self._lock:
            known = self._table.get(job.hash)
            self._note_carried(job.hash, job.source)
            if known is not None and (known.state.tried or job.hash in self._due):
                return known
            if known is not None and _is_over(known) and self._had_its_word(job, known):
                return known
            if job.hash in self._examining:
                if self._examining[job.hash] != job.signatures:
                    # Those others may be bad: who is told that it waits brings it no more.
                    raise BeingExamined("the same job is being examined; try again in a minute")
                return known or JobStatus(job.hash, JobState.PENDING, self._now())
            if len(self._due) + len(self._examining) >= MAX_PENDING:
                raise TooManyWait(f"{MAX_PENDING} signed jobs wait already; see `jobs`")
            self._examining[job.hash] = job.signatures
        try:
            found = self._examined(job)
            # One that could not be examined is not noted, and comes again.
            with self._lock:
                self._note_brought((job.hash, _way(job)), job.signatures)
            return found
        finally:
            with self._lock:
                del self._examining[job.hash]

    def status(self, hash_: str) -> JobStatus | None:
        """Given a job's hash, return how it stands; None if it is not known."""
        with self._lock:
            return self._table.get(hash_)

    def counts(self) -> Counter[JobState]:
        """Return how many of the jobs stand how."""
        with self._lock:
            return Counter(status.state for status in self._table.values())

    def carried(self) -> list[tuple[str, JobStatus]]:
        """Return the jobs that a hub has carried, by what it calls them, and how each stands;
        newest last.
        """
        with self._lock:
            found = [(name, self._table.get(hash_)) for name, hash_ in self._carried.items()]
        return [(name, status) for name, status in found if status is not None]

    def _had_its_word(self, job: SignedJob, known: JobStatus) -> bool:
        """Return whether what was refused lies there still, or comes again, and not a person brings
        it. `_lock` is held.
        """
        if job.is_from_hub and known.stage in _APPROVED:
            return True
        which = (job.hash, _way(job))
        if _way(job) not in (SPOOL, HUB) or which not in self._brought:
            return False
        return self._brought[which] in (None, job.signatures)

    def _note_brought(self, which: tuple[str, str], signatures: tuple[bytes, ...] | None) -> None:
        """Note with which signatures a job was examined. `_lock` is held, or nobody asks yet."""
        self._brought.pop(which, None)
        self._brought[which] = signatures
        while len(self._brought) > MAX_LISTED:
            del self._brought[next(iter(self._brought))]

    def _note_carried(self, hash_: str, source: str) -> None:
        way, _, name = source.partition(":")
        if way == HUB and name:
            self._carried.pop(name, None)
            self._carried[name] = hash_
            while len(self._carried) > MAX_LISTED:
                del self._carried[next(iter(self._carried))]

    def due(self) -> list[DueJob]:
        """Return the jobs that wait and are on no lane; each is on one from now on, until `ended`.
        For the main loop.
        """
        with self._lock:
            found = [job for hash_, job in self._due.items() if hash_ not in self._handed]
            self._handed |= {each.job.hash for each in found}
        return found

    def ended(self, due: DueJob, end: SignedEnd) -> None:
        """Given a job that was handed over, and how it stands now, keep that."""
        hash_ = due.job.hash
        self._note(replace(
            _status(hash_, due.operation, self._now()), state=end.state, stage=end.stage,
            why=end.why, upid=end.upid,
        ))  # fmt: skip
        if end.state is not JobState.PENDING:
            # Before it may be brought again, which keeps it anew.
            self._pending.drop(hash_)
        with self._lock:
            self._handed.discard(hash_)
            if end.state is not JobState.PENDING:
                self._due.pop(hash_, None)

    def heard(self, entry: AuditEntry) -> None:
        """Given the last word on a job, as recovery may find it out later, keep it."""
        with self._lock:
            self._table[entry.blob] = after(self._table.get(entry.blob), entry)

    def _examined(self, job: SignedJob) -> JobStatus:
        now = self._now()
        try:
            examined = self._examiner.examine(job, self._view.observe)
        except OperationRefused as error:
            if error.temporary and error.stage not in _PROVEN:
                raise
            operation = _operation_of(job) if error.stage in _PROVEN else None
            found = _status(job.hash, operation, now)
            state = JobState.PENDING if error.temporary else JobState.REFUSED
            found = replace(found, state=state, stage=error.stage, why=str(error))
            if not error.temporary or operation is None:
                return self._note(found)
        else:
            operation, found = examined.operation, _status(job.hash, examined.operation, now)
        self._pending.keep(KeptJob(job.blob, job.signatures, job.source))
        self._note(found)
        with self._lock:
            # Last: from here on a lane may say how it ended.
            self._due[job.hash] = DueJob(job, operation)
        self.wake()
        return found

    def _note(self, found: JobStatus) -> JobStatus:
        """Keep how a job stands; forget the oldest that have ended, and first those of which no
        signature was found good: of these anybody can bring as many as he likes.
        """
        with self._lock:
            before = self._table.pop(found.job, None)
            same = before is not None and (before.state, before.why) == (found.state, found.why)
            self._table[found.job] = before if before is not None and same else found
            if len(self._table) > MAX_LISTED:
                ended = [h for h in self._table if h not in self._due]
                ended.sort(key=lambda h: bool(self._table[h].act))
                for hash_ in ended[:-MAX_LISTED]:
                    del self._table[hash_]
        if not same and found.state is JobState.PENDING and found.why:
            text = "signed %s of %s waits: %s"
            whose = "this host" if found.act in HOST_ACTS else found.guest
            _log.info(text, found.act, whose, found.why, extra=fields(vmid=found.vmid or None))
        return found


def _way(job: SignedJob) -> str:
    return job.source.partition(":")[0]


def _is_over(known: JobStatus) -> bool:
    """Return whether who was told how a job ended does not expect that it is done later, at the
    agent's next start, say, because it lies in the spool still, or a hub brings it again.
    """
    return known.state.final and known.why != NOT_KEPT


def _status(hash_: str, operation: Operation | None, now: float) -> JobStatus:
    if operation is None:
        return JobStatus(hash_, JobState.PENDING, now)
    return JobStatus(hash_, JobState.PENDING, now, operation.act, operation.vmid, operation.name)


def _operation_of(job: SignedJob) -> Operation | None:
    try:
        return parse(job.blob)
    except OperationRefused:
        return None
