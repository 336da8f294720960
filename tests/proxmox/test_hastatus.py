"""Quorum and armed state, as PVE 9.2 told them; rows recorded in calls-9.2/205-ha-armed."""

from __future__ import annotations

import pytest

from felhom_agent.model import Kind
from felhom_agent.proxmox.hastatus import HaStatus, ha_status_of
from tests.conftest import Site

QUORUM = {"id": "quorum", "type": "quorum", "status": "OK", "node": "pve1", "quorate": 1}
FENCING = {"id": "fencing", "type": "fencing", "node": "pve1"}


@pytest.mark.parametrize(
    ("row", "disarmed"),
    [
        ({"armed-state": "armed"}, ""),
        ({"armed-state": "standby"}, ""),
        ({"armed-state": "disarmed", "resource_mode": "freeze"}, "freeze"),
        ({"armed-state": "disarming", "resource_mode": "ignore"}, "ignore"),
        ({"armed-state": "disarming"}, "unknown"),
        ({"armed-state": "disarmed", "resource_mode": ["freeze"]}, "unknown"),
        ({"armed-state": "disarmed", "resource_mode": "brand-new"}, "unknown"),
        ({"armed-state": 1}, ""),
        ({}, ""),
    ],
)
def test_an_ha_that_is_not_armed_tells_its_resource_mode(
    row: dict[str, object], disarmed: str
) -> None:
    assert ha_status_of([QUORUM, {**FENCING, **row}]).disarmed == disarmed


def test_a_service_tells_its_state_for_a_vm_and_for_a_container() -> None:
    rows = [
        {"type": "service", "sid": "vm:104", "state": "ignore", "crm_state": "started"},
        {"type": "service", "sid": "ct:200", "state": "freeze"},
        {"type": "service", "sid": "ct:201"},
    ]
    found = ha_status_of(rows)
    assert found.state_of(Kind.QEMU, 104) == "ignore"
    assert found.state_of(Kind.LXC, 200) == "freeze"
    assert found.state_of(Kind.LXC, 104) == ""
    assert found.state_of(Kind.LXC, 201) == ""


@pytest.mark.parametrize(("said", "quorate"), [(1, True), ("0", False), (None, None), ("x", None)])
def test_the_quorum_is_told_or_not(said: object, quorate: bool | None) -> None:
    assert ha_status_of([{**QUORUM, "quorate": said}]).quorate is quorate


@pytest.mark.parametrize("answer", [None, "x", {}, [None, 1, "x", []], [{"type": ["service"]}]])
def test_what_makes_no_sense_tells_nothing(answer: object) -> None:
    assert ha_status_of(answer) == HaStatus()


@pytest.mark.parametrize("mode", ["freeze", "ignore"])
def test_a_snapshot_and_a_look_at_one_guest_see_the_same_of_a_disarmed_ha(
    site: Site, mode: str
) -> None:
    """By `ignore` the guest's own status says that nobody manages it."""
    site.world.ha(100, "started")
    site.world.disarm_ha(mode)
    observer = site.connect().observer
    seen = observer.snapshot([100, 200]).guests
    alone = observer.observe_guest(100).guests[100]
    for guest in (seen[100], alone):
        assert (guest.ha_state, guest.ha_disarmed) == (mode, mode)
    assert (seen[200].ha_state, seen[200].ha_disarmed) == ("", "")


def test_a_node_whose_declared_guests_are_not_in_ha_is_not_asked_for_it(site: Site) -> None:
    site.world.ha(200, "started")
    observer = site.connect().observer
    observer.snapshot([100])
    observer.observe_guest(100)
    assert not any("/ha/" in request.path for request in site.devnode.requests)
