"""Every recorded failure of the real API, and what it means.

The rows are method, status, reason phrase and body as PVE answered (`calls/` of the recordings).
"""

from __future__ import annotations

import json

import pytest
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
from felhom_agent.proxmox import answers

QEMU_LOCK = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
LXC_LOCK = "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout"
NO_FILE = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
BAD = "Parameter verification failed."


def answer(status: int, reason: str, errors: dict[str, str] | None = None) -> requests.Response:
    response = requests.Response()
    response.status_code, response.reason = status, reason
    body = {"data": None, "message": reason + "\n", **({"errors": errors} if errors else {})}
    response._content = json.dumps(body).encode()
    return response


@pytest.mark.parametrize(
    ("method", "status", "reason", "meaning"),
    [
        ("PUT", 500, QEMU_LOCK, Busy),
        ("PUT", 500, LXC_LOCK, Busy),
        ("POST", 500, "got no worker upid - start worker failed", Busy),
        ("PUT", 500, "checksum mismatch (file change by other user?)", Stale),
        (
            "PUT",
            500,
            "detected modified configuration - file changed by other user? Try again.",
            Stale,
        ),
        ("GET", 500, NO_FILE, Missing),
        ("PUT", 500, NO_FILE, Missing),
        ("PUT", 500, "VM is locked (backup)", Rejected),
        ("PUT", 500, "CT is locked (backup)", Rejected),
        ("POST", 500, "CT 200 already running", Rejected),
        ("POST", 500, "CT 200 not running", Rejected),
        ("PUT", 500, "only root can set 'args' config", Rejected),
        ("PUT", 500, "unable to delete required option 'memory'", Rejected),
        ("PUT", 500, "no options specified", Rejected),
        ("POST", 501, "Method 'POST /nodes/pve1/lxc/200/config' not implemented", Rejected),
        # recorded: 13-lxc-roundtrip-root/006; the file had been written
        ("PUT", 500, "bridge 'vmbr0' does not exist", OutcomeUnknown),
        ("GET", 500, "bridge 'vmbr0' does not exist", Rejected),
        ("PUT", 595, "Connection refused", OutcomeUnknown),
        ("GET", 595, "Connection refused", Unanswered),
        ("PUT", 596, "Broken pipe", OutcomeUnknown),
        ("PUT", 599, "", OutcomeUnknown),
        ("GET", 401, "Authentication failed!", Denied),
        ("GET", 403, "Permission check failed (/vms/100, VM.Audit)", Denied),
        ("GET", 403, "Permission check failed", Denied),
        ("PUT", 404, "Not Found", OutcomeUnknown),
    ],
)
def test_status_and_words_decide_what_an_answer_means(
    method: str, status: int, reason: str, meaning: type[PveError]
) -> None:
    error = answers.error_of(f"{method} /x", answer(status, reason))
    assert type(error) is meaning
    assert error.status == status


def test_a_denial_names_every_privilege_that_would_do() -> None:
    reason = "Permission check failed (/vms/100, VM.Snapshot|VM.Snapshot.Rollback)"
    error = answers.error_of("POST /x", answer(403, reason))
    assert isinstance(error, Denied)
    assert (error.path, error.privilege) == ("/vms/100", "VM.Snapshot|VM.Snapshot.Rollback")


def test_bad_parameters_are_told_one_by_one() -> None:
    errors = {"cores": "type check ('integer') failed - got 'x'\n", "b": "c"}
    error = answers.error_of("PUT /x", answer(400, BAD, errors))
    assert isinstance(error, Rejected)
    assert error.text == "cores: type check ('integer') failed - got 'x'; b: c"


def test_a_task_that_nobody_knows_is_missing() -> None:
    assert isinstance(
        answers.error_of("GET /x", answer(400, BAD, {"upid": "no such task"})), Missing
    )


def test_a_400_without_json_is_still_a_rejection() -> None:
    response = answer(400, "broken")
    response._content = b"<html>"
    assert str(answers.error_of("PUT /x", response)) == "broken (PUT /x)"


def test_a_400_after_the_file_was_written_is_unknown_for_a_write() -> None:
    """recorded: 100-snapshots-qemu/237-238"""
    errors = {"scsi0": "unable to apply pending change scsi0 : unable to delete 'x'"}
    assert isinstance(answers.error_of("PUT /x", answer(400, BAD, errors)), OutcomeUnknown)


@pytest.mark.parametrize("body", ['{"errors": ["a"]}', '{"errors": "a"}', "[1]", "[" * 5000])
def test_a_400_of_another_form_is_still_a_rejection(body: str) -> None:
    response = answer(400, BAD)
    response._content = body.encode()
    assert isinstance(answers.error_of("GET /x", response), Rejected)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get", NotSent),
        ("Fingerprints did not match. Expected a, got b", NotSent),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", NotSent),
        ("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] bad record mac", OutcomeUnknown),
    ],
)
def test_a_failure_of_tls_is_only_sure_to_have_done_nothing_before_the_request_left(
    words: str, meaning: type[PveError]
) -> None:
    error = requests.exceptions.SSLError(words)
    assert type(answers.error_without_answer("PUT /x", error, "https://pve")) is meaning
