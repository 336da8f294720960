"""What PVE's answers mean: from status, reason phrase and body to the error tree.

PVE answers 500 to nearly everything that is not a matter of parameters or rights, so the words
decide; each phrase below was recorded from the real API. A phrase that is not known to mean
"nothing was done" makes a write's outcome unknown, since a 500 may follow after the file was
written (recorded: 13-lxc-roundtrip-root/006).
"""

from __future__ import annotations

import re

import requests

from felhom_agent.errors import (
    Busy,
    Denied,
    Missing,
    NotSent,
    OutcomeUnknown,
    PveError,
    Rejected,
    Stale,
    Unanswered,
)

_PERMISSION = re.compile(
    r"Permission check failed(?: \((?P<path>[^,()]+), (?P<privilege>[^()]+)\))?"
)
_BUSY = re.compile(
    r"can't lock file '[^']*' - got timeout|got no worker upid|trying to acquire.*lock"
)
_STALE = re.compile(r"checksum mismatch \(file change by other user\?\)|detected modified config")
_MISSING = re.compile(
    r"Configuration file '[^']*' does not exist|unable to find configuration file for|no such task"
)
_ALREADY = re.compile(r"^(?:VM|CT) \d+ (?:already|not) running")
# Nothing was done, and the next time may be different.
_NOT_NOW = re.compile(r" is locked \(|^(?:VM|CT) \d+ (?:already|not) running|^hostname lookup '")
# Nothing was done, and nothing will be as long as the same is asked for.
_NEVER = re.compile(
    r"only root can|is only allowed for root|unable to modify read-only|"
    r"unable to delete required|no options specified|balloon value too large|invalid bootorder|"
    r"^Method '"
)
# PVE wrote it, or a part of it, and then could not bring it into effect
# (recorded: 100-snapshots-qemu/237-238, 121-disks-lxc/072).
_HALF_DONE = re.compile(r"unable to (?:apply pending change|hotplug)")
# The handshake ended before a request could be sent. Any other failure of TLS may come later.
_NO_TRUST = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|ingerprints did not match|WRONG_VERSION_NUMBER|"
    r"NO_CERTIFICATE_OR_CRL_FOUND|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE|doesn't match|"
    r"Hostname mismatch"
)
_PROXY = range(595, 600)


def error_of(call: str, response: requests.Response) -> PveError:
    """Given an answer that is not a success, return what it means."""
    status, text = response.status_code, (response.reason or "").strip()
    writes = not call.startswith("GET ")
    if 300 <= status < 400:
        return _unusable(call, status, "answered with a redirect, which PVE never does", writes)
    if status == 401:
        return Denied(f"the API token was not accepted: {text}", call=call, status=status)
    if status == 403:
        return _denied(call, text)
    if status == 400:
        return _parameters(call, text, response)
    if status in _PROXY or status < 500:
        return _unusable(call, status, f"the API's proxy says {status} {text}".strip(), writes)
    return _by_words(call, status, text, writes)


def by_words(text: str) -> type[PveError] | None:
    """Given PVE's words, of an answer or of a task's end, return the error they stand for."""
    for pattern, error in ((_BUSY, Busy), (_STALE, Stale), (_MISSING, Missing)):
        if pattern.search(text):
            return error
    return None


def already_there(text: str) -> bool:
    """Return whether PVE's words say that a guest is already in the state it shall be in.

    An answer of LXC, a task's end of QEMU (recorded: 41-tasks-lxc/001-010, 40-tasks-qemu/024).
    """
    return _ALREADY.search(text) is not None


def error_without_answer(call: str, error: requests.RequestException, endpoint: str) -> PveError:
    """Given what befell a request that got no answer, return what it means.

    The exception's own text may hold the request; only its kind is passed on.
    """
    if isinstance(error, requests.exceptions.SSLError) and _NO_TRUST.search(str(error)):
        return NotSent(f"{endpoint} is not trusted: {_tls_words(error)}", call=call)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return NotSent(f"{endpoint} does not accept a connection in time", call=call)
    if isinstance(error, requests.exceptions.ConnectionError) and _never_connected(error):
        return NotSent(f"{endpoint} cannot be reached: {_reason(error)}", call=call)
    timeout = isinstance(error, requests.exceptions.Timeout)
    words = f"{endpoint} gave no answer in time" if timeout else f"{endpoint} broke the connection"
    return _unusable(call, 0, words, not call.startswith("GET "))


def not_json(call: str) -> PveError:
    """Return what it means that an answer claims success, but is not PVE's."""
    return _unusable(call, 200, "the answer is not PVE's JSON", not call.startswith("GET "))


def _unusable(call: str, status: int, text: str, writes: bool) -> PveError:
    cls = OutcomeUnknown if writes else Unanswered
    return cls(text, call=call, status=status)


def _denied(call: str, text: str) -> Denied:
    found = _PERMISSION.search(text)
    path, privilege = (found["path"] or "", found["privilege"] or "") if found else ("", "")
    return Denied(text, call=call, status=403, path=path, privilege=privilege)


def _parameters(call: str, text: str, response: requests.Response) -> PveError:
    try:
        said = response.json().get("errors")
    except (ValueError, AttributeError, RecursionError):
        said = None
    known = said if isinstance(said, dict) else {}
    errors = {str(k): str(v).strip() for k, v in known.items()}
    if "no such task" in errors.values():
        return Missing("no such task", call=call, status=400)
    words = "; ".join(f"{k}: {v}" for k, v in errors.items()) or text
    if _HALF_DONE.search(words) and not call.startswith("GET "):
        return OutcomeUnknown(words, call=call, status=400)
    return Rejected(words, call=call, status=400, errors=errors, final=True)


def _by_words(call: str, status: int, text: str, writes: bool) -> PveError:
    if known := by_words(text):
        return known(text, call=call, status=status)
    if _NEVER.search(text):
        return Rejected(text, call=call, status=status, final=True)
    if _NOT_NOW.search(text) or not writes:
        return Rejected(text or f"status {status}", call=call, status=status)
    return OutcomeUnknown(text or f"status {status}", call=call, status=status)


def _never_connected(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError")


def _reason(error: requests.ConnectionError) -> str:
    text = str(getattr(error.args[0], "reason", error))
    return text.rpartition(": ")[2].strip(" )'\"") or "no connection"


def _tls_words(error: requests.exceptions.SSLError) -> str:
    text = str(error)
    if "ingerprints did not match" in text:
        return "its certificate has another fingerprint than the configured one"
    found = re.search(r"certificate verify failed: ([^(\n]+)", text)
    return found[1].strip() if found else "the TLS handshake failed"
