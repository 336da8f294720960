"""Why nothing is done to a guest, for good or for now, and how it is once that has passed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.model import Actual, ActualGuest, DesiredGuest, Kind, RunState
from felhom_agent.planning.withhold import as_let_go, passing_reason, reason_for_good, whereabouts

RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED
GUEST = ActualGuest(100, Kind.QEMU, "pve1", RUNNING)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("freeze", "PVE accepts a start or stop of it, and nothing happens; arm HA again"),
        ("ignore", "HA brings it to its own state when it is armed; arm HA again"),
        ("newer", "what is done to it now may be undone when HA is armed; arm HA again"),
    ],
)
def test_a_guest_of_an_ha_that_is_disarmed_is_left_alone_with_what_would_come_of_it(
    mode: str, words: str
) -> None:
    guest = replace(GUEST, ha_state="started", ha_disarmed=mode)
    why = passing_reason(DesiredGuest(100, state=STOPPED), guest)
    assert f"HA manages it and is disarmed (resource mode {mode}): {words}" in why


@pytest.mark.parametrize(
    ("state", "ha_state", "held"),
    [
        (STOPPED, "started", True),
        (RUNNING, "started", False),
        (None, "started", False),
        (STOPPED, "", False),
    ],
)
def test_ha_holds_a_guest_that_is_to_be_in_another_state_than_it_is(
    state: RunState | None, ha_state: str, *, held: bool
) -> None:
    desired, guest = DesiredGuest(100, state=state), replace(GUEST, ha_state=ha_state)
    assert ("HA manages it (state started)" in passing_reason(desired, guest)) is held


def test_what_passes_is_gone_once_a_guest_is_let_go_and_ha_with_it_only_where_it_held() -> None:
    guest = replace(GUEST, lock="backup", paused=True, ha_state="started", ha_disarmed="freeze")
    held = as_let_go(DesiredGuest(100, state=STOPPED), guest)
    assert (held.lock, held.paused, held.ha_state, held.ha_disarmed) == ("", False, "", "")
    other = as_let_go(DesiredGuest(100, state=RUNNING), guest)
    assert (other.ha_state, other.ha_disarmed) == ("started", "freeze")
    assert passing_reason(DesiredGuest(100, state=RUNNING), other) == ""


@pytest.mark.parametrize(
    ("change", "kind", "why"),
    [
        ({}, None, ""),
        ({}, Kind.QEMU, ""),
        ({}, Kind.LXC, "declared as lxc, but vmid 100 is qemu; mend its kind"),
        ({"state": None}, None, "PVE does not know its state; look at it in PVE"),
        ({"template": True}, None, "it is a template, which is never changed"),
    ],
)
def test_what_stands_in_the_way_for_good(
    change: dict[str, object], kind: Kind | None, why: str
) -> None:
    found = reason_for_good(DesiredGuest(100, kind), replace(GUEST, **change))  # type: ignore[arg-type]
    assert (why in found) if why else found == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"lock": "backup"}, "locked (backup)"),
        ({"paused": True}, "it is paused; resume or stop it by hand"),
    ],
)
def test_what_stands_in_the_way_for_now(change: dict[str, object], why: str) -> None:
    guest = replace(GUEST, **change)  # type: ignore[arg-type]
    assert passing_reason(DesiredGuest(100), guest) == why


def test_a_guest_that_is_not_here_is_told_of_by_where_it_is() -> None:
    actual = Actual(
        "pve1", {}, elsewhere={100: "pve2", 101: "pve3"}, offline=frozenset({"pve3"}),
        hidden=frozenset({102}),
    )  # fmt: skip
    assert whereabouts(100, actual) == "it is on node pve2, not on pve1; declare it there"
    assert "on node pve3, which is offline, not" in whereabouts(101, actual)
    assert "the token may not see it, if it exists" in whereabouts(102, actual)
    assert whereabouts(103, actual).startswith("there is no such guest")
