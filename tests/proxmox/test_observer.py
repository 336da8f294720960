"""Looking at the node, and at one guest."""

from __future__ import annotations

from felhom_agent.model import Kind, RunState
from tests.conftest import Site


def test_a_snapshot_holds_every_guest_and_the_configuration_of_those_asked_for(
    site: Site,
) -> None:
    site.world.start(100)
    actual = site.connect().observer.snapshot([100])
    assert actual.node == "pve1"
    assert set(actual.guests) == {100, 200}
    web, dns = actual.guests[100], actual.guests[200]
    assert (web.kind, web.state, web.name) == (Kind.QEMU, RunState.RUNNING, "web")
    assert web.config is not None
    assert web.config["memory"] == "1024"
    assert web.digest == web.config["digest"]
    assert (dns.kind, dns.state, dns.config) == (Kind.LXC, RunState.STOPPED, None)


def test_a_snapshot_without_declared_guests_costs_three_calls(site: Site) -> None:
    site.connect().observer.snapshot([])
    assert len(site.devnode.requests) == 3


def test_lock_template_pause_and_ha_are_seen(site: Site) -> None:
    site.world.lock(100, "backup")
    site.world.add("qemu", 101, {"template": 1})
    site.world.add("qemu", 102, {}, running=True)
    site.world.suspend(102)
    site.world.add("lxc", 201, {}, running=True)
    site.world.ha(201, "started")
    site.world.add("lxc", 202, {})
    site.world.ha(202, "ignored")
    observer = site.connect().observer
    actual = observer.snapshot([100, 101, 102, 201, 202])
    assert actual.guests[100].lock == "backup"
    assert actual.guests[101].template
    assert actual.guests[201].ha_state == "started"
    assert actual.guests[202].ha_state == ""
    assert observer.look(102).guests[102].paused


def test_a_guest_elsewhere_is_told_with_its_node(site: Site) -> None:
    site.world.move(100, "pve2")
    observer = site.connect().observer
    for actual in (observer.snapshot([100]), observer.look(100)):
        assert 100 not in actual.guests
        assert actual.elsewhere == {100: "pve2"}


def test_a_look_at_one_guest_is_live(site: Site) -> None:
    observer = site.connect().observer
    assert observer.look(200).guests[200].state is RunState.STOPPED
    site.world.start(200)
    site.world.edit(200, {"cores": "2"})
    guest = observer.look(200).guests[200]
    assert guest.state is RunState.RUNNING
    assert guest.config is not None
    assert guest.config["cores"] == 2


def test_a_guest_that_is_gone_is_in_neither(site: Site) -> None:
    site.world.remove(100)
    actual = site.connect().observer.look(100)
    assert (actual.guests, actual.elsewhere) == ({}, {})
