"""What is sent for a drift: nothing of PVE's is lost, and nothing is made or taken away."""

from __future__ import annotations

import pytest

from felhom_agent.model import ABSENT, DeclaredValue
from felhom_agent.options import Invalid
from felhom_agent.planning.compare import (
    Context,
    Verdict,
    blank_is_absence,
    compare,
    compare_unset,
    is_written,
    to_wire,
    unset_wire,
)

MAC = "BC:24:11:AA:BB:CC"
VETH = f"name=a,hwaddr={MAC},type=veth"
ISO = "local:iso/a.iso"
EFI = "local:e,ms-cert=2023k,size=528K"


@pytest.mark.parametrize(
    ("kind", "key", "desired", "actual", "sent"),
    [
        ("qemu", "onboot", True, 0, "1"),
        ("qemu", "tags", ("b", "a"), "a", "b;a"),
        ("qemu", "net0", "e1000,mtu=1", f"virtio={MAC},bridge=vmbr1", f"e1000={MAC},mtu=1"),
        ("qemu", "net0", "virtio,bridge=vmbr0", ABSENT, "virtio,bridge=vmbr0"),
        ("qemu", "net0", "virtio=BC:24:11:00:00:01", f"virtio={MAC}", "virtio=BC:24:11:00:00:01"),
        ("qemu", "net0", "virtio", "rubbish=", "virtio"),
        ("lxc", "net0", "name=a,bridge=b", VETH, f"name=a,bridge=b,hwaddr={MAC},type=veth"),
        ("qemu", "scsi0", "local:x,size=10G,ssd=1", "local:x,size=32G", "local:x,ssd=1"),
        ("qemu", "scsi0", "st:x,ssd=1", "st:x,cyls=2,newpart=1,size=1G", "st:x,newpart=1,ssd=1"),
        ("qemu", "ide0", "st:x,backup=0", "st:x,heads=2,secs=3,trans=lba", "st:x,backup=0"),
        ("qemu", "scsi0", "local:32,ssd=1", "local:100/d.raw,size=32G", "local:100/d.raw,ssd=1"),
        ("qemu", "scsi0", "st:32,format=raw,ssd=1", "st:d.raw,size=16G", "st:d.raw,ssd=1"),
        ("qemu", "ide2", f"{ISO},media=cdrom", "none,media=cdrom", f"{ISO},media=cdrom"),
        ("qemu", "ide2", "local:cloudinit", ABSENT, "local:cloudinit,media=cdrom"),
        ("qemu", "ide2", "none", "local:iso/a.iso,media=cdrom,size=4M", "none,media=cdrom"),
        ("lxc", "rootfs", "local:8,ro=1", "volume=local:r,size=8G", "local:r,ro=1,size=8G"),
        ("lxc", "mp0", "local:8,mp=/b", "local:d,mp=/a,size=8G", "local:d,mp=/b,size=8G"),
        ("lxc", "mp0", "local:d,mp=/b,size=4G", "local:d,mp=/a,size=8G", "local:d,mp=/b,size=8G"),
    ],
)  # fmt: skip
def test_what_is_sent_keeps_what_is_pves(
    kind: str, key: str, desired: DeclaredValue, actual: object, sent: str
) -> None:
    assert compare(kind, key, desired, actual).verdict == Verdict.DRIFT
    assert to_wire(kind, key, desired, actual) == sent


@pytest.mark.parametrize(
    ("kind", "key", "desired", "actual"),
    [
        ("qemu", "scsi0", "other:32", "local:100/d.raw,size=32G"),
        ("qemu", "scsi0", "none", "local:100/d.raw,size=32G"),
        ("qemu", "scsi0", "local:16", "local:100/d.raw,size=32G"),
        ("qemu", "scsi0", "/dev/sdb", ABSENT),
        ("qemu", "cipassword", "**********", ABSENT),
        ("qemu", "args", "-S", ABSENT),
        ("qemu", "cores", 0, 1),
        ("qemu", "nosuchkey", 1, ABSENT),
        ("qemu", "scsi0", "local:y", "local:x,size=32G"),
        ("qemu", "scsi0", "local:y,ssd=1", "local:x"),
        ("lxc", "mp0", "local:e,mp=/a,size=4G", "local:d,mp=/a,size=8G"),
        ("lxc", "rootfs", "local:8", ABSENT),
        ("lxc", "rootfs", "local:x", "local:r,size=8G"),
        ("lxc", "mp0", "/srv,mp=/a", "local:d,mp=/a"),
        ("lxc", "unprivileged", True, ABSENT),
        ("lxc", "features", "fuse=1", ABSENT),
        ("lxc", "features", "nesting=1", "fuse=1"),
    ],
)
def test_what_must_never_be_sent_is_not(
    kind: str, key: str, desired: DeclaredValue, actual: object
) -> None:
    with pytest.raises(Invalid):
        to_wire(kind, key, desired, actual)


def test_a_drive_whose_size_alone_differs_is_not_written() -> None:
    with pytest.raises(Invalid, match="never changes a volume's size"):
        to_wire("qemu", "scsi0", "local:x,size=10G", "local:x,size=32G")


def test_a_privileged_containers_features_are_roots() -> None:
    privileged = Context(config={"arch": "amd64"})
    unprivileged = Context(config={"arch": "amd64", "unprivileged": 1})
    assert to_wire("lxc", "features", "nesting=1", ABSENT, unprivileged) == "nesting=1"
    with pytest.raises(Invalid, match="privileged container is only allowed for root@pam"):
        to_wire("lxc", "features", "nesting=1", ABSENT, privileged)


@pytest.mark.parametrize(
    ("kind", "key", "actual", "expected"),
    [
        ("qemu", "balloon", ABSENT, Verdict.EQUAL),
        ("qemu", "balloon", 512, Verdict.DRIFT),
        ("qemu", "balloon", 0, Verdict.DRIFT),
        ("qemu", "onboot", 0, Verdict.EQUAL),
        ("qemu", "onboot", 1, Verdict.DRIFT),
        ("qemu", "tags", " ", Verdict.EQUAL),
        ("qemu", "tags", "a", Verdict.DRIFT),
        ("qemu", "cipassword", "**********", Verdict.DRIFT),
        ("qemu", "net0", f"virtio={MAC}", Verdict.DRIFT),
        ("qemu", "ide2", "none,media=cdrom", Verdict.DRIFT),
        ("qemu", "ide2", "local:iso/a.iso,media=cdrom", Verdict.DRIFT),
        ("qemu", "ide2", ABSENT, Verdict.EQUAL),
        ("qemu", "scsi0", "local:x,size=1G", Verdict.FORBIDDEN),
        ("lxc", "mp0", "local:x,mp=/a", Verdict.FORBIDDEN),
        ("qemu", "args", "-S", Verdict.FORBIDDEN),
        ("qemu", "args", ABSENT, Verdict.EQUAL),
        ("qemu", "serial0", "socket", Verdict.DRIFT),
        ("qemu", "serial0", "/dev/ttyS0", Verdict.FORBIDDEN),
        ("qemu", "usb0", "rubbish=", Verdict.DRIFT),
        ("lxc", "features", "nesting=0", Verdict.EQUAL),
        ("lxc", "features", "nesting=1", Verdict.DRIFT),
        ("lxc", "features", "fuse=1", Verdict.FORBIDDEN),
        ("lxc", "arch", "amd64", Verdict.FORBIDDEN),
        ("lxc", "cores", 2, Verdict.DRIFT),
        ("lxc", "cores", "banana", Verdict.DRIFT),
        ("lxc", "onboot", "banana", Verdict.DRIFT),
        ("lxc", "memory", 512, Verdict.REJECT),
        ("lxc", "rootfs", "local:x", Verdict.REJECT),
        ("lxc", "unprivileged", 1, Verdict.FORBIDDEN),
        ("lxc", "unprivileged", 0, Verdict.EQUAL),
        ("lxc", "unused0", "local:x", Verdict.REJECT),
        ("qemu", "digest", "0f3c", Verdict.REJECT),
        ("qemu", "nosuchkey", ABSENT, Verdict.REJECT),
    ],
)
def test_a_key_declared_unset(kind: str, key: str, actual: object, expected: Verdict) -> None:
    assert compare_unset(kind, key, actual).verdict == expected


def test_a_required_option_is_kept() -> None:
    comparison = compare_unset("lxc", "memory", 512)
    assert comparison.why == "PVE cannot do without it; take it out of unset"


def test_what_was_sent_is_known_again_with_the_parts_that_it_carried() -> None:
    sent = f"virtio={MAC},newpart=7,tag=1"
    assert is_written("qemu", "net0", sent, f"virtio={MAC},tag=1,newpart=7")
    assert not is_written("qemu", "net0", sent, f"virtio={MAC},tag=1,newpart=8")
    assert not is_written("qemu", "net0", sent, f"virtio={MAC},tag=1")
    assert not is_written("qemu", "nosuchkey", "1", "1")


def test_a_key_that_shall_not_be_set_and_of_which_nothing_was_read_is_as_declared() -> None:
    assert compare_unset("qemu", "onboot", None).verdict is Verdict.EQUAL


def test_of_a_key_that_shall_not_be_set_what_lasts_stays_beside_a_part_of_a_newer_pve() -> None:
    value = "uuid=6f6b1d0e-7b6c-4b6b-8f62-1d4f8a1c0100,serial=YQ==,base64=1,newpart=7"
    assert compare_unset("qemu", "smbios1", value).verdict is Verdict.DRIFT
    assert unset_wire("qemu", "smbios1", value) == "uuid=6f6b1d0e-7b6c-4b6b-8f62-1d4f8a1c0100"


def test_a_mask_asks_for_some_password_and_what_is_no_mask_does_not_answer_that() -> None:
    mask = "**********"
    assert compare("qemu", "cipassword", mask, mask).verdict is Verdict.EQUAL
    assert compare("qemu", "cipassword", mask, "plain").verdict is Verdict.INCOMPARABLE


@pytest.mark.parametrize("key", ["nosuch", "net99"])
def test_what_is_no_option_is_neither_written_nor_blank_nor_kept(key: str) -> None:
    assert not is_written("qemu", key, "1", "1")
    assert not blank_is_absence("qemu", key, "")
    assert unset_wire("qemu", key, "1") == ""
    assert compare_unset("qemu", key, "1").verdict is Verdict.REJECT


def test_a_key_of_pves_own_cannot_be_unset() -> None:
    comparison = compare_unset("qemu", "meta", "creation-qemu=9.0.2")
    assert comparison.verdict is Verdict.REJECT
    assert "belongs to PVE" in comparison.why


def test_unset_keeps_nothing_of_a_key_that_is_not_there() -> None:
    assert unset_wire("qemu", "smbios1", ABSENT) == ""
