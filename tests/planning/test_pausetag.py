"""A person's tag in PVE pauses a guest: nothing is planned but the end of a restart of ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.model import (
    Actual,
    ActualGuest,
    DesiredGuest,
    Facts,
    GuestPlan,
    Kind,
    Mode,
    RunState,
    Start,
)
from felhom_agent.planning.pausetag import PAUSED_BY_TAG, is_paused_by_tag
from felhom_agent.planning.plan import plan_guest

TAGGED = ActualGuest(
    100, Kind.QEMU, "pve1", RunState.STOPPED, "web", config={"tags": "felhom-pause", "cores": 1}
)
WANTED = DesiredGuest(100, state=RunState.RUNNING, config={"cores": 2})


def planned(wanted: DesiredGuest, guest: ActualGuest, *, ends_restart: bool = False) -> GuestPlan:
    return plan_guest(wanted, Actual("pve1", {100: guest}), ends_restart=ends_restart)


@pytest.mark.parametrize(
    ("tags", "folded", "exact"),
    [
        ("felhom-pause", True, True),
        ("web;felhom-pause", True, True),
        ("web,felhom-pause odd", True, True),
        ("Felhom-Pause", True, False),
        ("felhom-paused", False, False),
        ("not-felhom-pause", False, False),
        (" ", False, False),
        (None, False, False),
    ],
)
def test_the_tag_counts_in_the_case_that_the_datacenter_keeps(
    tags: str | None, folded: bool, exact: bool
) -> None:
    guest = replace(TAGGED, config={"tags": tags})
    assert is_paused_by_tag(guest, Facts()) is folded
    assert is_paused_by_tag(guest, Facts(case_sensitive_tags=True)) is exact


def test_nothing_is_planned_and_the_plan_says_why() -> None:
    assert planned(WANTED, TAGGED) == GuestPlan(100, Kind.QEMU, "web", withheld=PAUSED_BY_TAG)
    running = replace(TAGGED, state=RunState.RUNNING, config={"tags": "felhom-pause", "cores": 2})
    assert planned(WANTED, running).withheld == PAUSED_BY_TAG


def test_the_start_that_ends_a_restart_of_ours_is_planned_alone() -> None:
    assert planned(WANTED, TAGGED, ends_restart=True).actions == (Start(100, Kind.QEMU),)


@pytest.mark.parametrize(
    ("wanted", "guest", "why"),
    [
        (WANTED, replace(TAGGED, state=RunState.RUNNING), PAUSED_BY_TAG),
        (replace(WANTED, state=None), TAGGED, PAUSED_BY_TAG),
        (replace(WANTED, mode=Mode.OBSERVE), TAGGED, PAUSED_BY_TAG),
        (WANTED, replace(TAGGED, lock="backup"), f"{PAUSED_BY_TAG}; locked (backup)"),
    ],
)
def test_no_start_is_planned_that_ends_no_restart_or_may_not_be(
    wanted: DesiredGuest, guest: ActualGuest, why: str
) -> None:
    found = planned(wanted, guest, ends_restart=True)
    assert (found.actions, found.withheld) == ((), why)
