"""A hub that wants too much of many guests: what is held has one name, and can be let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.config.settings import HubConfig, LimitsConfig
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import Fault
from felhom_agent.model import Blocked, Converged, Kind, Refused, Stop
from felhom_agent.reconcile.brake import WINDOW
from tests.conftest import Clock, Site
from tests.daemon.running import Running, add, asked

LIMITS = LimitsConfig(changed=10, changed_percent=30, stopped=2, restarted=1)
Wish = Callable[[dict[int, dict[str, Any]]], None]


@pytest.fixture
def agent(site: Site) -> Iterator[Running]:
    with ExitStack() as stack:
        hub = HubConfig(url="http://127.0.0.1:1", guests=(range(300, 1000),), may_stop=True)
        config = replace(site.config(parallel=4), limits=LIMITS, hub=hub)
        parts = stack.enter_context(assembled(config, site.clock, monotonic=site.clock))
        monotonic = Clock(1000.0)
        yield Running(Daemon(config, parts, clock=monotonic, chance=lambda: 0.0), monotonic, site)


@pytest.fixture
def wish(agent: Running) -> Wish:
    def say(guests: dict[int, dict[str, Any]]) -> None:
        hub = agent.daemon._hub_provider
        assert hub is not None
        state = {"guest": {str(vmid): body for vmid, body in guests.items()}}
        hub.accept(hub.kept.generation + 1, state)

    return say


def test_what_is_held_of_many_guests_keeps_its_name_and_is_all_let_go_at_once(
    site: Site, agent: Running, wish: Wish, caplog: pytest.LogCaptureFixture
) -> None:
    vmids = add(site, 60)
    wish({vmid: {"config": {"cores": 2}} for vmid in vmids})
    agent.look()
    agent.look()
    assert len(site.devnode.mutations) == 18
    held = agent.daemon._parts.brake.held
    assert len(held.vmids) == 42
    caplog.clear()
    for _ in range(3):
        agent.look()
    assert agent.daemon._parts.brake.held == held
    assert [record.getMessage() for record in caplog.records] == []
    assert agent.daemon.access().approve(held.plan_id) == 42
    agent.look()
    assert all(agent.outcome(vmid) == Converged() for vmid in vmids)


def test_guests_that_are_not_there_give_a_hub_no_right_to_change_more_of_those_that_are(
    site: Site, agent: Running, wish: Wish
) -> None:
    vmids = add(site, 20)
    wish({vmid: {"config": {"cores": 2}} for vmid in range(300, 500)})
    for _ in range(3):
        agent.look()
    assert len(site.devnode.mutations) == 10
    assert isinstance(agent.outcome(vmids[-1]), Blocked)


def test_what_a_pause_holds_takes_no_place_from_what_may_be_done(
    site: Site, agent: Running, wish: Wish
) -> None:
    vmids = add(site, 3, running=True)
    for vmid in vmids[:2]:
        agent.daemon._parts.suspensions.pause(vmid, None, "a test", "root")
    wish({vmid: {"state": "stopped"} for vmid in vmids})
    agent.look()
    assert asked(site, "shutdown") == vmids[2:]


def test_a_guest_that_a_power_cut_stopped_is_started_though_its_change_is_held(
    site: Site, agent: Running, wish: Wish
) -> None:
    vmids = add(site, 12)
    wish({vmid: {"state": "running", "config": {"cores": 2}} for vmid in vmids})
    for _ in range(3):
        agent.look()
    assert sorted(asked(site, "start")) == vmids


def test_a_pause_of_a_guest_that_is_down_for_our_restart_holds_its_change_and_not_its_start(
    site: Site, agent: Running, wish: Wish
) -> None:
    (vmid,) = add(site, 1, running=True)
    parts = agent.daemon._parts
    stop = parts.operations.begin(Stop(vmid, Kind.QEMU, restart=True))
    site.world.stop(vmid)
    parts.operations.succeeded(stop)
    parts.suspensions.pause(vmid, None, "a test", "root")
    wish({vmid: {"state": "running", "config": {"cores": 2}}})
    agent.look()
    assert site.world.running(vmid)
    assert site.world.config(vmid)["cores"] == 1
    assert isinstance(agent.outcome(vmid), Blocked)


def test_what_pve_refused_takes_no_place_from_what_may_be_done(
    site: Site, agent: Running, wish: Wish
) -> None:
    """An hour later it counts no more, and it is not tried again."""
    *refused, other = add(site, 11)
    site.devnode.faults.add(Fault("POST", "qemu/30[0-9]/config$", "status:400", times=10))
    wished: dict[int, dict[str, Any]] = {vmid: {"config": {"cores": 2}} for vmid in refused}
    wish(wished)
    agent.look()
    assert all(isinstance(agent.outcome(vmid), Refused) for vmid in refused)
    site.clock.pass_by(WINDOW + 1)
    wish({**wished, other: {"config": {"cores": 2}}})
    agent.look()
    assert agent.outcome(other) == Converged()


def test_what_nobody_declares_any_more_cannot_be_approved(
    site: Site, agent: Running, wish: Wish
) -> None:
    vmids = add(site, 12)
    wish({vmid: {"config": {"cores": 2}} for vmid in vmids})
    agent.look()
    agent.look()
    held = agent.daemon._parts.brake.held
    assert len(held.vmids) == 2
    wish({})
    agent.look()
    assert not agent.daemon.access().approve(held.plan_id)
