"""What a record must look like to be one of a journal.

A checksum tells that a line is what was written, not that it was written by this program: another
version, a person's hand or a bug may have made it. Whoever reads a journal relies on the shape of
its records, so it is judged once, where the lines are read, and with the line's number at hand.

* a step of an *operation* has `op` (see `operation.py`); an intent, and every step of a one-shot
  job, says besides what the operation is;
* who is *known* under a vmid: `guest` and `identity`;
* a pause or a freeze, or its end: `suspend` and `freeze` (see `suspensions.py`);
* a fact on signed operations: `signed` (see `signed.py`);
* the *mark* that stands for what was let go (see `retention.py`).

A record with none of these words is somebody else's: it is kept, and not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeGuard, get_args

from felhom_agent.durable.line import Record
from felhom_agent.irreversible import Irreversible
from felhom_agent.journal.operation import IN_FLIGHT, MAX_NAME, State
from felhom_agent.model import Action, Kind

_Check = Callable[[Any], bool]

_ID = re.compile(r"[0-9a-f]{12}")
# The year 9999: no later date can be written, and what is shown in a zone of its own needs room.
_MAX_SECONDS = 253_370_764_800
_MAX_SHOWN = 40
_MAX_SAID = 200
MAX_SUSPENSION = 366 * 86400.0
"""How many seconds a pause or a freeze may last, if it has an end."""


def problem_of(record: Record) -> str:
    """Given a record, return in words what is wrong with it; empty if nothing is."""
    kinds = [word for word in _KINDS if word in record]
    if not kinds:
        return ""
    if len(kinds) > 1:
        return f"it is of several kinds at once ({', '.join(kinds)})"
    required, optional = _KINDS[kinds[0]](record)
    return _first_problem(record, required, optional)


def is_time(value: Any) -> bool:
    """Return whether it is seconds since the epoch of which a date can be written."""
    return _is_number(value, (int, float)) and 0 <= value <= _MAX_SECONDS


def is_vmid(value: Any) -> bool:
    """Return whether it can be a guest's number."""
    return _is_number(value, int) and 100 <= value <= 999_999_999


def is_said(value: Any) -> bool:
    """Return whether it is one line, short enough, of what a person says."""
    return isinstance(value, str) and len(value) <= _MAX_SAID and value.isprintable()


def _first_problem(
    record: Record, required: Mapping[str, _Check], optional: Mapping[str, _Check]
) -> str:
    for key in required:
        if key not in record:
            return f"it has no {key}"
    for key, check in {**optional, **required}.items():
        if key in record and not check(record[key]):
            return f"its {key} is not to be understood: {_shown(record[key])}"
    return ""


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: Any, types: type | tuple[type, ...]) -> TypeGuard[float]:
    return isinstance(value, types) and not isinstance(value, bool)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_id(value: object) -> bool:
    """Whether it is the milliseconds of a time, as many digits as every other: ids sort by them."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        return False
    return is_time(int(value, 16) / 1000)


def _is_moment(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        found = datetime.fromisoformat(value)
        return found.tzinfo is not None and is_time(found.timestamp())
    except (ValueError, OverflowError):
        return False


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME and value.isprintable()


def _is_wanted(value: object) -> bool:
    return isinstance(value, dict) and all(v is None or isinstance(v, str) for v in value.values())


def _one_of(words: frozenset[str]) -> _Check:
    return lambda value: isinstance(value, str) and value in words


_STATE = {"op": _is_id, "state": _one_of(frozenset(State))}
_INTENT: Mapping[str, _Check] = {
    "vmid": is_vmid,
    "kind": _one_of(frozenset(Kind)),
    "action": _one_of(
        frozenset(action.__name__ for action in get_args(Action) + get_args(Irreversible))
    ),
    "text": _is_text,
    "begun": _is_moment,
}
_MORE: Mapping[str, _Check] = {
    **_INTENT,
    "wanted": _is_wanted,
    "key": _is_text,
    "expires": is_time,
    "upid": _is_text,
    "ended": _is_moment,
    "why": _is_text,
    "untouched": _is_flag,
    "restart": _is_flag,
    "name": _is_name,
}

_Shape = tuple[Mapping[str, _Check], Mapping[str, _Check]]


def _step(record: Record) -> _Shape:
    """Return what a step of an operation must have, and what it may have."""
    state = record.get("state")
    needs: dict[str, _Check] = dict(_STATE)
    # Whatever names the guest is enough for a replay to make an operation of it.
    if state == State.INTENT or "vmid" in record:
        needs |= _INTENT
    if state == State.TASK:
        needs["upid"] = _is_text
    elif isinstance(state, str) and state not in IN_FLIGHT:
        needs["ended"] = _is_moment
    return needs, _MORE


_IDENTITY: _Shape = (
    {"guest": is_vmid, "identity": _is_text},
    {"born": lambda value: _is_number(value, int) and is_time(value), "gone": _is_flag},
)
_MARK: _Shape = {"mark": _is_id, "forgotten": is_time}, {}

_SUSPENDED: Mapping[str, _Check] = {
    "suspend": lambda value: _is_number(value, int) and (value == 0 or is_vmid(value)),
    "freeze": _is_flag,
    "by": is_said,
}
_BEGUN: Mapping[str, _Check] = {
    "since": is_time,
    "left": lambda value: value is None or _is_seconds(value, MAX_SUSPENSION),
    "why": is_said,
    "wall": is_time,
    "boottime": lambda value: _is_seconds(value, _MAX_SECONDS),
    "boot": is_said,
}


def _is_seconds(value: Any, highest: float) -> bool:
    return _is_number(value, (int, float)) and 0 <= value <= highest


def _suspension(record: Record) -> _Shape:
    """Return what a pause, a freeze or the end of one must have."""
    needs = {**_SUSPENDED, **({"ended": is_time} if "ended" in record else _BEGUN)}
    if record.get("freeze") is True:
        # A freeze is of the whole host.
        needs["suspend"] = lambda value: _is_number(value, int) and value == 0
    return needs, {"declared": is_said}


_HASH = re.compile(r"[0-9a-f]{64}")
_NONCE = re.compile(r"[0-9a-f]{32}")


def _matches(pattern: re.Pattern[str], *, or_empty: bool = False) -> _Check:
    return lambda value: (
        isinstance(value, str)
        and ((or_empty and not value) or pattern.fullmatch(value) is not None)
    )


_SIGNED: Mapping[str, Mapping[str, _Check]] = {
    "time": {"at": is_time},
    "challenge": {
        "id": _matches(_NONCE),
        "vmid": is_vmid,
        "act": _is_name,
        "wall": is_time,
        "boottime": lambda value: _is_seconds(value, _MAX_SECONDS),
        "boot": is_said,
    },
    "nonce": {
        "nonce": _matches(_NONCE),
        "blob": _matches(_HASH),
        "until": is_time,
        "at": is_time,
        "challenge": _matches(_NONCE, or_empty=True),
        "entry": lambda value: _is_number(value, int) and value > 0,
        "head": _matches(_HASH),
    },
    "signers": {
        "version": lambda value: _is_number(value, int) and value > 0,
        "blob": _matches(_HASH, or_empty=True),
        "at": is_time,
    },
    "revoked": {"blob": _matches(_HASH), "at": is_time},
    "forgotten": {"blob": _matches(_HASH), "at": is_time},
    "audit": {"at": is_time},
}


def _signed(record: Record) -> _Shape:
    """Return what a fact on signed operations must have, by its kind."""
    kind = record["signed"]
    known = _SIGNED.get(kind, {}) if isinstance(kind, str) else {}
    return {"signed": _one_of(frozenset(_SIGNED)), **known}, {}


_KINDS: Mapping[str, Callable[[Record], _Shape]] = {
    "op": _step,
    "identity": lambda _: _IDENTITY,
    "suspend": _suspension,
    "signed": _signed,
    "mark": lambda _: _MARK,
}
