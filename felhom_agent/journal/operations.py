"""The life of an operation: intent, then perhaps a task, then succeeded, failed or unknown.

An operation is an action once it is written down. Each step is one durable record before the next
thing happens: the intent before PVE is called, the UPID before it is waited for, the outcome once
it was seen. Whatever has no outcome is *in flight*; after a crash that list is where recovery
begins.

Reconcile operations carry no key and are never suppressed by an earlier success: doing again what
drifted again is their purpose. A one-shot job carries a key; once it succeeded, `already_applied`
is true for good.

Threads: one lock guards the index and the clock's last word. A record is appended outside of it
(an fsync takes its time), and the index changes after the record is durable, so that nobody acts
on what a crash could take back.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from felhom_agent.journal.log import JournalLog, Record
from felhom_agent.model import ABSENT, Action, Kind, SetConfig

ABSENT_MARK = None
"""How a key that shall go is written in a record's `wanted`; no value of PVE's is null."""


class State(StrEnum):
    """Where an operation is in its life."""

    INTENT = "intent"
    TASK = "task"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


IN_FLIGHT = frozenset({State.INTENT, State.TASK})


@dataclass(frozen=True)
class Operation:
    """One operation as the journal knows it.

    `action` is the name ("Start"), `text` the action as a person reads it, `wanted` what a
    SetConfig sends (`ABSENT_MARK` for a key to delete). Times are seconds since the epoch.
    """

    op_id: str
    vmid: int
    kind: Kind
    action: str
    text: str
    begun: float
    state: State = State.INTENT
    wanted: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    upid: str = ""
    ended: float = 0.0
    why: str = ""
    key: str = ""

    @property
    def in_flight(self) -> bool:
        return self.state in IN_FLIGHT


class Operations:
    """All operations of a journal, by id, and the way to write the next step of one."""

    def __init__(
        self, log: JournalLog, records: Iterable[Record], clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight: dict[str, Operation] = {}
        self._applied: set[str] = set()
        self._upids: set[str] = set()
        self._last_id = 0
        for operation in replay(records):
            self._last_id = max(self._last_id, int(operation.op_id, 16))
            self._index(operation)

    def begin(self, action: Action, *, key: str = "") -> Operation:
        """Given an action about to be done, return its operation once the intent is durable."""
        now = self._clock()
        operation = Operation(
            op_id=self._next_id(now),
            vmid=action.vmid,
            kind=action.kind,
            action=type(action).__name__,
            text=str(action),
            begun=now,
            wanted=_wanted(action),
            key=key,
        )
        self._write(operation, _intent_record(operation))
        return operation

    def task(self, operation: Operation, upid: str) -> Operation:
        """Note the UPID under which PVE works on it."""
        return self._step(dataclasses.replace(operation, state=State.TASK, upid=upid), upid=upid)

    def succeeded(self, operation: Operation) -> Operation:
        """Note that it was done, and seen to be done."""
        return self._end(operation, State.SUCCEEDED, "")

    def failed(self, operation: Operation, why: str) -> Operation:
        """Note that it was not done."""
        return self._end(operation, State.FAILED, why)

    def unknown(self, operation: Operation, why: str) -> Operation:
        """Note that nobody can tell any more whether it was done."""
        return self._end(operation, State.UNKNOWN, why)

    def in_flight(self, vmid: int | None = None) -> tuple[Operation, ...]:
        """Return what has no outcome yet, of one guest or of all, oldest first."""
        with self._lock:
            found = [o for o in self._in_flight.values() if vmid in (None, o.vmid)]
        return tuple(sorted(found, key=lambda o: o.op_id))

    def check(self) -> None:
        """Raise JournalClosed if nothing can be written down any more."""
        self._log.check()

    def now(self) -> float:
        """Return the time by which operations begin and end, in seconds since the epoch."""
        return self._clock()

    def owns(self, upid: str) -> bool:
        """Return whether a task is already known to be some operation's."""
        with self._lock:
            return upid in self._upids

    def already_applied(self, key: str) -> bool:
        """Return whether a one-shot job of that key has ever succeeded."""
        with self._lock:
            return key in self._applied

    def _end(self, operation: Operation, state: State, why: str) -> Operation:
        now = self._clock()
        ended = dataclasses.replace(operation, state=state, why=why, ended=now)
        return self._step(ended, at=_rfc3339(now), **({"why": why} if why else {}))

    def _step(self, operation: Operation, **facts: str) -> Operation:
        self._write(operation, {"op": operation.op_id, "state": str(operation.state), **facts})
        return operation

    def _write(self, operation: Operation, record: Record) -> None:
        self._log.append(record)
        with self._lock:
            self._index(operation)

    def _index(self, operation: Operation) -> None:
        if operation.in_flight:
            self._in_flight[operation.op_id] = operation
        else:
            self._in_flight.pop(operation.op_id, None)
        if operation.upid:
            self._upids.add(operation.upid)
        if operation.key and operation.state is State.SUCCEEDED:
            self._applied.add(operation.key)

    def _next_id(self, now: float) -> str:
        """Return an id that sorts after all before it, also when the clock went back."""
        with self._lock:
            self._last_id = max(self._last_id + 1, int(now * 1000))
            return f"{self._last_id:012x}"


def replay(records: Iterable[Record]) -> list[Operation]:
    """Given a journal's records, return its operations by id; the latest record of each wins."""
    found: dict[str, Operation] = {}
    for record in records:
        op_id = record.get("op")
        if not isinstance(op_id, str):
            continue
        if record["state"] == State.INTENT:
            found[op_id] = _from_intent(record)
        elif op_id in found:
            found[op_id] = _advance(found[op_id], record)
    return [found[op_id] for op_id in sorted(found)]


def _wanted(action: Action) -> Mapping[str, str | None]:
    if not isinstance(action, SetConfig):
        return MappingProxyType({})
    # A secret's value is not written down; its key alone tells that it was sent.
    values = {c.key: ABSENT_MARK if c.after is ABSENT else c.after for c in action.changes}
    secrets = {c.key: "" for c in action.changes if c.secret}
    return MappingProxyType({**values, **secrets})


def _intent_record(operation: Operation) -> Record:
    record: dict[str, Any] = {
        "op": operation.op_id,
        "state": str(State.INTENT),
        "at": _rfc3339(operation.begun),
        "vmid": operation.vmid,
        "kind": str(operation.kind),
        "action": operation.action,
        "text": operation.text,
    }
    if operation.wanted:
        record["wanted"] = dict(operation.wanted)
    if operation.key:
        record["key"] = operation.key
    return record


def _from_intent(record: Record) -> Operation:
    return Operation(
        op_id=record["op"],
        vmid=record["vmid"],
        kind=Kind(record["kind"]),
        action=record["action"],
        text=record["text"],
        begun=_epoch(record["at"]),
        wanted=MappingProxyType(record.get("wanted", {})),
        key=record.get("key", ""),
    )


def _advance(operation: Operation, record: Record) -> Operation:
    return dataclasses.replace(
        operation,
        state=State(record["state"]),
        upid=record.get("upid", operation.upid),
        ended=_epoch(record["at"]) if "at" in record else operation.ended,
        why=record.get("why", operation.why),
    )


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
