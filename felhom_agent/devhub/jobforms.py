"""The forms of a host's page about signed jobs, and the file of a request.

A browser sends the line ends of a textarea as CR LF. In an armored signature they are LF again. The
job is one line, and is kept byte for byte: its signatures are over those bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from felhom_agent.devhub.call import Call, Refusal, Reply, read_object
from felhom_agent.devhub.envelope import GUEST_ACTS, MAX_SIGNATURES, Malformed, refuse_malformed
from felhom_agent.devhub.jobs import NoSuchJob, TooMany
from felhom_agent.devhub.markup import Wrong
from felhom_agent.devhub.operatorside import back, page_reply

_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----\n"
_END: Final = "\n-----END SSH SIGNATURE-----"
_PARAM_OF: Final[Mapping[str, str]] = {
    "snapshot_rollback": "snapshot", "snapshot_delete": "snapshot", "disk_detach": "key"
}  # fmt: skip
"""The act's parameter that the form has as `what`."""


def ask(call: Call, host_id: str) -> Reply:
    """Put a request in: the agent shall compose what is to be signed."""
    call.operator_of(host_id)
    form = call.own_form("act", "vmid", "what", "purge", "stop", "resume", "params")

    def put_in() -> None:
        envelope = {"job_id": f"ask-{secrets.token_hex(8)}", "request": request_of(form)}
        refuse_malformed(envelope)
        call.hub.store.enqueue(host_id, envelope, call.hub.clock())

    return _followed(call, host_id, put_in, "ask", form)


def put(call: Call, host_id: str) -> Reply:
    """Put a signed job in, to be delivered or to be held, perhaps as the answer to a request."""
    call.operator_of(host_id)
    form = call.own_form("job", "signatures", "hold", "request", "job_id")

    def put_in() -> None:
        envelope = job_of(form)
        refuse_malformed(envelope)
        call.hub.store.enqueue(
            host_id, envelope, call.hub.clock(),
            held=bool(form["hold"]), answers=form["request"],
        )  # fmt: skip

    return _followed(call, host_id, put_in, "put", form)


def change(call: Call, host_id: str, word: str) -> Reply:
    """Hold, deliver or drop an open job."""
    call.operator_of(host_id)
    form, store = call.own_form("job_id"), call.hub.store
    job_id = form["job_id"]

    def do() -> None:
        if word == "drop":
            store.drop_job(host_id, job_id)
        else:
            store.hold_job(host_id, job_id, held=word == "hold")

    return _followed(call, host_id, do, "jobs", form)


def seen(call: Call, host_id: str) -> Reply:
    """Note that a person has seen which signers root provided."""
    call.operator_of(host_id)
    version = call.own_form("version")["version"]
    if not re.fullmatch(r"[0-9]{1,16}", version):
        raise Refusal(400, "version must be a whole number")
    call.hub.store.see_signers(host_id, int(version))
    return back(host_id, "#jobs")


def request_file(call: Call, host_id: str, job_id: str) -> Reply:
    """Return a request's text as a file, as the host's latest report has it."""
    host = call.operator_of(host_id)
    for pending in host.signing.pending:
        if pending.job_id == job_id:
            name = f"{file_name(job_id)}.request"
            return Reply(
                pending.request.encode(),
                headers={"Content-Disposition": f'attachment; filename="{name}"'},
            )
    raise Refusal(404, "the host's latest report has no such request")


def file_name(job_id: str) -> str:
    """Given a job's id, return it as a name that is one in every file system."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:100]


def request_of(form: Mapping[str, str]) -> dict[str, Any]:
    """Given what a person asks for, return it as a request. Raise Malformed if it cannot be one."""
    act, vmid, what = form["act"], form["vmid"].strip(), form["what"].strip()
    try:
        params = read_object(form["params"]) if form["params"].strip() else {}
    except ValueError as error:
        raise Malformed(f"the further parameters are {error}") from None
    if act in _PARAM_OF:
        params[_PARAM_OF[act]] = what
    elif what:
        raise Malformed("this act takes no snapshot or disk key")
    if act == "guest_destroy":
        params["purge"] = bool(form["purge"])
    elif form["purge"]:
        raise Malformed("only a guest that is destroyed can be purged")
    found: dict[str, Any] = {"act": act, "params": params}
    if vmid or act in GUEST_ACTS:
        found["vmid"] = int(vmid) if re.fullmatch(r"[0-9]{1,9}", vmid) else vmid
    return found | {key: True for key in ("stop", "resume") if form[key]}


def job_of(form: Mapping[str, str]) -> dict[str, Any]:
    """Given the texts of a job and of its signatures, return its envelope; without an id of its own
    it has the SHA-256 of its bytes. Raise Malformed if they are none.
    """
    text = form["job"].strip("\r\n")
    if not _is_canonical(text):
        raise Malformed("the job is not the one line of the file that was signed")
    data = text.encode()
    return {
        "job_id": form["job_id"] or hashlib.sha256(data).hexdigest(),
        "op_blob_b64": base64.b64encode(data).decode(),
        "sigs_armored": signatures_of(form["signatures"]),
    }


def signatures_of(text: str) -> list[str]:
    """Given armored signatures one after the other, return each, with line ends as OpenSSH writes
    them. Raise Malformed if there is none, or anything else between them.
    """
    rest = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    found: list[str] = []
    while rest and len(found) <= MAX_SIGNATURES:
        body, end, rest = rest.partition(_END)
        if not end or not body.startswith(_BEGIN) or _BEGIN in body[1:]:
            raise Malformed(
                f"signature {len(found) + 1} does not go from its BEGIN line to its END line"
            )
        found.append(f"{body}{end}\n")
        rest = rest.lstrip()
    if not 1 <= len(found) <= MAX_SIGNATURES:
        raise Malformed(f"there must be 1 to {MAX_SIGNATURES} signatures")
    return found


def _is_canonical(text: str) -> bool:
    """Return whether it is a JSON object in the one form in which bytes are signed."""
    try:
        found = json.loads(text)
        same = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and same


def _followed(
    call: Call, host_id: str, do: Callable[[], None], form: str, typed: Mapping[str, str]
) -> Reply:
    """Do what a form asks for, and return to the page; or show there what is wrong with it."""
    try:
        do()
    except (Malformed, NoSuchJob, TooMany) as error:
        return page_reply(call, host_id, Wrong(form, f"This was not done: {error}", typed))
    return back(host_id, "#jobs")
