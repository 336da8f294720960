"""What can be made to go wrong, on the way and inside."""

from __future__ import annotations

import http.client

import pytest

from felhom_agent.devnode import DevNode, Fault, World
from tests.devnode.conftest import AGENT, FORM, Caller, Clock

CONFIG = "/nodes/pve1/qemu/100/config"


def test_a_refusal_answers_500_with_its_words_and_nothing_happens(
    node: DevNode, call: Caller
) -> None:
    node.faults.add(Fault("PUT", "config$", "refuse:got no worker upid - start worker failed"))
    reply = call("PUT", CONFIG, {"cores": 2})
    assert (reply.status, reply.reason) == (500, "got no worker upid - start worker failed")
    assert reply.body["message"] == "got no worker upid - start worker failed\n"
    assert node.world.config(100)["cores"] == 1


def test_a_delayed_answer_is_the_right_one_and_its_effect_is_there(
    node: DevNode, call: Caller
) -> None:
    node.faults.add(Fault("PUT", "config$", "delay:0.01"))
    assert call("PUT", CONFIG, {"cores": 2}).status == 200
    assert node.world.config(100)["cores"] == 2


def test_garbage_is_no_http_and_nothing_happens(node: DevNode, call: Caller) -> None:
    node.faults.add(Fault("PUT", "config$", "garbage"))
    with pytest.raises(http.client.BadStatusLine):
        call("PUT", CONFIG, {"cores": 2})
    call.connection.close()
    assert node.world.config(100)["cores"] == 1


def test_a_truncated_answer_has_its_effect(node: DevNode, call: Caller) -> None:
    node.faults.add(Fault("PUT", "config$", "truncated"))
    form = {"Authorization": call.authorization, "Content-Type": FORM}
    call.connection.request("PUT", f"/api2/json{CONFIG}", b"cores=2", form)
    response = call.connection.getresponse()
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    response.close()
    assert node.world.config(100)["cores"] == 2


def test_a_lock_held_by_somebody_else_stops_writes_and_tasks_until_it_is_released(
    node: DevNode, call: Caller, clock: Clock
) -> None:
    """recorded: 40-tasks-qemu/104-107"""
    node.world.hold_lock(100)
    text = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
    assert call("PUT", CONFIG, {"cores": 2}).reason == text
    upid = call("POST", "/nodes/pve1/qemu/100/status/start").data
    clock.pass_by(60)
    assert call("GET", f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] == text
    waiting = call("POST", "/nodes/pve1/qemu/100/status/start").data
    node.world.release_lock(100)
    clock.pass_by(1)
    assert call("GET", f"/nodes/pve1/tasks/{waiting}/status").data["exitstatus"] == "OK"
    assert call("PUT", CONFIG, {"onboot": 1}).status == 200


def test_a_task_whose_file_is_gone_is_no_such_task(node: DevNode, call: Caller) -> None:
    """recorded: 40-tasks-qemu/126"""
    upid = call("POST", "/nodes/pve1/qemu/100/status/start").data
    node.world.forget_tasks()
    reply = call("GET", f"/nodes/pve1/tasks/{upid}/status")
    assert (reply.status, reply.body["errors"]) == (400, {"upid": "no such task"})
    assert call("POST", "/nodes/pve1/qemu/100/status/start").data != upid


@pytest.fixture
def late(world: World) -> World:
    world.broadcasts.cycle = 10.0
    return world


def resources(call: Caller) -> dict[int, dict[str, object]]:
    rows = call("GET", "/cluster/resources?type=vm").data
    return {row["vmid"]: row for row in rows}


def test_the_clusters_resources_are_late_in_name_and_status_and_not_in_tags_and_lock(
    late: World, call: Caller, clock: Clock
) -> None:
    """recorded: 70-resources-lag/005"""
    assert resources(call)[100]["status"] == "stopped"
    late.start(100)
    late.edit(100, {"name": "new", "tags": "a"})
    late.lock(100, "backup")
    row = resources(call)[100]
    assert (row["status"], row["name"]) == ("stopped", "vm100")
    assert (row["tags"], row["lock"]) == ("a", "backup")
    clock.pass_by(10)
    row = resources(call)[100]
    assert (row["status"], row["name"]) == ("running", "new")


def test_a_guest_that_pvestatd_has_not_told_of_is_unknown(
    late: World, call: Caller, clock: Clock
) -> None:
    """recorded: 70-resources-lag/004, 92-outages/015"""
    resources(call)
    late.add("qemu", 150, {"name": "brand-new"})
    nobody = {"id": "qemu/150", "node": "pve1", "status": "unknown", "type": "qemu", "vmid": 150}
    assert resources(call)[150] == nobody
    late.pvestatd_lost()
    clock.pass_by(60)
    assert {row["status"] for row in resources(call).values()} == {"unknown"}
    late.pvestatd_back()
    assert resources(call)[150]["status"] == "stopped"


def test_other_nodes_are_listed_online_or_offline(world: World, call: Caller) -> None:
    world.peer("pve2")
    world.peer("pve3", online=False)
    rows = call("GET", "/cluster/resources?type=node").data
    assert {row["node"]: row["status"] for row in rows} == {
        "pve1": "online",
        "pve2": "online",
        "pve3": "offline",
    }


def test_an_older_node_says_so_and_does_not_know_newer_options() -> None:
    world = World(version="8.4.1")
    world.add("lxc", 200, {})
    with DevNode(world) as node:
        call = Caller(node, AGENT, world.token(AGENT))
        assert call("GET", "/version").data["version"] == "8.4.1"
        assert call("GET", "/version").data["release"] == "8.4"
        reply = call("PUT", "/nodes/pve1/lxc/200/config", {"entrypoint": "/sbin/init"})
        assert (reply.status, set(reply.body["errors"])) == (400, {"entrypoint"})
        call.connection.close()
