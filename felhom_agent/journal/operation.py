"""One operation, and the records it is written as.

An operation is an action once it is written down. Its life: an *intent*, perhaps a *task*, then
*succeeded*, *failed* or *unknown*. Each step is one record that names the operation:

    {"op":"019a...","state":"intent","begun":"...","vmid":101,"name":"web",...}
    {"op":"019a...","state":"task","upid":"UPID:..."}
    {"op":"019a...","state":"succeeded","ended":"..."}

The steps of a one-shot job (it has a `key`) repeat what its intent says, so that no single line
that is lost can make it look as if it had never begun.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from felhom_agent.durable.line import Record
from felhom_agent.irreversible import Act, DeleteSnapshot, Rollback
from felhom_agent.journal.hiddenvalue import mark_of
from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Start, Stop, StopPolicy
from felhom_agent.options import lookup
from felhom_agent.printable import printable

ABSENT_MARK = None
"""How a key that shall go is written in a record's `wanted`; no value of PVE's is null."""
SNAPSHOT = "snapshot"
"""Under which key the `wanted` of an act on a snapshot names it."""


MAX_NAME = 255
"""The longest name of a guest, in characters (PVE: a hostname, QemuServer.pm and LXC/Config.pm)."""


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

    `action` is its class ("Start"), `text` the action in words ("start"), `name` the guest's when
    it was begun (empty: not known, as in the records of earlier versions), `wanted` what a
    SetConfig sends (`ABSENT_MARK` for a key to delete, `hiddenvalue` for what may be a secret), or
    the snapshot that an act is on. Times are seconds since the epoch; `ended` is 0 while there is
    no outcome. `untouched` tells of a failed one that PVE surely did nothing.
    A one-shot job has a `key`, and `expires` if it is good for a time only. `restart` tells that a
    Stop is the first half of a restart.
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
    untouched: bool = False
    key: str = ""
    expires: float | None = None
    restart: bool = False
    name: str = ""

    @property
    def guest(self) -> str:
        """Its guest, as people call it: "101 web"."""
        return f"{self.vmid} {self.name}".rstrip()

    @property
    def in_flight(self) -> bool:
        return self.state in IN_FLIGHT

    @property
    def spends_its_key(self) -> bool:
        """Whether the job it is for may have had an effect, and so must not be begun again."""
        return bool(self.key) and not self.untouched


def intent(
    op_id: str,
    action: Act,
    begun: float,
    key: str = "",
    expires: float | None = None,
    name: str = "",
) -> Operation:
    """Given an action about to be done, and its guest's name, return it as an operation."""
    return Operation(
        op_id=op_id,
        vmid=action.vmid,
        kind=action.kind,
        action=type(action).__name__,
        text=action.words,
        begun=_to_the_millisecond(begun),
        wanted=_wanted(action),
        key=key,
        expires=expires,
        restart=isinstance(action, Stop) and action.restart,
        name=printable(name, MAX_NAME),
    )


def ended(
    operation: Operation, state: State, when: float, why: str = "", *, untouched: bool = False
) -> Operation:
    """Given an operation, its outcome and the time, return it as it is from then on."""
    when = _to_the_millisecond(when)
    return dataclasses.replace(operation, state=state, ended=when, why=why, untouched=untouched)


def record_of(operation: Operation) -> Record:
    """Given an operation, return the record of the step that brought it where it is."""
    record: dict[str, Any] = {"op": operation.op_id, "state": str(operation.state)}
    if operation.state is State.INTENT or operation.key:
        record |= _intent_fields(operation)
    if operation.state is State.TASK or operation.key:
        record["upid"] = operation.upid
    if not operation.in_flight:
        record["ended"] = _rfc3339(operation.ended)
        record |= {"why": operation.why} if operation.why else {}
        record |= {"untouched": True} if operation.untouched else {}
    return record


def replay(records: Iterable[Record]) -> list[Operation]:
    """Given a journal's records, return its operations by id; the latest record of each wins."""
    found: dict[str, Operation] = {}
    for record in records:
        take(found, record)
    return [found[op_id] for op_id in sorted(found)]


def take(found: dict[str, Operation], record: Record) -> Operation | None:
    """Given operations by id and the next record, bring its operation up to date; return it.

    None where the record is of no operation, or of one whose intent is not among them.
    """
    op_id = record.get("op")
    if not isinstance(op_id, str):
        return None
    if op_id not in found and "vmid" in record:
        found[op_id] = _from_intent(record)
    if op_id in found:
        found[op_id] = _advance(found[op_id], record)
    return found.get(op_id)


def _wanted(action: Act) -> Mapping[str, str | None]:
    if isinstance(action, Rollback | DeleteSnapshot):
        return MappingProxyType({SNAPSHOT: action.snapshot})
    if not isinstance(action, SetConfig):
        return MappingProxyType({})
    return MappingProxyType({c.key: _value(action.kind, c) for c in action.changes})


def _value(kind: Kind, change: Change) -> str | None:
    """Return what is written down of a change's new value; a secret's is not."""
    if change.after is ABSENT:
        return ABSENT_MARK
    if not change.secret:
        return change.after
    option = lookup(kind, change.key)
    # With what PVE never tells there is nothing to compare.
    return "" if option is not None and option.secret else mark_of(change.after)


def _intent_fields(operation: Operation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "begun": _rfc3339(operation.begun),
        "vmid": operation.vmid,
        "kind": str(operation.kind),
        "action": operation.action,
        "text": operation.text,
    }
    if operation.wanted:
        fields["wanted"] = dict(operation.wanted)
    if operation.key:
        fields["key"] = operation.key
    if operation.expires is not None:
        fields["expires"] = operation.expires
    if operation.restart:
        fields["restart"] = True
    if operation.name:
        fields["name"] = operation.name
    return fields


def _from_intent(record: Record) -> Operation:
    return Operation(
        op_id=record["op"],
        vmid=record["vmid"],
        kind=Kind(record["kind"]),
        action=record["action"],
        text=_words(record),
        begun=_epoch(record["begun"]),
        wanted=MappingProxyType(record.get("wanted", {})),
        key=record.get("key", ""),
        expires=record.get("expires"),
        restart=record.get("restart", False),
        name=record.get("name", ""),
    )


def _words(record: Record) -> str:
    """Return what an operation does in words, also where an earlier version wrote it down as
    `Stop(vmid=103, policy=power-off)`.
    """
    text: str = record["text"]
    start = f"{record['action']}(vmid={record['vmid']}"
    vmid, kind, rest = record["vmid"], Kind(record["kind"]), text[len(start) : -1]
    if text != f"{start}{rest})" or rest[:2] not in ("", ", "):
        return text
    match record["action"]:
        case "Start":
            return Start(vmid, kind).words
        case "Stop":
            hard = StopPolicy.POWER_OFF if "policy=power-off" in rest else StopPolicy.GRACEFUL
            return Stop(vmid, kind, hard, restart="restart" in rest).words
        case _:
            return "set " + rest.removeprefix(", ")


def _advance(operation: Operation, record: Record) -> Operation:
    return dataclasses.replace(
        operation,
        state=State(record["state"]),
        upid=record.get("upid", operation.upid),
        ended=_epoch(record["ended"]) if "ended" in record else operation.ended,
        why=record.get("why", operation.why),
        untouched=record.get("untouched", operation.untouched),
    )


def _to_the_millisecond(seconds: float) -> float:
    """Return a time as it will be read back."""
    return _epoch(_rfc3339(seconds))


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
