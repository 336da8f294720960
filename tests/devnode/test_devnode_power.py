"""Start, stop, shutdown and reboot end as they did on a real node (40, 41, 50, 130, 140, 141)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour, World
from tests.devnode.conftest import Caller, Clock, Reply

NODE = "/nodes/pve1"
QEMU_LOCK = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
LXC_LOCK = "can't lock file '/run/lock/lxc/pve-config-200.lock' - got timeout"
NO_CONF = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
NO_GUEST = "unable to find configuration file for VM 999 on node 'pve1'"


def power(call: Caller, guest: str, verb: str, **params: object) -> Reply:
    return call("POST", f"{NODE}/{guest}/status/{verb}", params)


def task(call: Caller, upid: str) -> dict[str, Any]:
    status: dict[str, Any] = call("GET", f"{NODE}/tasks/{upid}/status").data
    return status


def log(call: Caller, upid: str) -> list[str]:
    return [line["t"] for line in call("GET", f"{NODE}/tasks/{upid}/log").data]


def prepare(world: World, guest: str, *states: str) -> None:
    vmid = int(guest.split("/")[1])
    for state in states:
        if state == "running":
            world.start(vmid)
        elif state == "template":
            world.edit(vmid, {"template": 1})
        elif state == "paused":
            world.suspend(vmid)
        else:
            world.lock(vmid, state)


@pytest.mark.parametrize(
    ("guest", "states", "verb", "exitstatus"),
    [
        ("qemu/100", (), "start", "OK"),
        ("qemu/100", ("running",), "start", "VM 100 already running"),
        ("qemu/100", ("running", "paused"), "start", "VM 100 already running"),
        ("qemu/100", (), "stop", "OK"),
        ("qemu/100", (), "shutdown", "OK"),
        ("qemu/999", (), "start", NO_CONF),
        ("qemu/999", (), "stop", NO_GUEST),
        ("qemu/999", (), "shutdown", NO_GUEST),
        ("qemu/100", ("template",), "start", "you can't start a vm if it's a template"),
        ("qemu/100", ("template",), "stop", "OK"),
        ("qemu/100", ("backup",), "start", "VM is locked (backup)"),
        ("qemu/100", ("backup",), "stop", "OK"),
        ("qemu/100", ("backup",), "shutdown", "OK"),
        ("qemu/100", ("running", "backup"), "stop", "VM is locked (backup)"),
        ("qemu/100", ("running", "backup"), "shutdown", "VM is locked (backup)"),
        ("qemu/100", ("running", "backup"), "reboot", "VM is locked (backup)"),
        ("lxc/200", (), "start", "OK"),
        ("lxc/200", ("template",), "start", "you can't start a CT if it's a template"),
        ("lxc/200", ("backup",), "start", "CT is locked (backup)"),
        ("lxc/200", ("mounted",), "start", "OK"),
        ("lxc/200", ("running",), "stop", "OK"),
        ("lxc/200", ("running",), "shutdown", "OK"),
        ("lxc/200", ("running",), "reboot", "OK"),
        ("lxc/200", ("running", "mounted"), "stop", "OK"),
        ("lxc/200", ("running", "mounted"), "shutdown", "CT is locked (mounted)"),
        ("lxc/200", ("running", "backup"), "reboot", "startup for container '200' failed"),
    ],
)
def test_the_task_of_a_power_call_ends_with_pves_words(
    world: World, call: Caller, guest: str, states: tuple[str, ...], verb: str, exitstatus: str
) -> None:
    prepare(world, guest, *states)
    upid = power(call, guest, verb).data
    assert task(call, upid)["exitstatus"] == exitstatus
    last = "TASK OK" if exitstatus == "OK" else f"TASK ERROR: {exitstatus}"
    assert log(call, upid)[-1] == last


@pytest.mark.parametrize(
    ("guest", "states", "verb", "reason"),
    [
        ("qemu/100", (), "reboot", "VM 100 not running"),
        ("qemu/100", ("running", "paused"), "shutdown", "VM is paused - cannot shutdown"),
        ("lxc/200", ("running",), "start", "CT 200 already running"),
        ("lxc/200", (), "stop", "CT 200 not running"),
        ("lxc/200", (), "shutdown", "CT 200 not running"),
        ("lxc/200", (), "reboot", "VM 200 not running"),
        ("lxc/200", ("backup",), "stop", "CT 200 not running"),
        ("lxc/999", (), "stop", "CT 999 not running"),
    ],
)
def test_what_pve_refuses_at_once_makes_no_task(
    world: World, call: Caller, guest: str, states: tuple[str, ...], verb: str, reason: str
) -> None:
    prepare(world, guest, *states)
    before = call("GET", f"{NODE}/tasks").body.get("total", 0)
    reply = power(call, guest, verb)
    assert (reply.status, reply.reason) == (500, reason)
    assert reply.body == {"data": None, "message": reason + "\n"}
    assert call("GET", f"{NODE}/tasks").body.get("total", 0) == before


@pytest.mark.parametrize(
    ("guest", "verb", "parameter", "complaint"),
    [
        ("qemu/100", "start", "skiplock", "Only root may use this option."),
        ("qemu/100", "stop", "keepActive", "Only root may use this option."),
        ("qemu/100", "stop", "forceStop", "property is not defined"),
        ("qemu/100", "shutdown", "overrule-shutdown", "property is not defined"),
        ("lxc/200", "stop", "timeout", "property is not defined"),
        ("lxc/200", "start", "foo", "property is not defined"),
    ],
)
def test_a_parameter_that_is_not_for_the_agent_is_a_400(
    call: Caller, guest: str, verb: str, parameter: str, complaint: str
) -> None:
    reply = power(call, guest, verb, **{parameter: 1})
    assert reply.status == 400
    assert reply.body["errors"][parameter].startswith(complaint)


def test_a_start_takes_its_time_and_has_no_exit_status_until_then(
    world: World, call: Caller, clock: Clock
) -> None:
    world.behave(100, Behaviour(start_seconds=3))
    upid = power(call, "qemu/100", "start").data
    clock.pass_by(2.9)
    assert task(call, upid)["status"] == "running"
    assert "exitstatus" not in task(call, upid)
    assert not world.running(100)
    clock.pass_by(0.1)
    assert task(call, upid)["exitstatus"] == "OK"
    assert world.running(100)


def test_of_two_starts_at_once_the_second_finds_the_vm_running(
    world: World, call: Caller, clock: Clock
) -> None:
    world.behave(100, Behaviour(start_seconds=3))
    first, second = (power(call, "qemu/100", "start").data for _ in range(2))
    clock.pass_by(3)
    assert task(call, first)["exitstatus"] == "OK"
    assert task(call, second)["exitstatus"] == "VM 100 already running"


def test_a_start_may_fail_and_may_warn(world: World, call: Caller) -> None:
    world.behave(100, Behaviour(start_error="start failed: QEMU exited with code 1"))
    failed = power(call, "qemu/100", "start").data
    assert task(call, failed)["exitstatus"] == "start failed: QEMU exited with code 1"
    assert not world.running(100)
    world.behave(100, Behaviour(warnings=2))
    warned = power(call, "qemu/100", "start").data
    assert task(call, warned)["exitstatus"] == "WARNINGS: 2"
    assert log(call, warned)[-1] == "TASK WARNINGS: 2"
    assert world.running(100)


def test_a_vm_that_does_not_obey_survives_the_shutdown(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    upid = power(call, "qemu/100", "shutdown", timeout=5).data
    clock.pass_by(5)
    assert task(call, upid)["exitstatus"] == "VM quit/powerdown failed - got timeout"
    assert world.running(100)


def test_force_stop_pulls_the_plug_after_the_timeout(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    upid = power(call, "qemu/100", "shutdown", timeout=3, forceStop=1).data
    assert world.running(100)
    clock.pass_by(3)
    assert log(call, upid) == ["VM still running - terminating now with SIGTERM", "TASK OK"]
    assert not world.running(100)


def test_a_container_that_does_not_obey_is_given_ten_seconds_more(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(200)
    world.behave(200, Behaviour(obeys_shutdown=False))
    upid = power(call, "lxc/200", "shutdown", timeout=5).data
    clock.pass_by(14.9)
    assert task(call, upid)["status"] == "running"
    clock.pass_by(0.1)
    assert task(call, upid)["exitstatus"] == "container did not stop"
    assert (
        log(call, upid)[0] == "command 'lxc-stop -n 200 --nokill --timeout 5' failed: exit code 1"
    )
    assert world.running(200)


def test_a_slow_vm_goes_down_after_the_task_has_given_up(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(shutdown_seconds=8))
    upid = power(call, "qemu/100", "shutdown", timeout=5).data
    clock.pass_by(5)
    assert task(call, upid)["exitstatus"] == "VM quit/powerdown failed - got timeout"
    assert world.running(100)
    clock.pass_by(3)
    assert not world.running(100)


@pytest.mark.parametrize(
    ("guest", "words"), [("qemu/100", QEMU_LOCK), ("lxc/200", LXC_LOCK)], ids=["vm", "container"]
)
def test_a_shutdown_holds_the_lock_of_the_configuration(
    world: World, call: Caller, clock: Clock, guest: str, words: str
) -> None:
    vmid = int(guest[-3:])
    world.start(vmid)
    world.behave(vmid, Behaviour(shutdown_seconds=30))
    power(call, guest, "shutdown")
    reply = call("PUT", f"{NODE}/{guest}/config", {"onboot": 1})
    assert (reply.status, reply.reason) == (500, words)
    assert call("GET", f"{NODE}/{guest}/config").status == 200
    clock.pass_by(30)
    assert call("PUT", f"{NODE}/{guest}/config", {"onboot": 1}).status == 200


def test_a_stop_waits_ten_seconds_for_a_shutdown_and_gives_up(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    power(call, "qemu/100", "shutdown", timeout=60)
    upid = power(call, "qemu/100", "stop").data
    clock.pass_by(10)
    assert task(call, upid)["exitstatus"] == QEMU_LOCK
    assert log(call, upid) == ["trying to acquire lock...", f"TASK ERROR: {QEMU_LOCK}"]


def test_a_stop_that_waits_gets_the_lock_when_the_shutdown_ends(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    power(call, "qemu/100", "shutdown", timeout=8)
    upid = power(call, "qemu/100", "stop").data
    clock.pass_by(8)
    assert task(call, upid)["exitstatus"] == "OK"
    assert not world.running(100)


def test_overruling_interrupts_a_shutdown_of_the_same_caller_only(
    world: World, call: Caller, clock: Clock, callers: Any
) -> None:
    other = callers("felhom-ops@pve!ops")
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    shutdown = power(call, "qemu/100", "shutdown", timeout=60).data
    foreign = power(other, "qemu/100", "stop", **{"overrule-shutdown": 1}).data
    clock.pass_by(10)
    assert task(call, foreign)["exitstatus"] == QEMU_LOCK
    own = power(call, "qemu/100", "stop", **{"overrule-shutdown": 1}).data
    assert task(call, own)["exitstatus"] == "OK"
    assert log(call, own) == [f"overruled qmshutdown tasks: {shutdown}", "TASK OK"]
    assert task(call, shutdown)["exitstatus"] == "received interrupt"
    assert not world.running(100)


def test_a_rebooting_vm_is_down_when_its_task_ends_and_comes_back_by_itself(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    upid = power(call, "qemu/100", "reboot").data
    assert task(call, upid)["exitstatus"] == "OK"
    assert not world.running(100)
    clock.pass_by(1)
    assert world.running(100)


def test_a_locked_container_is_stopped_by_a_reboot_and_stays_down(
    world: World, call: Caller
) -> None:
    prepare(world, "lxc/200", "running", "backup")
    power(call, "lxc/200", "reboot")
    assert not world.running(200)


def test_what_waited_is_in_force_after_a_stop(world: World, call: Caller) -> None:
    world.start(100)
    call("PUT", f"{NODE}/qemu/100/config", {"memory": 1024, "onboot": 1, "delete": "cores"})
    pending = {row["key"]: row for row in call("GET", f"{NODE}/qemu/100/pending").data}
    assert pending["memory"] == {"key": "memory", "value": "512", "pending": "1024"}
    assert pending["cores"] == {"key": "cores", "value": 1, "delete": 1}
    assert pending["onboot"] == {"key": "onboot", "value": 1}
    power(call, "qemu/100", "stop")
    pending = {row["key"]: row for row in call("GET", f"{NODE}/qemu/100/pending").data}
    assert pending["memory"] == {"key": "memory", "value": "1024"}
    assert "cores" not in pending


def test_hotplugged_keys_change_a_running_vm_at_once(world: World, call: Caller) -> None:
    world.edit(100, {"hotplug": "cpu,memory", "numa": 1, "cores": 2, "vcpus": 1})
    world.start(100)
    call("PUT", f"{NODE}/qemu/100/config", {"memory": 1024, "vcpus": 2, "cores": 4})
    waiting = [
        row["key"] for row in call("GET", f"{NODE}/qemu/100/pending").data if "pending" in row
    ]
    assert waiting == ["cores"]


def test_a_managed_guest_is_started_later_by_the_manager_as_root(
    world: World, call: Caller, clock: Clock
) -> None:
    world.ha(100, "stopped")
    upid = power(call, "qemu/100", "start").data
    assert ":hastart:100:" in upid
    assert log(call, upid) == ["Requesting HA start for VM 100", "TASK OK"]
    assert not world.running(100)
    clock.pass_by(10)
    assert world.running(100)
    started = call("GET", f"{NODE}/tasks?typefilter=qmstart").data
    assert [row["user"] for row in started] == ["root@pam"]
    assert call("GET", f"{NODE}/qemu/100/status/current").data["ha"]["managed"] == 1


def test_a_managed_guest_that_a_person_stops_is_started_again(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.ha(100, "started")
    world.stop(100)
    clock.pass_by(10)
    assert world.running(100)


def test_a_managed_guest_is_stopped_by_the_manager_even_if_it_does_not_obey(
    world: World, call: Caller, clock: Clock
) -> None:
    world.start(100)
    world.behave(100, Behaviour(obeys_shutdown=False))
    world.ha(100, "started")
    assert ":hastop:100:" in power(call, "qemu/100", "shutdown").data
    clock.pass_by(7 + 60)
    assert not world.running(100)


def test_a_managed_guest_that_cannot_start_ends_in_error(
    world: World, call: Caller, clock: Clock
) -> None:
    world.behave(100, replace(Behaviour(), start_error="no"))
    world.ha(100, "started")
    clock.pass_by(60)
    assert call("GET", f"{NODE}/qemu/100/status/current").data["ha"]["state"] == "error"
    upid = power(call, "qemu/100", "start").data
    words = "command 'ha-manager set vm:100 --state started' failed: exit code 255"
    assert task(call, upid)["exitstatus"] == words


def test_an_ignored_guest_is_not_the_managers(world: World, call: Caller) -> None:
    world.ha(100, "ignored")
    assert ":qmstart:100:" in power(call, "qemu/100", "start").data
    assert world.running(100)
