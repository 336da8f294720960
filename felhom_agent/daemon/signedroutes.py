"""The routes of the control socket for signed operations: a request to be signed, a job handed in,
how it stands, and what each stage of the examination finds.

Whoever may open the socket as root may bring a job; what counts is the signature. The bytes come in
base64, so that they arrive as they were signed. `request`, `job` and `verify` in docs/control
are the schemas.

Threads: handlers run on threads of the server, and ask PVE and ssh-keygen there; every wait in that
has its own deadline.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.canonical import MAX_BYTES
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.form import is_plain
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.jobs import JobStatus
from felhom_agent.authz.refusals import OperationRefused, WrongGuest, WrongParameters, WrongRole
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.daemon.controlanswers import tell
from felhom_agent.daemon.controlview import Access
from felhom_agent.daemon.signing import Ready, SigningUnusable
from felhom_agent.errors import FelhomError, JobRefused, JournalError, Unchanged
from felhom_agent.printable import moment_text
from felhom_agent.service.control import ControlAnswer
from felhom_agent.service.request import ControlError

REQUEST: Final = ("act",)
REQUEST_MORE: Final = ("vmid", "params", "stop", "resume")
JOB: Final = ("job", "signatures")

_SOURCE: Final = "socket"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[a-z_]{1,40}")
_MAX_PARAMS: Final = 8
# PVE: pve-common JSONSchema.pm pve_verify_vmid
_VMIDS: Final = range(100, 1_000_000_000)


def request(access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
    """Given an act on a guest, or on the host, answer what is to be signed. Raise ControlError if
    it could not be done.
    """
    act, vmid = given["act"], given.get("vmid")
    if not isinstance(act, str) or not _WORD.fullmatch(act):
        raise ControlError(400, "act: must be the name of a class of acts")
    if act in HOST_ACTS:
        return _request_for_host(access, act, given, by)
    if "vmid" not in given:
        raise ControlError(400, "missing: vmid")
    if type(vmid) is not int or vmid not in _VMIDS:
        raise ControlError(400, "vmid: must be one from 100 to 999999999")
    params, stop, resume = _params(given), _flag(given, "stop"), _flag(given, "resume")
    ready = _ready(access)
    try:
        made = ready.request(act, vmid, params, stop=stop, resume=resume)
    except FelhomError as error:
        raise _refusal(error) from None
    tell(f"a request to sign was made: {made.operation.act} of {made.operation.guest}", by)
    return ControlAnswer(200, {"schema": 1, "request": made.encode().decode("utf-8")})


def _request_for_host(access: Access, act: str, given: dict[str, Any], by: str) -> ControlAnswer:
    params = given.get("params", {})
    if not isinstance(params, dict) or len(params) > _MAX_PARAMS:
        raise ControlError(400, f"params: must be an object of at most {_MAX_PARAMS} values")
    if any(given.get(name) for name in ("vmid", "stop", "resume")):
        raise ControlError(400, f"{act} is done to the host: no vmid, no stop, no resume")
    try:
        made = _ready(access).request_for_host(act, params)
    except FelhomError as error:
        raise _refusal(error) from None
    tell(f"a request to sign was made: {act} of this host", by)
    return ControlAnswer(200, {"schema": 1, "request": made.encode().decode("utf-8")})


def submit(access: Access, given: dict[str, Any], _by: str) -> ControlAnswer:
    """Given a signed job, take it in; answer how it stands. Raise ControlError if it cannot be
    examined now.
    """
    ready, job = _ready(access), _job(given)
    try:
        return ControlAnswer(202, _shown(ready.jobs.submit(job)))
    except FelhomError as error:
        raise _refusal(error) from None


def job(access: Access, given: dict[str, Any], _by: str) -> ControlAnswer:
    """Given a job's hash, answer how it stands. Raise ControlError if it is not known."""
    hash_ = str(given["job"])
    if not _HASH.fullmatch(hash_):
        raise ControlError(400, "job: must be the SHA-256 of the signed bytes, as 64 hex digits")
    status = _ready(access).jobs.status(hash_)
    if status is None:
        raise ControlError(404, "there is no such job")
    return ControlAnswer(200, _shown(status))


def verify(access: Access, given: dict[str, Any], _by: str) -> ControlAnswer:
    """Given a signed job, answer what each stage of the examination finds. Raise ControlError if
    the guest cannot be looked at.
    """
    ready, found = _ready(access), _job(given)
    try:
        report = ready.verify(found)
    except FelhomError as error:
        raise _refusal(error) from None
    stages = [
        {
            "stage": each.stage.name,
            "attack": each.stage.attack,
            "passed": each.passed,
            "text": each.text,
        }
        for each in report
    ]
    return ControlAnswer(200, {"schema": 1, "stages": stages})


def _ready(access: Access) -> Ready:
    try:
        return access.signing.parts
    except SigningUnusable as error:
        raise ControlError(503, str(error)) from None


def _refusal(error: FelhomError) -> ControlError:
    """Return what an error means to a client of the socket."""
    text = str(error)
    if error.temporary or isinstance(error, JournalError | Unchanged):
        return ControlError(503, text)
    if isinstance(error, WrongGuest):
        return ControlError(404, text)
    if isinstance(error, WrongParameters | WrongRole):
        return ControlError(400, text)
    if isinstance(error, OperationRefused | JobRefused):
        return ControlError(409, text)
    return ControlError(503, text)


def _shown(status: JobStatus) -> dict[str, Any]:
    return {
        "schema": 1,
        "job": status.job,
        "act": status.act,
        "vmid": status.vmid or None,
        "name": status.name,
        "state": str(status.state),
        "stage": status.stage,
        "why": status.why,
        "upid": status.upid,
        "at": moment_text(status.at),
    }


def _job(given: dict[str, Any]) -> SignedJob:
    signatures = given["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise ControlError(400, f"signatures: must be a list of 1 to {MAX_SIGNATURES} texts")
    return SignedJob(
        _bytes(given["job"], "job", MAX_BYTES),
        tuple(_bytes(each, "signatures", MAX_ARMOR) for each in signatures),
        _SOURCE,
    )


def _bytes(value: object, name: str, longest: int) -> bytes:
    """Return what came in base64, one byte more than is allowed at most."""
    if not isinstance(value, str):
        raise ControlError(400, f"{name}: must be a text in base64")
    try:
        # What is longer is refused by the examination, whatever more of it there is.
        return base64.b64decode(value, validate=True)[: longest + 1]
    except (binascii.Error, ValueError):
        raise ControlError(400, f"{name}: must be a text in base64") from None


def _params(given: dict[str, Any]) -> dict[str, str | bool]:
    params = given.get("params", {})
    if not isinstance(params, dict) or len(params) > _MAX_PARAMS:
        raise ControlError(400, f"params: must be an object of at most {_MAX_PARAMS} values")
    for name, value in params.items():
        if not _WORD.fullmatch(name) or not (isinstance(value, bool) or is_plain(value, 200)):
            raise ControlError(400, "params: each is true, false, or one line of text")
    return params


def _flag(given: dict[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise ControlError(400, f"{name}: must be true or false")
    return value
