"""The lists of tasks and their filters, and who may see them (01, 40/120-133, 42)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import Behaviour, World
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps
from tests.devnode.conftest import Caller, Clock

TASKS = "/nodes/pve1/tasks"


def act(call: Caller, guest: str, verb: str) -> str:
    return str(call("POST", f"/nodes/pve1/{guest}/status/{verb}").data)


@pytest.fixture
def history(world: World, call: Caller, clock: Clock) -> list[str]:
    """Five tasks, ten seconds apart: a start, a warning, a failure, a stop, one that runs."""
    upids = [act(call, "qemu/100", "start")]
    clock.pass_by(10)
    world.behave(200, Behaviour(warnings=1))
    upids.append(act(call, "lxc/200", "start"))
    clock.pass_by(10)
    upids.append(act(call, "qemu/999", "start"))
    clock.pass_by(10)
    upids.append(act(call, "qemu/100", "stop"))
    clock.pass_by(10)
    world.behave(100, Behaviour(start_seconds=60))
    upids.append(act(call, "qemu/100", "start"))
    return upids


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("", (3, 2, 1, 0)),
        ("?source=archive", (3, 2, 1, 0)),
        ("?source=active", (4,)),
        ("?source=all", (4, 3, 2, 1, 0)),
        ("?vmid=100", (3, 0)),
        ("?vmid=100&source=all", (4, 3, 0)),
        ("?typefilter=vzstart", (1,)),
        ("?errors=1", (2, 1)),
        ("?errors=1&source=all", (4, 2, 1)),
        ("?statusfilter=unknown&source=all", (4,)),
        ("?statusfilter=ok", (3, 0)),
        ("?statusfilter=warning,error", (2, 1)),
        ("?since=1800000020", (3, 2)),
        ("?until=1800000010", (1, 0)),
        ("?since=1800000020&source=all&limit=2", (4, 3)),
        ("?limit=0", ()),
        ("?userfilter=nobody", ()),
        ("?userfilter=FELHOM&vmid=100&source=all", (4, 3, 0)),
        ("?userfilter=felhom-agent@pve!agent&source=all", (4,)),
        ("?start=1&limit=2", (2, 1)),
    ],
)
def test_the_list_is_newest_first_and_filtered(
    call: Caller, history: list[str], query: str, chosen: tuple[int, ...]
) -> None:
    reply = call("GET", f"{TASKS}{query}")
    assert [row["upid"] for row in reply.data] == [history[index] for index in chosen]
    if not chosen and "limit" not in query:
        assert "total" not in reply.body


def test_what_runs_is_listed_oldest_first(world: World, call: Caller, history: list[str]) -> None:
    """recorded: calls-9.2/203-task-list/004-005"""
    world.behave(200, Behaviour(shutdown_seconds=60))
    second = act(call, "lxc/200", "shutdown")
    active = [row["upid"] for row in call("GET", f"{TASKS}?source=active").data]
    assert active == [history[4], second]
    every = [row["upid"] for row in call("GET", f"{TASKS}?source=all").data]
    assert every == [history[4], second, *history[3::-1]]


def test_the_list_may_tell_an_end_late_and_a_tasks_state_does_not(clock: Clock) -> None:
    """recorded: calls-9.2/203-task-list/081"""
    world = World(now=clock, tasks_lag=0.1)

    def work(_: Task) -> Steps:
        yield 5.0

    world.tasks.start("vzstart", 200, "root@pam", work)
    clock.pass_by(5.05)
    with world.guard:
        world.catch_up()
        (task,) = world.tasks.ended()
        assert task.status_row()["exitstatus"] == "OK"
        assert (list(world.tasks.active()), list(world.tasks.archive())) == ([task], [])
        clock.pass_by(0.1)
        world.catch_up()
        assert (list(world.tasks.active()), list(world.tasks.archive())) == ([], [task])


def test_the_total_counts_what_the_limit_cut_off(call: Caller, history: list[str]) -> None:
    assert call("GET", f"{TASKS}?limit=1").body["total"] == 4


def test_a_running_task_is_named_with_its_token_among_the_active_ones(
    call: Caller, history: list[str]
) -> None:
    (row,) = call("GET", f"{TASKS}?source=active").data
    assert row["user"] == "felhom-agent@pve!agent"
    assert (row["status"], row["saved"]) == ("RUNNING", "0")
    assert not {"tokenid", "endtime"} & set(row)


def test_the_clusters_list_has_running_tasks_without_status_or_end(
    call: Caller, history: list[str]
) -> None:
    rows = call("GET", "/cluster/tasks").data
    assert [row["upid"] for row in rows] == list(reversed(history))
    assert not {"status", "endtime"} & set(rows[0])
    assert rows[1]["status"] == "OK"


@pytest.mark.parametrize(
    ("upid", "complaint"),
    [
        ("garbage", "unable to parse worker upid"),
        (
            "UPID:pve1:00000001:00000001:6B04A000:qmstart:100:felhom-agent@pve!agent:",
            "no such task",
        ),
    ],
)
def test_a_task_that_is_not_there_is_a_400(call: Caller, upid: str, complaint: str) -> None:
    reply = call("GET", f"{TASKS}/{upid}/status")
    assert (reply.status, reply.body["errors"]) == (400, {"upid": complaint})


def test_the_log_of_an_unknown_task_says_so_with_200(call: Caller) -> None:
    upid = "UPID:pve1:00000001:00000001:6B04A000:qmstart:100:felhom-agent@pve!agent:"
    reply = call("GET", f"{TASKS}/{upid}/log")
    assert reply.data == [{"n": 1, "t": "unable to open file - No such file or directory"}]


def test_a_log_is_read_in_parts(call: Caller, history: list[str]) -> None:
    path = f"{TASKS}/{history[1]}/log"
    assert call("GET", f"{path}?start=1&limit=1").body == {
        "data": [{"n": 2, "t": "TASK WARNINGS: 1"}],
        "total": 2,
    }
    assert call("GET", f"{path}?start=500").body == {"data": [], "total": 2}


def test_another_token_of_the_same_user_sees_no_task(
    callers: Callable[..., Caller], history: list[str]
) -> None:
    other = callers("felhom-agent@pve!other", privileges={})
    for part in ("status", "log"):
        reply = other("GET", f"{TASKS}/{history[0]}/{part}")
        assert (reply.status, reply.reason) == (
            403,
            "Permission check failed (/nodes/pve1, Sys.Audit)",
        )
    assert other("GET", TASKS).data == []
    auditor = callers("auditor@pve!t", privileges={"/nodes": ("Sys.Audit",)})
    assert len(auditor("GET", TASKS).data) == 4


@pytest.mark.parametrize("word", ["running", "nosuch", "ok,nosuch"])
def test_a_result_that_no_task_can_have_is_refused(call: Caller, word: str) -> None:
    """recorded: calls-9.2/203-task-list/030, 090"""
    reply = call("GET", f"/nodes/pve1/tasks?statusfilter={word}")
    assert reply.status == 400
    wrong = word.rpartition(",")[2]
    assert reply.body["errors"] == {"statusfilter": f"invalid format - invalid status '{wrong}'\n"}
