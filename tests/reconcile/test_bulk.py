"""While the node starts or stops all its guests by itself, the agent changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import Behaviour
from felhom_agent.model import Blocked, Converged
from tests.conftest import Clock, Site

STARTED = '[guest.100]\nstate = "running"\n[guest.200]\nstate = "running"\n'
SLOW = Behaviour(start_seconds=30.0, shutdown_seconds=30.0)


def busy(site: Site, verb: str) -> None:
    """Let the node be busy with a guest that is slow and not declared."""
    site.world.add("qemu", 105, {"onboot": 1}, running=verb == "stopall")
    site.world.behave(105, SLOW)
    site.world.bulk(verb)


@pytest.mark.parametrize("verb", ["startall", "stopall"])
def test_nothing_is_started_or_changed_until_the_nodes_own_task_has_ended(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    caplog.set_level("INFO")
    site.declare(STARTED + "[guest.200.config]\ncores = 2\n")
    busy(site, verb)
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        for _ in range(3):
            assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[100].outcome
        assert isinstance(outcome, Blocked)
        assert outcome.why == f"nothing is changed while the node's task {verb} runs; would start"
        assert not site.world.running(100)
        assert site.devnode.mutations == (), "no configuration is written either"
        clock.pass_by(120)
        assert daemon.run_pass()
        assert daemon._scheduler.statuses[100].outcome == Converged()
    assert site.world.running(100)
    assert site.world.running(200)
    assert caplog.text.count(f"the node's task {verb} runs; nothing is changed") == 1
    assert caplog.text.count(f"the node's task {verb} has ended") == 1


def test_no_guest_is_shut_down_while_the_node_starts_its_guests(site: Site, clock: Clock) -> None:
    site.world.start(100)
    site.declare('[guest.100]\nstate = "stopped"\n')
    busy(site, "startall")
    with assembled(site.config(), clock) as parts:
        assert not Daemon(site.config(), parts).run_pass()
    assert site.world.running(100)


def test_it_is_asked_once_more_right_before_a_guest_is_started(site: Site, clock: Clock) -> None:
    """The task may begin after the pass has looked."""
    site.declare('[guest.100]\nstate = "running"\n')
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        parts.engine.desired = daemon._intent.load()
        busy(site, "startall")
        outcome = parts.engine.reconcile(100).result(timeout=10).outcome
        assert isinstance(outcome, Blocked)
        assert "task startall runs" in outcome.why
    assert not site.world.running(100)


def test_what_only_writes_a_configuration_asks_for_no_tasks(site: Site, clock: Clock) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    with assembled(site.config(), clock) as parts:
        assert Daemon(site.config(), parts).run_pass()
        assert parts.bulk._asked is None


def test_a_token_that_sees_no_tasks_of_others_goes_on(
    make_site: Callable[..., Site], clock: Clock
) -> None:
    site = make_site(privileges={"/vms": ["VM.Audit", "VM.PowerMgmt"]})
    site.world.add("qemu", 100, {"cores": 1})
    site.declare('[guest.100]\nstate = "running"\n')
    busy(site, "startall")
    with assembled(site.config(), clock) as parts:
        assert Daemon(site.config(), parts).run_pass()
    assert site.world.running(100)


def test_a_hold_ends_although_no_guest_is_declared_any_more(site: Site, clock: Clock) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    busy(site, "startall")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        daemon.run_pass()
        parts.quorum.note_lost()
        (site.guests_directory / "guests.toml").unlink()
        clock.pass_by(120)
        assert {hold.name for hold in parts.holds.listed()} == {"bulk", "quorum"}
        daemon.run_pass()
        assert parts.holds.listed() == ()
