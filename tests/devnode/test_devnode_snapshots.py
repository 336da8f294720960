"""Snapshots are taken, rolled back to and deleted as on a real node (100, 101)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour, DevNode, Fault, World
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import Caller, Clock, Reply

NODE = "/nodes/pve1"
VM, CT = "qemu/100", "lxc/200"
DISK = "local-lvm:vm-100-disk-0"
RIGHTS = (*AGENT_PRIVILEGES, "VM.Snapshot", "VM.Snapshot.Rollback")
GUESTS = pytest.mark.parametrize("guest", [VM, CT])


@pytest.fixture
def call(callers: Callable[..., Caller]) -> Caller:
    return callers(privileges={"/": RIGHTS})


def ended(call: Caller, reply: Reply) -> str:
    assert reply.status == 200, reply
    status: dict[str, Any] = call("GET", f"{NODE}/tasks/{reply.data}/status").data
    return str(status.get("exitstatus", status["status"]))


def take(call: Caller, guest: str, name: str, **params: object) -> str:
    reply = call("POST", f"{NODE}/{guest}/snapshot", {"snapname": name, **params})
    return ended(call, reply)


def roll_back(call: Caller, guest: str, name: str, **params: object) -> str:
    return ended(call, call("POST", f"{NODE}/{guest}/snapshot/{name}/rollback", params))


def remove(call: Caller, guest: str, name: str, query: str = "") -> str:
    return ended(call, call("DELETE", f"{NODE}/{guest}/snapshot/{name}{query}"))


def number(guest: str) -> int:
    return int(guest.split("/")[1])


@GUESTS
def test_a_snapshot_is_a_section_and_the_parent_of_what_follows(
    world: World, call: Caller, guest: str
) -> None:
    before = world.config(number(guest))["digest"]
    assert take(call, guest, "first", description="as it was") == "OK"
    assert take(call, guest, "second") == "OK"
    config = world.config(number(guest))
    assert config["parent"] == "second"
    assert config["digest"] != before
    assert world.snapshots(number(guest))["second"]["parent"] == "first"
    rows = {row["name"]: row for row in call("GET", f"{NODE}/{guest}/snapshot").data}
    assert set(rows) == {"first", "second", "current"}
    assert rows["current"]["parent"] == "second"
    assert rows["current"]["digest"] == config["digest"]
    assert rows["first"]["description"].rstrip() == "as it was"


@GUESTS
def test_a_rollback_brings_back_all_but_the_description(
    world: World, call: Caller, guest: str
) -> None:
    vmid = number(guest)
    world.snapshot(vmid, "clean")
    was = world.config(vmid)
    world.edit(vmid, {"description": "kept", "protection": 1, "tags": "later", "cores": 4})
    assert roll_back(call, guest, "clean") == "OK"
    now = world.config(vmid)
    assert now.pop("description").rstrip() == "kept"  # type: ignore[union-attr]
    assert {**now, "digest": 0, "vmgenid": 0} == {**was, "digest": 0, "vmgenid": 0}
    assert "protection" not in now


@GUESTS
def test_a_rollback_stops_a_guest_and_leaves_it_off_unless_it_is_to_start(
    world: World, call: Caller, guest: str
) -> None:
    vmid = number(guest)
    world.snapshot(vmid, "clean")
    world.start(vmid)
    assert roll_back(call, guest, "clean") == "OK"
    assert not world.running(vmid)
    assert roll_back(call, guest, "clean", start=1) == "OK"
    assert world.running(vmid)
    started = call("GET", f"{NODE}/tasks?limit=1").data[0]
    assert started["type"] == ("qmstart" if guest == VM else "vzstart")


def test_a_rollback_gives_a_vm_another_generation(world: World, call: Caller) -> None:
    world.edit(100, {"vmgenid": "0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100"})
    world.snapshot(100, "clean")
    assert roll_back(call, VM, "clean") == "OK"
    assert world.config(100)["vmgenid"] != "0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100"


def test_what_waits_is_gone_after_a_rollback(world: World, call: Caller) -> None:
    world.snapshot(100, "clean")
    world.start(100)
    assert call("PUT", f"{NODE}/{VM}/config", {"cores": 3}).status == 200
    assert roll_back(call, VM, "clean") == "OK"
    assert world.config(100)["cores"] == 1
    keys = [row["key"] for row in call("GET", f"{NODE}/{VM}/pending").data if "pending" in row]
    assert keys == []


def test_a_disk_that_is_not_in_the_snapshot_becomes_unused(world: World, call: Caller) -> None:
    world.snapshot(100, "bare")
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    assert roll_back(call, VM, "bare") == "OK"
    config = world.config(100)
    assert config["unused0"] == DISK
    assert "scsi0" not in config


def test_a_snapshot_with_memory_starts_the_vm_that_is_rolled_back(
    world: World, call: Caller
) -> None:
    world.start(100)
    world.snapshot(100, "ram", ram=True)
    world.stop(100)
    row = next(r for r in call("GET", f"{NODE}/{VM}/snapshot").data if r["name"] == "ram")
    assert row["vmstate"] == 1
    assert roll_back(call, VM, "ram") == "OK"
    assert world.running(100)
    assert "runningmachine" not in world.config(100)


@GUESTS
def test_the_children_of_a_deleted_snapshot_get_its_parent(
    world: World, call: Caller, guest: str
) -> None:
    for name in ("one", "two", "three"):
        world.snapshot(number(guest), name)
    assert remove(call, guest, "two") == "OK"
    assert world.snapshots(number(guest))["three"]["parent"] == "one"
    assert remove(call, guest, "three") == "OK"
    assert world.config(number(guest))["parent"] == "one"


@GUESTS
@pytest.mark.parametrize(
    ("verb", "lock"),
    [("create", "snapshot"), ("rollback", "rollback"), ("delete", "snapshot-delete")],
)
def test_a_guest_is_locked_while_its_volumes_are_worked_on_and_after_a_killed_worker(
    world: World, call: Caller, clock: Clock, guest: str, verb: str, lock: str
) -> None:
    vmid = number(guest)
    world.snapshot(vmid, "clean")
    world.behave(vmid, Behaviour(snapshot_seconds=30.0))
    if verb == "create":
        end = take(call, guest, "more")
    else:
        end = (roll_back if verb == "rollback" else remove)(call, guest, "clean")
    assert end == "running"
    clock.pass_by(1.0)
    config = call("GET", f"{NODE}/{guest}/config").data
    assert config["lock"] == lock
    reply = call("PUT", f"{NODE}/{guest}/config", {"cores": 2})
    assert reply.reason == f"{'VM' if guest == VM else 'CT'} is locked ({lock})"
    world.kill_tasks(vmid)
    clock.pass_by(60.0)
    assert world.config(vmid)["lock"] == lock
    assert take(call, guest, "again").endswith(f"is locked ({lock})")


@GUESTS
def test_a_slow_rollback_ends_well_and_unlocks(
    world: World, call: Caller, clock: Clock, guest: str
) -> None:
    vmid = number(guest)
    world.snapshot(vmid, "clean")
    world.behave(vmid, Behaviour(snapshot_seconds=30.0))
    reply = call("POST", f"{NODE}/{guest}/snapshot/clean/rollback")
    clock.pass_by(29.0)
    assert ended(call, reply) == "running"
    clock.pass_by(1.0)
    assert ended(call, reply) == "OK"
    assert "lock" not in world.config(vmid)


@GUESTS
def test_a_failed_deletion_leaves_a_lock_that_force_does_not_open(
    world: World, call: Caller, guest: str
) -> None:
    vmid = number(guest)
    key = "scsi0" if guest == VM else "rootfs"
    world.edit(vmid, {key: f"local-lvm:vm-{vmid}-disk-0,size=8G"})
    world.snapshot(vmid, "clean")
    world.behave(vmid, Behaviour(snapshot_error="no space"))
    assert remove(call, guest, "clean") == "no space"
    assert world.snapshots(vmid)["clean"]["snapstate"] == "delete"
    locked = f"{'VM' if guest == VM else 'CT'} is locked (snapshot-delete)"
    assert remove(call, guest, "clean", "?force=1") == locked
    assert roll_back(call, guest, "clean").startswith("unable to rollback to incomplete snapshot")
    world.unlock(vmid)
    assert remove(call, guest, "clean", "?force=1") == "OK"
    assert world.snapshots(vmid) == {}


def test_a_failed_snapshot_is_cleaned_up(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    world.behave(100, Behaviour(snapshot_error="no space"))
    assert take(call, VM, "clean") == "no space"
    assert world.snapshots(100) == {}
    assert not {"lock", "parent"} & world.config(100).keys()


def test_a_failed_rollback_leaves_its_lock(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": f"{DISK},size=8G"})
    world.snapshot(100, "clean")
    world.behave(100, Behaviour(snapshot_error="no space"))
    assert roll_back(call, VM, "clean") == "no space"
    assert world.config(100)["lock"] == "rollback"


@pytest.mark.parametrize(
    ("volume", "kind", "end"),
    [
        ("local:100/vm-100-disk-0.raw", "", "snapshot feature is not available"),
        ("local:100/vm-100-disk-0.qcow2", "", "OK"),
        ("local-lvm:vm-100-disk-0", "", "OK"),
        ("local-zfs:vm-100-disk-0", "", "OK"),
        ("thick:vm-100-disk-0", "lvm", "snapshot feature is not available"),
        ("bt:100/vm-100-disk-0.raw", "btrfs", "OK"),
    ],
)
def test_the_kind_of_the_storage_decides_whether_there_are_snapshots(
    world: World, call: Caller, volume: str, kind: str, end: str
) -> None:
    if kind:
        world.storages[volume.partition(":")[0]] = kind
    world.edit(100, {"scsi0": f"{volume},size=8G"})
    assert take(call, VM, "clean") == end


def test_zfs_rolls_back_to_its_newest_snapshot_alone(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": "local-zfs:vm-100-disk-0,size=8G"})
    world.snapshot(100, "old")
    world.snapshot(100, "new")
    words = "can't rollback, 'old' is not most recent snapshot on 'local-zfs:vm-100-disk-0'"
    assert roll_back(call, VM, "old") == words
    assert roll_back(call, VM, "new") == "OK"
    assert "lock" not in world.config(100)


@GUESTS
def test_the_agents_own_rights_do_not_reach(callers: Callable[..., Caller], guest: str) -> None:
    agent = callers(privileges={"/": AGENT_PRIVILEGES})
    path, name = f"{NODE}/{guest}/snapshot", {"snapname": "clean"}
    one = f"Permission check failed (/vms/{number(guest)}, VM.Snapshot)"
    either = one.replace("VM.Snapshot)", "VM.Snapshot|VM.Snapshot.Rollback)")
    assert agent("POST", path, name).reason == one
    assert agent("POST", f"{path}/clean/rollback").reason == either
    assert agent("DELETE", f"{path}/clean").reason == one
    assert agent("PUT", f"{path}/clean/config", {"description": "x"}).reason == one


def test_only_the_newer_asks_for_the_right_to_start(clock: Clock) -> None:
    """recorded: calls-9.2/209-small-changes/014"""
    answers = {}
    for version in ("9.1", "9.2"):
        world = World(now=clock, version=version)
        world.add("qemu", 100)
        world.snapshot(100, "clean")
        with DevNode(world) as node:
            token = world.token("a@pve!b", {"/": ("VM.Snapshot.Rollback",)})
            caller = Caller(node, "a@pve!b", token)
            path = f"{NODE}/{VM}/snapshot/clean/rollback"
            answers[version] = caller("POST", path, {"start": 1}).reason
            caller.connection.close()
    assert answers == {"9.1": "OK", "9.2": "Permission check failed (/vms/100, VM.PowerMgmt)"}


def test_the_memory_of_a_snapshot_is_a_volume_that_goes_with_it(world: World, call: Caller) -> None:
    world.start(100)
    assert take(call, VM, "ram", vmstate=1) == "OK"
    assert world.volumes() == {"local:100/vm-100-state-ram.raw": "1524M"}
    assert remove(call, VM, "ram") == "OK"
    assert world.volumes() == {}


def test_a_vm_that_runs_after_its_rollback_is_not_started_once_more(
    world: World, call: Caller
) -> None:
    world.start(100)
    world.snapshot(100, "ram", ram=True)
    assert roll_back(call, VM, "ram", start=1) == "OK"
    assert call("GET", f"{NODE}/tasks?limit=1").data[0]["type"] == "qmrollback"


@pytest.mark.parametrize("in_snapshot", [True, False])
def test_a_cloud_init_drive_goes_unless_the_snapshot_has_it(
    world: World, call: Caller, in_snapshot: bool
) -> None:
    image = "local-lvm:vm-100-cloudinit"
    drive = {"ide2": f"{image},media=cdrom,size=4M"}
    if in_snapshot:
        world.edit(100, drive)
    world.snapshot(100, "clean")
    world.edit(100, drive)
    assert roll_back(call, VM, "clean") == "OK"
    config = world.config(100)
    assert ("ide2" in config, image in world.volumes()) == (in_snapshot, in_snapshot)
    assert "unused0" not in config


@GUESTS
def test_a_template_has_no_snapshots(world: World, call: Caller, guest: str) -> None:
    vmid = number(guest)
    world.snapshot(vmid, "clean")
    world.edit(vmid, {"template": 1})
    assert take(call, guest, "more") == "you can't take a snapshot if it's a template"
    assert roll_back(call, guest, "clean") == "you can't rollback if vm is a template"
    assert remove(call, guest, "clean") == "you can't delete a snapshot if vm is a template"
    assert world.config(vmid)["lock"] == "snapshot-delete"


def test_a_rollback_asks_ha_to_start_a_managed_guest(world: World, call: Caller) -> None:
    world.snapshot(100, "clean")
    world.ha(100, "stopped")
    assert roll_back(call, VM, "clean", start=1) == "OK"
    assert call("GET", f"{NODE}/tasks?limit=1").data[0]["type"] == "hastart"
    assert not world.running(100)


@pytest.mark.parametrize("verb", ["create", "rollback", "delete"])
def test_whoever_waits_for_the_lock_of_a_destroyed_guest_finds_nothing(
    world: World, call: Caller, clock: Clock, verb: str
) -> None:
    world.snapshot(100, "clean")
    world.hold_lock(100)
    path = f"{NODE}/{VM}/snapshot"
    if verb == "create":
        reply = call("POST", path, {"snapname": "more"})
    elif verb == "rollback":
        reply = call("POST", f"{path}/clean/rollback")
    else:
        reply = call("DELETE", f"{path}/clean")
    ghost = world.guests[100]
    world.remove(100)
    ghost.flock.let_go()
    clock.pass_by(1.0)
    missing = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"
    assert ended(call, reply) == missing


@GUESTS
def test_nothing_is_written_without_quorum(world: World, call: Caller, guest: str) -> None:
    """recorded: calls-9.2/201-quorum/096"""
    world.snapshot(number(guest), "clean")
    before = world.config(number(guest))
    world.quorum_lost()
    for end in (take(call, guest, "more"), roll_back(call, guest, "clean")):
        assert end.endswith("- Permission denied")
    assert remove(call, guest, "clean").endswith("- Permission denied")
    assert world.config(number(guest)) == before


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("action", "happens"),
    [("reset-after", True), ("status:596", True), ("reset-before", False), ("refuse:no", False)],
)
def test_an_answer_may_be_lost_and_a_call_refused(
    node: DevNode, call: Caller, method: str, action: str, happens: bool
) -> None:
    world = node.world
    world.snapshot(100, "clean")
    world.edit(100, {"cores": 2})
    tail = "/rollback" if method == "POST" else ""
    node.faults.add(Fault(method, f"snapshot/clean{tail}$", action))
    try:
        call(method, f"{NODE}/{VM}/snapshot/clean{tail}")
    except OSError:
        call.connection.close()
    changed = world.config(100)["cores"] == 1 if tail else not world.snapshots(100)
    assert changed is happens
