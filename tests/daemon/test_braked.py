"""An agent that is asked for too much at once: what is beyond the limits waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from felhom_agent.config.settings import HubConfig, LimitsConfig
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.model import Blocked, Converged, Kind, Source, Stop
from tests.conftest import Clock, Site
from tests.daemon.running import Running, add, asked, declare_restarted

LIMITS = LimitsConfig(changed=10, changed_percent=30, stopped=2, restarted=1)


@pytest.fixture
def agent(site: Site) -> Iterator[Running]:
    with ExitStack() as stack:
        config = replace(site.config(parallel=4), limits=LIMITS)
        parts = stack.enter_context(assembled(config, site.clock, monotonic=site.clock))
        monotonic = Clock(1000.0)
        yield Running(Daemon(config, parts, clock=monotonic, chance=lambda: 0.0), monotonic, site)


def declare_stopped(site: Site, vmids: list[int]) -> None:
    site.declare("".join(f'[guest.{v}]\nstate = "stopped"\n' for v in vmids))


def test_stops_beyond_the_limit_are_held_until_they_are_approved(
    site: Site, agent: Running, caplog: pytest.LogCaptureFixture
) -> None:
    vmids = add(site, 5, running=True)
    declare_stopped(site, vmids)
    for _ in range(3):
        agent.look()
    assert sorted(asked(site, "shutdown")) == vmids[:2]
    outcome = agent.outcome(vmids[4])
    assert isinstance(outcome, Blocked)
    assert (
        "more guests would be stopped within an hour for the file than the limit, 2;" in outcome.why
    )
    plan_id = outcome.why.partition("felhom-agent approve ")[2].partition("`")[0]
    assert caplog.text.count("large: 3 of 5 guests are held; `felhom-agent plan` ") == 1
    assert not agent.daemon.access().approve("000000000000")
    assert agent.daemon.access().approve(plan_id)
    agent.look()
    assert sorted(asked(site, "shutdown")) == vmids
    assert agent.outcome(vmids[4]) == Converged()


def test_what_is_declared_after_an_approval_is_held_anew(site: Site, agent: Running) -> None:
    vmids = add(site, 5, running=True)
    declare_stopped(site, vmids[:3])
    agent.look()
    agent.look()
    held = agent.daemon._parts.brake.held
    assert held.vmids == {vmids[2]}
    assert agent.daemon.access().approve(held.plan_id)
    declare_stopped(site, vmids)
    agent.look()
    agent.look()
    assert sorted(asked(site, "shutdown")) == vmids[:3]


def test_a_guest_that_was_stopped_for_its_restart_is_started_whatever_the_brake_says(
    site: Site, agent: Running
) -> None:
    vmids = add(site, 3, running=True)
    declare_restarted(site, vmids)
    for vmid in vmids:
        site.world.edit(vmid, {"cores": 1})
    for _ in range(4):
        agent.look()
    assert len(asked(site, "shutdown")) == 1
    assert all(site.world.running(vmid) for vmid in vmids)


def test_guests_that_a_power_cut_has_stopped_are_all_started(site: Site, agent: Running) -> None:
    vmids = add(site, 30)
    site.declare("".join(f'[guest.{v}]\nstate = "running"\n' for v in vmids))
    agent.look()
    assert sorted(asked(site, "start")) == vmids


def test_under_a_freeze_nothing_is_called_unusually_large(
    site: Site, agent: Running, caplog: pytest.LogCaptureFixture
) -> None:
    vmids = add(site, 5, running=True)
    declare_stopped(site, vmids)
    agent.daemon._parts.suspensions.freeze(None, "a test", "root")
    agent.look()
    assert asked(site, "shutdown") == []
    assert "unusually large" not in caplog.text


def test_the_hubs_own_limit_of_stops_counts_and_is_taken_anew_at_a_reload(site: Site) -> None:
    config = replace(site.config(), hub=HubConfig(stops_per_hour=1))
    fresh = replace(config, hub=HubConfig(stops_per_hour=2))
    with assembled(config, site.clock, monotonic=site.clock) as parts:
        daemon = Daemon(config, parts, reread=lambda: fresh)

        def held(vmid: int) -> bool:
            return bool(parts.brake.ask(Stop(vmid, Kind.QEMU), Source.HUB))

        assert [held(vmid) for vmid in (300, 301)] == [False, True]
        daemon._reload()
        assert [held(vmid) for vmid in (301, 302)] == [False, True]
