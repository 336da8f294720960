"""What a lane is told, what is made of its word, and when a restart or a job must wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from felhom_agent.daemon.ended import Released
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import Behaviour
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.errors import QueueClosed
from felhom_agent.journal.operation import State
from felhom_agent.model import (
    ABSENT,
    Blocked,
    Change,
    Converged,
    Kind,
    Retry,
    SetConfig,
    Start,
)
from tests.conftest import Site
from tests.daemon.running import (
    Begin,
    add,
    asked,
    declare_restarted,
    declare_running,
    heard,
    in_line,
    refuse_start,
)
from tests.process import SOON, wait_until

# Lanes.


def test_a_lane_looks_at_its_guest_itself_if_a_job_changed_it_while_it_stood_in_line(
    site: Site, begin: Begin
) -> None:
    add(site, 2, start_seconds=40)
    declare_running(site, [300])
    site.declare('[guest.301]\nstate = "running"\n[guest.301.config]\ncores = 2\n', "other.toml")
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    digest = str(site.world.config(301)["digest"])
    change = SetConfig(301, Kind.QEMU, (Change("cores", "1", "2"),), digest)
    job = agent.scheduler.run_once("job-1", change)
    agent.hear(job.done)
    written = len(asked(site, "config"))
    agent.finish()
    assert len(asked(site, "config")) == written, "it was written already"
    assert agent.outcome(301) == Converged()


def test_a_place_that_another_assembly_gives_back_is_not_ours(site: Site, begin: Begin) -> None:
    """An agent is put together again when its journal is back; lanes of before may still report."""
    agent = in_line(site, begin)
    parts = agent.daemon._parts
    of_before = Daemon(agent.daemon.config, parts, clock=agent.monotonic)._scheduler
    agent.scheduler.released(Released(of_before, 300))
    assert asked(site, "start") == [300]
    assert agent.waiting() == {301}
    agent.scheduler.released(Released(agent.scheduler, 300))
    assert agent.waiting() == set()
    agent.finish()


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


# Jobs.


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


# Restarts.


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
    agent.finish()


def test_a_start_waits_for_no_other_guest_that_our_restart_left_down(
    site: Site, begin: Begin
) -> None:
    (down,) = add(site, 1, running=True)
    declare_restarted(site, [down])
    refuse_start(site)
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
    refuse_start(site)
    agent = begin(parallel=4)
    assert not agent.look()
    (down,) = asked(site, "shutdown")
    (other,) = set(vmids) - {down}
    outcome = agent.outcome(other)
    assert isinstance(outcome, Retry)
    assert not outcome.delay
    assert (agent.waiting(), agent.scheduler.idle) == (set(), True)


def test_every_guest_that_our_restarts_left_down_holds_up_the_others(
    site: Site, begin: Begin
) -> None:
    first, second, third = add(site, 3, running=True)
    agent = begin(parallel=4)
    for vmid in (first, second):
        refuse_start(site)
        # The one before is not declared any more, and holds up nobody.
        declare_restarted(site, [vmid])
        agent.look()
    assert asked(site, "shutdown") == [first, second]
    declare_restarted(site, [second, third])
    agent.look()
    assert f"guest {second} was stopped for its restart" in str(agent.outcome(third))
    assert asked(site, "shutdown") == [first, second]
