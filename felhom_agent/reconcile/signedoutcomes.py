"""What came of signed operations, written into the audit log as the journal hears it.

A signed act is an operation like any other: the lane gives it its outcome, or recovery does,
perhaps in a later process. Either way the journal hears of it, and so does this: each authorization
gets its last word, once.

What an earlier process left without a word gets it when the next one starts. An authorization whose
act was never begun is failed, and is not begun any more, whether its nonce was burnt or not; where
the guest was stopped for it, that is said. A job that was good, and is among those that wait no
more, is refused: nobody was told that it was taken, and it may be brought again.

A word that cannot be written is not lost: the journal has the operation's outcome, and the next
start writes what is missing.

Threads: `heard` is called by whichever thread gives an operation its outcome. One lock guards the
table of open authorizations; the log is written outside of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from felhom_agent.authz.examiner import Authorization, entry_of, key_of
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.jobs import JobState, statuses_of
from felhom_agent.authz.ledger import Audit
from felhom_agent.errors import JournalError
from felhom_agent.journal.audit import AUTHORIZED, AuditEntry
from felhom_agent.journal.operation import Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.signed import Spent

_log = logging.getLogger(__name__)

NEVER_BEGUN: Final = "the agent ended before it was begun; nothing was done for it"
STOPPED_ALONE: Final = "the agent ended before it was begun; to stop the guest for it was asked for"
NOT_KEPT: Final = "the agent ended before the job was taken in; bring it again"
STOP: Final = "-stop"
"""What the key of an authorization ends with for the stop before the act."""
PAUSES: Final = {
    "snapshot_rollback": "signed rollback",
    "snapshot_delete": "signed deletion of a snapshot",
    "force_stop": "signed force-stop",
    "disk_detach": "signed removal of a disk",
}
"""The acts after which a guest is paused, and what the pause says it is after."""
_WORDS: Final = {State.SUCCEEDED: "done", State.FAILED: "failed", State.UNKNOWN: "unknown"}


class SignedOutcomes:
    """The authorizations that have no last word yet; `now` tells seconds since the epoch,
    `told` hears each last word, and `is_done` tells of an act on the host whether it was done
    (None: nobody can tell now; the next start asks again).
    """

    def __init__(
        self,
        audit: Audit,
        now: Callable[[], float],
        told: Callable[[AuditEntry], None] = lambda _: None,
        is_done: Callable[[AuditEntry], bool | None] = lambda _: False,
    ) -> None:
        self._is_done = is_done
        self._audit = audit
        self._now = now
        self._lock = threading.Lock()
        self._open: dict[str, AuditEntry] = {}
        self.told = told

    def resume(
        self,
        burnt: Iterable[Spent],
        entries: Iterable[AuditEntry],
        operations: Operations,
        waiting: Collection[str] = (),
    ) -> None:
        """Given the nonces that were burnt, the decisions so far, the journal's operations and the
        hashes of the jobs that wait, give what earlier processes left its last word; those whose
        operation is in flight get it later.
        """
        found = tuple(entries)
        blobs = {spent.nonce: spent.blob for spent in burnt}
        for entry in _without_word(found):
            key = key_of(entry.nonce)
            is_burnt = blobs.get(entry.nonce) == entry.blob
            is_done = self._is_done(entry) if is_burnt and entry.act in HOST_ACTS else False
            if is_done is None:
                continue
            if is_done:
                self._say(replace(entry, at=self._now(), decision="done"))
            elif is_burnt and (began := operations.job(key)):
                with self._lock:
                    self._open[key] = entry
                self.heard(began)
            else:
                stopped = is_burnt and operations.job(key + STOP) is not None
                why = STOPPED_ALONE if stopped else NEVER_BEGUN
                if is_burnt and entry.act in PAUSES:
                    why += f"; if it is paused for it: felhom-agent resume {entry.vmid}"
                self._say(replace(entry, at=self._now(), decision="failed", why=why))
        for job, status in statuses_of(found).items():
            if status.state is JobState.PENDING and job not in waiting:
                last = next(entry for entry in reversed(found) if entry.blob == job)
                lost = replace(last, at=self._now(), decision="refused", stage="", why=NOT_KEPT)
                self._say(lost)

    def open(self, leave: Authorization) -> None:
        """Given what was just authorized, wait for its outcome."""
        with self._lock:
            self._open[leave.key] = entry_of(leave)

    def close(self, leave: Authorization, why: str) -> None:
        """Given what was authorized and never begun, say so. Nothing if it has its word already."""
        self._end(leave.key, "failed", why)

    def heard(self, operation: Operation) -> None:
        """Given a step of any operation, write down the outcome of a signed one."""
        if not operation.in_flight and operation.key:
            ended_well = operation.state is State.SUCCEEDED
            self._end(
                operation.key, _WORDS[operation.state], operation.why, operation.upid,
                "OK" if ended_well and operation.upid else "",
            )  # fmt: skip

    def _end(self, key: str, word: str, why: str, upid: str = "", exit_status: str = "") -> None:
        with self._lock:
            known = self._open.pop(key, None)
        if known is None:
            return
        self._say(replace(
            known, at=self._now(), decision=word, stage="", why=why, upid=upid, exit=exit_status
        ))  # fmt: skip

    def _say(self, entry: AuditEntry) -> None:
        """Write down a last word, and tell it."""
        try:
            self._audit.append(entry)
        except JournalError as error:
            text = "signed %s of %s is %s, and that could not be written down: %s"
            _log.error(text, entry.act, entry.guest, entry.decision, error)
        self.told(entry)


def _without_word(entries: Iterable[AuditEntry]) -> list[AuditEntry]:
    """Given decisions in their order, return the authorizations that have no last word."""
    authorized: dict[str, AuditEntry] = {}
    for entry in entries:
        if entry.decision == AUTHORIZED:
            authorized[entry.blob] = entry
        elif entry.decision in _WORDS.values():
            authorized.pop(entry.blob, None)
    return list(authorized.values())
