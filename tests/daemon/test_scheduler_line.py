"""Who stands in the line for a place, in which order, and what takes a guest out of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest

from felhom_agent.daemon.ended import Released
from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.places import HANDOVER
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.errors import QueueClosed
from felhom_agent.journal.operation import State
from felhom_agent.model import (
    ABSENT,
    Blocked,
    Change,
    Converged,
    GuestPlan,
    Kind,
    Mode,
    Refused,
    Retry,
    SetConfig,
    Start,
)
from felhom_agent.service.families import (
    INTERNAL_ERRORS,
    QUEUE_ADDS,
    QUEUE_RETRIES,
    QUEUE_WAIT,
    RECONCILE,
    RECONCILE_SECONDS,
)
from tests.conftest import Site
from tests.daemon.running import Begin, Running, add, asked, declare_restarted, declare_running
from tests.daemon.test_scheduler_races import heard
from tests.process import SOON, wait_until


def in_line(site: Site, begin: Begin, count: int = 2, **settings: object) -> Running:
    """Return an agent that starts guest 300, which takes its time, and has one place; 301 and the
    next ones wait for it.
    """
    vmids = add(site, count, start_seconds=40)
    declare_running(site, vmids)
    agent = begin(parallel=1, **settings)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    assert waiting(agent) == set(vmids[1:])
    return agent


def waiting(agent: Running) -> set[int]:
    agent.scheduler.publish()
    return set(agent.scheduler.activity.queued)


def left_alone(agent: Running, vmid: int, until: float) -> None:
    """Let a guest be one that somebody else has just changed."""
    agent.scheduler._quiet_until = lambda other: until if other == vmid else -math.inf


def finish(agent: Running) -> None:
    agent.hear(lambda: agent.scheduler.idle)


# Out of the line, and back into it.


def test_a_guest_that_is_held_waits_no_more_until_it_is_not(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    holds = agent.daemon._parts.holds
    holds.register("test", lambda vmid: "held by a test" if vmid == 301 else "")
    agent.run_pass()
    assert waiting(agent) == set()
    holds.register("test", lambda _: "")
    agent.run_pass()
    assert waiting(agent) == {301}
    finish(agent)
    assert asked(site, "start") == [300, 301]


def test_a_guest_that_is_not_declared_any_more_waits_no_more(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    declare_running(site, [300])
    agent.run_pass()
    assert waiting(agent) == set()
    finish(agent)


def test_a_guest_that_somebody_else_has_changed_waits_no_more_until_that_has_settled(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    left_alone(agent, 301, agent.monotonic.now + 30)
    agent.run_pass()
    assert waiting(agent) == set()
    assert agent.outcome(301) == Retry(30.0, agent.outcome(301).why)  # type: ignore[union-attr]
    agent.monotonic.pass_by(30)
    agent.run_pass()
    assert waiting(agent) == {301}
    finish(agent)
    assert asked(site, "start") == [300, 301]


def test_a_guest_is_left_alone_that_was_changed_while_it_stood_in_line(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    left_alone(agent, 301, math.inf)
    agent.hear(lambda: agent.scheduler.running == 0)
    assert (waiting(agent), agent.scheduler.idle) == (set(), True)
    left_alone(agent, 301, -math.inf)
    agent.run_pass()
    finish(agent)
    assert asked(site, "start") == [300, 301]


def test_a_guest_that_is_left_alone_in_line_holds_up_no_other_that_is_to_start(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 3, start_seconds=40)
    for vmid, order in ((301, 1), (302, 2)):
        site.world.edit(vmid, {"startup": f"order={order}"})
    site.world.behave(300, Behaviour(start_seconds=40))
    declare_running(site, vmids[:1])
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    declare_running(site, vmids)
    agent.run_pass()
    agent.scheduler.adopt(agent.scheduler.backoff, 4)
    left_alone(agent, 301, math.inf)
    agent.scheduler.dispatch()
    assert agent.scheduler.runs(302)
    finish(agent)


def test_the_wait_until_somebodys_change_has_settled_is_a_second_at_least(
    site: Site, begin: Begin
) -> None:
    declare_running(site, [100])
    agent = begin()
    left_alone(agent, 100, agent.monotonic.now + 0.1)
    agent.look()
    assert agent.outcome() == Retry(1.0, agent.outcome().why)  # type: ignore[union-attr]
    left_alone(agent, 100, agent.monotonic.now)
    assert agent.look(), "it has settled by now"


def test_what_failed_before_somebody_changed_the_guest_is_forgotten(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=3600.0, backoff_cap=3600.0)
    agent.look()
    site.world.behave(100, Behaviour())
    left_alone(agent, 100, agent.monotonic.now + 5)
    agent.look()
    agent.monotonic.pass_by(5)
    assert agent.look()


def test_what_is_in_flight_is_settled_once_somebodys_change_of_the_guest_has(
    site: Site, begin: Begin
) -> None:
    site.devnode.faults.add(Fault("POST", "start$", "reset-after"))
    declare_running(site, [100])
    agent = begin()
    agent.look()
    assert agent.daemon._parts.operations.in_flight()
    left_alone(agent, 100, agent.monotonic.now + 90)
    site.clock.pass_by(60)
    agent.monotonic.pass_by(60)
    # It runs by now, so that nothing but what is in flight is left to do.
    agent.look()
    assert agent.daemon._parts.operations.in_flight()
    agent.monotonic.pass_by(30)
    assert agent.look()
    assert agent.daemon._parts.operations.in_flight() == ()


def test_a_guest_that_is_no_more_in_the_way_of_is_tried_at_once(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=3600.0, backoff_cap=3600.0)
    agent.look()
    site.world.behave(100, Behaviour())
    site.world.lock(100, "backup")
    agent.look()
    assert agent.outcome() == Blocked("locked (backup)")
    site.world.unlock(100)
    assert agent.look()


# The order, and the two lines.


def test_a_guest_keeps_its_turn_from_pass_to_pass(site: Site, begin: Begin) -> None:
    vmids = add(site, 3, start_seconds=40)
    declare_running(site, [300, 302])
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    declare_running(site, vmids)
    agent.run_pass()
    agent.run_pass()
    finish(agent)
    assert asked(site, "start") == [300, 302, 301]


def test_a_guest_that_needs_less_by_now_does_not_wait_for_more(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    declare_running(site, [300])
    site.declare("[guest.301.config]\ncores = 2\n", "other.toml")
    agent.run_pass()
    assert agent.scheduler.runs(301), "to write a configuration needs no place for a start"
    assert waiting(agent) == set()
    agent.hear(lambda: not agent.scheduler.runs(301))
    assert (agent.outcome(301), asked(site, "start")) == (Converged(), [300])
    finish(agent)


def test_a_guest_that_runs_is_not_put_in_line(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin, count=1)
    agent.scheduler.settle_first([300])
    assert waiting(agent) == set()
    finish(agent)
    assert agent.scheduler.ends == 1


def test_a_restart_holds_up_no_start_of_a_higher_order(site: Site, begin: Begin) -> None:
    first, second = add(site, 2)
    site.world.edit(first, {"startup": "order=1"})
    site.world.edit(second, {"startup": "order=2"})
    site.world.start(first)
    site.world.behave(first, Behaviour(shutdown_seconds=50))
    site.declare(f'[guest.{first}]\nstate = "running"\n[guest.{first}.config]\ncores = 2\n')
    agent = begin(parallel=4)
    agent.look()  # it is written, and waits for a restart
    declare_restarted(site, [first])
    agent.pace = 1.0
    agent.run_pass()
    agent.hear(lambda: asked(site, "shutdown") == [first])
    site.declare(f'[guest.{second}]\nstate = "running"\n', "other.toml")
    agent.run_pass()
    assert agent.scheduler.runs(second)
    finish(agent)


def test_when_the_next_start_is_due_counts_only_for_who_waits_for_it(
    site: Site, begin: Begin
) -> None:
    first, second, third = add(site, 3, start_seconds=1)
    site.world.edit(first, {"startup": "order=1,up=90"})
    declare_running(site, [first])
    agent = begin(parallel=1)
    agent.run_pass()
    finish(agent)
    assert agent.scheduler.next_event() == math.inf, "nobody waits"
    site.world.behave(second, Behaviour(start_seconds=1e6))
    declare_running(site, [first, second, third])
    agent.run_pass()
    assert agent.scheduler.next_event() == agent.monotonic.now + 90
    agent.monotonic.pass_by(90)
    agent.scheduler.retry()
    assert agent.scheduler.running == 1
    assert agent.scheduler.next_event() == agent.monotonic.now + HANDOVER
    agent.daemon._parts.node.cancel_waits.set()


# What a lane is told, and what is told of it.


def test_a_lane_looks_at_its_guest_itself_if_a_job_changed_it_while_it_stood_in_line(
    site: Site, begin: Begin
) -> None:
    add(site, 2, start_seconds=40)
    declare_running(site, [300])
    site.declare('[guest.301]\nstate = "running"\n[guest.301.config]\ncores = 2\n', "other.toml")
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    change = SetConfig(301, Kind.QEMU, (Change("cores", "1", "2"),))
    change = SetConfig(301, Kind.QEMU, change.changes, str(site.world.config(301)["digest"]))
    job = agent.scheduler.run_once("job-1", change)
    agent.hear(job.done)
    written = len(asked(site, "config"))
    finish(agent)
    assert len(asked(site, "config")) == written, "it was written already"
    assert agent.outcome(301) == Converged()


def test_a_place_that_another_assembly_gives_back_is_not_ours(site: Site, begin: Begin) -> None:
    """An agent is put together again when its journal is back; lanes of before may still report."""
    agent = in_line(site, begin)
    parts = agent.daemon._parts
    of_before = Daemon(agent.daemon.config, parts, clock=agent.monotonic)._scheduler
    agent.scheduler.released(Released(of_before, 300))
    assert asked(site, "start") == [300]
    assert waiting(agent) == {301}
    agent.scheduler.released(Released(agent.scheduler, 300))
    assert waiting(agent) == set()
    finish(agent)


def test_while_its_lane_is_at_work_what_is_heard_of_a_guest_is_of_our_doing(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    told = [agent.scheduler.is_at_work(300), agent.scheduler.is_at_work(301)]
    agent.monotonic.pass_by(10)
    assert [*told, agent.scheduler.is_at_work(300)] == [True, False, True]
    finish(agent)


def test_times_are_told_in_seconds_since_the_epoch(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    began = site.clock.now
    agent.monotonic.pass_by(7)
    site.clock.pass_by(7)
    agent.scheduler.publish()
    assert agent.scheduler.activity.since == pytest.approx(began)
    finish(agent)
    assert agent.scheduler.activity.since is None


def test_when_a_guest_is_tried_again_is_told_in_seconds_since_the_epoch(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    agent.scheduler.publish()
    assert agent.scheduler.activity.due == {100: pytest.approx(site.clock.now + 5)}


def test_a_snapshot_stays_as_long_as_nothing_has_changed(site: Site, begin: Begin) -> None:
    declare_running(site, [100])
    agent = begin()
    agent.look()
    agent.scheduler.publish()
    before = agent.scheduler.statuses
    agent.scheduler.publish()
    assert agent.scheduler.statuses is before


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
def test_what_cannot_be_done_of_a_guest_that_is_only_observed_waits_for_nobody(
    site: Site, begin: Begin, mode: Mode
) -> None:
    site.world.add("qemu", 100, {"cores": 1, "scsi0": "local:100/a.raw,size=4G"})
    site.declare('[guest.100.config]\nscsi0 = "local:100/a.raw,size=2G"\n')
    agent = begin(mode=mode)
    agent.look()
    outcome = agent.outcome()
    assert isinstance(outcome, Blocked)
    assert outcome.observed is (mode is Mode.OBSERVE)


def test_a_guest_that_its_own_file_wants_to_be_observed_only_waits_for_nobody(
    site: Site, begin: Begin
) -> None:
    site.declare('[guest.100]\nmode = "observe"\n[guest.100.config]\ncores = 2\n')
    agent = begin()
    agent.look()
    outcome = agent.outcome()
    assert isinstance(outcome, Blocked)
    assert outcome.observed


def test_a_lock_is_in_the_way_of_a_guest_that_is_only_observed_too(
    site: Site, begin: Begin
) -> None:
    site.world.lock(100, "backup")
    site.declare("[guest.100.config]\ncores = 2\n")
    agent = begin(mode=Mode.OBSERVE)
    agent.look()
    assert agent.outcome() == Blocked("locked (backup)", observed=False)


def test_what_waits_runs_and_comes_of_it_is_counted(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    agent.monotonic.pass_by(7)
    finish(agent)
    site.world.behave(100, Behaviour(start_error="no such storage"))
    site.declare('[guest.100]\nstate = "running"\n', "other.toml")
    agent.look()
    found = agent.daemon._parts.counters.snapshot()
    assert found.counters[QUEUE_ADDS] == {(): 3}
    assert found.counters[QUEUE_RETRIES] == {(): 1}
    assert found.counters[INTERNAL_ERRORS] == {(): 0}
    counted = found.counters[RECONCILE]
    assert (counted["converged",], counted["retry",]) == (2, 1)
    assert found.distributions[QUEUE_WAIT][()].total == 7, "301 waited, the others did not"
    assert found.distributions[RECONCILE_SECONDS][()].total == 7, "300 ran for so long"


def test_a_restart_says_that_it_waits_only_while_another_guest_restarts(
    site: Site, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = add(site, 3, running=True, shutdown_seconds=40)
    declare_restarted(site, [first])
    agent = begin(parallel=4)
    agent.run_pass()
    agent.hear(lambda: asked(site, "shutdown") == [first])
    waits = "it waits until the restart of another guest has ended"
    assert waits not in caplog.text
    text = f'[guest.{third}]\nstate = "running"\n[guest.{third}.config]\nonboot = true\n'
    site.declare(text, "third.toml")

    def stopped_meanwhile(request: Request, answer: Callable[[], Answer]) -> Answer:
        if request.method == "POST" and request.path.endswith(f"{third}/config"):
            site.world.stop(third)
        return answer()

    with heard(site, stopped_meanwhile):
        agent.run_pass()
        agent.hear(lambda: asked(site, "start") == [third])
    assert waits not in caplog.text, "to be started is no restart"
    declare_restarted(site, [first, second])
    agent.run_pass()
    agent.hear(lambda: not agent.scheduler.runs(second))
    assert agent.outcome(second) == Retry(0.0, waits)
    finish(agent)


def test_a_guest_that_a_hold_stopped_on_its_lane_is_tried_at_once_when_that_is_gone(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 1\n')
    agent = begin(backoff_first=3600.0, backoff_cap=3600.0)
    agent.look()
    site.world.behave(100, Behaviour())
    site.world.edit(100, {"cores": 3})
    holds = agent.daemon._parts.holds

    def on_a_lane(_: int) -> str:
        return "held" if threading.current_thread().name.startswith("lane-") else ""

    holds.register("test", on_a_lane)
    agent.look()
    assert isinstance(agent.outcome(), Blocked)
    holds.register("test", lambda _: "")
    assert agent.look()


# What may be tried.


def test_only_what_is_to_be_done_and_was_not_refused_may_be_tried(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    agent.look()
    assert isinstance(agent.outcome(), Refused)
    plan = agent.daemon._passes.latest.plans[100]
    assert plan.actions
    assert not agent.scheduler.may_try(plan)
    agent.scheduler.adopt(agent.scheduler.backoff, 1)
    assert agent.scheduler.may_try(plan)
    assert not agent.scheduler.may_try(GuestPlan(100))
    agent.daemon._parts.holds.register("test", lambda _: "held by a test")
    assert not agent.scheduler.may_try(plan)


def test_a_start_waits_for_no_other_guest_that_our_restart_left_down(
    site: Site, begin: Begin
) -> None:
    (down,) = add(site, 1, running=True)
    declare_restarted(site, [down])
    site.devnode.faults.add(Fault("POST", "status/start", "refuse:got no worker upid - no memory"))
    agent = begin(parallel=4)
    agent.look()
    assert asked(site, "shutdown") == [down]
    site.declare('[guest.100]\nstate = "running"\n', "other.toml")
    agent.look()
    assert agent.outcome(100) == Converged()


def test_a_restart_that_must_wait_for_another_guest_is_out_of_the_line(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, running=True)
    declare_restarted(site, vmids)
    site.devnode.faults.add(Fault("POST", "status/start", "refuse:got no worker upid - no memory"))
    agent = begin(parallel=4)
    assert not agent.look()
    (down,) = asked(site, "shutdown")
    (other,) = set(vmids) - {down}
    outcome = agent.outcome(other)
    assert isinstance(outcome, Retry)
    assert not outcome.delay
    assert (waiting(agent), agent.scheduler.idle) == (set(), True)


def test_every_guest_that_our_restarts_left_down_holds_up_the_others(
    site: Site, begin: Begin
) -> None:
    first, second, third = add(site, 3, running=True)
    agent = begin(parallel=4)
    for vmid in (first, second):
        site.devnode.faults.add(
            Fault("POST", "status/start", "refuse:got no worker upid - no memory")
        )
        # The one before is not declared any more, and holds up nobody.
        declare_restarted(site, [vmid])
        agent.look()
    assert asked(site, "shutdown") == [first, second]
    declare_restarted(site, [second, third])
    agent.look()
    assert f"guest {second} was stopped for its restart" in str(agent.outcome(third))
    assert asked(site, "shutdown") == [first, second]


def test_a_job_of_a_guest_whose_lane_runs_is_done_after_it(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin, count=1)
    digest = str(site.world.config(300)["digest"])
    change = SetConfig(300, Kind.QEMU, (Change("onboot", ABSENT, "1"),), digest)
    job = agent.scheduler.run_once("job-1", change)
    assert not job.done()
    agent.hear(job.done)
    assert job.result(SOON).state is State.SUCCEEDED
    assert str(site.world.config(300)["onboot"]) == "1"


def test_a_job_that_cannot_begin_says_so_and_waits_no_more(site: Site, begin: Begin) -> None:
    agent = begin()
    agent.daemon._parts.engine.close()
    job = agent.scheduler.run_once("job-1", Start(100, Kind.QEMU))
    assert isinstance(job.exception(SOON), QueueClosed)
    assert agent.scheduler.idle
