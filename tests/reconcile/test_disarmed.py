"""While HA is disarmed nothing is done to a guest that it manages, and the reason is told."""

from __future__ import annotations

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
