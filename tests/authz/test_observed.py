"""What a signature is compared with is made of what PVE answered, and never of a guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.authz.blob import SignedSnapshot, SignedVolume
from felhom_agent.authz.observed import observed_of
from felhom_agent.authz.refusals import WrongGuest
from felhom_agent.model import UNREADABLE, ActualGuest, History, Kind, RunState

CONFIG: dict[str, object] = {
    "name": "web",
    "smbios1": "uuid=11111111-2222-3333-4444-555555555555",
    "meta": "creation-qemu=9.0,ctime=1700000000",
    "scsi1": "local-lvm:vm-101-disk-1,iothread=1,size=8G",
    "scsi0": "local-lvm:vm-101-disk-0,size=32G",
    "ide2": "local:iso/debian.iso,media=cdrom,size=600M",
    "ide0": "local-lvm:vm-101-cloudinit,media=cdrom",
    "sata0": "none,media=cdrom",
    "efidisk0": "local-lvm:vm-101-disk-2,size=4M",
    "unused0": "local-lvm:vm-101-disk-9",
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
}


def guest(**given: Any) -> ActualGuest:
    base = ActualGuest(
        101, Kind.QEMU, "pve1", RunState.STOPPED, name="web", config=CONFIG, digest="a" * 40
    )
    return replace(base, **given)


def test_all_that_a_guest_can_lose_is_listed_in_order() -> None:
    found = observed_of(guest(), History({101: 5}, True), [SignedSnapshot("b", 2)])
    assert [v.key for v in found.volumes] == ["efidisk0", "ide0", "scsi0", "scsi1", "unused0"]
    assert SignedVolume("scsi0", "local-lvm:vm-101-disk-0", "32G") in found.volumes
    assert found.identity == "uuid=11111111-2222-3333-4444-555555555555;ctime=1700000000"
    assert (found.born, found.running, found.digest) == (5, False, "a" * 40)
    assert found.snapshots == (SignedSnapshot("b", 2),)


def test_a_container_s_volumes_and_paths_of_the_host_are_listed() -> None:
    config = {
        "rootfs": "local-lvm:vm-201-disk-0,size=8G",
        "mp0": "/srv/data,mp=/data",
        "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,type=veth",
    }
    found = observed_of(guest(kind=Kind.LXC, config=config), UNREADABLE, [])
    assert [v.volid for v in found.volumes] == ["/srv/data", "local-lvm:vm-201-disk-0"]
    assert found.born is None
    assert "mac=bc:24:11:00:00:01" in found.identity


@pytest.mark.parametrize(
    ("given", "running"),
    [
        ({"state": RunState.RUNNING}, True),
        ({"state": RunState.STOPPED}, False),
        ({"state": None}, None),
        ({"state": RunState.STOPPED, "hung": "no answer"}, True),
        ({"state": RunState.STOPPED, "paused": True}, True),
    ],
)
def test_a_guest_is_stopped_only_where_pve_says_so(given: dict[str, Any], running: object) -> None:
    assert observed_of(guest(**given), UNREADABLE, []).running is running


@pytest.mark.parametrize("given", [{"config": None, "unread": "no answer"}, {"digest": ""}])
def test_a_guest_that_was_not_read_is_not_compared(given: dict[str, Any]) -> None:
    with pytest.raises(WrongGuest):
        observed_of(guest(**given), UNREADABLE, [])


def test_a_volume_that_cannot_be_taken_apart_counts_as_a_whole() -> None:
    odd = observed_of(guest(config={**CONFIG, "scsi3": "a:b,,=,"}), UNREADABLE, [])
    assert "scsi3" in {v.key for v in odd.volumes}
