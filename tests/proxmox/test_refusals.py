"""What proves that nothing was written: against the recordings, and against PVE's other words.

`tests/data/refusals.jsonl` has every refusal of a configuration change in the recordings, of 9.1.7
and of 9.2.11: the words as an answer or as a task's end, how many keys the change had, and whether
the file was another one afterwards, where that was recorded. A case that begins with `source` is of
PVE's source, which is named after it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.errors import (
    Busy,
    Denied,
    Missing,
    NoQuorum,
    OutcomeUnknown,
    PveError,
    Rejected,
    Stale,
)
from felhom_agent.model import Kind
from felhom_agent.proxmox import answers
from felhom_agent.proxmox.answers import Answer
from felhom_agent.proxmox.refusals import REFUSALS, When, refusal

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "refusals.jsonl").read_text().splitlines()
]


def by_case(line: dict[str, Any]) -> str:
    return f"{line['case']}-{line['how']}"


@pytest.mark.parametrize("line", RECORDED, ids=by_case)
def test_no_words_prove_that_nothing_was_done_where_the_file_was_written(
    line: dict[str, Any],
) -> None:
    if line.get("written"):
        assert not answers.nothing_done(Kind(line["kind"]), line["keys"], line["text"])


@pytest.mark.parametrize(
    "line",
    [r for r in RECORDED if r.get("written") is False and r["keys"] == 1],
    ids=by_case,
)
def test_the_words_for_a_change_that_was_not_done_are_known(line: dict[str, Any]) -> None:
    kind = Kind(line["kind"])
    assert answers.refusal_if_untouched(kind, line["text"]) is not None


@pytest.mark.parametrize("line", RECORDED, ids=by_case)
def test_the_same_words_mean_the_same_as_an_answer_and_as_a_tasks_end(
    line: dict[str, Any],
) -> None:
    """Whatever stands before them, and however often."""
    kind, (words, _) = Kind(line["kind"]), answers.unwrapped(line["text"])
    plain = answers.refusal_if_untouched(kind, words)
    for prefix in (
        "failed to update VM 127: ",
        "failed to update VM 9: " * 2,
        "500 failed to update VM 1: ",
    ):
        wrapped = answers.refusal_if_untouched(kind, prefix + words)
        assert type(wrapped) is type(plain)
        assert str(wrapped) == str(plain)


@pytest.mark.parametrize(
    ("words", "keys", "proved"),
    [
        ("cannot set aw-bits if no vIOMMU is configured", 1, True),
        ("cannot set aw-bits if no vIOMMU is configured", 2, False),
        ("EFI base image '/usr/share/x' not found", 1, True),
        ("vga type serial0 is not compatible with VNC clipboard", 1, True),
        ("403 Permission check failed (/, Sys.Modify for modifying tag 'a')", 1, True),
        ("403 Permission check failed (/, Sys.Modify for modifying tag 'a')", 3, False),
        ("balloon value too large (must be smaller than assigned memory)", 7, True),
        ("VM is locked (backup)", 7, True),
        ("checksum mismatch (file change by other user?)", 7, True),
        ("missing privileges to access iscsi:0.0.0.scsi-36001", 7, True),
        ("unable to use volume a:1/b - content type needs to be 'images'", 7, True),
        ("storage 'nas' is not online", 1, False),
        # collected after the write
        ("400 Parameter verification failed. scsi0: hotplug problem - no", 1, False),
        (("400 Parameter verification failed. scsi0: unable to apply pending change scsi0 : 403 "
         "Permission check failed (/storage/local, Datastore.AllocateSpace)"), 1, False),
        (("400 Parameter verification failed. scsi0: unable to apply pending change scsi0 : error "
         "during cfs-locked 'storage-nfs' operation: no quorum!"), 1, False),
        (("400 Parameter verification failed. net0: hotplug problem - can't lock file "
         "'/var/lock/qemu-server/lock-102.conf' - got timeout"), 1, False),
        ("400 Parameter verification failed. hostpci0: only root@pam can set 'romfile' option", 1,
         True),
        # the lock of a storage, which PVE takes in between
        ("can't lock file '/var/lock/pve-manager/pve-storage-local' - got timeout", 2, False),
        # the image of a cloud-init drive is made anew after the write
        ("storage 'nosuch' does not exist", 1, False),
        ("volume 'local:1/vm-1-disk-0.raw' does not exist", 1, False),
        ("words that nobody knows yet", 1, False),
        ("unexpected status", 1, False),
        ("", 1, False),
    ],
)  # fmt: skip
def test_how_many_keys_a_change_of_a_vm_has_decides_what_a_refusal_proves(
    words: str, keys: int, proved: bool
) -> None:
    """A VM's keys are written one by one (recorded: calls-9.2/200b/065)."""
    assert answers.nothing_done(Kind.QEMU, keys, words) is proved
    assert answers.nothing_done(Kind.QEMU, keys, f"failed to update VM 102: {words}") is proved


@pytest.mark.parametrize(
    "words",
    [
        # PVE: pve-container LXC.pm update_lxc_config, which comes after the write
        "bridge '' does not exist",
        "net1: MTU size '9000' is bigger than bridge MTU '1500'",
        "net1: SLAAC is not supported for host-managed network configuration",
        "missing 'arch' - internal error at /usr/share/perl5/PVE/LXC.pm line 729.",
        "missing 'ostype' - internal error at /usr/share/perl5/PVE/LXC.pm line 735.",
        "missing 'rootfs' configuration",
        "Path is not defined for passthrough device dev0",
    ],
)
def test_what_pve_says_of_a_container_after_it_wrote_proves_nothing(words: str) -> None:
    assert not answers.nothing_done(Kind.LXC, 1, words)


def test_what_pve_says_of_a_containers_card_before_it_wrote_is_told_from_that() -> None:
    """A full stop is the whole difference (PVE: LXC/Config.pm, LXC.pm)."""
    words = "net1: SLAAC is not supported for host-managed network configuration."
    assert answers.nothing_done(Kind.LXC, 5, words)


@pytest.mark.parametrize(
    ("words", "meaning", "final"),
    [
        ("cannot set aw-bits if no vIOMMU is configured", Rejected, True),
        (
            (
                "drive 'scsi1' - volume 'a:1/b.raw' - 'format=qcow2' option different from storage "
                "format 'raw'"
            ),
            Rejected,
            True,
        ),
        ("EFI vars image '/x' not found", Rejected, False),
        ("no OVMF images known for architecture 'riscv64'", Rejected, False),
        ("net0: MTU size '9000' is bigger than bridge MTU '1500'", Rejected, False),
        ("403 Permission check failed (/mapping/usb/u, Mapping.Use)", Denied, False),
        ("storage 'nas' is not online", Rejected, False),
        ("storage 'nas' is disabled", Rejected, False),
        ("storage 'nas' is not available on node 'pve1'", Rejected, False),
        ("Too many unused volumes - please delete them first.", Rejected, False),
        ("can't lock file '/var/lock/pve-manager/pve-storage-a' - got timeout", Busy, None),
        ("words that nobody knows yet", Rejected, False),
    ],
)
def test_an_answer_that_proves_nothing_says_what_it_means_if_nothing_was_written(
    words: str, meaning: type[PveError], final: bool | None
) -> None:
    call = "POST /nodes/pve1/qemu/127/config"
    error = answers.error_of(call, Answer(500, f"failed to update VM 127: {words}"))
    assert isinstance(error, OutcomeUnknown)
    assert error.ended
    assert type(error.if_untouched) is meaning
    if isinstance(error.if_untouched, Rejected):
        assert error.if_untouched.final is final


@pytest.mark.parametrize(
    ("text", "path", "privilege"),
    [
        ("/, Sys.Modify for modifying tag 'alpha'", "/", "Sys.Modify"),
        ("/vms/1, VM.Snapshot|VM.Snapshot.Rollback", "/vms/1", "VM.Snapshot|VM.Snapshot.Rollback"),
        ("/sdn/zones/localnetwork/vmbr0/7, SDN.Use", "/sdn/zones/localnetwork/vmbr0/7", "SDN.Use"),
        ("changing feature flags (except nesting) is only allowed for root@pam", "", ""),
        ("mount point type bind is only allowed for root@pam", "", ""),
    ],
)
@pytest.mark.parametrize("status", [403, 500])
def test_a_denial_names_the_bare_path_and_privilege(
    text: str, path: str, privilege: str, status: int
) -> None:
    words = f"Permission check failed ({text})"
    if status == 403:
        denied: PveError | None = answers.error_of("PUT /x", Answer(403, words))
    else:
        denied = answers.refusal_if_untouched(Kind.QEMU, f"failed to update VM 1: 403 {words}")
    assert isinstance(denied, Denied)
    assert (denied.path, denied.privilege) == (path, privilege)


@pytest.mark.parametrize("kind", Kind)
def test_a_volume_of_nobody_is_denied_with_its_storage_and_privilege(kind: Kind) -> None:
    """PVE says it without a status (pve-storage Storage.pm check_volume_access)."""
    words = "missing privileges to access iscsi:0.0.0.scsi-36001"
    said = Answer(500, words)
    for denied in (
        answers.error_of(f"PUT /nodes/pve1/{kind}/101/config", said),
        answers.refusal_if_untouched(kind, f"failed to update VM 101: {words}"),
        answers.denied_by_task(words),
    ):
        assert isinstance(denied, Denied)
        assert (denied.path, denied.privilege) == ("/storage/iscsi", "Datastore.Allocate")


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("can't lock file '/var/lock/qemu-server/lock-9.conf' - got timeout", Busy),
        ("checksum mismatch (file change by other user?)", Stale),
        ("Configuration file 'nodes/pve1/qemu-server/9.conf' does not exist", Missing),
        ("unable to open file '/etc/pve/nodes/n/qemu-server/9.conf.tmp.1' - Permission denied",
         NoQuorum),
        ("VM is locked (snapshot-delete)", Rejected),
        ("balloon value too large (must be smaller than assigned memory)", Rejected),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "failed to update VM 9: ", "500 failed to update VM 9: "])
def test_what_is_said_before_the_first_write_is_no_unknown_outcome(
    words: str, meaning: type[PveError], prefix: str
) -> None:
    error = answers.error_of("POST /nodes/n/qemu/9/config", Answer(500, prefix + words))
    assert type(error) is meaning


def test_each_text_is_of_one_row_for_a_kind_and_names_its_source() -> None:
    for row in REFUSALS:
        assert row.source
        assert row.kinds
    for line in RECORDED:
        words, _ = answers.unwrapped(line["text"])
        found = [r for r in REFUSALS if line["kind"] in r.kinds and r.text.fullmatch(words)]
        assert len(found) <= 1, words


def test_words_of_the_other_kind_prove_nothing() -> None:
    assert refusal("unable to delete required option 'memory'", Kind.QEMU) is None
    assert refusal("invalid bootorder: device 'a' does not exist'", Kind.LXC) is None
    row = refusal("unable to delete required option 'memory'", Kind.LXC)
    assert row is not None
    assert row.when is When.FIRST


@pytest.mark.parametrize(
    ("call", "meaning"),
    [
        ("PUT /nodes/n/lxc/9/config", Rejected),
        ("POST /nodes/n/qemu/9/config", OutcomeUnknown),
        ("PUT /x", OutcomeUnknown),
    ],
)
@pytest.mark.parametrize(
    "words", ["storage 'nosuch' does not exist", "unable to parse directory volume name '1'"]
)
def test_the_same_words_may_come_first_of_a_container_and_later_of_a_vm(
    call: str, meaning: type[PveError], words: str
) -> None:
    assert type(answers.error_of(call, Answer(500, words))) is meaning
