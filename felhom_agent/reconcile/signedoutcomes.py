"""What came of signed operations, written into the audit log as the journal hears it.

A signed act is an operation like any other: the lane gives it its outcome, or recovery does,
perhaps in a later process. Either way the journal hears of it, and so does this: each authorization
gets its last word, once. One whose operation never began has it when the next process starts: its
nonce is burnt, so it is failed, and never dispatched.

A word that cannot be written is not lost: the journal has the operation's outcome, and the next
start writes what is missing.

Threads: `heard` is called by whichever thread gives an operation its outcome. One lock guards the
table of open authorizations; the log is written outside of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from felhom_agent.authz.examiner import AUTHORIZED, Authorization, entry_of, key_of
from felhom_agent.authz.ledger import Audit
from felhom_agent.errors import JournalError
from felhom_agent.journal.audit import AuditEntry
from felhom_agent.journal.operation import Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.signed import Spent

_log = logging.getLogger(__name__)

NEVER_BEGUN: Final = "the agent ended before it was begun; nothing was done for it"
_WORDS: Final = {State.SUCCEEDED: "done", State.FAILED: "failed", State.UNKNOWN: "unknown"}


class SignedOutcomes:
    """The authorizations that have no last word yet; `now` tells seconds since the epoch,
    `told` hears each last word.
    """

    def __init__(
        self,
        audit: Audit,
        now: Callable[[], float],
        told: Callable[[AuditEntry], None] = lambda _: None,
    ) -> None:
        self._audit = audit
        self._now = now
        self._lock = threading.Lock()
        self._open: dict[str, AuditEntry] = {}
        self.told = told

    def resume(
        self, burnt: Iterable[Spent], entries: Iterable[AuditEntry], operations: Operations
    ) -> None:
        """Given the nonces that were burnt, the decisions so far and the journal's operations, give
        each authorization of earlier processes its last word; those whose operation is in flight
        get it later.
        """
        authorized: dict[str, AuditEntry] = {}
        for entry in entries:
            if entry.decision == AUTHORIZED:
                authorized[entry.nonce] = entry
            elif entry.decision in _WORDS.values():
                authorized.pop(entry.nonce, None)
        for spent in burnt:
            if spent.nonce in authorized:
                key = key_of(spent.nonce)
                with self._lock:
                    self._open[key] = authorized[spent.nonce]
                if operation := operations.job(key):
                    self.heard(operation)
                else:
                    self._end(key, "failed", NEVER_BEGUN)

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
        entry = replace(
            known, at=self._now(), decision=word, stage="", why=why, upid=upid, exit=exit_status
        )
        try:
            self._audit.append(entry)
        except JournalError as error:
            text = "signed %s of %s is %s, and that could not be written down: %s"
            _log.error(text, entry.act, entry.guest, word, error)
        self.told(entry)
