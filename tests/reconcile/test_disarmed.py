"""While HA is disarmed nothing is done to a guest that it manages, and the reason is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.model import Blocked, Converged, RunState
from tests.conftest import Clock, Open, Site
from tests.daemon.pending import kept_pending
from tests.reconcile.test_reconciliation import turn, wanted


@pytest.mark.parametrize(
    ("mode", "why"),
    [("freeze", "and nothing happens"), ("ignore", "to its own state when it is armed")],
)
@pytest.mark.parametrize("vmid", [100, 200])
def test_a_start_is_withheld_and_says_why_until_ha_is_armed_again(
    site: Site, clock: Clock, mode: str, why: str, vmid: int
) -> None:
    site.declare(f'[guest.{vmid}]\nstate = "running"\n')
    site.world.ha(vmid, "stopped")
    site.world.disarm_ha(mode)
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[vmid].outcome
        assert isinstance(outcome, Blocked)
        assert f"HA manages it and is disarmed (resource mode {mode})" in outcome.why
        assert why in outcome.why
        assert "ha-manager crm-command arm-ha" in outcome.why
        assert site.devnode.mutations == ()


def test_a_lane_does_not_take_a_guest_of_a_disarmed_ha_for_one_of_nobody(
    site: Site, agent: Open
) -> None:
    """With `ignore` the guest's own status says so (recorded: calls-9.2/205-ha-armed/042)."""
    site.world.start(100)
    site.world.ha(100, "started")
    site.world.disarm_ha("ignore")
    with agent() as parts:
        parts.node.observer.snapshot([100])
        assert isinstance(turn(parts, wanted(state=RunState.STOPPED)), Blocked)
        assert turn(parts, wanted(onboot=True)) == Converged()
    assert site.world.running(100)
    assert [m.path.rpartition("/")[2] for m in site.devnode.mutations] == ["config"]


def test_a_guest_of_a_disarmed_ha_is_not_restarted(site: Site, clock: Clock) -> None:
    site.world.start(100)
    site.world.ha(100, "started")
    site.world.disarm_ha("ignore")
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n[guest.100.config]\ncores = 2\n'
    )
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        daemon.run_pass()
        site.world.edit(100, {"cores": 2})
        with kept_pending(site, "cores", 1, 2):
            assert not daemon.run_pass()
    assert site.world.running(100)
    assert not any("status" in m.path for m in site.devnode.mutations)


NARROW = {"/vms": ["VM.Audit", "VM.PowerMgmt", "VM.Config.CPU"]}
"""What a token has that may not ask for HA, which takes Sys.Audit on /."""


@pytest.mark.parametrize("mode", ["freeze", "ignore"])
@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_token_that_may_not_ask_for_ha_leaves_a_guest_of_a_disarmed_one_alone(
    make_site: Callable[..., Site], clock: Clock, mode: str, state: str
) -> None:
    """Its own status says that nobody manages it; the cluster's resources say who does."""
    site = make_site(privileges=NARROW)
    site.world.add("qemu", 100, {"cores": 1}, running=True)
    site.world.ha(100, "started")
    site.world.disarm_ha(mode)
    site.declare(
        f'[guest.100]\nstate = "{state}"\nrestart = "allowed"\n[guest.100.config]\ncores = 2\n'
    )
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        for _ in range(3):
            assert not daemon.run_pass()
            clock.pass_by(3600)
        assert isinstance(daemon._scheduler.statuses[100].outcome, Blocked)
        assert "HA manages it" in str(daemon._scheduler.statuses[100].outcome)
    assert site.world.running(100)
    assert not any("status" in m.path for m in site.devnode.mutations)
