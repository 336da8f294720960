"""A change that PVE writes and cannot plug waits for the restart, as one that it leaves to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.devnode import Behaviour, World
from felhom_agent.journal.operation import State
from felhom_agent.model import Blocked, Converged, DesiredGuest, RestartPolicy, RunState
from tests.conftest import Site, TickingClock
from tests.reconcile.test_reconciliation import ends, turn, wanted
from tests.reconcile.test_refused_changes import SLOW, agent_on

CASES = [
    ({"hotplug": "cpu", "cores": 2}, {"cores": 4, "vcpus": 3}),
    ({"hotplug": "cpu", "cores": 4, "vcpus": 2}, {"cores": 6, "vcpus": 5, "onboot": True}),
]
"""What a VM has, and what is declared of it: PVE dies of one of the keys when it plugs."""


@pytest.fixture(params=[0.0, SLOW], ids=["as an answer", "as a task's end"])
def ticking(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    """A node on which time passes at each look, with a VM that runs."""
    site = make_site(World(node="pve1", now=TickingClock()))
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1}, running=True)
    site.world.behave(100, Behaviour(config_seconds=request.param))
    return site


def allowed(guest: DesiredGuest) -> DesiredGuest:
    return replace(guest, restart=RestartPolicy.ALLOWED)


@pytest.mark.parametrize(("present", "values"), CASES, ids=lambda each: " ".join(each))
def test_the_restart_that_is_allowed_follows_and_nothing_has_failed(
    ticking: Site, present: dict[str, object], values: Any
) -> None:
    ticking.world.edit(100, present)
    with agent_on(ticking) as parts:
        assert turn(parts, allowed(wanted(100, RunState.RUNNING, **values))) == Converged()
    assert ends(ticking) == [
        ("SetConfig", State.SUCCEEDED), ("Stop", State.SUCCEEDED), ("Start", State.SUCCEEDED),
    ]  # fmt: skip
    assert not ticking.world.guests[100].conf.pending


def test_without_leave_it_waits_and_pve_s_words_are_in_the_log(
    ticking: Site, caplog: pytest.LogCaptureFixture
) -> None:
    ticking.world.edit(100, {"hotplug": "cpu", "cores": 2, "vcpus": 2})
    with caplog.at_level(logging.WARNING), agent_on(ticking) as parts:
        found = turn(parts, wanted(100, RunState.RUNNING, cores=4, vcpus=3))
    assert isinstance(found, Blocked)
    assert found.why.startswith("needs a restart: cores 2 -> 4, vcpus 2 -> 3")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "written, and waits for a restart: " in line
    assert "hotplug problem - you can't add more vcpus than maxcpus" in line
    assert ends(ticking) == [("SetConfig", State.SUCCEEDED)]


def test_what_is_not_all_written_has_failed_in_pve_s_words(ticking: Site) -> None:
    words = "400 Parameter verification failed. cores: hotplug problem - no"
    seconds = ticking.world.guests[100].behaviour.config_seconds
    ticking.world.behave(
        100, Behaviour(config_seconds=seconds, config_error=words, config_written=("cores",))
    )
    with agent_on(ticking) as parts:
        found = turn(parts, allowed(wanted(100, RunState.RUNNING, cores=2, memory=2048)))
    assert "hotplug problem - no" in str(found)
    assert ends(ticking) == [("SetConfig", State.FAILED)]
