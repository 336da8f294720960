"""Volumes that are detached, kept by snapshots, or gone for good (100, 120, 121)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import World
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import Caller

VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"
DISK, MOUNT = "local-lvm:vm-100-disk-0", "local-lvm:vm-200-disk-1"
IN_USE = f"unable to delete '{DISK}' - volume is still in use (snapshot?)"


@pytest.fixture
def call(callers: Callable[..., Caller]) -> Caller:
    return callers(privileges={"/": (*AGENT_PRIVILEGES, "Datastore.AllocateSpace")})


def test_a_mount_point_of_a_running_container_is_detached_as_it_stops(
    world: World, call: Caller
) -> None:
    world.edit(200, {"mp0": f"{MOUNT},mp=/srv,size=8G"})
    world.start(200)
    assert call("PUT", CT, {"delete": "mp0"}).status == 200
    assert "unused0" not in world.config(200)
    world.stop(200)
    config = world.config(200)
    assert config["unused0"] == MOUNT
    assert "mp0" not in config
    assert MOUNT in world.volumes()


def test_a_detached_disk_of_a_snapshot_is_unused_and_cannot_be_destroyed(
    world: World, call: Caller
) -> None:
    """recorded: 100-snapshots-qemu/234-236"""
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    world.snapshot(100, "clean")
    assert call("PUT", VM, {"delete": "scsi0"}).status == 200
    assert world.config(100)["unused0"] == DISK
    reply = call("PUT", VM, {"delete": "unused0"})
    assert (reply.status, reply.reason) == (500, IN_USE)
    world.delete_snapshot(100, "clean")
    assert call("PUT", VM, {"delete": "unused0"}).status == 200
    assert world.volumes() == {}


@pytest.mark.parametrize("running", [False, True])
def test_a_disk_of_a_snapshot_does_not_go_with_its_volume(
    world: World, call: Caller, running: bool
) -> None:
    """recorded: 100-snapshots-qemu/237-244"""
    world.edit(100, {"ide0": f"{DISK},size=8G"})
    world.snapshot(100, "clean")
    if running:
        world.start(100)
        assert call("PUT", VM, {"delete": "ide0", "force": 1}).status == 200
        world.stop(100)
    else:
        errors = call("PUT", VM, {"delete": "ide0", "force": 1}).body["errors"]
        assert errors["ide0"] == f"unable to apply pending change ide0 : {IN_USE}\n"
    rows = {row["key"]: row for row in call("GET", VM.replace("config", "pending")).data}
    assert rows["ide0"] == {"key": "ide0", "value": f"{DISK},size=8G", "delete": 1}
    assert DISK in world.volumes()


def test_an_unused_volume_of_a_containers_snapshot_leaves_its_key_alone(
    world: World, call: Caller
) -> None:
    """PVE: LXC/Config.pm is_volume_in_use: no error, and the volume stays."""
    world.edit(200, {"mp0": f"{MOUNT},mp=/srv,size=8G"})
    world.snapshot(200, "clean")
    assert call("PUT", CT, {"delete": "mp0"}).status == 200
    assert call("PUT", CT, {"delete": "unused0"}).status == 200
    assert "unused0" not in world.config(200)
    assert MOUNT in world.volumes()


def test_a_rollback_attaches_a_detached_disk_again(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    world.snapshot(100, "clean")
    assert call("PUT", VM, {"delete": "scsi0"}).status == 200
    world.rollback(100, "clean")
    config = world.config(100)
    assert config["scsi0"] == f"{DISK},size=8G"
    assert "unused0" not in config


def test_a_volume_has_the_size_of_the_snapshot_again(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    world.snapshot(100, "clean")
    world.edit(100, {"scsi0": f"{DISK},size=16G"})
    world.rollback(100, "clean")
    assert call("PUT", VM, {"scsi0": DISK}).status == 200
    assert world.config(100)["scsi0"] == f"{DISK},size=8G"


def test_a_protected_container_keeps_its_volumes(world: World, call: Caller) -> None:
    """recorded: 121-disks-lxc/048-057"""
    world.edit(200, {"mp0": f"{MOUNT},mp=/srv,size=8G", "protection": 1})
    gone = call("PUT", CT, {"delete": "mp0"})
    assert gone.reason == "can't remove CT 200 drive 'mp0' - protection mode enabled"
    more = call("PUT", CT, {"mp1": "local-lvm:1,mp=/more"})
    assert more.reason == "can't update CT 200 drive 'mp1' - protection mode enabled"
    assert call("PUT", CT, {"cores": 2, "delete": "mp9"}).status == 200
