"""A hub's list of jobs, row by row: a signed job, a request to be composed, or an odd row.

All of it is hostile. A row is read by itself, within bounds, and an odd one costs itself. Nothing
of a signed job is believed or parsed here: its bytes and signatures are only unpacked.

    {"job_id": "...", "op_blob_b64": "...", "sigs_armored": ["..."]}
    {"job_id": "...", "request": {"act": "...", "vmid": 101, "params": {}, "stop": true}}

Other keys of a row are ignored. Other keys of a request make it odd: they would ask for something
that is not composed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.canonical import MAX_BYTES, is_integer
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.errors import FelhomError
from felhom_agent.hub.report import plain

MAX_ROWS: Final = 100
"""How many rows of a list are looked at."""
MAX_ID: Final = 200
"""How many characters a job_id may have."""
NO_ID: Final = "(none)"
"""What a row is called that has no job_id."""

_MAX_PARAMS: Final = 20
_MAX_LINES: Final = 100
_MAX_VMID: Final = 999_999_999
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WANTED: Final = frozenset({"act", "vmid", "params", "stop", "resume"})


@dataclass(frozen=True)
class JobRow:
    """A signed job: the bytes that are said to be signed, and the armored signatures."""

    job_id: str
    blob: bytes
    signatures: tuple[bytes, ...]


@dataclass(frozen=True)
class RequestRow:
    """A request: the act, the guest, the parameters; what was left out is false, and `vmid` is
    there only if it was.
    """

    job_id: str
    wanted: Mapping[str, object]


@dataclass(frozen=True)
class OddRow:
    """A row that is none, and why; `named` tells that its job_id is good, and is no other row's.
    Otherwise there is nothing to acknowledge, and `job_id` is what of it can be shown.
    """

    job_id: str
    why: str
    named: bool = False


Row = JobRow | RequestRow | OddRow


@dataclass(frozen=True)
class JobList:
    """The rows of a list, and how many more it had."""

    rows: tuple[Row, ...]
    left_off: int = 0


class _Odd(Exception):
    """A row is not what the contract says; the text says in what."""


def rows_of(body: object) -> JobList:
    """Given an answer's JSON, return its rows. Raise FelhomError if it has no list."""
    jobs = body.get("jobs") if isinstance(body, dict) else None
    if not isinstance(jobs, list):
        raise FelhomError("there is none in its answer")
    rows: list[Row] = []
    known: set[str] = set()
    for row in map(_row, jobs[:MAX_ROWS]):
        if not is_named(row):
            rows.append(row)
        elif row.job_id in known:
            rows.append(OddRow(row.job_id, "its job_id is another job's in the same list"))
        else:
            known.add(row.job_id)
            rows.append(row)
    return JobList(tuple(rows), len(jobs) - len(rows))


def is_named(row: Row) -> bool:
    """Return whether a row can be acknowledged by its job_id."""
    return not isinstance(row, OddRow) or row.named


def _row(row: object) -> Row:
    if not isinstance(row, dict):
        return OddRow(NO_ID, "it is no object")
    job_id = row.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        return OddRow(NO_ID, "it has no job_id")
    if len(job_id) > MAX_ID:
        return OddRow(plain(job_id, MAX_ID), f"its job_id is longer than {MAX_ID} characters")
    # A path ends in the job_id where it is acknowledged: dots alone would name another one.
    if not job_id.isprintable() or job_id in (".", ".."):
        return OddRow(plain(job_id), "its job_id cannot be written in a line or a path")
    try:
        return _read(job_id, row)
    except _Odd as error:
        return OddRow(job_id, str(error), named=True)


def _read(job_id: str, row: Mapping[str, Any]) -> JobRow | RequestRow:
    is_job, is_request = "op_blob_b64" in row, "request" in row
    if is_job and is_request:
        raise _Odd("it is a signed job and a request at once")
    if is_request:
        return RequestRow(job_id, _wanted(row["request"]))
    if not is_job:
        raise _Odd("it is neither a signed job nor a request")
    return JobRow(job_id, _blob(row["op_blob_b64"]), _signatures(row.get("sigs_armored")))


def _blob(text: object) -> bytes:
    if not isinstance(text, str) or not text:
        raise _Odd("its op_blob_b64 is no text")
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Odd("its op_blob_b64 is no base64") from None
    if base64.b64encode(blob).decode("ascii") != text:
        raise _Odd("its op_blob_b64 says more than its bytes")
    if len(blob) > MAX_BYTES:
        raise _Odd(f"its op_blob_b64 holds more than {MAX_BYTES} bytes")
    return blob


def _signatures(armored: object) -> tuple[bytes, ...]:
    if not isinstance(armored, list) or not 1 <= len(armored) <= MAX_SIGNATURES:
        raise _Odd(f"its sigs_armored is no list of 1 to {MAX_SIGNATURES}")
    return tuple(_signature(each) for each in armored)


def _signature(text: object) -> bytes:
    if not isinstance(text, str) or not text or not text.isascii():
        raise _Odd("one of its signatures is no text of ASCII")
    if len(text) > MAX_ARMOR:
        raise _Odd(f"one of its signatures has more than {MAX_ARMOR} bytes")
    return text.encode("ascii")


def _wanted(request: object) -> dict[str, object]:
    if not isinstance(request, dict):
        raise _Odd("its request is no object")
    if not request.keys() <= _WANTED:
        raise _Odd("its request says what this version does not know")
    act, vmid = request.get("act"), request.get("vmid")
    if not _is_name(act):
        raise _Odd("its act is no name of one")
    if "vmid" in request and not is_integer(vmid, 100, _MAX_VMID):
        raise _Odd("its vmid is none")
    for word in ("stop", "resume"):
        if not isinstance(request.get(word, False), bool):
            raise _Odd(f"its {word} is not true or false")
    found = {
        "act": act, "params": _params(request.get("params")),
        "stop": request.get("stop", False), "resume": request.get("resume", False),
    }  # fmt: skip
    return {**found, "vmid": vmid} if "vmid" in request else found


def _params(params: object) -> dict[str, Any]:
    if not isinstance(params, dict) or len(params) > _MAX_PARAMS:
        raise _Odd(f"its params are no object of {_MAX_PARAMS} at most")
    if not all(_is_name(name) for name in params):
        raise _Odd("one of its params has a name that is none")
    if not all(map(_is_param, params.values())):
        raise _Odd("one of its params is no text, no list of texts, no true or false, no number")
    if sum(map(_length, params.values())) > MAX_BYTES:
        raise _Odd(f"its params have more than {MAX_BYTES} characters")
    return params


def _is_param(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= _MAX_LINES and all(isinstance(each, str) for each in value)
    return isinstance(value, (str, bool)) or is_integer(value)


def _length(value: object) -> int:
    if isinstance(value, list):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(_NAME.fullmatch(value))
