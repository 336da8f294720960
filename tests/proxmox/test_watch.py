"""Many waits for tasks share one listing, and none of them stands in another's way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.devnode.http.request import Request
from felhom_agent.errors import Denied, Interrupted, StillRunning, TaskFailed
from felhom_agent.model import Kind, Start
from felhom_agent.proxmox.cancel import Cancellation
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.pace import FINE
from felhom_agent.proxmox.tasks import Tasks
from felhom_agent.proxmox.upid import Upid
from felhom_agent.proxmox.watch import MAX_PAUSE, ListedEnd, ends_of
from tests.conftest import Site
from tests.permits import ask

LIMIT = 20.0
AGES = 1e6
"""Seconds that no test waits for: who needs its deadline to wake has missed its news."""
LONG = Behaviour(start_seconds=1000.0)
VMIDS = tuple(range(300, 320))


@pytest.fixture
def site(site: Site) -> Site:
    """A node with VMs whose start ends when the world's clock has moved by 1000 s."""
    for vmid in VMIDS:
        site.world.add("qemu", vmid, {"cores": 1}, behaviour=LONG)
    return site


@pytest.fixture
def node(site: Site) -> Node:
    return site.connect()


@pytest.fixture
def lanes(site: Site) -> Callable[..., Future[None]]:
    """Wait for a task on a thread of its own; what still waits is stopped when the test ends."""
    pool = ThreadPoolExecutor(len(VMIDS) + 1)

    def wait(node: Node, upid: str, timeout: float = AGES) -> Future[None]:
        return pool.submit(node.tasks.wait, upid, timeout)

    return wait


def start(node: Node, vmid: int) -> str:
    return ask(node, Start(vmid, Kind.QEMU))


def listings(site: Site) -> list[Request]:
    return [r for r in site.devnode.requests if r.path.endswith("/tasks")]


def questions(site: Site) -> list[Request]:
    """Return the requests that ask for one task by itself."""
    return [r for r in site.devnode.requests if r.path.endswith("/status") and "/tasks/" in r.path]


def until(holds: Callable[[], bool]) -> None:
    """Return once it holds. Fail after `LIMIT` seconds."""
    never = threading.Event()
    for _ in range(int(LIMIT / 0.01)):
        if holds():
            return
        never.wait(0.01)
    pytest.fail("it never came about")


def waiters(node: Node) -> int:
    return len(node.tasks._watch._waiters)


def looked_at_by_all(site: Site, node: Node, count: int) -> None:
    """Return once that many waits are watched and were looked at since."""
    until(lambda: waiters(node) == count)
    before = len(listings(site))
    until(lambda: len(listings(site)) > before + 1)


def test_twenty_tasks_cost_one_listing_per_look(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    ends = [lanes(node, start(node, vmid)) for vmid in VMIDS]
    looked_at_by_all(site, node, len(VMIDS))
    site.clock.pass_by(1001)
    before = len(listings(site))
    for end in ends:
        end.result(LIMIT)
    # One that was under way as the clock moved, and one that tells of all.
    assert len(listings(site)) - before <= 2
    assert questions(site) == []


def test_a_listing_begins_with_the_oldest_task_that_is_waited_for(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    oldest = int(site.clock())
    ends = [lanes(node, start(node, 300))]
    site.clock.pass_by(100)
    ends.append(lanes(node, start(node, 301)))
    looked_at_by_all(site, node, 2)
    last = listings(site)[-1]
    assert dict(last.params) == {"source": "all", "since": str(oldest), "limit": "500"}
    site.clock.pass_by(901)
    ends[0].result(LIMIT)
    until(lambda: listings(site)[-1].params["since"] == str(oldest + 100))
    site.clock.pass_by(100)
    ends[1].result(LIMIT)


def test_a_slow_look_is_the_only_one_and_the_others_keep_their_deadlines(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    upids = [start(node, vmid) for vmid in VMIDS]
    site.devnode.faults.add(Fault("GET", "/tasks$", "hang"))
    slow = lanes(node, upids[0])
    until(lambda: len(listings(site)) == 1)
    for end in [lanes(node, upid, timeout=0.1) for upid in upids[1:]]:
        assert isinstance(end.exception(LIMIT), StillRunning)
    assert len(listings(site)) == 1
    node.cancel_waits.set()
    assert isinstance(slow.exception(LIMIT), Interrupted)


def test_a_task_that_the_list_does_not_hold_is_asked_for_by_itself(site: Site, node: Node) -> None:
    """More than 500 younger ones hide it."""
    site.world.behave(300, Behaviour())
    upid = start(node, 300)
    for _ in range(251):
        site.world.start(100)
        site.world.stop(100)
    node.tasks.wait(upid, LIMIT)
    assert [r.path for r in questions(site)] == [f"/nodes/pve1/tasks/{upid}/status"]
    assert len(listings(site)) == 1


def test_a_task_that_runs_unlisted_is_asked_for_until_it_ends(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    """PVE refuses the listing, and nothing else."""
    site.devnode.faults.add(Fault("GET", "/tasks$", "status:500", times=1000))
    end = lanes(node, start(node, 300))
    until(lambda: len(questions(site)) > 2)
    site.clock.pass_by(1001)
    end.result(LIMIT)


def test_another_nodes_task_needs_no_listing(site: Site, node: Node) -> None:
    upid = start(node, 300).replace(":pve1:", ":pve2:")
    with pytest.raises(StillRunning):
        node.tasks.wait(upid, 0.05)
    assert listings(site) == []
    assert questions(site)


def test_another_tokens_task_is_denied(make_site: Callable[..., Site]) -> None:
    site = make_site(privileges={"/vms": ["VM.PowerMgmt", "VM.Audit"]})
    site.world.add("qemu", 100, {"cores": 1}, behaviour=LONG)
    node = site.connect()
    foreign = start(node, 100).replace("felhom-agent@pve!agent", "felhom-agent@pve!other")
    with pytest.raises(Denied):
        node.tasks.wait(foreign, LIMIT)
    assert len(listings(site)) == 1


@pytest.mark.parametrize("text", ["no such disk", "x" * 900, "Gerät fehlt: ü", "  two  spaces "])
def test_a_failed_task_says_what_its_own_status_says(site: Site, node: Node, text: str) -> None:
    site.world.behave(300, Behaviour(start_error=text))
    upid = start(node, 300)
    with pytest.raises(TaskFailed) as caught:
        node.tasks.wait(upid, LIMIT)
    assert questions(site) == []
    asked = node.tasks.end(upid)
    assert asked is not None
    assert (caught.value.text, caught.value.log) == (asked.exit_status, asked.log)
    assert caught.value.log


def test_an_end_is_seen_though_the_list_tells_it_late(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    """recorded: calls-9.2/203-task-list/081"""
    site.world.tasks.lag = 0.1
    upid = start(node, 300)
    end = lanes(node, upid)
    looked_at_by_all(site, node, 1)
    site.clock.pass_by(1000.05)
    asked = node.tasks.end(upid)
    assert asked is not None
    assert asked.ok
    looked_at_by_all(site, node, 1)
    assert not end.done()
    site.clock.pass_by(0.1)
    end.result(LIMIT)


RUNS = {"upid": "U", "status": "RUNNING", "starttime": 7}
ENDED = {"upid": "U", "status": "OK", "starttime": 7, "endtime": 9}


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        ([RUNS], {"U": None}),
        ([ENDED], {"U": ListedEnd("OK", 2)}),
        # The list of what runs was read before the archive.
        ([RUNS, ENDED], {"U": ListedEnd("OK", 2)}),
        ([ENDED, RUNS], {"U": ListedEnd("OK", 2)}),
        # A task may die with these words.
        ([{**ENDED, "status": "RUNNING"}], {"U": ListedEnd("RUNNING", 2)}),
        # Nothing that we know: it is asked for by itself.
        ([{"upid": "U", "endtime": 9}], {}),
        ([{**ENDED, "status": ""}], {}),
        ([{**ENDED, "endtime": "9"}], {}),
        ([{**ENDED, "endtime": 10**400}], {}),
        ([{**ENDED, "starttime": -1}], {"U": ListedEnd("OK", 0)}),
        ([{**RUNS, "status": "OK"}], {}),
        ([{**RUNS, "upid": 7}, 7, None, []], {}),
        ([{**ENDED, "starttime": "7"}], {"U": ListedEnd("OK", 0)}),
    ],
)
def test_what_a_row_says_of_its_task(
    rows: list[object], known: dict[str, ListedEnd | None]
) -> None:
    assert ends_of(rows) == known


def test_a_straggler_is_given_up_at_its_own_deadline(site: Site, node: Node) -> None:
    upid = start(node, 300)
    with pytest.raises(StillRunning, match=r"still runs after 0 s; PVE goes on"):
        node.tasks.wait(upid, 0.3)
    assert waiters(node) == 0


def test_stop_ends_all_waits(site: Site, node: Node, lanes: Callable[..., Future[None]]) -> None:
    ends = [lanes(node, start(node, vmid), timeout=AGES) for vmid in VMIDS]
    looked_at_by_all(site, node, len(VMIDS))
    node.cancel_waits.set()
    for end in ends:
        assert isinstance(end.exception(LIMIT), Interrupted)
    assert waiters(node) == 0


def test_stop_wakes_those_who_wait_for_anothers_look(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    upids = [start(node, vmid) for vmid in VMIDS]
    site.devnode.faults.add(Fault("GET", "/tasks$", "hang"))
    ends = [lanes(node, upid, timeout=AGES) for upid in upids]
    until(lambda: len(listings(site)) == 1 and waiters(node) == len(VMIDS))
    node.cancel_waits.set()
    for end in ends:
        assert isinstance(end.exception(LIMIT), Interrupted)
    assert len(listings(site)) == 1


def test_stop_wakes_those_whose_next_look_is_far_off(site: Site, node: Node) -> None:
    now = [0.0]
    tasks = Tasks(node.client, node.cancel_waits, clock=lambda: now[0])
    watch = tasks._watch
    with ThreadPoolExecutor(1) as pool:
        end = pool.submit(tasks.wait, start(node, 300), AGES)
        until(lambda: len(watch._waiters) == 1)
        now[0] = 36_000.0
        until(lambda: watch._waiters[0].due > now[0] and not watch._listing)
        node.cancel_waits.set()
        assert isinstance(end.exception(LIMIT), Interrupted)


def test_who_waits_for_anothers_look_sleeps(site: Site, node: Node) -> None:
    asked = itertools.count()
    tasks = Tasks(node.client, node.cancel_waits, clock=lambda: float(next(asked)))
    upids = [start(node, vmid) for vmid in VMIDS[:5]]
    site.devnode.faults.add(Fault("GET", "/tasks$", "hang"))
    with ThreadPoolExecutor(len(upids)) as pool:
        ends = [pool.submit(tasks.wait, upid, AGES) for upid in upids]
        until(lambda: len(listings(site)) == 1 and len(tasks._watch._waiters) == len(upids))
        before = next(asked)
        for _ in range(20):
            node.client.get("version")
        assert next(asked) - before <= 20
        node.cancel_waits.set()
        for end in ends:
            assert isinstance(end.exception(LIMIT), Interrupted)


def test_a_deadline_brings_no_look_while_pve_cannot_be_asked(site: Site, node: Node) -> None:
    upid = start(node, 300)
    tasks = Tasks(node.client, node.cancel_waits, clock=lambda: 0.0)
    site.devnode.faults.add(Fault("GET", "/tasks$", "status:596", times=1000))
    for _ in range(3):
        with pytest.raises(StillRunning):
            tasks.wait(upid, 0.0)
    assert len(listings(site)) == 1


def test_many_tasks_do_not_make_looks_closer_than_the_finest_pause(node: Node) -> None:
    watch = node.tasks._watch
    with watch.over(Upid.parse(start(node, 300)), AGES) as waiter:
        watch._look(waiter.begun)
        waiter.due = waiter.begun
        assert watch._due() == waiter.begun + FINE


def test_a_task_that_ended_wants_no_more_looks(node: Node) -> None:
    watch = node.tasks._watch
    ended, other = (Upid.parse(start(node, vmid)) for vmid in VMIDS[:2])
    with watch.over(ended, AGES) as first, watch.over(other, AGES) as second:
        watch._heard(first, first.begun, {ended.text: ListedEnd("OK", 0)})
        second.due = first.due + 1.0
        assert watch._due() == second.due


@pytest.mark.parametrize("action", ["status:596", "reset-before", "not-json", "garbage"])
def test_a_failed_listing_is_repeated_and_nothing_else_is_asked(
    site: Site, node: Node, lanes: Callable[..., Future[None]], action: str
) -> None:
    site.world.behave(300, Behaviour())
    upid = start(node, 300)
    site.devnode.faults.add(Fault("GET", "/tasks$", action, times=4))
    node.tasks.wait(upid, LIMIT)
    assert questions(site) == []
    starts = [r for r in site.devnode.mutations if r.path.endswith("/status/start")]
    assert len(starts) == 1


def test_while_pve_is_away_the_pause_between_two_looks_grows(site: Site, node: Node) -> None:
    upid = start(node, 300)
    now = [0.0]
    tasks = Tasks(node.client, Cancellation(), clock=lambda: now[0])
    watch = tasks._watch
    site.devnode.faults.add(Fault("GET", "/tasks$", "status:596", times=1000))
    moments = []
    with watch.over(Upid.parse(upid), 1000.0):
        for _ in range(9):
            now[0] = max(watch._due(), watch._not_before)
            moments.append(now[0])
            watch._look(now[0])
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert [round(p, 2) for p in pauses] == [0.1, 0.2, 0.4, 0.8, 1.6, *[MAX_PAUSE] * 3]


def test_a_waiter_that_gives_up_leaves_the_others_served(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    upids = [start(node, vmid) for vmid in VMIDS]
    ends = [lanes(node, upid) for upid in upids[1:]]
    looked_at_by_all(site, node, len(ends))
    with pytest.raises(StillRunning):
        node.tasks.wait(upids[0], 0.0)
    site.clock.pass_by(1001)
    for end in ends:
        end.result(LIMIT)


class OnMain:
    """Set for the main thread alone, so that its looks are given up and no others."""

    def is_set(self) -> bool:
        return threading.current_thread() is threading.main_thread()


def test_a_thread_that_dies_in_its_look_leaves_the_others_served(site: Site, node: Node) -> None:
    tasks = Tasks(node.client.abandoned_by(OnMain()), node.cancel_waits)
    upids = {vmid: start(node, vmid) for vmid in VMIDS}
    with ThreadPoolExecutor(len(VMIDS)) as pool:
        ends = [pool.submit(tasks.wait, upids[vmid], AGES) for vmid in VMIDS[1:]]
        until(lambda: len(tasks._watch._waiters) == len(ends))
        until(lambda: _dies(tasks, upids[VMIDS[0]]))
        site.clock.pass_by(1001)
        for end in ends:
            end.result(LIMIT)


def _dies(tasks: Tasks, upid: str) -> bool:
    """Return whether this thread made the look, and died of it."""
    try:
        tasks.wait(upid, 0.0)
    except Interrupted:
        return True
    except StillRunning:
        return False
    return False


def test_the_durations_of_a_type_are_learned_from_tasks_that_were_watched_from_the_start(
    site: Site, node: Node
) -> None:
    site.world.behave(300, Behaviour())
    node.tasks.wait(start(node, 300), LIMIT)
    (took,) = node.tasks._watch._durations.of("qmstart")
    assert 0 <= took < LIMIT


def test_a_task_that_was_met_late_teaches_nothing(
    site: Site, node: Node, lanes: Callable[..., Future[None]]
) -> None:
    end = lanes(node, start(node, 300))
    looked_at_by_all(site, node, 1)
    site.clock.pass_by(1001)
    end.result(LIMIT)
    assert node.tasks._watch._durations.of("qmstart") == ()
