"""Without quorum guests go down and nothing is written, so none comes up again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from felhom_agent.devnode import Behaviour, DevNode, World
from tests.devnode.conftest import AGENT, Caller, Clock

NODE = "/nodes/pve1"
PENDING: dict[str, dict[str, object]] = {
    "qemu/100": {"cores": 2},
    "lxc/200": {"nameserver": "1.1.1.1"},
}
FILES = {"qemu/100": "qemu-server/100", "lxc/200": "lxc/200"}


@pytest.fixture
def world(clock: Clock) -> World:
    world = World(now=clock, version="9.2")
    world.add("qemu", 100, {"name": "vm100", "memory": "512", "cores": 1}, running=True)
    world.add("lxc", 200, {"hostname": "ct200", "memory": 128, "cores": 1}, running=True)
    return world


@pytest.fixture
def call(world: World) -> Iterator[Caller]:
    with DevNode(world) as node:
        caller = Caller(node, AGENT, world.token(AGENT))
        yield caller
        caller.connection.close()


def refused(guest: str) -> str:
    return f"unable to open file '/etc/pve/nodes/pve1/{FILES[guest]}.conf.tmp.4928' - "


def ended(call: Caller, clock: Clock, path: str) -> tuple[str, list[str]]:
    """Make a call, and return how its task ended and what it logged."""
    upid = call("POST", f"{NODE}/{path}").data
    clock.pass_by(60)
    status = call("GET", f"{NODE}/tasks/{upid}/status").data["exitstatus"]
    return status, [row["t"] for row in call("GET", f"{NODE}/tasks/{upid}/log").data]


@pytest.mark.parametrize("verb", ["stop", "shutdown"])
@pytest.mark.parametrize("guest", PENDING)
def test_what_waits_for_a_stop_waits_on(
    world: World, call: Caller, clock: Clock, guest: str, verb: str
) -> None:
    """recorded: calls-9.2/201-quorum/088, 092, calls-9.2/201c-containers-no-corosync/005, 008"""
    before = world.config(int(guest[-3:]))
    assert call("PUT", f"{NODE}/{guest}/config", PENDING[guest]).status == 200
    world.quorum_lost()
    status, log = ended(call, clock, f"{guest}/status/{verb}")
    assert status == "OK"
    assert (f"{refused(guest)}Permission denied" in log) is guest.startswith("qemu")
    vmid = int(guest[-3:])
    assert not world.running(vmid)
    key = next(iter(PENDING[guest]))
    rows = call("GET", f"{NODE}/{guest}/pending").data
    (row,) = [row for row in rows if row["key"] == key]
    assert str(row["pending"]) == str(PENDING[guest][key])
    assert row.get("value") == before.get(key)


def test_a_container_that_is_rebooted_stays_down(world: World, call: Caller, clock: Clock) -> None:
    """recorded: calls-9.2/201c-containers-no-corosync/001"""
    world.quorum_lost()
    status, log = ended(call, clock, "lxc/200/status/reboot")
    assert status == "startup for container '200' failed"
    assert log == [
        "run_buffer: 322 Script exited with status 2",
        'lxc_init: 844 Failed to run lxc.hook.pre-start for container "200"',
        '__lxc_start: 2027 Failed to initialize container "200"',
        "TASK ERROR: startup for container '200' failed",
    ]
    assert not world.running(200)


def test_a_container_that_is_rebooted_with_what_waits_stays_down_and_keeps_it(
    world: World, call: Caller, clock: Clock
) -> None:
    """recorded: calls-9.2/201-quorum/094, calls-9.2/201c-containers-no-corosync/002"""
    call("PUT", f"{NODE}/lxc/200/config", PENDING["lxc/200"])
    world.quorum_lost()
    status, _ = ended(call, clock, "lxc/200/status/reboot")
    assert status == f"{refused('lxc/200')}Permission denied"
    assert not world.running(200)
    assert "nameserver" not in world.guests[200].conf.values


def test_a_vm_that_is_rebooted_stays_down(world: World, call: Caller, clock: Clock) -> None:
    """It is started by the API's own call, which asks for quorum (PVE: CLI/qm.pm cleanup)."""
    world.quorum_lost()
    status, _ = ended(call, clock, "qemu/100/status/reboot")
    assert status == "OK"
    assert not world.running(100)


def test_a_vm_without_an_operating_system_stays_up(
    world: World, call: Caller, clock: Clock
) -> None:
    """recorded: calls-9.2/201-quorum/085-086"""
    world.behave(100, Behaviour(obeys_shutdown=False))
    world.quorum_lost()
    for verb in ("shutdown", "reboot"):
        status, _ = ended(call, clock, f"qemu/100/status/{verb}")
        assert status == "VM quit/powerdown failed - got timeout"
        assert world.running(100)


@pytest.mark.parametrize("guest", PENDING)
def test_a_guest_that_crashes_or_is_stopped_by_hand_keeps_what_waits(
    world: World, call: Caller, guest: str
) -> None:
    vmid = int(guest[-3:])
    call("PUT", f"{NODE}/{guest}/config", PENDING[guest])
    world.quorum_lost()
    world.crash(vmid)
    assert world.guests[vmid].conf.pending
    world.quorum_back()
    world.start(vmid)
    world.stop(vmid)
    assert not world.guests[vmid].conf.pending
