"""The node starts and stops all its guests as a real one did (170-bulk)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour, World
from tests.devnode.conftest import Caller, Clock, Reply
from tests.devnode.stage import AUDITOR

NODE = "/nodes/pve1"
Callers = Callable[..., Caller]


@pytest.fixture
def call(callers: Callers, world: World) -> Caller:
    world.add("qemu", 103, {"onboot": 1})
    return callers()


def ended(call: Caller, reply: Reply) -> tuple[str, list[str]]:
    upid = reply.data
    status: dict[str, Any] = call("GET", f"{NODE}/tasks/{upid}/status").data
    assert (status["status"], status["id"]) == ("stopped", "")
    return status["exitstatus"], [e["t"] for e in call("GET", f"{NODE}/tasks/{upid}/log").data]


@pytest.mark.parametrize("verb", ["startall", "stopall"])
def test_refusals(call: Caller, callers: Callers, verb: str) -> None:
    """170-bulk/001, 004, 005, 008."""
    denied = callers(AUDITOR, privileges={"/": ["VM.Audit"]})(
        "POST", f"{NODE}/{verb}", {"vms": "103"}
    )
    assert denied.status == 403
    assert denied.reason == "Permission check failed (/vms/103, VM.PowerMgmt)"
    bad = call("POST", f"{NODE}/{verb}", {"vms": "x"})
    words = "invalid format - value does not look like a valid VM ID\n"
    assert (bad.status, bad.body["errors"]) == (400, {"vms": words})


def test_startall_starts_what_has_onboot_or_what_is_named_by_force(
    call: Caller, world: World
) -> None:
    """170-bulk/013-018."""
    assert ended(call, call("POST", f"{NODE}/startall")) == ("OK", ["Starting VM 103", "TASK OK"])
    forced = call("POST", f"{NODE}/startall", {"vms": "100,103,200,999", "force": 1})
    assert ended(call, forced) == ("OK", ["Starting VM 100", "Starting CT 200", "TASK OK"])
    world.stop(100)
    assert ended(call, call("POST", f"{NODE}/startall", {"vms": "100"})) == ("OK", ["TASK OK"])
    children = [(t["type"], t["id"]) for t in call("GET", f"{NODE}/tasks").data]
    assert ("qmstart", "103") in children
    assert ("vzstart", "200") in children


def test_stopall_ends_well_whether_its_guests_obeyed_or_not(
    call: Caller, world: World, clock: Clock
) -> None:
    """170-bulk/020-023, 026-027."""
    for vmid in (100, 103, 200):
        world.start(vmid)
    world.behave(103, Behaviour(obeys_shutdown=False))
    given = {"vms": "103", "timeout": 3, "force-stop": 0}
    reply = call("POST", f"{NODE}/stopall", given)
    (row,) = (t for t in call("GET", f"{NODE}/tasks?source=active").data if not t["id"])
    assert (row["type"], row["status"]) == ("stopall", "RUNNING")
    clock.pass_by(10)
    assert ended(call, reply) == ("OK", ["Stopping VM 103 (timeout = 3 seconds)", "TASK OK"])
    assert world.running(103)
    reply = call("POST", f"{NODE}/stopall", {"timeout": 3})
    clock.pass_by(30)
    lines = [f"Stopping {name} (timeout = 3 seconds)" for name in ("CT 200", "VM 103", "VM 100")]
    assert ended(call, reply) == ("OK", [*lines, "TASK OK"])
    assert not any(world.running(vmid) for vmid in (100, 103, 200))
