"""What counts as the same drive, and what must never be put in a drive's place."""

from __future__ import annotations

import pytest

from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Start
from felhom_agent.options import Invalid
from felhom_agent.planning.compare import Context, Verdict, compare, is_written, to_wire
from felhom_agent.planning.volumes import changes_volume, is_volume

EQUAL, DRIFT, NEVER = Verdict.EQUAL, Verdict.DRIFT, Verdict.FORBIDDEN
UNFIXABLE = Verdict.UNFIXABLE
DISK, OTHER = "local:100/vm-100-disk-0.raw", "local:100/vm-100-disk-1.raw"
CLOUDINIT = "local:100/vm-100-cloudinit.qcow2,media=cdrom"
ISO = "local:iso/a.iso"


@pytest.mark.parametrize(
    ("kind", "key", "holds"),
    [
        ("qemu", "scsi0", True), ("qemu", "efidisk0", True), ("qemu", "unused0", True),
        ("lxc", "rootfs", True), ("lxc", "mp3", True),
        ("qemu", "net0", False), ("qemu", "memory", False), ("qemu", "mp0", False),
        ("lxc", "scsi0", False), ("lxc", "hostname", False),
    ],
)  # fmt: skip
def test_which_keys_hold_a_volume(kind: str, key: str, holds: bool) -> None:
    assert is_volume(kind, key) is holds


def test_which_actions_change_one() -> None:
    def sets(*keys: str) -> SetConfig:
        return SetConfig(100, Kind.QEMU, tuple(Change(key, ABSENT, "1") for key in keys))

    assert changes_volume(sets("memory", "scsi0"))
    assert not changes_volume(sets("memory", "net0"))
    assert not changes_volume(Start(100, Kind.QEMU))


@pytest.mark.parametrize(
    ("want", "have", "verdict", "why"),
    [
        (DISK, f"{DISK},size=32G", EQUAL, ""),
        (f"{DISK},ssd=1", f"{DISK},size=32G", DRIFT, "differs in ssd"),
        (f"{DISK},ssd=1,backup=0", f"{DISK},size=32G", DRIFT, "differs in backup, ssd"),
        (f"{ISO},media=cdrom", f"{ISO}", DRIFT, "differs in media"),
        (OTHER, f"{DISK},size=32G", DRIFT, f"holds {DISK}, declared {OTHER}"),
        # A new volume is asked for: one that is there will do, of that storage, and a disk.
        ("local:32", f"{DISK},size=32G", EQUAL, ""),
        ("lvm:32", f"{DISK},size=32G", NEVER, f"lvm:32 would put the volume {DISK} aside"),
        ("local:32", f"{ISO},size=4M", NEVER, ""),
        ("local:32", "none", NEVER, "asks for a new volume"),
        ("local:32", "none,media=cdrom", NEVER, "asks for a new volume"),
        ("local:4", CLOUDINIT, NEVER, "asks for a new volume"),
        ("local:cloudinit", CLOUDINIT, EQUAL, ""),
        ("local:cloudinit", f"{DISK},size=32G", NEVER, "would put the volume"),
        ("local:cloudinit", f"{ISO},media=cdrom", DRIFT, ""),
        # A CD in the place of another, or of the cloud-init drive, and no disk of it.
        (f"{ISO},media=cdrom", "none,media=cdrom", DRIFT, ""),
        (f"{ISO},media=cdrom", CLOUDINIT, DRIFT, ""),
        ("none,media=cdrom", f"{DISK},size=32G", NEVER, "would put the volume"),
        # Sizes: PVE rounds what was asked for, and never the other way.
        ("local:31", f"{DISK},size=32G", UNFIXABLE, "never changes a volume's size"),
        ("local:0.2", f"{DISK},size=204M", EQUAL, ""),
        ("local:0.2", f"{DISK},size=209716K", EQUAL, ""),
        ("local:0.2", f"{DISK},size=208M", EQUAL, ""),
        ("local:0.2", f"{DISK},size=203M", UNFIXABLE, "is 203M"),
        ("local:0.2", f"{DISK},size=209M", UNFIXABLE, "is 209M"),
        (f"{DISK},size=32G", f"{DISK},size=32G", EQUAL, ""),
        (f"{DISK},size=32G", f"{DISK},size=33G", UNFIXABLE, "is 33G"),
        (f"{DISK},size=32G", DISK, EQUAL, ""),
    ],
)
def test_a_drive_that_is_declared_beside_the_one_that_is_there(
    want: str, have: str, verdict: Verdict, why: str
) -> None:
    found = compare("qemu", "scsi0", want, have)
    assert found.verdict is verdict, found.why
    assert why in found.why


def test_a_volume_that_was_attached_is_known_again_whatever_was_there_before() -> None:
    after = Context(before=f"{DISK},size=1G")
    assert is_written("qemu", "scsi0", OTHER, f"{OTHER},size=1G", after)
    # What was asked for anew must not have made another volume.
    assert is_written("qemu", "scsi0", "local:1", f"{DISK},size=1G", after)
    assert not is_written("qemu", "scsi0", "local:1", f"{OTHER},size=1G", after)


def test_a_mount_point_of_a_container_is_never_made_a_cd_drive() -> None:
    volume = "local:200/a.raw,mp=/a"
    assert to_wire("lxc", "mp0", volume, ABSENT) == volume
    with pytest.raises(Invalid, match="a container has no cloud-init drive"):
        to_wire("lxc", "mp0", "local:cloudinit,mp=/a", ABSENT)
    assert to_wire("qemu", "ide2", "none", ABSENT) == "none,media=cdrom"
