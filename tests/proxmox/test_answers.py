"""Every recorded failure of the real API, and what it means.

The rows are method, status, reason phrase and body as PVE answered (`calls/` of the recordings).
"""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from http.client import BadStatusLine

import pytest

from felhom_agent.errors import (
    Busy,
    Denied,
    Missing,
    NoQuorum,
    NotSent,
    OutcomeUnknown,
    PveError,
    Rejected,
    Stale,
    Unanswered,
)
from felhom_agent.proxmox import answers
from felhom_agent.proxmox.answers import Answer
from felhom_agent.proxmox.deadline import Bounds, NoConnection

QEMU_LOCK = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
LXC_LOCK = "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout"
READ_ONLY = (
    "unable to open file '/etc/pve/nodes/pve1/qemu-server/102.conf.tmp.4928' - Permission denied"
)
NO_FILE = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
BAD = "Parameter verification failed."


def answer(status: int, reason: str, errors: dict[str, str] | None = None) -> Answer:
    body = {"data": None, "message": reason + "\n", **({"errors": errors} if errors else {})}
    return Answer(status, reason, "application/json", json.dumps(body).encode())


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
        # recorded: calls-9.2/201-quorum/061-081, 098; nothing can be written
        ("POST", 500, "cluster not ready - no quorum?", NoQuorum),
        ("PUT", 500, READ_ONLY, NoQuorum),
        ("POST", 500, f"failed to update VM 102: {READ_ONLY}", NoQuorum),
        (
            "POST",
            500,
            "generating token failed: cfs-lock 'file-user_cfg' error: no quorum!",
            NoQuorum,
        ),
        # another file that cannot be opened tells nothing of the cluster
        ("PUT", 500, "unable to open file '/var/lib/x.tmp.1' - Permission denied", OutcomeUnknown),
        # recorded: calls-9.2/200-post-worker; the worker looked under the lock, before it wrote
        ("POST", 500, f"failed to update VM 102: {QEMU_LOCK}", Busy),
        ("POST", 500, f"failed to update VM 102: {QEMU_LOCK[:-11]}received interrupt", Busy),
        (
            "POST",
            500,
            "failed to update VM 102: checksum mismatch (file change by other user?)",
            Stale,
        ),
        ("POST", 500, "failed to update VM 102: VM is locked (backup)", Rejected),
        ("POST", 500, f"failed to update VM 102: {NO_FILE}", Missing),
        (
            "POST",
            500,
            "failed to update VM 102: balloon value too large (must be smaller than x)",
            Rejected,
        ),
        ("POST", 500, "failed to update VM 102: unexpected status", OutcomeUnknown),
        ("POST", 500, "failed to update VM 102: received interrupt", OutcomeUnknown),
        # recorded: 130-stop, calls-9.2/202-values/099; by the source before a task is begun
        ("POST", 500, "VM is paused - cannot shutdown", Rejected),
        ("POST", 500, "you can't start a vm if it's a template", Rejected),
        ("POST", 500, "you can't start a CT if it's a template", Rejected),
        # recorded: 121-disks-lxc/048-056; LXC writes once, after all of these
        ("PUT", 500, "can't remove CT 200 drive 'mp0' - protection mode enabled", Rejected),
        ("PUT", 500, "can't update CT 200 drive 'mp0' - protection mode enabled", Rejected),
        ("PUT", 500, "unable to modify read-only option: 'unprivileged'", Rejected),
        ("PUT", 500, "unable to delete read-only option: 'unprivileged'", Rejected),
        ("PUT", 500, "detected invalid newline inside property 'cpulimit'", Rejected),
        ("PUT", 500, "cannot add non-replicatable volume to a replicated VM", Rejected),
        # recorded: 92-outages/012; before any handler
        (
            "PUT",
            500,
            "RPCEnvironment init request failed: Unable to load access control list: x",
            Rejected,
        ),
        # QEMU writes key by key: another one may have been written before these
        ("PUT", 500, "invalid bootorder: device 'net0' does not exist'", OutcomeUnknown),
        ("PUT", 500, "can't remove drive 'scsi0' - protection mode enabled", OutcomeUnknown),
        ("PUT", 500, "only root can modify 'serial1' config for real devices", OutcomeUnknown),
        # LXC looks at its cards again after it has written
        ("PUT", 500, "net0: MTU size '9000' is bigger than bridge MTU '1500'", OutcomeUnknown),
        ("PUT", 500, "missing 'arch' - internal error at LXC.pm line 1.", OutcomeUnknown),
        ("PUT", 999, "x", OutcomeUnknown),
        # recorded: 13-lxc-roundtrip-root/006; the file had been written
        ("PUT", 500, "bridge 'vmbr0' does not exist", OutcomeUnknown),
        ("GET", 500, "bridge 'vmbr0' does not exist", Rejected),
        # recorded: 92-outages/005-007; no worker has seen a byte of it
        ("PUT", 595, "Connection refused", NotSent),
        ("POST", 595, "Connection timed out", NotSent),
        ("DELETE", 595, "", NotSent),
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
    response = replace(answer(400, "broken"), body=b"<html>")
    assert str(answers.error_of("PUT /x", response)) == "broken (PUT /x)"


def test_a_400_after_the_file_was_written_is_unknown_for_a_write() -> None:
    """recorded: 100-snapshots-qemu/237-238"""
    errors = {"scsi0": "unable to apply pending change scsi0 : unable to delete 'x'"}
    assert isinstance(answers.error_of("PUT /x", answer(400, BAD, errors)), OutcomeUnknown)


@pytest.mark.parametrize("body", ['{"errors": ["a"]}', '{"errors": "a"}', "[1]", "[" * 5000])
def test_a_400_of_another_form_is_still_a_rejection(body: str) -> None:
    response = replace(answer(400, BAD), body=body.encode())
    assert isinstance(answers.error_of("GET /x", response), Rejected)


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] bad record mac"),
        ssl.SSLError("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure"),
        ConnectionResetError("hunter2"),
        BadStatusLine("hunter2"),
    ],
    ids=repr,
)
def test_a_write_that_got_no_answer_is_only_sure_to_have_done_nothing_before_it_left(
    error: Exception,
) -> None:
    bounds = Bounds(1.0, 1.0, 1)
    assert type(answers.error_without_answer("PUT /x", error, "https://pve", bounds)) is NotSent
    bounds.begin()
    unknown = answers.error_without_answer("PUT /x", error, "https://pve", bounds)
    assert type(unknown) is OutcomeUnknown
    assert "hunter2" not in str(unknown)


def test_what_kept_a_connection_from_being_made_is_told_and_printable() -> None:
    error = NoConnection("cannot be reached: \x1b[2Jno\nroute")
    told = answers.error_without_answer("PUT /x", error, "https://pve", Bounds(1.0, 1.0, 1))
    assert type(told) is NotSent
    assert told.text == "https://pve cannot be reached: ?[2Jno route"


@pytest.mark.parametrize(
    ("words", "meaning", "final"),
    [
        ("invalid bootorder: device 'scsi5' does not exist'", Rejected, True),
        ("only root can modify 'serial1' config for real devices", Rejected, True),
        ("volume 'local:102/vm-102-disk-9.raw' does not exist", Rejected, False),
        ("bridge 'vmbr0' does not exist", Rejected, False),
        ("403 Permission check failed (/vms/102, VM.Config.Disk)", Denied, False),
        ("403 Permission check failed (/, Sys.Modify for modifying tag 'a')", Denied, False),
        ("words that nobody knows yet", Rejected, False),
    ],
)
@pytest.mark.parametrize("prefix", ["", "failed to update VM 102: "])
def test_a_500_that_leaves_it_open_says_what_it_means_if_nothing_was_written(
    words: str, meaning: type[PveError], final: bool, prefix: str
) -> None:
    error = answers.error_of("POST /x", answer(500, prefix + words))
    assert isinstance(error, OutcomeUnknown)
    refusal = error.if_untouched
    assert type(refusal) is meaning
    assert isinstance(refusal, Rejected)
    assert refusal.final is final
    if isinstance(refusal, Denied):
        assert refusal.path.startswith("/")


@pytest.mark.parametrize("words", ["unexpected status", "received interrupt", "got timeout"])
def test_a_worker_that_was_ended_from_outside_tells_nothing(words: str) -> None:
    error = answers.error_of("POST /x", answer(500, f"failed to update VM 102: {words}"))
    assert isinstance(error, OutcomeUnknown)
    assert error.if_untouched is None


@pytest.mark.parametrize("status", [596, 599, 404, 302, 999])
def test_what_is_not_pves_own_word_tells_nothing(status: int) -> None:
    error = answers.error_of("POST /x", answer(status, "invalid bootorder"))
    assert isinstance(error, OutcomeUnknown)
    assert error.if_untouched is None


def test_a_template_and_a_paused_guest_may_be_another_matter_the_next_time() -> None:
    for words in ("VM is paused - cannot shutdown", "you can't start a vm if it's a template"):
        error = answers.error_of("POST /x", answer(500, words))
        assert isinstance(error, Rejected)
        assert not error.final
        assert error.text == words


def test_the_words_of_a_400_are_bounded_and_printable() -> None:
    errors = {f"key{n}\x1b": "x\n" * 9000 for n in range(100)}
    error = answers.error_of("PUT /x", answer(400, BAD, errors))
    assert isinstance(error, Rejected)
    assert len(error.errors) == 20
    assert all(k.isprintable() and v.isprintable() for k, v in error.errors.items())
    assert all(len(v) <= 500 for v in error.errors.values())
