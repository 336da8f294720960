"""What can be made to go wrong, on the way and inside."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable
from math import inf

import pytest

from felhom_agent.devnode import Behaviour, DevNode, Fault, World
from tests.devnode.conftest import AGENT, FORM, Caller, Clock
from tests.process import wait_until

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


def started(call: Caller) -> str:
    return str(call("POST", "/nodes/pve1/qemu/100/status/start").data)


def test_a_new_task_may_be_unknown_to_the_first_looks(node: DevNode, call: Caller) -> None:
    node.world.hide_tasks(2)
    path = f"/nodes/pve1/tasks/{started(call)}/status"
    looks = [call("GET", path) for _ in range(3)]
    assert [look.status for look in looks] == [400, 400, 200]
    assert looks[0].body["errors"] == {"upid": "no such task"}
    assert looks[2].data["exitstatus"] == "OK"


def test_a_killed_worker_leaves_neither_a_word_nor_its_lock(
    node: DevNode, call: Caller, clock: Clock
) -> None:
    """recorded: 40-tasks-qemu/110-112"""
    node.world.behave(100, Behaviour(start_seconds=60))
    upid = started(call)
    clock.pass_by(5)
    node.world.kill_tasks(100)
    status = call("GET", f"/nodes/pve1/tasks/{upid}/status").data
    assert (status["status"], status["exitstatus"]) == ("stopped", "unexpected status")
    assert call("GET", f"/nodes/pve1/tasks/{upid}/log").data == [{"n": 1, "t": "no content"}]
    clock.pass_by(60)
    assert not node.world.running(100)
    assert call("PUT", CONFIG, {"cores": 2}).status == 200


def test_an_interrupted_worker_says_so(node: DevNode, call: Caller) -> None:
    """recorded: 40-tasks-qemu/113-116"""
    node.world.behave(100, Behaviour(start_seconds=60))
    upid = started(call)
    node.world.interrupt_tasks(100)
    assert call("GET", f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] == (
        "received interrupt"
    )


def test_only_the_tasks_of_that_guest_are_killed(node: DevNode, call: Caller) -> None:
    node.world.behave(100, Behaviour(start_seconds=60))
    upid = started(call)
    node.world.kill_tasks(200)
    assert call("GET", f"/nodes/pve1/tasks/{upid}/status").data["status"] == "running"


def test_a_task_may_never_end(node: DevNode, call: Caller, clock: Clock) -> None:
    node.world.behave(100, Behaviour(start_seconds=inf))
    upid = started(call)
    clock.pass_by(1e9)
    assert call("GET", f"/nodes/pve1/tasks/{upid}/status").data["status"] == "running"


@pytest.mark.parametrize(
    ("verb", "behaviour"),
    [
        ("status/stop", Behaviour(stop_error="no way")),
        ("status/shutdown", Behaviour(stop_error="no way")),
        ("status/reboot", Behaviour(stop_error="no way")),
        ("config", Behaviour(config_error="no way")),
    ],
)
def test_a_task_fails_as_it_is_told_and_nothing_is_done(
    node: DevNode, call: Caller, verb: str, behaviour: Behaviour
) -> None:
    node.world.start(100)
    node.world.behave(100, behaviour)
    form = {"description": "new"} if verb == "config" else None
    upid = call("POST", f"/nodes/pve1/qemu/100/{verb}", form).data
    assert call("GET", f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] == "no way"
    log = call("GET", f"/nodes/pve1/tasks/{upid}/log").data
    assert log[-1]["t"] == "TASK ERROR: no way"
    assert node.world.running(100)
    assert "description" not in node.world.config(100)


def test_a_crashed_guest_is_off_and_no_task_tells(node: DevNode, call: Caller) -> None:
    """recorded: 130-stop/078"""
    node.world.start(100)
    tasks = call("GET", "/nodes/pve1/tasks").data
    node.world.crash(100)
    assert call("GET", "/nodes/pve1/qemu/100/status/current").data["status"] == "stopped"
    assert call("GET", "/nodes/pve1/tasks").data == tasks


@pytest.fixture
def late(world: World) -> World:
    world.broadcasts.cycle = 10.0
    return world


def test_how_late_the_resources_are_is_said_when_the_world_is_made() -> None:
    assert World(resources_lag=12.0).broadcasts.cycle == 12.0
    assert World().broadcasts.cycle == 0.0


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
    for path in ("/cluster/resources?type=node", "/nodes"):
        rows = call("GET", path).data
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
        assert call("GET", "/nodes/pve1/status").data["pveversion"].startswith("pve-manager/8.4.1/")
        reply = call("PUT", "/nodes/pve1/lxc/200/config", {"entrypoint": "/sbin/init"})
        assert (reply.status, set(reply.body["errors"])) == (400, {"entrypoint"})
        call.connection.close()


def test_a_late_effect_comes_after_the_connection_was_cut(node: DevNode, call: Caller) -> None:
    node.faults.add(Fault("PUT", "config$", "late:0.05"))
    with pytest.raises(ConnectionError):
        call("PUT", CONFIG, {"cores": 2})
    call.connection.close()
    wait_until(lambda: node.world.config(100)["cores"] == 2)
    assert node.mutations[0].status == 0


def test_a_change_that_meets_a_running_task_of_its_guest_is_noted(
    node: DevNode, call: Caller, clock: Clock
) -> None:
    node.world.behave(100, Behaviour(start_seconds=10))
    upid = started(call)
    call("PUT", CONFIG, {"onboot": 1})
    call("PUT", "/nodes/pve1/lxc/200/config", {"onboot": 1})
    clock.pass_by(20)
    call("PUT", CONFIG, {"onboot": 0})
    assert [r.during for r in node.mutations] == [(), (upid,), (), ()]


def test_what_a_person_does_meets_nobody(node: DevNode, call: Caller) -> None:
    node.world.behave(100, Behaviour(start_seconds=10))
    node.world.start(100)
    call("PUT", CONFIG, {"onboot": 1})
    assert node.mutations[0].during == ()


@pytest.mark.parametrize(
    ("action", "met"), [("late:3600", 1), ("hang", 0), ("reset-before", 0), ("status:595", 0)]
)
def test_a_change_that_is_not_carried_out_yet_is_met_by_the_next_one(
    node: DevNode, callers: Callable[..., Caller], action: str, met: int
) -> None:
    """And one that was, or never will be, is not, whether it was answered or not."""
    node.faults.add(Fault("PUT", "config$", action))
    impatient = callers("felhom-agent@pve!impatient", timeout=0.3)
    with contextlib.suppress(OSError):
        impatient("PUT", CONFIG, {"cores": 2})
    callers()("PUT", CONFIG, {"onboot": 1})
    assert len(node.mutations[1].during) == met


def test_without_quorum_all_is_read_and_no_configuration_written(
    node: DevNode, call: Caller
) -> None:
    """recorded: calls-9.2/201-quorum/061-093"""
    node.world.quorum_lost()
    assert call("GET", CONFIG).status == 200
    words = "unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp.4928' - "
    put = call("PUT", CONFIG, {"cores": 2})
    assert (put.status, put.reason) == (500, f"{words}Permission denied")
    post = call("POST", CONFIG, {"cores": 2, "background_delay": 2})
    assert (post.status, post.reason) == (500, f"failed to update VM 100: {words}Permission denied")
    # Nothing has to be written for what is not there.
    assert call("PUT", CONFIG, {"delete": "tags"}).status == 200
    assert call("PUT", CONFIG, {"nosuch": 1}).status == 400
    start = call("POST", "/nodes/pve1/qemu/100/status/start")
    assert (start.status, start.reason) == (500, "cluster not ready - no quorum?")
    assert call("POST", "/nodes/pve1/qemu/100/status/shutdown").status == 200
    node.world.quorum_back()
    assert call("PUT", CONFIG, {"cores": 2}).status == 200


def test_a_change_that_fails_within_its_delay_is_answered_with_its_end(
    node: DevNode, call: Caller
) -> None:
    """recorded: calls-9.2/200-post-worker"""
    node.world.behave(100, Behaviour(config_error="boom"))
    reply = call("POST", CONFIG, {"cores": 2, "background_delay": 2})
    assert (reply.status, reply.reason) == (500, "failed to update VM 100: boom")
    late = call("POST", CONFIG, {"cores": 2})
    assert late.status == 200
    assert late.body["data"].startswith("UPID:")
