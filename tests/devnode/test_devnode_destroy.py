"""A guest is destroyed, or is not, as on a real node (110, 111, 140)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour, DevNode, Fault, World
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import Caller, Clock, Reply

NODE = "/nodes/pve1"
VM, CT = "qemu/100", "lxc/200"
FILES = {VM: "qemu-server/100", CT: "lxc/200"}
GUESTS = pytest.mark.parametrize("guest", [VM, CT])


@pytest.fixture
def call(callers: Callable[..., Caller]) -> Caller:
    return callers(privileges={"/": (*AGENT_PRIVILEGES, "VM.Allocate")})


def destroy(call: Caller, guest: str, query: str = "") -> Reply:
    return call("DELETE", f"{NODE}/{guest}{query}")


def ended(call: Caller, reply: Reply) -> str:
    assert reply.status == 200, reply
    status: dict[str, Any] = call("GET", f"{NODE}/tasks/{reply.data}/status").data
    return str(status.get("exitstatus", status["status"]))


def log(call: Caller, reply: Reply) -> list[str]:
    return [line["t"] for line in call("GET", f"{NODE}/tasks/{reply.data}/log").data]


def missing(guest: str) -> str:
    return f"Configuration file 'nodes/pve1/{FILES[guest]}.conf' does not exist"


def noun(guest: str) -> str:
    return "VM 100" if guest == VM else "CT 200"


def number(guest: str) -> int:
    return int(guest.split("/")[1])


@GUESTS
def test_a_destroyed_guest_is_nowhere(world: World, call: Caller, guest: str) -> None:
    vmid = number(guest)
    world.edit(vmid, {"scsi0" if guest == VM else "rootfs": f"local-lvm:vm-{vmid}-disk-0,size=8G"})
    world.snapshot(vmid, "clean")
    reply = destroy(call, guest)
    assert reply.data.split(":")[5] == ("qmdestroy" if guest == VM else "vzdestroy")
    assert ended(call, reply) == "OK"
    assert call("GET", f"{NODE}/{guest}/config").reason == missing(guest)
    assert call("GET", f"{NODE}/{guest}/status/current").reason == missing(guest)
    assert destroy(call, guest).reason == missing(guest)
    rows = call("GET", "/cluster/resources?type=vm").data
    assert vmid not in [row["vmid"] for row in rows]
    assert world.volumes() == {}


@GUESTS
def test_a_guest_that_is_protected_running_or_in_ha_is_refused_at_once(
    world: World, call: Caller, guest: str
) -> None:
    vmid = number(guest)
    world.edit(vmid, {"protection": 1})
    for query in ("", "?purge=1"):
        reason = f"can't remove {noun(guest)} - protection mode enabled"
        assert destroy(call, guest, query).reason == reason
    world.edit(vmid, {}, delete=["protection"])
    world.ha(vmid, "ignored")
    used = "used in HA resources and purge parameter not set."
    assert destroy(call, guest).reason == f"unable to remove {noun(guest)} - {used}"
    world.ha(vmid, "")
    world.start(vmid)
    assert (
        destroy(call, guest).reason
        == {
            VM: "VM 100 is running - destroy failed",
            CT: "unable to destroy CT 200 - container is running",
        }[guest]
    )
    assert vmid in world.guests


@pytest.mark.parametrize(
    ("lock", "end"), [("backup", "VM is locked (backup)"), ("suspended", "OK")]
)
def test_a_locked_vm_is_refused_in_the_task(
    world: World, call: Caller, lock: str, end: str
) -> None:
    world.lock(100, lock)
    assert ended(call, destroy(call, VM)) == end


@pytest.mark.parametrize("query", ["", "?force=1", "?purge=1"])
def test_a_locked_container_is_refused_at_once(world: World, call: Caller, query: str) -> None:
    world.lock(200, "backup")
    reply = destroy(call, CT, query)
    assert (reply.status, reply.reason) == (500, "CT is locked (backup)")


def test_force_stops_a_container_and_is_no_word_for_a_vm(world: World, call: Caller) -> None:
    world.start(200)
    world.start(100)
    reply = destroy(call, CT, "?force=1")
    assert ended(call, reply) == "OK"
    assert log(call, reply)[0] == "forced to stop CT 200 before destroying!"
    assert destroy(call, VM, "?force=1").status == 400


def test_a_container_that_cannot_be_stopped_is_not_destroyed(world: World, call: Caller) -> None:
    world.start(200)
    world.behave(200, Behaviour(stop_error="container did not stop"))
    assert ended(call, destroy(call, CT, "?force=1")) == "container did not stop"
    assert world.running(200)


def test_a_container_whose_destruction_fails_is_off_all_the_same(
    world: World, call: Caller
) -> None:
    world.start(200)
    world.behave(200, Behaviour(destroy_error="rbd error: busy"))
    assert ended(call, destroy(call, CT, "?force=1")) == "rbd error: busy"
    assert not world.running(200)


@GUESTS
def test_a_slow_destruction_takes_its_time(
    world: World, call: Caller, clock: Clock, guest: str
) -> None:
    world.behave(number(guest), Behaviour(destroy_seconds=2.0))
    reply = destroy(call, guest)
    clock.pass_by(1.9)
    assert ended(call, reply) == "running"
    assert number(guest) in world.guests
    clock.pass_by(0.1)
    assert ended(call, reply) == "OK"


@GUESTS
def test_purge_takes_a_guest_out_of_ha(world: World, call: Caller, guest: str) -> None:
    world.ha(number(guest), "stopped")
    reply = destroy(call, guest, "?purge=1")
    assert ended(call, reply) == "OK"
    assert log(call, reply)[:2] == [
        f"purging {noun(guest)} from related configurations..",
        f"NOTE: removed {noun(guest)} from HA resource configuration.",
    ]
    world.create(guest.split("/")[0], number(guest))
    assert "hastate" not in next(
        row
        for row in call("GET", "/cluster/resources?type=vm").data
        if row["vmid"] == number(guest)
    )


def test_what_was_given_on_a_guest_goes_with_it(
    world: World, call: Caller, callers: Callable[..., Caller]
) -> None:
    tenant = callers("tenant@pve!a", privileges={"/vms/100": ("VM.Audit",)})
    world.pool(100, "customers")
    assert ended(call, destroy(call, VM)) == "OK"
    world.create("qemu", 100)
    assert tenant("GET", f"{NODE}/{VM}/config").status == 403
    assert "pool" not in call("GET", "/cluster/resources?type=vm").data[0]


@pytest.mark.parametrize("unreferenced", [0, 1])
def test_volumes_that_no_key_names_stay_unless_they_are_asked_for(
    world: World, call: Caller, unreferenced: int
) -> None:
    used, left = "local-lvm:vm-100-disk-0", "local-lvm:vm-100-disk-9"
    unused = "local-lvm:vm-100-disk-1"
    world.edit(100, {"scsi0": f"{used},size=8G", "unused0": unused})
    world.guests[100].sizes |= {left: "1G", unused: "1G"}
    query = f"?destroy-unreferenced-disks={unreferenced}"
    assert ended(call, destroy(call, VM, query)) == "OK"
    assert world.volumes() == ({} if unreferenced else {left: "1G"})
    world.add("qemu", 100)
    assert world.guests[100].sizes == ({} if unreferenced else {left: "1G"})


def test_the_volume_of_another_guest_is_left_alone(world: World, call: Caller) -> None:
    world.add("qemu", 101, {"scsi0": "local-lvm:vm-101-disk-0,size=8G"})
    world.edit(100, {"scsi0": "local-lvm:vm-101-disk-0"})
    assert ended(call, destroy(call, VM, "?destroy-unreferenced-disks=1")) == "OK"
    assert world.volumes() == {"local-lvm:vm-101-disk-0": "8G"}


@GUESTS
def test_of_two_at_once_the_second_finds_nothing(
    world: World, call: Caller, clock: Clock, guest: str
) -> None:
    world.behave(number(guest), Behaviour(destroy_seconds=2.0))
    first, second = destroy(call, guest), destroy(call, guest)
    start = call("POST", f"{NODE}/{guest}/status/start")
    clock.pass_by(3.0)
    assert ended(call, first) == "OK"
    assert ended(call, second) == missing(guest)
    assert ended(call, start) == missing(guest)


def test_a_killed_worker_leaves_a_guest_without_its_first_volumes(
    world: World, call: Caller, clock: Clock
) -> None:
    disks = {f"scsi{n}": f"local-lvm:vm-100-disk-{n},size=1G" for n in range(4)}
    world.edit(100, disks)
    world.behave(100, Behaviour(destroy_seconds=8.0))
    reply = destroy(call, VM)
    clock.pass_by(4.5)
    world.kill_tasks(100)
    clock.pass_by(60.0)
    assert ended(call, reply) == "unexpected status"
    assert sorted(world.volumes()) == ["local-lvm:vm-100-disk-2", "local-lvm:vm-100-disk-3"]
    assert world.config(100)["scsi0"] == "local-lvm:vm-100-disk-0,size=1G"


def test_without_quorum_the_volumes_go_and_the_file_stays(world: World, call: Caller) -> None:
    """recorded: calls-9.2/201-quorum/102"""
    world.edit(100, {"scsi0": "local-lvm:vm-100-disk-0,size=8G"})
    world.quorum_lost()
    assert ended(call, destroy(call, VM)).endswith("- Permission denied")
    assert world.volumes() == {}
    assert "scsi0" in world.config(100)


def test_a_destruction_may_fail_with_any_words(world: World, call: Caller) -> None:
    world.behave(100, Behaviour(destroy_error="rbd error: busy"))
    assert ended(call, destroy(call, VM)) == "rbd error: busy"
    assert world.config(100)["name"] == "vm100"


@GUESTS
def test_the_agents_own_rights_do_not_reach(callers: Callable[..., Caller], guest: str) -> None:
    agent = callers(privileges={"/": AGENT_PRIVILEGES})
    path = f"Permission check failed (/vms/{number(guest)}, VM.Allocate)"
    assert destroy(agent, guest).reason == path


@pytest.mark.parametrize(
    ("action", "happens"),
    [("reset-after", True), ("hang", True), ("status:595", False), ("refuse:no", False)],
)
def test_an_answer_may_be_lost_and_a_call_refused(
    node: DevNode, callers: Callable[..., Caller], action: str, happens: bool
) -> None:
    node.faults.add(Fault("DELETE", "qemu/100$", action))
    caller = callers(timeout=0.2, privileges={"/": ("VM.Allocate",)})
    try:
        destroy(caller, VM, "?purge=1")
    except OSError:
        caller.connection.close()
    assert (100 not in node.world.guests) is happens


def test_a_destruction_that_meets_another_change_is_seen_in_the_log(
    node: DevNode, call: Caller
) -> None:
    node.world.behave(100, Behaviour(destroy_seconds=2.0))
    first = destroy(call, VM)
    destroy(call, VM)
    assert node.mutations[-1].guest == "100"
    assert node.mutations[-1].during == (first.data,)
