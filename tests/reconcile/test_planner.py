"""A guest that is as declared is planned again when anything changes that its plan depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from felhom_agent.journal.identities import Identities
from felhom_agent.journal.log import JournalLog
from felhom_agent.model import (
    Actual,
    ActualGuest,
    Desired,
    DesiredGuest,
    Facts,
    GuestPlan,
    History,
    Kind,
    Known,
    RunState,
)
from felhom_agent.reconcile.planner import Planner

UUID = "smbios1", "uuid=6f6b1d0e-7b6c-4b6b-8f62-000000000001"
DECLARED = DesiredGuest(
    100, Kind.QEMU, RunState.RUNNING, config=MappingProxyType({"cores": 2, "tags": "a;b"})
)
GUEST = ActualGuest(
    100,
    Kind.QEMU,
    "pve1",
    RunState.RUNNING,
    config={"cores": 2, "tags": "a;b", UUID[0]: UUID[1], "digest": "d"},
    digest="d",
)


@dataclass
class World:
    """A planner, and what it plans."""

    planner: Planner
    identities: Identities
    desired: Desired = field(default_factory=lambda: Desired({100: DECLARED}))
    actual: Actual = field(default_factory=lambda: Actual("pve1", {100: GUEST}))

    def plan(self) -> GuestPlan:
        return self.planner.plans(self.desired, self.actual)[100]

    def see(self, **changes: object) -> None:
        """Let the guest be otherwise from now on."""
        self.actual = replace(self.actual, guests={100: replace(GUEST, **changes)})  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    log, records = JournalLog.open(tmp_path, lambda found: found)
    identities = Identities(log, records)
    yield World(Planner(identities), identities)
    log.close()


def test_a_guest_that_is_as_declared_and_unchanged_is_not_planned_again(world: World) -> None:
    first = world.plan()
    assert not first.drifted
    world.see(config=dict(GUEST.config or {}))
    assert world.plan() is first


def _declare(world: World) -> None:
    config = MappingProxyType({"cores": 4})
    world.desired = Desired({100: replace(DECLARED, config=config)})


def _observe(world: World) -> None:
    world.see(config={**(GUEST.config or {}), "cores": 3})


def _stop(world: World) -> None:
    world.see(state=RunState.STOPPED)


def _wait_for_a_restart(world: World) -> None:
    world.see(pending={"cores": "1"})


def _case_sensitive_tags(world: World) -> None:
    world.actual = replace(world.actual, facts=Facts(case_sensitive_tags=True))


def _another_guest(world: World) -> None:
    world.planner.history = History({}, readable=True)
    world.identities.remember({100: Known("uuid=another", 0)})


def _restored(world: World) -> None:
    world.planner.history = History({100: 5}, readable=True)


def _gone(world: World) -> None:
    world.actual = replace(world.actual, guests={})


@pytest.mark.parametrize(
    "change",
    [
        _declare,
        _observe,
        _stop,
        _wait_for_a_restart,
        _case_sensitive_tags,
        _another_guest,
        _restored,
        _gone,
    ],
)
def test_whatever_its_plan_depends_on_has_it_planned_again(
    world: World, change: Callable[[World], None]
) -> None:
    world.planner.history = History({}, readable=True)
    world.planner.remember([100], world.actual)
    first = world.plan()
    assert not first.drifted
    change(world)
    again = world.plan()
    anew = Planner(world.identities)
    anew.history = world.planner.history
    assert again == anew.plans(world.desired, world.actual)[100]
    assert again is not first


def test_of_a_guest_that_is_no_longer_declared_nothing_is_kept(world: World) -> None:
    first = world.plan()
    world.planner.forget_others(())
    again = world.plan()
    assert again == first
    assert again is not first
