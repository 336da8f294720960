"""Who holds a volume already: what PVE would attach a second time without a word."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from felhom_agent.model import ActualGuest, Kind, RunState
from felhom_agent.options import Volume
from felhom_agent.planning.context import Context
from felhom_agent.planning.holders import holder

DISK = Volume("local-lvm:vm-105-disk-0")
CLOUDINIT = {"ide2": "local:vm-105-cloudinit"}
SHARED = Volume("nfs:shared")


def guest(vmid: int, config: Mapping[str, object] | None) -> ActualGuest:
    return ActualGuest(vmid, Kind.QEMU, "pve1", RunState.STOPPED, config=config)


@pytest.mark.parametrize(
    ("key", "volume", "config", "held_by"),
    [
        ("scsi1", DISK, {"scsi0": f"{DISK.text},size=1G"}, "scsi0 of this guest"),
        ("scsi0", DISK, {"scsi0": f"{DISK.text},size=1G"}, ""),
        ("scsi1", DISK, {"cores": 2, "scsi2": DISK.text}, "scsi2 of this guest"),
        ("scsi1", DISK, {"unused0": DISK.text}, ""),
        ("scsi1", DISK, {"scsi0": "local-lvm:vm-105-disk-1"}, ""),
        ("scsi1", DISK, {"scsi0": "nfs:x,nfs:y", "scsi2": DISK.text}, "scsi2 of this guest"),
        ("scsi1", Volume("local-lvm:vm-106-disk-0"), {}, "guest 106"),
        ("ide3", Volume("local:iso/a.iso"), {"ide2": "local:iso/a.iso,media=cdrom"}, ""),
        # one cloud-init drive for each guest
        ("ide3", Volume("local:cloudinit"), CLOUDINIT, "ide2 of this guest"),
        ("ide2", Volume("local:cloudinit"), CLOUDINIT, ""),
        ("ide3", Volume("local:cloudinit"), {"scsi0": DISK.text}, ""),
        ("scsi1", Volume("local:4"), CLOUDINIT, ""),
    ],
)  # fmt: skip
def test_a_guest_tells_which_of_its_keys_holds_a_volume(
    key: str, volume: Volume, config: dict[str, object], held_by: str
) -> None:
    assert holder("qemu", key, volume, Context(vmid=105, config=config)) == held_by


def test_another_guest_that_holds_a_volume_is_named() -> None:
    others = {
        105: guest(105, {"scsi9": SHARED.text}),
        106: guest(106, None),
        107: guest(107, {"scsi1": DISK.text}),
        108: guest(108, {"scsi3": SHARED.text}),
    }
    context = Context(vmid=105, others=others)
    assert holder("qemu", "scsi1", SHARED, context) == "scsi3 of guest 108"


def test_the_guest_itself_is_not_another_guest() -> None:
    config = {"scsi0": SHARED.text}
    context = Context(vmid=105, config=config, others={105: guest(105, config)})
    assert holder("qemu", "scsi0", SHARED, context) == ""


def test_a_key_that_is_declared_with_the_volume_too_is_named() -> None:
    declared = {"scsi1": SHARED.text, "scsi2": SHARED.text}
    context = Context(vmid=105, declared=declared)
    assert holder("qemu", "scsi2", SHARED, context) == "scsi1, which is declared with it, too"
    assert holder("qemu", "scsi1", SHARED, Context(vmid=105, declared={"scsi1": SHARED.text})) == ""


def test_without_a_guest_in_sight_the_name_of_a_volume_tells_nothing() -> None:
    assert holder("qemu", "scsi1", DISK, Context()) == ""
