"""A lane's work ends the same on either version of PVE that the embedded node answers as."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.devnode import World
from felhom_agent.devnode.world.release import BUILDS
from felhom_agent.model import Blocked, Converged, RestartPolicy, Retry, RunState
from tests.conftest import Open, Site
from tests.reconcile.test_reconciliation import ends, turn, wanted

pytestmark = pytest.mark.parametrize("version", BUILDS)
RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED


def of_version(site: Site, version: str) -> Site:
    site.world.version = version
    return site


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_guest_is_configured_started_changed_and_stopped(
    site: Site, agent: Open, version: str, vmid: int
) -> None:
    of_version(site, version)
    with agent() as parts:
        assert turn(parts, wanted(vmid, RUNNING, cores=2, onboot=True)) == Converged()
        assert turn(parts, wanted(vmid, RUNNING, description="two\nlines")) == Converged()
        assert turn(parts, wanted(vmid, STOPPED, memory=768)) == Converged()
    config = site.world.config(vmid)
    assert (config["cores"], str(config["memory"]), config["onboot"]) == (2, "768", 1)
    assert all(str(state) == "succeeded" for _, state in ends(site))


def test_a_restart_for_a_change_that_waits_leaves_the_guest_running_and_free(
    make_site: Callable[..., Site], version: str
) -> None:
    site = make_site(World(node="pve1", now=time.time, version=version))
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1}, running=True)
    guest = replace(wanted(100, RUNNING, cores=2), restart=RestartPolicy.ALLOWED)
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, guest) == Converged()
        assert turn(parts, replace(guest, config={"cores": 2, "onboot": True})) == Converged()
    assert site.world.running(100)
    assert site.world.config(100)["cores"] == 2


def test_a_locked_guest_is_waited_for(site: Site, agent: Open, version: str) -> None:
    of_version(site, version).world.lock(100, "backup")
    with agent() as parts:
        found = turn(parts, wanted(100, cores=2))
        assert isinstance(found, (Blocked, Retry))
        site.world.unlock(100)
        assert turn(parts, wanted(100, cores=2)) == Converged()


def test_a_change_that_pve_cannot_plug_is_told_and_not_taken_for_done(
    site: Site, agent: Open, version: str
) -> None:
    """PVE: 400 `hotplug problem - ...`, and the value waits for the next stop."""
    hot = {"hotplug": "cpu", "cores": 2, "vcpus": 2}
    of_version(site, version).world.edit(100, hot)
    site.world.start(100)
    with agent() as parts:
        found = turn(parts, wanted(100, cores=4, vcpus=3))
    assert found != Converged()
    assert str(site.world.config(100)["vcpus"]) == "3"
    assert str(site.world.guests[100].conf.values["vcpus"]) == "2"
