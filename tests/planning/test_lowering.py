"""The memory of a running container is not lowered by a hub; by the owner's file it is."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from felhom_agent.model import (
    ABSENT,
    Action,
    Actual,
    ActualGuest,
    Change,
    DesiredGuest,
    GuestPlan,
    Kind,
    RunState,
    SetConfig,
    Source,
    Start,
)
from felhom_agent.planning.lowering import only_while_stopped, why_not_lowered
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


@pytest.mark.parametrize(
    ("present", "pending", "after", "lowered"),
    [
        # What is in effect counts, and not what waits; 512 where nothing is named.
        (512, {}, 512, False),
        (1024, {}, 600, True),
        (512, {"memory": 1024}, 1023, True),
        (1024, {"memory": 512}, 513, False),
        (1024, {"memory": None}, 511, True),
        (1024, {"memory": None}, 513, False),
        (None, {}, 511, True),
        (None, {}, 513, False),
    ],
)
def test_what_is_in_effect_is_not_lowered(
    present: int | None, pending: dict[str, object], after: int, *, lowered: bool
) -> None:
    guest = ActualGuest(
        200, Kind.LXC, "pve1", RUNNING, pending=pending,
        config={} if present is None else {"memory": present},
    )  # fmt: skip
    change = Change("memory", ABSENT, str(after))
    desired = DesiredGuest(200, source=Source.HUB)
    assert bool(why_not_lowered(desired, guest, change)) is lowered


@pytest.mark.parametrize(
    ("source", "action", "only"),
    [
        (Source.HUB, SetConfig(200, Kind.LXC, (Change("memory", "2", "1"),)), True),
        (Source.HUB, SetConfig(200, Kind.LXC, (Change("swap", "2", "1"),)), False),
        (Source.HUB, SetConfig(200, Kind.QEMU, (Change("memory", "2", "1"),)), False),
        (Source.FILE, SetConfig(200, Kind.LXC, (Change("memory", "2", "1"),)), False),
        (Source.HUB, Start(200, Kind.LXC), False),
    ],
)
def test_which_actions_of_a_hub_are_done_only_while_the_guest_is_stopped(
    source: Source, action: Action, *, only: bool
) -> None:
    assert only_while_stopped(DesiredGuest(200, source=source), action) is only


@pytest.mark.parametrize(("after", "lowered"), [(511, True), (512, False)])
def test_of_a_guest_that_was_not_read_pves_default_counts(after: int, *, lowered: bool) -> None:
    guest = ActualGuest(200, Kind.LXC, "pve1", RUNNING)
    change = Change("memory", ABSENT, str(after))
    assert guest.config is None
    assert bool(why_not_lowered(DesiredGuest(200, source=Source.HUB), guest, change)) is lowered
