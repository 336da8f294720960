"""What may be put into a host's list of jobs, exactly: a signed job, or a request to compose one.

    {"job_id": "...", "op_blob_b64": "...", "sigs_armored": ["...", ...]}
    {"job_id": "...", "request": {"act": "...", "vmid": 101, "params": {...}, "stop": false,
                                  "resume": false}}

`vmid` is there for an act on a guest and for no other; `stop` and `resume` may be absent. Only the
form is judged here: whether a signature is good, and whether an act can be done, the host decides.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from felhom_agent.devhub.plain import is_plain, is_whole, plain
from felhom_agent.devhub.said import LONGEST_JOB_ID, is_job_id

GUEST_ACTS: Final = (
    "guest_destroy", "snapshot_rollback", "snapshot_delete", "force_stop", "disk_detach"
)  # fmt: skip
HOST_ACTS: Final = ("thaw", "key_rotation", "key_revocation")
MAX_JOB_BYTES: Final = 65_536
MAX_SIGNATURES: Final = 8
LONGEST_SIGNATURE: Final = 16_384
MAX_PARAMS: Final = 20
LONGEST_PARAM: Final = 16_384

_PARAM: Final = re.compile(r"[a-z][a-z_]{0,39}")
_VMIDS: Final = (100, 999_999_999)


class Malformed(ValueError):
    """What was put in is not of the form; the text is one printable line."""


def refuse_malformed(envelope: Mapping[str, Any]) -> None:
    """Given an envelope that is to be kept, raise Malformed if it is neither a signed job nor a
    request.
    """
    if not is_job_id(envelope.get("job_id")):
        raise Malformed(
            f"job_id must be a text of 1 to {LONGEST_JOB_ID} printable characters, not . or .."
        )
    if "request" in envelope:
        _refuse_keys(envelope, {"job_id", "request"}, set(), "a request")
        _refuse_request(envelope["request"])
    else:
        _refuse_keys(envelope, {"job_id", "op_blob_b64", "sigs_armored"}, set(), "a signed job")
        _refuse_blob(envelope["op_blob_b64"])
        _refuse_signatures(envelope["sigs_armored"])


def _refuse_keys(
    found: Mapping[str, Any], wanted: set[str], optional: set[str], whose: str
) -> None:
    """Raise Malformed unless it has exactly the keys that are wanted, and of the optional ones
    any.
    """
    for key in found:
        if key not in wanted | optional:
            raise Malformed(f"{whose} has no {plain(key, 60)!r}")
    for key in sorted(wanted - found.keys()):
        raise Malformed(f"{whose} needs {key}")


def _refuse_blob(text: object) -> None:
    if not isinstance(text, str):
        raise Malformed("op_blob_b64 must be a text")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed("op_blob_b64 is no base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed("op_blob_b64 is no base64 in its one form")
    if not 1 <= len(data) <= MAX_JOB_BYTES:
        raise Malformed(f"op_blob_b64 must hold 1 to {MAX_JOB_BYTES} bytes, it holds {len(data)}")


def _refuse_signatures(found: object) -> None:
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_SIGNATURES:
        raise Malformed(f"sigs_armored must be a list of 1 to {MAX_SIGNATURES} signatures")
    for number, each in enumerate(found, 1):
        if not isinstance(each, str) or not 1 <= len(each) <= LONGEST_SIGNATURE:
            raise Malformed(
                f"signature {number} must be a text of 1 to {LONGEST_SIGNATURE} characters"
            )


def _refuse_request(found: object) -> None:
    if not isinstance(found, dict):
        raise Malformed("request must be an object")
    act = found.get("act")
    if not isinstance(act, str) or act not in GUEST_ACTS + HOST_ACTS:
        raise Malformed(f"act must be one of {', '.join(GUEST_ACTS + HOST_ACTS)}")
    wanted = {"act", "params"} | ({"vmid"} if act in GUEST_ACTS else set())
    _refuse_keys(found, wanted, {"stop", "resume"}, f"a request for {act}")
    if "vmid" in wanted and not is_whole(found["vmid"], *_VMIDS):
        raise Malformed(f"vmid must be a whole number from {_VMIDS[0]} to {_VMIDS[1]}")
    for key in ("stop", "resume"):
        if not isinstance(found.get(key, False), bool):
            raise Malformed(f"{key} must be true or false")
    _refuse_params(found["params"])


def _refuse_params(found: object) -> None:
    if not isinstance(found, dict) or len(found) > MAX_PARAMS:
        raise Malformed(f"params must be an object of {MAX_PARAMS} parameters at most")
    for name, value in found.items():
        if not _PARAM.fullmatch(name):
            raise Malformed(f"{plain(name, 60)!r} is no parameter's name")
        whole = is_whole(value, -(2**53) + 1)
        if not isinstance(value, bool) and not whole and not is_plain(value, LONGEST_PARAM):
            raise Malformed(
                f"the parameter {name} must be true, false, a whole number or a text of 1 to "
                f"{LONGEST_PARAM} printable characters"
            )
