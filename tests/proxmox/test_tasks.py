"""UPIDs, waiting, and what the end of a task means."""

from __future__ import annotations

import pytest

from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.errors import (
    Denied,
    Interrupted,
    Missing,
    NoQuorum,
    NotSent,
    OutcomeUnknown,
    Rejected,
    StillRunning,
    TaskFailed,
)
from felhom_agent.model import Change, Kind, SetConfig, Start, Stop
from felhom_agent.proxmox.guests import _upid
from felhom_agent.proxmox.tasks import TaskEnd, Tasks
from felhom_agent.proxmox.upid import Upid
from tests.conftest import Site
from tests.permits import ask

# recorded: 40-tasks-qemu/017
UPID = "UPID:pve1:00006138:00037EA0:6B04A81C:qmstart:100:felhom-agent@pve!agent:"
START = Start(100, Kind.QEMU)


def test_a_upid_tells_node_start_type_guest_user_and_token() -> None:
    upid = Upid.parse(UPID)
    assert (upid.node, upid.start, upid.type, upid.id) == ("pve1", 1795467292, "qmstart", "100")
    assert (upid.user, upid.token) == ("felhom-agent@pve", "agent")


def test_a_persons_upid_has_no_token() -> None:
    assert Upid.parse("UPID:pve1:00004ABA:0002C488:6B04A63F:qmstop:100:root@pam:").token == ""


@pytest.mark.parametrize("text", ["", "garbage", UPID[:-1], UPID.replace("00006138", "x")])
def test_what_is_no_upid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a UPID"):
        Upid.parse(text)


@pytest.mark.parametrize(
    ("exit_status", "ok"),
    [
        ("OK", True),
        ("WARNINGS: 2", True),
        ("unexpected status", False),
        ("VM 100 already running", False),
        ("WARNINGS: ", False),
        ("not OK", False),
    ],
)
def test_only_ok_and_warnings_are_success(exit_status: str, ok: bool) -> None:
    assert TaskEnd("", exit_status).ok is ok


def test_a_task_that_ended_well_is_waited_for(site: Site) -> None:
    node = site.connect()
    node.tasks.wait(ask(node, START), timeout=5)
    assert site.world.running(100)


def test_warnings_are_success(site: Site) -> None:
    site.world.behave(100, Behaviour(warnings=2))
    node = site.connect()
    node.tasks.wait(ask(node, START), timeout=5)


def test_a_failed_task_tells_its_exit_status_and_the_end_of_its_log(site: Site) -> None:
    site.world.behave(100, Behaviour(start_error="storage 'nosuch' does not exist"))
    node = site.connect()
    upid = ask(node, START)
    with pytest.raises(TaskFailed, match="storage 'nosuch' does not exist") as caught:
        node.tasks.wait(upid, timeout=5)
    assert caught.value.upid == upid
    assert caught.value.log[-1] == "TASK ERROR: storage 'nosuch' does not exist"


def test_a_task_that_outlives_the_deadline_is_still_running(site: Site) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    node = site.connect()
    upid = ask(node, START)
    with pytest.raises(StillRunning, match=r"still runs after 0 s; PVE goes on"):
        node.tasks.wait(upid, timeout=0)
    assert node.tasks.end(upid) is None


def test_waiting_ends_when_told_to_stop(site: Site) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    node = site.connect()
    upid = ask(node, START)
    node.cancel_waits.set()
    with pytest.raises(Interrupted):
        node.tasks.wait(upid, timeout=1000)


def test_a_look_that_fails_is_repeated_and_the_dispatch_is_not(site: Site) -> None:
    node = site.connect()
    upid = ask(node, START)
    site.devnode.faults.add(Fault("GET", "/status$", "status:596", times=2))
    node.tasks.wait(upid, timeout=30)
    starts = [r for r in site.devnode.mutations if r.path.endswith("/status/start")]
    assert len(starts) == 1


def test_an_unknown_task_is_missing_but_not_in_its_first_moments(site: Site) -> None:
    node = site.connect()
    with pytest.raises(Missing):
        node.tasks.end(UPID)
    ticks = iter(range(0, 100, 3))
    patient = Tasks(node.client, node.cancel_waits, clock=lambda: float(next(ticks)))
    with pytest.raises(Missing):
        patient.wait(UPID, timeout=1000)
    looks = [r for r in site.devnode.requests if r.path.endswith("/status")]
    assert len(looks) > 2


def test_our_own_tasks_of_a_guest_are_found_and_nobody_elses(site: Site) -> None:
    node = site.connect()
    begun = site.clock()
    site.world.start(100)
    site.world.stop(100)
    upid = ask(node, START)
    assert [u.text for u in node.tasks.find(100, "qmstart", begun - 5)] == [upid]
    assert node.tasks.find(100, "qmstop", begun - 5) == []
    assert node.tasks.find(101, "qmstart", begun - 5) == []
    assert node.tasks.find(100, "qmstart", begun + 5) == []


def test_a_running_task_is_found_too(site: Site) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    node = site.connect()
    upid = ask(node, START)
    assert [u.text for u in node.tasks.find(100, "qmstart", site.clock() - 5)] == [upid]


def test_a_configuration_is_never_written_without_a_digest(site: Site) -> None:
    change = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),), digest="")
    with pytest.raises(NotSent, match="no digest"):
        ask(site.connect(), change)
    assert site.devnode.mutations == ()


NO_UPIDS = ["", "garbage", "UPID:", UPID[:-1], UPID.replace("pve1", "../.."), UPID + "x"]


@pytest.mark.parametrize("upid", NO_UPIDS)
def test_what_is_no_upid_is_a_task_that_pve_cannot_know(site: Site, upid: str) -> None:
    """From a journal, say; recovery then settles it by looking."""
    tasks = site.connect().tasks
    with pytest.raises(Missing):
        tasks.end(upid)
    with pytest.raises(Missing):
        tasks.wait(upid, timeout=1000)
    assert site.devnode.requests == ()


@pytest.mark.parametrize("answer", [*NO_UPIDS, None, 7, 1.5, True, [], {}, [UPID], "\ud800"])
def test_an_answer_to_a_write_that_names_no_task_leaves_its_outcome_unknown(
    answer: object,
) -> None:
    with pytest.raises(OutcomeUnknown):
        _upid(answer, 100)


def test_an_answer_to_a_write_that_names_another_guests_task_is_not_ours() -> None:
    assert _upid(UPID, 100) == UPID
    with pytest.raises(OutcomeUnknown):
        _upid(UPID, 101)


@pytest.mark.parametrize("lines", [3, 50, 51, 1200])
def test_the_end_of_a_log_is_its_real_end_however_long_it_is(site: Site, lines: int) -> None:
    site.world.behave(100, Behaviour(start_error="the end"))
    node = site.connect()
    upid = ask(node, START)
    with pytest.raises(TaskFailed):
        node.tasks.wait(upid, timeout=5)
    task = site.world.tasks.find(upid)
    assert task is not None
    task.log[:0] = [f"line {n}" for n in range(lines - len(task.log))]
    before = len(site.devnode.requests)
    end = node.tasks.end(upid)
    assert end is not None
    assert list(end.log) == task.log[-5:]
    assert len(site.devnode.requests) - before <= 3


CORES = Change("cores", "1", "2")


def change(site: Site, *changes: Change) -> SetConfig:
    return SetConfig(100, Kind.QEMU, changes, str(site.world.config(100)["digest"]))


def test_without_quorum_a_change_and_a_start_are_refused_and_nothing_is_in_doubt(
    site: Site,
) -> None:
    node = site.connect()
    site.world.quorum_lost()
    with pytest.raises(NoQuorum):
        ask(node, change(site, CORES))
    with pytest.raises(NoQuorum):
        ask(node, START)
    container = SetConfig(200, Kind.LXC, (CORES,), str(site.world.config(200)["digest"]))
    with pytest.raises(NoQuorum):
        ask(node, container)
    assert (site.world.config(100)["cores"], site.world.config(200)["cores"]) == (1, 1)
    site.world.quorum_back()
    ask(node, change(site, CORES))
    assert site.world.config(100)["cores"] == 2


def test_a_paused_guest_is_not_shut_down_and_nothing_is_in_doubt(site: Site) -> None:
    site.world.start(100)
    site.world.suspend(100)
    with pytest.raises(Rejected, match="VM is paused - cannot shutdown") as caught:
        ask(site.connect(), Stop(100, Kind.QEMU), 5)
    assert not caught.value.final


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("invalid bootorder: device 'scsi5' does not exist'", Rejected),
        ("403 Permission check failed (/vms/100, VM.Config.Disk)", Denied),
        ("words that nobody knows yet", Rejected),
    ],
)
def test_a_refusal_in_open_words_is_plain_where_the_file_is_as_it_was(
    site: Site, words: str, meaning: type[Rejected]
) -> None:
    site.world.behave(100, Behaviour(config_error=words))
    with pytest.raises(meaning) as caught:
        ask(site.connect(), change(site, CORES))
    assert type(caught.value) is meaning


def test_a_refusal_in_open_words_is_in_doubt_where_the_file_has_changed(site: Site) -> None:
    """recorded: 13-lxc-roundtrip-root/006; PVE refuses it and has written it."""
    node = site.connect()
    site.world.edit(200, {"net0": "name=eth0,bridge=vmbr9"})
    digest = str(site.world.config(200)["digest"])
    with pytest.raises(OutcomeUnknown, match="bridge 'vmbr9' does not exist"):
        ask(node, SetConfig(200, Kind.LXC, (CORES,), digest))
    assert site.world.config(200)["cores"] == 2


def test_a_refusal_in_open_words_is_in_doubt_where_nobody_can_look(site: Site) -> None:
    site.world.behave(100, Behaviour(config_error="words that nobody knows yet"))
    wanted = change(site, CORES)
    site.devnode.faults.add(Fault("GET", "config$", "reset-before", times=2))
    with pytest.raises(OutcomeUnknown, match="words that nobody knows yet"):
        ask(site.connect(), wanted)
