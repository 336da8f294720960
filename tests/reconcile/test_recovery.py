"""What became of a change whose answer was lost is found out by looking, and never too early."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.assembly import Parts
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.journal.file import NAME, read
from felhom_agent.journal.operation import State, replay
from felhom_agent.model import (
    Converged,
    DeclaredValue,
    Desired,
    DesiredGuest,
    Outcome,
    Retry,
    RunState,
)
from tests.conftest import Site
from tests.reconcile.conftest import Open

SOON = 30.0


def turn(parts: Parts, state: RunState | None = None, **config: DeclaredValue) -> Outcome:
    guest = DesiredGuest(100, state=state, config=MappingProxyType(config))
    parts.engine.desired = Desired(MappingProxyType({100: guest}))
    return parts.engine.reconcile(100).result(SOON).outcome


def states(site: Site) -> list[State]:
    return [o.state for o in replay(read(site.directory / "journal" / NAME))]


def test_a_change_that_pve_may_yet_begin_is_not_given_up_for_a_task_of_an_earlier_one(
    site: Site, agent: Open
) -> None:
    """A change that ended at once leaves a task whose name nobody was told."""
    with agent() as parts:
        assert turn(parts, cores=2) == Converged()
        site.devnode.faults.add(Fault("POST", "config$", "late:3600"))
        assert isinstance(turn(parts, cores=3), Retry)
    with agent() as parts:
        outcome = turn(parts, cores=3)
        assert isinstance(outcome, Retry)
        assert "PVE may yet begin" in outcome.why
        assert len(site.devnode.mutations) == 2
        site.clock.pass_by(60)
        assert turn(parts, cores=3) == Converged()
    assert states(site) == [State.SUCCEEDED, State.UNKNOWN, State.SUCCEEDED]


def test_every_task_that_may_be_the_lost_change_is_waited_for(site: Site, agent: Open) -> None:
    """Not the first that is found: that may be the one of an earlier change."""
    with agent() as parts:
        assert turn(parts, cores=2) == Converged()
        site.world.behave(100, Behaviour(config_seconds=3600))
        site.devnode.faults.add(Fault("POST", "config$", "reset-after"))
        assert isinstance(turn(parts, cores=3), Retry)
        parts.engine.adopt(site.config(config_timeout=0.1).reconcile)
        outcome = turn(parts, cores=3)
        assert isinstance(outcome, Retry)
        assert "still runs" in outcome.why
        site.clock.pass_by(3600)
        assert turn(parts, cores=3) == Converged()
        assert len(site.devnode.mutations) == 2
    assert states(site) == [State.SUCCEEDED, State.SUCCEEDED]


def test_the_task_of_an_earlier_operation_is_not_taken_for_the_lost_one(
    site: Site, agent: Open
) -> None:
    with agent() as parts:
        assert turn(parts, state=RunState.RUNNING) == Converged()
        site.world.stop(100)
        site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
        assert isinstance(turn(parts, state=RunState.RUNNING), Retry)
    with agent() as parts:
        outcome = turn(parts, state=RunState.RUNNING)
        assert isinstance(outcome, Retry)
        assert "PVE may yet begin" in outcome.why
    assert states(site) == [State.SUCCEEDED, State.INTENT]
