"""In what the node differs as PVE 9.1.7 and as 9.2.11, and what its worker of a change finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from felhom_agent.devnode import Behaviour, DevNode, World
from felhom_agent.devnode.world import release
from tests.devnode.conftest import AGENT, NEWER, OLDER, Caller, Clock

VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"
LOCKED = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
GONE = "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"


@pytest.fixture
def newer(world: World) -> World:
    world.version = NEWER
    world.cleanup_gap = release.cleanup_gap(NEWER)
    return world


def end(call: Caller, upid: str) -> object:
    return call("GET", f"/nodes/pve1/tasks/{upid}/status").data.get("exitstatus")


@pytest.mark.parametrize(("asked", "told"), [("9.1", OLDER), ("9.2", NEWER), ("9.2.11", NEWER)])
def test_a_version_may_be_asked_for_in_short(asked: str, told: str) -> None:
    with DevNode(World(version=asked)) as node:
        caller = Caller(node, AGENT, node.world.token(AGENT))
        version = caller("GET", "/version").data
        status = caller("GET", "/nodes/pve1/status").data
        caller.connection.close()
    assert version["version"] == told
    assert status["pveversion"] == f"pve-manager/{told}/{version['repoid']}"


def test_a_change_while_the_lock_is_held_is_refused_by_the_older_and_a_task_of_the_newer(
    world: World, call: Caller, clock: Clock
) -> None:
    """recorded: calls-9.2/200-post-worker/006; 9.1.7 by its source."""
    world.hold_lock(100)
    assert call("POST", VM, {"description": "x"}).reason == LOCKED
    world.version = NEWER
    upid = call("POST", VM, {"description": "x"}).data
    assert end(call, upid) is None
    clock.pass_by(11)
    assert end(call, upid) == LOCKED


@pytest.mark.parametrize(
    ("meanwhile", "words"),
    [
        (lambda world: world.edit(100, {"tags": "b"}), "checksum mismatch (file change by other"),
        (lambda world: world.lock(100, "backup"), "VM is locked (backup)"),
        (lambda world: world.remove(100), GONE),
        (lambda world: world.edit(100, {"memory": 16}), "balloon value too large"),
    ],
    ids=["changed", "locked", "removed", "smaller"],
)
def test_what_happened_before_the_worker_got_the_lock_is_its_end(
    newer: World, call: Caller, meanwhile: Callable[[World], None], words: str
) -> None:
    """recorded: calls-9.2/200-post-worker/012-027"""
    digest = call("GET", VM).data["digest"]
    newer.hold_lock(100)
    sent = {"balloon": 32} if "balloon" in words else {"description": "x"}
    asked = {**sent, **({"digest": digest} if "checksum" in words else {})}
    upid = call("POST", VM, asked).data
    holder = newer.guests[100].flock
    meanwhile(newer)
    holder.let_go()
    assert str(end(call, upid)).startswith(words)


def test_a_refused_key_leaves_the_others_waiting_and_the_next_write_applies_them(
    newer: World, call: Caller
) -> None:
    """recorded: calls-9.2/200b-post-worker-privileges/065"""
    for method in ("PUT", "POST"):
        call(method, VM, {"boot": "order=scsi5", "cores": 2})
        assert newer.guests[100].conf.pending == {"cores": "2"}
        assert call("GET", f"{VM}?current=1").data["cores"] == 1
    assert call("PUT", VM, {"onboot": 1}).status == 200
    assert newer.guests[100].conf.pending == {}
    assert call("GET", f"{VM}?current=1").data["cores"] == 2


def test_a_deletion_of_what_only_waits_is_passed_over_by_a_container_and_done_by_a_vm(
    newer: World, call: Caller
) -> None:
    """recorded: calls-9.2/206-digest-pending/025-026"""
    for vmid, path, key in ((100, VM, "agent"), (200, CT, "nameserver")):
        newer.start(vmid)
        value = "1" if key == "agent" else "1.1.1.1"
        assert call("PUT", path, {key: value}).status == 200
        assert newer.guests[vmid].conf.pending == {key: value}
        assert call("PUT", path, {"delete": key}).status == 200
    assert newer.guests[100].conf.pending == {}
    assert newer.guests[200].conf.pending == {"nameserver": "1.1.1.1"}
    assert call("PUT", CT, {"revert": "nameserver"}).status == 200
    assert newer.guests[200].conf.pending == {}


DISK, CD = "local:100/vm-100-disk-0.raw", "local:iso/a.iso,media=cdrom"
UNPLUGGED = "can't unplug bootdisk 'scsi0'\n"


@pytest.mark.parametrize(
    ("present", "sent", "words"),
    [
        ({"scsi0": f"{DISK},size=1G"}, {"scsi0": "none,media=cdrom"}, "unable to change media"),
        ({"ide2": "none,media=cdrom"}, {"ide2": f"{DISK},size=1G"}, "unable to change media"),
        ({"scsi0": f"{DISK},size=1G", "boot": "order=scsi0"}, {"delete": "scsi0"}, UNPLUGGED),
        (
            {"hotplug": "cpu", "numa": 1, "cores": 2, "vcpus": 1},
            {"vcpus": 3},
            "you can't add more vcpus than maxcpus\n",
        ),
        (
            {"hotplug": "memory", "numa": 1, "memory": 2048},
            {"memory": 512},
            "memory can't be lower than 1024 MB at ",
        ),
    ],
    ids=["cd over disk", "disk over cd", "boot disk", "vcpus", "memory"],
)
@pytest.mark.parametrize("version", release.BUILDS)
def test_what_pve_fails_to_plug_waits_and_is_answered_with_400(
    world: World,
    call: Caller,
    version: str,
    present: dict[str, object],
    sent: dict[str, object],
    words: str,
) -> None:
    """PVE: qemu-server QemuServer.pm vmconfig_hotplug_pending"""
    world.version = version
    world.edit(100, {"scsi1": f"{DISK},size=1G", **present})
    world.start(100)
    key = str(sent.get("delete", next(iter(sent))))
    reply = call("PUT", VM, {**sent, "description": "x"})
    assert (reply.status, reply.reason) == (400, "Parameter verification failed.")
    assert reply.body["errors"][key].startswith(f"hotplug problem - {words}")
    conf = world.guests[100].conf
    assert key in conf.pending or key in conf.unset
    assert conf.values["description"] == "x"


@pytest.fixture
def restarted(world: World, call: Caller, clock: Clock) -> Iterator[Callable[[float], object]]:
    """Start and stop a VM, start it again after that many seconds, and write."""

    def again(gap: float) -> object:
        for verb in ("start", "stop"):
            call("POST", f"/nodes/pve1/qemu/100/status/{verb}")
            clock.pass_by(0 if verb == "stop" else 5)
        clock.pass_by(gap)
        call("POST", "/nodes/pve1/qemu/100/status/start")
        clock.pass_by(1)
        return call("PUT", VM, {"onboot": 1}).reason

    yield again
    world.stop(100)


@pytest.mark.parametrize(
    ("version", "gap", "reason"),
    [(OLDER, 0.0, "OK"), (NEWER, 0.0, LOCKED), (NEWER, 0.3, LOCKED), (NEWER, 0.7, "OK")],
)
def test_a_vm_started_right_after_its_stop_is_locked_by_the_newer(
    world: World,
    restarted: Callable[[float], object],
    version: str,
    gap: float,
    reason: str,
) -> None:
    """recorded: calls-9.2/208b-lock-after-restart-tries"""
    world.cleanup_gap = release.cleanup_gap(version)
    assert restarted(gap) == reason


def test_an_unused_volume_of_another_guest_needs_a_right_on_the_storage(
    newer: World, call: Caller
) -> None:
    """recorded: calls-9.2/209-small-changes/001-007"""
    newer.add("qemu", 103, {"scsi0": "local:103/vm-103-disk-0.raw,size=1G"})
    newer.guests[100].sizes[DISK] = "1G"
    words = "Permission check failed (/storage/local, Datastore.Audit)"
    reply = call("PUT", VM, {"unused0": "local:103/vm-103-disk-0.raw"})
    assert (reply.status, reply.reason) == (403, words)
    assert call("PUT", VM, {"unused0": DISK}).status == 200


def test_a_behaviour_of_its_own_goes_before_the_versions(
    newer: World, restarted: Callable[[float], object]
) -> None:
    newer.behave(100, Behaviour(cleanup_gap=0.0))
    assert restarted(0.0) == "OK"


@pytest.mark.parametrize(("version", "told"), [("9.1", "running"), ("9.2", "paused")])
def test_the_resources_say_of_a_paused_vm_that_it_is_paused(version: str, told: str) -> None:
    """recorded: calls-9.2/204-resources/058-059"""
    world = World(version=version)
    world.add("qemu", 100, {"cores": 1}, running=True)
    world.suspend(100)
    with DevNode(world) as node:
        caller = Caller(node, AGENT, world.token(AGENT))
        (row,) = caller("GET", "/cluster/resources?type=vm").data
        assert row["status"] == told
        assert caller("GET", "/nodes/pve1/qemu/100/status/current").data["status"] == "running"
        world.resume(100)
        assert caller("GET", "/cluster/resources?type=vm").data[0]["status"] == "running"
        caller.connection.close()
