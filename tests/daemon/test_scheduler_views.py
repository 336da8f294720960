"""What the scheduler tells of itself, and what a reload changes of it."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import pytest

from felhom_agent.daemon.waiting import Activity
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.model import (
    Blocked,
    Converged,
    Desired,
    DesiredGuest,
    GuestPlan,
    Kind,
    Mode,
    Refused,
    Retry,
    RunState,
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
from tests.daemon.running import (
    Begin,
    Running,
    add,
    asked,
    declare_restarted,
    declare_running,
    in_line,
)


def failing(site: Site, begin: Begin) -> Running:
    """Return an agent whose guest 100 did not start, and is tried again after five seconds."""
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0, parallel=1)
    agent.look()
    assert agent.scheduler.next_event() == agent.monotonic.now + 5
    return agent


def declared(guest: DesiredGuest) -> Desired:
    return Desired(MappingProxyType({guest.vmid: guest}))


# What it tells.


def test_before_its_first_pass_there_is_nothing_to_tell(begin: Begin) -> None:
    scheduler = begin().scheduler
    assert scheduler.activity == Activity()
    assert scheduler.statuses == {}
    assert (scheduler.number, scheduler.ends, scheduler.running) == (0, 0, 0)
    assert scheduler.next_event() == math.inf
    assert (scheduler.idle, scheduler.settled) == (True, True)


def test_passes_and_ends_of_lanes_are_counted_from_one(site: Site, begin: Begin) -> None:
    declare_running(site, [100])
    agent = begin()
    agent.look()
    assert (agent.scheduler.number, agent.scheduler.ends) == (1, 1)
    agent.look()
    assert (agent.scheduler.number, agent.scheduler.ends) == (2, 1)


def test_it_is_idle_once_nobody_runs_or_waits(site: Site, begin: Begin) -> None:
    first, second = add(site, 2, start_seconds=1)
    site.world.edit(first, {"startup": "order=1,up=90"})
    declare_running(site, [first, second])
    agent = begin(parallel=4)
    agent.run_pass()
    told = [(agent.scheduler.running, agent.scheduler.idle)]
    agent.hear(lambda: agent.scheduler.running == 0)
    # the second guest waits until its time has come
    told.append((agent.scheduler.running, agent.scheduler.idle))
    agent.later(90)
    told.append((agent.scheduler.running, agent.scheduler.idle))
    assert told == [(1, False), (0, False), (0, True)]


def test_it_is_settled_once_every_guest_is_as_declared(site: Site, begin: Begin) -> None:
    site.declare('[guest.100]\nstate = "stopped"\n')
    agent = begin()
    agent.look()
    told = [agent.scheduler.settled]
    declare_running(site, [100])
    agent.run_pass()
    told.append(agent.scheduler.settled)  # a lane is at work
    agent.finish()
    told.append(agent.scheduler.settled)
    assert told == [True, False, True]


def test_it_is_not_settled_while_a_guest_differs(site: Site, begin: Begin) -> None:
    site.world.lock(100, "backup")
    declare_running(site, [100])
    agent = begin()
    agent.look()
    assert isinstance(agent.outcome(), Blocked)
    assert (agent.scheduler.idle, agent.scheduler.settled) == (True, False)


def test_it_is_not_settled_before_a_declared_guest_was_looked_at(begin: Begin) -> None:
    agent = begin()
    agent.scheduler.declare(declared(DesiredGuest(100)))
    assert (agent.scheduler.idle, agent.scheduler.settled) == (True, False)


def test_it_is_not_settled_while_a_guest_is_applied(site: Site, begin: Begin) -> None:
    site.declare('[guest.100]\nstate = "stopped"\n')
    agent = begin()
    agent.look()
    applies = agent.daemon._parts.applies
    name = applies.begin({100: frozenset()}, "root", agent.monotonic.now)
    assert (agent.scheduler.idle, agent.scheduler.settled) == (True, False)
    applies.end(name)
    assert agent.scheduler.settled


@pytest.mark.parametrize(("after", "of_ours"), [(0.0, True), (3.0, True), (3.1, False)])
def test_what_is_heard_of_a_guest_just_after_its_lane_ended_is_of_our_doing(
    site: Site, begin: Begin, after: float, of_ours: bool
) -> None:
    declare_running(site, [100])
    agent = begin()
    agent.look()
    agent.monotonic.pass_by(after)
    assert agent.scheduler.is_at_work(100) is of_ours
    assert not agent.scheduler.is_at_work(200)


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


def test_while_its_lane_is_at_work_what_is_heard_of_a_guest_is_of_our_doing(
    site: Site, begin: Begin
) -> None:
    agent = in_line(site, begin)
    told = [agent.scheduler.is_at_work(300), agent.scheduler.is_at_work(301)]
    agent.monotonic.pass_by(10)
    assert [*told, agent.scheduler.is_at_work(300)] == [True, False, True]
    agent.finish()


def test_times_are_told_in_seconds_since_the_epoch(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    began = site.clock.now
    agent.monotonic.pass_by(7)
    site.clock.pass_by(7)
    agent.scheduler.publish()
    assert agent.scheduler.activity.since == pytest.approx(began)
    agent.finish()
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


def test_what_waits_runs_and_comes_of_it_is_counted(site: Site, begin: Begin) -> None:
    agent = in_line(site, begin)
    agent.monotonic.pass_by(7)
    agent.finish()
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


# What a reload, or another declaration, changes.


def test_after_a_reload_no_guest_waits_for_another_try(site: Site, begin: Begin) -> None:
    agent = failing(site, begin)
    agent.scheduler.publish()
    assert list(agent.scheduler.activity.due) == [100]
    agent.scheduler.adopt(agent.scheduler.backoff, 1)
    agent.scheduler.publish()
    assert agent.scheduler.next_event() == math.inf
    assert agent.scheduler.activity.due == {}


def test_after_a_reload_a_wait_is_as_long_as_the_new_settings_say(site: Site, begin: Begin) -> None:
    agent = failing(site, begin)
    agent.scheduler.adopt(replace(agent.scheduler.backoff, first=7.0), 1)
    agent.look()
    outcome = agent.outcome()
    assert isinstance(outcome, Retry)
    assert outcome.delay == 14, "the second failure in a row"


def test_after_a_reload_as_many_are_started_at_a_time_as_the_new_settings_say(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 3, start_seconds=60)
    declare_running(site, vmids)
    agent = begin(parallel=1)
    agent.scheduler.adopt(agent.scheduler.backoff, 2)
    agent.run_pass()
    assert agent.scheduler.running == 2
    agent.finish()


def test_what_failed_under_another_declaration_is_not_tried_again_by_the_clock(
    site: Site, begin: Begin
) -> None:
    agent = failing(site, begin)
    same = DesiredGuest(100, state=RunState.RUNNING)
    agent.scheduler.declare(declared(replace(same, kind=Kind.QEMU)))
    assert agent.scheduler.next_event() == math.inf


def test_a_guest_whose_declaration_is_the_same_waits_on(site: Site, begin: Begin) -> None:
    agent = failing(site, begin)
    agent.scheduler.declare(agent.daemon._intent.load())
    assert agent.scheduler.next_event() == agent.monotonic.now + 5
    assert not isinstance(agent.outcome(), Converged)


# Another try.


def test_a_lane_goes_by_what_the_pass_has_just_seen(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    agent = begin()
    assert agent.look()
    paths = ("100/config", "100/pending")
    asked_of = [r.method for r in site.devnode.requests if r.path.endswith(paths)]
    assert asked_of == ["GET", "POST", "GET"]


def test_another_try_writes_nothing_that_a_pass_saw_to_differ_and_that_does_so_no_more(
    site: Site, begin: Begin
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.world.hold_lock(100)
    agent = begin()
    agent.look()
    written = len(asked(site, "config"))
    agent.monotonic.pass_by(1)
    agent.look()
    site.world.release_lock(100)
    site.world.edit(100, {"cores": 2})
    agent.later(10)
    assert agent.outcome() == Converged()
    assert len(asked(site, "config")) == written


def test_another_try_looks_afresh_and_not_at_what_a_pass_has_seen(site: Site, begin: Begin) -> None:
    agent = failing(site, begin)
    agent.monotonic.pass_by(1)
    agent.look()
    site.world.behave(100, Behaviour())
    site.world.start(100)
    agent.later(5)
    assert agent.outcome() == Converged()
    assert asked(site, "start") == [100], "it had been started by hand"


def test_another_try_of_a_restart_begins_although_the_place_for_restarts_is_taken(
    site: Site, begin: Begin
) -> None:
    first, second = add(site, 2, running=True)
    site.world.behave(first, Behaviour(stop_error="it does not let go"))
    site.world.behave(second, Behaviour(shutdown_seconds=50))
    declare_restarted(site, [first])
    agent = begin(parallel=4, backoff_first=5.0)
    agent.look()
    declare_restarted(site, [first, second])
    agent.run_pass()
    agent.pace = 1.0
    agent.hear(lambda: second in asked(site, "shutdown"))
    site.world.behave(first, Behaviour())
    site.world.stop(first)
    site.world.start(first)
    agent.monotonic.pass_by(10)
    agent.scheduler.retry()
    agent.hear(lambda: not agent.scheduler.runs(first))
    assert agent.outcome(first) == Converged()
    assert agent.scheduler.runs(second)
    agent.finish()
