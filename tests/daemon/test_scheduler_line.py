"""Who stands in the line for a place, in which order, and what takes a guest out of it."""

from __future__ import annotations

import math

from felhom_agent.daemon.places import HANDOVER
from felhom_agent.devnode import Behaviour
from felhom_agent.model import (
    Blocked,
    Converged,
    Retry,
)
from tests.conftest import Site
from tests.daemon.running import (
    Begin,
    add,
    asked,
    declare_restarted,
    declare_running,
    in_line,
    lose_start,
)
from tests.process import wait_until

# Out of the line, and back into it.


def test_a_guest_that_is_held_waits_no_more_until_it_is_not(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    holds = agent.daemon._parts.holds
    holds.register("test", lambda vmid: "held by a test" if vmid == 301 else "")
    agent.run_pass()
    assert agent.waiting() == set()
    holds.register("test", lambda _: "")
    agent.run_pass()
    assert agent.waiting() == {301}
    agent.finish()
    assert asked(site, "start") == [300, 301]


def test_a_guest_that_is_not_declared_any_more_waits_no_more(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    declare_running(site, [300])
    agent.run_pass()
    assert agent.waiting() == set()
    agent.finish()


def test_a_guest_that_somebody_else_has_changed_waits_no_more_until_that_has_settled(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    agent.leave_alone(301, agent.monotonic.now + 30)
    agent.run_pass()
    assert agent.waiting() == set()
    assert agent.outcome(301) == Retry(30.0, agent.outcome(301).why)  # type: ignore[union-attr]
    agent.monotonic.pass_by(30)
    agent.run_pass()
    assert agent.waiting() == {301}
    agent.finish()
    assert asked(site, "start") == [300, 301]


def test_a_guest_is_left_alone_that_was_changed_while_it_stood_in_line(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    agent.leave_alone(301, math.inf)
    agent.hear(lambda: agent.scheduler.running == 0)
    assert (agent.waiting(), agent.scheduler.idle) == (set(), True)
    agent.leave_alone(301, -math.inf)
    agent.run_pass()
    agent.finish()
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
    agent.leave_alone(301, math.inf)
    agent.scheduler.dispatch()
    assert agent.scheduler.runs(302)
    agent.finish()


def test_the_wait_until_somebodys_change_has_settled_is_a_second_at_least(
    site: Site, begin: Begin
) -> None:
    declare_running(site, [100])
    agent = begin()
    agent.leave_alone(100, agent.monotonic.now + 0.1)
    agent.look()
    assert agent.outcome() == Retry(1.0, agent.outcome().why)  # type: ignore[union-attr]
    agent.leave_alone(100, agent.monotonic.now)
    assert agent.look(), "it has settled by now"


def test_what_failed_before_somebody_changed_the_guest_is_forgotten(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=3600.0, backoff_cap=3600.0)
    agent.look()
    site.world.behave(100, Behaviour())
    agent.leave_alone(100, agent.monotonic.now + 5)
    agent.look()
    agent.monotonic.pass_by(5)
    assert agent.look()


def test_what_is_in_flight_is_settled_once_somebodys_change_of_the_guest_has(
    site: Site, begin: Begin
) -> None:
    lose_start(site)
    declare_running(site, [100])
    agent = begin()
    agent.look()
    assert agent.daemon._parts.operations.in_flight()
    agent.leave_alone(100, agent.monotonic.now + 90)
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
    agent.finish()
    assert asked(site, "start") == [300, 302, 301]


def test_a_guest_that_needs_less_by_now_does_not_wait_for_more(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    declare_running(site, [300])
    site.declare("[guest.301.config]\ncores = 2\n", "other.toml")
    agent.run_pass()
    assert agent.scheduler.runs(301), "to write a configuration needs no place for a start"
    assert agent.waiting() == set()
    agent.hear(lambda: not agent.scheduler.runs(301))
    assert (agent.outcome(301), asked(site, "start")) == (Converged(), [300])
    agent.finish()


def test_a_guest_that_runs_is_not_put_in_line(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin, count=1)
    agent.scheduler.settle_first([300])
    assert agent.waiting() == set()
    agent.finish()
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
    agent.finish()


def test_when_the_next_start_is_due_counts_only_for_who_waits_for_it(
    site: Site, begin: Begin
) -> None:
    first, second, third = add(site, 3, start_seconds=1)
    site.world.edit(first, {"startup": "order=1,up=90"})
    declare_running(site, [first])
    agent = begin(parallel=1)
    agent.run_pass()
    agent.finish()
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
