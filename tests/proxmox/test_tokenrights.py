"""What the node says of the token's rights, as it is read, whatever comes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import Fault
from felhom_agent.proxmox.tokenrights import (
    bridges_of,
    free_tags,
    registered_tags,
    rights_of,
    zones_of,
)
from tests.conftest import Site


def test_a_snapshot_knows_the_rights_and_zones_and_asks_once_for_all(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(
        privileges={"/": ["VM.Audit", "Sys.Audit", "SDN.Audit"], "/vms/100": ["VM.Audit"]}
    )
    site.world.zones = {"web": "dmz"}
    site.world.registered_tags = frozenset({"prod"})
    observer = site.connect().observer
    for _ in range(3):
        facts = observer.snapshot(()).facts
    assert facts.rights is not None
    assert facts.rights.on("/vms/100") == {"VM.Audit"}
    assert facts.rights.on("/storage/x") == {"VM.Audit", "Sys.Audit", "SDN.Audit"}
    assert dict(facts.zones) == {"web": "dmz"}
    assert set(facts.registered_tags) == {"prod"}
    assert facts.free_tags is None
    asked = [r.path for r in site.devnode.requests if "permissions" in r.path or "vnets" in r.path]
    assert len(asked) == 2


def test_what_pve_does_not_tell_is_not_known_and_stops_nothing(site: Site) -> None:
    site.devnode.faults.add(Fault("GET", "access/permissions$", "status:500"))
    site.devnode.faults.add(Fault("GET", "sdn/vnets$", "status:501"))
    site.devnode.faults.add(Fault("GET", "pve1/network$", "status:501"))
    facts = site.connect().observer.snapshot(()).facts
    assert facts.rights is None
    assert facts.bridges is None
    assert dict(facts.zones) == {}


def test_a_denial_has_the_rights_read_again(make_site: Callable[..., Site]) -> None:
    site = make_site()
    observer = site.connect().observer
    before = observer.snapshot(()).facts.rights
    assert observer.snapshot(()).facts.rights is before
    observer.note_denied()
    site.world.token("felhom-agent@pve!agent", {"/": ["VM.Audit", "Sys.Audit"]}, site.secret)
    after = observer.snapshot(()).facts.rights
    assert after is not None
    assert after.on("/vms/1") == {"VM.Audit", "Sys.Audit"}
    assert observer.snapshot(()).facts.rights is after


def test_the_networks_that_the_token_may_use_or_see_are_known(
    make_site: Callable[..., Site],
) -> None:
    zones = "/sdn/zones"
    site = make_site(
        privileges={
            "/": ["VM.Audit", "Sys.Audit"],
            f"{zones}/localnetwork/vmbr1/7": ["SDN.Use"],
            f"{zones}/z1": ["SDN.Use"],
        }
    )
    site.world.bridges = {"vmbr0", "vmbr1", "web", "lab"}
    site.world.zones = {"web": "z1", "lab": "z2"}
    facts = site.connect().observer.snapshot(()).facts
    assert facts.bridges == {"vmbr1": False, "web": True}
    assert dict(facts.zones) == {}


@pytest.mark.parametrize("odd", [[{}], [7], [None], [{"iface": 7}], [{"iface": ["a"]}], []])
def test_odd_networks_are_none(odd: list[object]) -> None:
    assert bridges_of(odd) == {}


@pytest.mark.parametrize(
    "odd", [{}, {"/": None, "/vms": []}, {"/": {"VM.Audit": "x"}, "": {"": 1}}, {"/vms": 3}]
)
def test_odd_permissions_hold_nothing_back_and_raise_nothing(odd: dict[str, object]) -> None:
    rights = rights_of(odd)
    assert rights.on("/vms/100") == frozenset()
    assert rights.on("no slash") in (frozenset(), frozenset({""}))


@pytest.mark.parametrize(
    ("options", "registered", "free"),
    [
        ({}, set(), None),
        ({"registered-tags": ["a", "b"]}, {"a", "b"}, None),
        ({"registered-tags": "a;b"}, {"a", "b"}, None),
        ({"user-tag-access": {"user-allow": "none"}, "allowed-tags": []}, set(), set()),
        ({"user-tag-access": "user-allow=list", "allowed-tags": ["x"]}, set(), {"x"}),
        ({"user-tag-access": {"user-allow-list": ["x"]}, "allowed-tags": ["x"]}, set(), None),
        ({"user-tag-access": 7, "registered-tags": 7}, set(), None),
        ({"user-tag-access": {"user-allow": "none"}}, set(), None),
    ],
)
def test_the_datacenters_rules_on_tags_are_read(
    options: dict[str, object], registered: set[str], free: set[str] | None
) -> None:
    assert registered_tags(options) == registered
    assert free_tags(options) == free


def test_zones_that_make_no_sense_are_left_out() -> None:
    rows = [{"vnet": "web", "zone": "dmz"}, {"vnet": 1, "zone": "z"}, {"zone": "z"}, None, "x"]
    assert dict(zones_of(rows)) == {"web": "dmz"}
