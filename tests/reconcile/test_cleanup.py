"""A restart of ours leaves PVE the time to clean up after the stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.devnode import Behaviour, World
from felhom_agent.errors import Interrupted
from felhom_agent.journal.operation import State
from felhom_agent.model import Converged, Desired, RestartPolicy, Retry, RunState
from felhom_agent.reconcile import reconciliation
from tests.conftest import Site
from tests.process import wait_until
from tests.reconcile.test_reconciliation import SOON, ends, turn, wanted

RESTARTS = replace(wanted(state=RunState.RUNNING, cores=2), restart=RestartPolicy.ALLOWED)


def running_vm(make_site: Callable[..., Site], gap: float) -> Site:
    """Return a site in real time, with a VM that is cleaned up after within that gap."""
    site = make_site(World(node="pve1", now=time.time))
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1}, running=True)
    site.world.behave(100, Behaviour(cleanup_gap=gap))
    return site


def test_a_vm_that_we_restart_does_not_have_its_configuration_locked(
    make_site: Callable[..., Site],
) -> None:
    """recorded: calls-9.2/208b-lock-after-restart-tries: 0.3 s are too few, 0.6 s are not."""
    site = running_vm(make_site, 0.6)
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, RESTARTS) == Converged()
        assert turn(parts, replace(RESTARTS, config={**RESTARTS.config, "onboot": True})) == (
            Converged()
        )
    assert site.world.running(100)


def test_a_change_between_the_stop_and_the_start_takes_nothing_of_the_pause(
    make_site: Callable[..., Site],
) -> None:
    """A declaration may change while a guest shuts down."""
    site = running_vm(make_site, 0.6)
    site.world.behave(100, Behaviour(cleanup_gap=0.6, shutdown_seconds=1.0))
    changed = replace(RESTARTS, config={**RESTARTS.config, "description": "other"})
    with assembled(site.config(), site.clock) as parts:
        parts.engine.desired = Desired({100: RESTARTS})
        future = parts.engine.reconcile(100)
        wait_until(lambda: any(action == "Stop" for action, _ in ends(site)))
        parts.engine.desired = Desired({100: changed})
        assert future.result(SOON).outcome == Converged()
        assert [action for action, _ in ends(site)] == ["SetConfig", "Stop", "SetConfig", "Start"]
        assert turn(parts, replace(changed, config={**changed.config, "onboot": True})) == (
            Converged()
        )


def test_a_lock_that_is_met_all_the_same_is_waited_for_without_a_growing_pause(
    make_site: Callable[..., Site],
) -> None:
    site = running_vm(make_site, 60.0)
    changed = replace(RESTARTS, config={**RESTARTS.config, "onboot": True})
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, RESTARTS) == Converged()
        first, second = turn(parts, changed), turn(parts, changed)
    assert isinstance(first, Retry)
    assert "another task holds the guest" in first.why
    assert first.delay > 0
    assert second == first


def test_a_stop_of_the_agent_cuts_the_pause_short_and_the_next_agent_starts_the_guest(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "CLEANUP", 10 * SOON)
    site = running_vm(make_site, 0.6)
    with assembled(site.config(), site.clock) as parts:
        parts.engine.desired = Desired({100: RESTARTS})
        future = parts.engine.reconcile(100)
        wait_until(lambda: ("Stop", State.SUCCEEDED) in ends(site))
        assert not future.done()
        parts.node.cancel_waits.set()
        with pytest.raises(Interrupted):
            future.result(SOON)
        assert parts.operations.has_open_restart(100)
    assert not site.world.running(100)
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, RESTARTS) == Converged()
    assert site.world.running(100)
