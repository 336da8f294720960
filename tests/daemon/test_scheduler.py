"""Which guest is reconciled when: records, places, waits, and what is forgotten."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.places import HANDOVER, OVERRUN
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.model import Blocked, Converged, Kind, Refused, Retry, Start
from felhom_agent.reconcile.reconciliation import IN_VAIN
from tests.conftest import Site
from tests.daemon.pending import kept_pending
from tests.daemon.running import (
    Begin,
    add,
    asked,
    declare_restarted,
    declare_running,
    lose_start,
)
from tests.process import SOON, wait_until

# Waits and failures.


def test_each_failure_in_a_row_doubles_the_wait(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    delays = []
    for _ in range(4):
        outcome = agent.outcome()
        assert isinstance(outcome, Retry)
        delays.append(outcome.delay)
        agent.later(outcome.delay)
    assert delays == [5, 10, 20, 40]
    assert len(asked(site, "start")) == 5


def test_a_guest_is_not_tried_before_its_wait_is_over(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    agent.later(4.9)
    agent.look()
    assert len(asked(site, "start")) == 1
    agent.later(0.2)
    assert len(asked(site, "start")) == 2


def test_success_forgets_the_failures(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    agent.later(5)
    assert agent.outcome() == Retry(10.0, agent.outcome().why)  # type: ignore[union-attr]
    site.world.behave(100, Behaviour())
    agent.later(10)
    assert agent.outcome() == Converged()
    site.world.stop(100)
    site.world.behave(100, Behaviour(start_error="no such storage"))
    agent.look()
    assert agent.outcome() == Retry(5.0, agent.outcome().why)  # type: ignore[union-attr]


def test_a_guest_that_a_person_brought_in_line_is_not_retried(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    site.world.start(100)
    assert agent.look()
    before = len(site.devnode.requests)
    agent.later(60)
    assert len(site.devnode.requests) == before


def test_a_retry_that_another_try_came_before_is_made_no_more(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    site.declare("[guest.100.config]\ncores = 2\n", "other.toml")
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 1\n')
    (site.guests_directory / "other.toml").unlink()
    agent.look()
    site.world.behave(100, Behaviour())
    site.world.edit(100, {"cores": 3})
    assert agent.look()
    assert agent.scheduler.next_event() == float("inf")
    before = len(site.devnode.requests)
    agent.later(600)
    assert len(site.devnode.requests) == before


def test_a_retry_that_comes_due_under_a_hold_is_left_to_the_pass_after_it(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    holds = agent.daemon._parts.holds
    holds.register("test", lambda _: "held by a test")
    before = len(site.devnode.requests)
    agent.later(5)
    assert len(site.devnode.requests) == before
    assert agent.scheduler.next_event() == float("inf")
    holds.register("test", lambda _: "")
    site.world.behave(100, Behaviour())
    assert agent.look()


def test_a_changed_declaration_is_tried_at_once_and_counts_failures_anew(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_error="no such storage"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.look()
    agent.later(5)
    site.declare('[guest.100]\nstate = "running"\nstop = "power-off"\n')
    agent.look()
    outcome = agent.outcome()
    assert isinstance(outcome, Retry)
    assert outcome.delay == 5.0
    assert len(asked(site, "start")) == 3


def test_another_difference_is_tried_at_once_although_the_last_one_failed(
    site: Site, begin: Begin
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    agent.look()
    assert isinstance(agent.outcome(), Refused)
    agent.look()
    assert len(asked(site, "config")) == 1
    site.world.edit(100, {"cores": 4})
    agent.look()
    assert agent.outcome() == Converged()


def test_what_pve_refused_is_tried_again_after_the_guest_could_not_be_changed_for_a_while(
    site: Site, begin: Begin
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    agent.look()
    site.world.lock(100, "backup")
    agent.look()
    site.world.lock(100, "")
    assert agent.look()


def test_what_pve_refused_is_tried_again_once_the_declaration_changes(
    site: Site, begin: Begin
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    agent.look()
    agent.later(1e6)
    assert len(asked(site, "config")) == 1
    site.declare("[guest.100.config]\ncores = 3\n")
    assert agent.look()


def test_what_pve_refused_is_tried_again_once_the_guests_configuration_changes(
    site: Site, begin: Begin
) -> None:
    """PVE compares the balloon with the memory that the file has, which nobody declared."""
    site.declare("[guest.100.config]\nballoon = 2048\n")
    agent = begin()
    agent.look()
    agent.look()
    assert isinstance(agent.outcome(), Refused)
    assert len(asked(site, "config")) == 1
    site.world.edit(100, {"memory": "4096"})
    assert agent.look()
    assert site.world.config(100)["balloon"] == 2048


def test_a_guest_that_is_undeclared_and_declared_again_begins_with_a_clean_record(
    site: Site, begin: Begin
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    assert not agent.look()
    (site.guests_directory / "guests.toml").unlink()
    assert agent.look()
    assert agent.scheduler.statuses == {}
    site.declare("[guest.100.config]\ncores = 2\n")
    assert agent.look()
    assert site.world.config(100)["cores"] == 2


def test_a_guest_that_pve_blocks_is_tried_after_the_longest_wait(site: Site, begin: Begin) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(obeys_shutdown=False))
    site.declare('[guest.100]\nstate = "stopped"\n')
    agent = begin(stop_timeout=5.0, backoff_cap=600.0)
    agent.run_pass()
    agent.finish()
    assert isinstance(agent.outcome(), Blocked)
    agent.monotonic.pass_by(599)
    agent.look()
    assert len(asked(site, "shutdown")) == 1
    agent.monotonic.pass_by(2)
    agent.run_pass()
    agent.finish()
    assert len(asked(site, "shutdown")) == 2


def test_a_wait_for_what_takes_its_time_is_no_failure_and_has_its_own_end(
    site: Site, begin: Begin
) -> None:
    """PVE may yet begin what was cut off; the guest is looked at when that cannot be any more."""
    site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
    declare_running(site, [100])
    agent = begin(backoff_first=5.0)
    agent.pace = 0.0
    agent.look()
    agent.later(5)
    outcome = agent.outcome()
    assert isinstance(outcome, Retry)
    assert "PVE may yet start" in outcome.why
    assert 0 < outcome.delay <= 10
    site.clock.pass_by(60)
    agent.later(outcome.delay)
    assert agent.outcome() == Converged()


def test_a_retry_is_said_once_as_long_as_its_reason_is_the_same(
    site: Site, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    site.world.behave(100, Behaviour(start_seconds=1e6))
    declare_running(site, [100])
    agent = begin(start_timeout=1.0, backoff_first=5.0)
    agent.run_pass()
    for _ in range(5):
        agent.finish()
        outcome = agent.outcome()
        assert isinstance(outcome, Retry)
        agent.monotonic.pass_by(700)
        agent.scheduler.retry()
    agent.finish()
    said = [r.getMessage() for r in caplog.records if "; again in " in r.getMessage()]
    assert len(said) == 1


def test_a_restart_in_vain_is_forgotten_once_the_guest_is_as_declared(
    site: Site, begin: Begin
) -> None:
    """PVE keeps some changes pending through a restart (recorded: 100-snapshots-qemu/238)."""
    site.world.start(100)
    declare_restarted(site, [100])
    agent = begin()
    with kept_pending(site, "cores", 1, 2):
        for _ in range(3):
            agent.look()
            assert agent.outcome() == Refused(IN_VAIN)
            agent.scheduler.adopt(agent.scheduler.backoff, 2)
    assert len(asked(site, "shutdown")) == 1
    site.world.stop(100)
    site.world.start(100)
    assert agent.look()
    site.world.edit(100, {"cores": "1"})
    assert agent.look()
    assert len(asked(site, "shutdown")) == 2


# Places.


def test_no_more_guests_are_changed_at_once_than_allowed_and_in_order(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 5, start_seconds=60)
    declare_running(site, vmids)
    agent = begin(parallel=2)
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 2)
    assert sorted(asked(site, "start")) == vmids[:2]
    assert agent.scheduler.running == 2
    agent.finish()
    assert len(asked(site, "start")) == 5
    assert sorted(asked(site, "start")[:4]) == vmids[:4]
    assert asked(site, "start")[4] == vmids[4]


def test_a_guest_that_waits_for_a_place_holds_no_thread_and_asks_nothing(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 30, start_seconds=1e6)
    declare_running(site, vmids)
    agent = begin(parallel=2)
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 2)
    lanes = [t.name for t in threading.enumerate() if t.name.startswith("lane-")]
    assert sorted(lanes) == [f"lane-{v}" for v in vmids[:2]]
    of_others = [r.path for r in site.devnode.requests if "/309/" in r.path]
    assert [path.rpartition("/")[2] for path in of_others] == ["pending"]
    agent.daemon._parts.node.cancel_waits.set()


def test_a_place_is_given_back_after_a_minute_even_if_the_task_still_runs(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 9, start_seconds=1e6)
    declare_running(site, vmids)
    agent = begin(parallel=2, start_timeout=3000.0)
    agent.run_pass()
    for round_ in range(1, OVERRUN + 1):
        wait_until(lambda n=round_: len(asked(site, "start")) == 2 * n)  # type: ignore[misc]
        assert agent.scheduler.running == 2 * round_
        agent.monotonic.pass_by(HANDOVER - 1)
        agent.scheduler.retry()
        assert agent.scheduler.running == 2 * round_
        due = agent.scheduler.next_event()
        assert due == (agent.monotonic.now + 1 if round_ < OVERRUN else float("inf"))
        agent.monotonic.pass_by(1)
        agent.scheduler.retry()
    assert agent.scheduler.running == 2 * OVERRUN
    agent.daemon._parts.node.cancel_waits.set()


def test_a_guest_whose_lane_runs_is_not_submitted_again(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_seconds=60))
    declare_running(site, [100])
    agent = begin(parallel=4)
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 1)
    agent.run_pass()
    agent.scheduler.retry()
    assert agent.scheduler.running == 1
    agent.finish()
    assert asked(site, "start") == [100]


def test_a_pass_says_nothing_of_a_guest_whose_lane_runs(site: Site, begin: Begin) -> None:
    site.world.behave(100, Behaviour(start_seconds=60))
    declare_running(site, [100])
    agent = begin()
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 1)
    holds = agent.daemon._parts.holds
    holds.register("test", lambda _: "held by a test")
    agent.run_pass()
    agent.scheduler.publish()
    assert 100 not in agent.scheduler.statuses
    agent.finish()
    assert agent.outcome() == Converged()


def test_a_guest_that_was_withdrawn_while_it_waited_is_not_touched(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, start_seconds=60)
    declare_running(site, vmids)
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 1)
    declare_running(site, vmids[:1])
    agent.run_pass()
    agent.finish()
    assert asked(site, "start") == vmids[:1]
    assert list(agent.scheduler.statuses) == vmids[:1]


def test_guests_restart_one_at_a_time_and_wait_without_asking(site: Site, begin: Begin) -> None:
    vmids = add(site, 4, running=True, shutdown_seconds=60)
    declare_restarted(site, vmids)
    agent = begin(parallel=4)
    agent.run_pass()
    agent.hear(lambda: len(asked(site, "shutdown")) == 1 and agent.scheduler.running == 1)
    before = [r.path for r in site.devnode.requests if "/tasks" not in r.path]
    for vmid in vmids[1:]:
        if vmid not in asked(site, "shutdown"):
            assert "waits" in str(agent.outcome(vmid))
    agent.daemon._wait(0.01)
    assert [r.path for r in site.devnode.requests if "/tasks" not in r.path] == before
    agent.finish()
    assert agent.daemon.run_pass()
    assert sorted(asked(site, "shutdown")) == vmids
    assert len(asked(site, "start")) == 4


def test_one_look_waits_for_all_restarts_in_turn(site: Site, begin: Begin) -> None:
    vmids = add(site, 3, running=True)
    declare_restarted(site, vmids)
    agent = begin(parallel=4)
    assert agent.look()
    assert [site.world.config(v)["cores"] for v in vmids] == [2, 2, 2]
    assert sorted(asked(site, "shutdown")) == vmids


def test_a_restart_that_ha_would_fight_says_so(site: Site, begin: Begin) -> None:
    site.world.start(100)
    site.world.ha(100, "started")
    declare_restarted(site, [100])
    agent = begin()
    agent.look()
    assert "needs a restart: cores 1 -> 2; HA manages it" in str(agent.outcome())
    assert asked(site, "shutdown") == []


# Jobs, ends, and what another process left.


def test_what_another_process_left_in_flight_is_settled_before_the_first_pass(
    site: Site, begin: Begin
) -> None:
    lose_start(site)
    declare_running(site, [100])
    with assembled(site.config(), site.clock) as parts:
        Daemon(site.config(), parts).run_pass()
        assert parts.operations.in_flight()
    site.clock.pass_by(60)
    agent = begin()
    agent.daemon.begin()
    assert agent.scheduler.running == 1
    agent.finish()
    assert agent.outcome() == Converged()


def test_a_one_shot_job_waits_for_its_place_like_everybody(site: Site, begin: Begin) -> None:
    add(site, 1, start_seconds=60)
    declare_running(site, [300])
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    job = agent.scheduler.run_once("job-1", Start(100, Kind.QEMU))
    assert not job.done()
    assert agent.scheduler.running == 1
    agent.hear(job.done)
    assert job.result(SOON).key == "job-1"
    assert asked(site, "start") == [300, 100]


def test_an_end_that_is_meant_for_another_assembly_is_ignored(site: Site, begin: Begin) -> None:
    """An agent is put together again when its journal is back; lanes of before may still report."""
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    real, heard = agent.daemon._wait, []
    agent.daemon._wait = lambda seconds: real(seconds)  # type: ignore[method-assign]
    agent.look()
    end_of_before = agent.scheduler
    again = Daemon(
        agent.daemon.config, agent.daemon._parts, clock=agent.monotonic, chance=lambda: 0.0
    )
    from felhom_agent.daemon.ended import Ended
    from felhom_agent.reconcile.reconciliation import Reconciled

    again._pass()
    again._scheduler.ended(Ended(end_of_before, 100, Reconciled(Refused("of before"))))
    while not again._scheduler.idle:
        again._wait(0.1)
        heard.append(1)
    again._scheduler.publish()
    assert again._scheduler.statuses[100].outcome == Converged()


def test_a_guest_for_which_no_thread_can_be_had_is_not_as_declared(
    site: Site, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    agent = begin()

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        real = threading.Thread.start
        patch.setattr(
            threading.Thread,
            "start",
            lambda self: no_thread(self) if self.name.startswith("lane-") else real(self),
        )
        assert not agent.look()
        outcome = agent.outcome()
        assert isinstance(outcome, Retry)
        assert not outcome.delay
        assert "no thread could be had" in outcome.why
    assert agent.look()


def test_a_held_guest_is_due_as_soon_as_the_hold_is_gone(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    agent = begin()
    holds = agent.daemon._parts.holds
    holds.register("test", lambda _: "held by a test")
    assert not agent.look()
    assert agent.outcome() == Blocked("held by a test; would set cores: 1 -> 2")
    holds.register("test", lambda _: "")
    assert agent.look()


def test_under_a_hold_a_guest_is_submitted_only_for_what_is_in_flight(
    site: Site, begin: Begin
) -> None:
    lose_start(site)
    declare_running(site, [100])
    site.declare("[guest.200.config]\ncores = 1\n", "other.toml")
    agent = begin()
    agent.look()
    assert agent.daemon._parts.operations.in_flight()
    site.declare("[guest.200.config]\ncores = 2\n", "other.toml")
    agent.daemon._parts.holds.register("test", lambda _: "held by a test")
    site.clock.pass_by(60)
    agent.monotonic.pass_by(60)
    agent.run_pass()
    assert list(agent.scheduler._runs) == [100]
    agent.finish()
    assert agent.daemon._parts.operations.in_flight() == ()


def test_other_threads_see_an_immutable_snapshot(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = begin()
    agent.look()
    before = agent.scheduler.statuses
    with pytest.raises(TypeError):
        before[100] = None  # type: ignore[index]
    site.world.lock(100, "backup")
    site.declare("[guest.100.config]\ncores = 3\n")
    agent.look()
    assert before[100].outcome == Converged()
    assert agent.scheduler.statuses[100].outcome == Blocked("locked (backup)")


def test_a_reload_lets_every_guest_be_due(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    agent = begin()
    assert not agent.look()
    agent.scheduler.adopt(replace(agent.scheduler.backoff, first=7.0), 3)
    assert agent.look()
