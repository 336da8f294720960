"""The memory of a running container is not lowered by a hub; by the owner's file it is."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from felhom_agent.model import (
    Actual,
    ActualGuest,
    Change,
    DesiredGuest,
    GuestPlan,
    Kind,
    RunState,
    SetConfig,
    Source,
)
from felhom_agent.planning.plan import plan_guest

RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED


def planned(
    after: int,
    *,
    state: RunState = RUNNING,
    source: Source = Source.HUB,
    kind: Kind = Kind.LXC,
    pending: dict[str, object] | None = None,
    **config: object,
) -> GuestPlan:
    guest = ActualGuest(
        200, kind, "pve1", state, config={"cores": 1, **config}, pending=pending or {}
    )
    wanted = MappingProxyType({"memory": after, "cores": 2})
    desired = DesiredGuest(200, config=wanted, source=source)
    return plan_guest(desired, Actual("pve1", {200: guest}))


def changed(plan: GuestPlan) -> list[str]:
    return [c.key for a in plan.actions if isinstance(a, SetConfig) for c in a.changes]


def test_it_is_told_and_what_else_is_declared_is_done() -> None:
    plan = planned(256, memory=512)
    assert plan.actions == (SetConfig(200, Kind.LXC, (Change("cores", "1", "2"),)),)
    assert plan.notes == (
        "memory: 512 -> 256: a hub does not lower the memory of a container that runs",
    )


@pytest.mark.parametrize("after", [513, 1024])
def test_more_memory_is_given(after: int) -> None:
    assert "memory" in changed(planned(after, memory=512))


def test_the_owners_file_may_lower_it() -> None:
    assert "memory" in changed(planned(256, memory=512, source=Source.FILE))


def test_a_stopped_container_gets_less() -> None:
    assert "memory" in changed(planned(256, memory=512, state=STOPPED))


def test_a_vm_gets_less_when_it_starts_again() -> None:
    assert "memory" in changed(planned(256, memory="512", kind=Kind.QEMU))


def test_what_is_in_effect_counts_and_not_what_waits() -> None:
    assert "memory" not in changed(planned(300, memory=256, pending={"memory": 512}))
    assert "memory" in changed(planned(600, memory=700, pending={"memory": 512}))


def test_where_pve_names_no_limit_its_default_counts() -> None:
    assert "memory" not in changed(planned(256))
    assert "memory" in changed(planned(1024))
