"""Looking at the node, and at one guest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from felhom_agent.devnode import Fault, World
from felhom_agent.errors import Denied, Interrupted, Unanswered
from felhom_agent.model import Facts, Kind, RunState
from felhom_agent.proxmox.observer import FACTS_AGE, READERS, Observer
from felhom_agent.proxmox.rows import facts_of
from felhom_agent.service.flag import Flag
from tests.conftest import TOKEN_ID, Clock, Site
from tests.permits import write


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


def test_a_snapshot_without_declared_guests_costs_nine_calls_whatever_the_number_of_guests(
    site: Site,
) -> None:
    site.connect().observer.snapshot([])
    assert len(site.devnode.requests) == 9


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
    assert observer.observe_guest(102).guests[102].paused


def test_a_guest_elsewhere_is_told_with_its_node(site: Site) -> None:
    site.world.move(100, "pve2")
    observer = site.connect().observer
    for actual in (observer.snapshot([100]), observer.observe_guest(100)):
        assert 100 not in actual.guests
        assert actual.elsewhere == {100: "pve2"}


def test_a_look_at_one_guest_is_live(site: Site) -> None:
    observer = site.connect().observer
    assert observer.observe_guest(200).guests[200].state is RunState.STOPPED
    site.world.start(200)
    site.world.edit(200, {"cores": "2"})
    guest = observer.observe_guest(200).guests[200]
    assert guest.state is RunState.RUNNING
    assert guest.config is not None
    assert guest.config["cores"] == 2


def asked(site: Site, look: Callable[[], object]) -> list[str]:
    """Return the paths that the node is asked for by a look."""
    before = len(site.devnode.requests)
    look()
    return [request.path for request in site.devnode.requests[before:]]


def test_a_look_at_a_guest_that_a_snapshot_saw_is_two_calls(site: Site) -> None:
    site.world.start(200)
    observer = site.connect().observer
    observer.snapshot([])
    assert asked(site, lambda: observer.observe_guest(100)) == [
        "/nodes/pve1/qemu/100/status/current",
        "/nodes/pve1/qemu/100/pending",
    ]
    assert asked(site, lambda: observer.observe_guest(200)) == [
        "/nodes/pve1/lxc/200/status/current",
        "/nodes/pve1/lxc/200/pending",
    ]


def test_a_look_at_a_guest_that_no_snapshot_saw_asks_the_resources_first(site: Site) -> None:
    observer = site.connect().observer
    observer.snapshot([])
    site.world.add("qemu", 101, {})
    assert asked(site, lambda: observer.observe_guest(101))[0] == "/cluster/resources"
    assert observer.observe_guest(101).guests[101].config is not None


def test_a_guest_that_moved_since_the_snapshot_is_found_elsewhere(site: Site) -> None:
    observer = site.connect().observer
    observer.snapshot([100])
    site.world.move(100, "pve2")
    site.world.peer("pve2", online=False)
    actual = observer.observe_guest(100)
    assert 100 not in actual.guests
    assert actual.elsewhere == {100: "pve2"}
    assert actual.offline == {"pve2"}


def test_a_guest_that_was_destroyed_since_the_snapshot_is_gone(site: Site) -> None:
    observer = site.connect().observer
    observer.snapshot([100])
    site.world.remove(100)
    actual = observer.observe_guest(100)
    assert not {*actual.guests, *actual.elsewhere, *actual.hidden}


def test_a_guest_made_anew_as_the_other_kind_since_the_snapshot_is_seen_as_that(
    site: Site,
) -> None:
    observer = site.connect().observer
    observer.snapshot([100])
    site.world.remove(100)
    site.world.add("lxc", 100, {"hostname": "other"})
    guest = observer.observe_guest(100).guests[100]
    assert (guest.kind, guest.name) == (Kind.LXC, "other")
    assert guest.config is not None


def test_a_guest_that_the_token_may_no_longer_see_is_hidden_and_not_an_error(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": ["Sys.Audit"], "/vms": ["VM.Audit"]})
    site.world.add("qemu", 100, {})
    site.world.add("qemu", 101, {})
    observer = site.connect().observer
    observer.snapshot([100])
    site.world.token(TOKEN_ID, {"/": ["Sys.Audit"], "/vms/101": ["VM.Audit"]}, site.secret)
    assert observer.observe_guest(100).hidden == {100}


@pytest.mark.parametrize(("state", "seen"), [("started", "started"), ("ignored", "")])
def test_that_ha_manages_a_guest_since_the_snapshot_is_seen_in_a_look(
    site: Site, state: str, seen: str
) -> None:
    observer = site.connect().observer
    observer.snapshot([100])
    site.world.ha(100, state)
    assert len(asked(site, lambda: observer.observe_guest(100))) == 2
    assert observer.observe_guest(100).guests[100].ha_state == seen


def test_a_guest_that_is_gone_is_in_neither(site: Site) -> None:
    site.world.remove(100)
    actual = site.connect().observer.observe_guest(100)
    assert (actual.guests, actual.elsewhere) == ({}, {})


def test_what_no_guest_decides_is_read_once_a_snapshot(make_site: Callable[..., Site]) -> None:
    site = make_site(World(tag_style="case-sensitive=1"))
    site.world.add("qemu", 100, {})
    observer = site.connect().observer
    facts = replace(observer.snapshot([]).facts, rights=None, bridges=None)
    assert facts == Facts((9, 1), 2, case_sensitive_tags=True)
    assert observer.observe_guest(100).facts.version == (9, 1)


def test_a_running_guest_is_read_with_what_waits_for_a_restart(site: Site) -> None:
    site.world.start(100)
    node = site.connect()
    write(
        node.client,
        "PUT",
        "nodes",
        "pve1",
        "qemu",
        100,
        "config",
        data={"cores": 4, "onboot": 1, "vga": "std"},
    )
    guest = node.observer.observe_guest(100).guests[100]
    assert guest.config is not None
    assert (guest.config["cores"], guest.config["onboot"]) == (4, 1)
    assert guest.pending == {"cores": 1, "vga": None}
    assert guest.digest == site.world.config(100)["digest"]


def test_a_deletion_that_waits_is_absent_also_where_pve_still_shows_it(site: Site) -> None:
    """GET config goes on to show a pending deletion of a false value."""
    site.world.edit(100, {"numa": "0", "balloon": "512"})
    site.world.start(100)
    node = site.connect()
    write(
        node.client, "PUT", "nodes", "pve1", "qemu", 100, "config", data={"delete": "balloon,numa"}
    )
    guest = node.observer.observe_guest(100).guests[100]
    assert guest.config is not None
    assert not {"balloon", "numa"} & guest.config.keys()


def test_a_token_that_sees_nothing_is_denied_and_never_reads_as_no_guests(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": ["Sys.Audit"]})
    site.world.add("qemu", 100, {})
    observer = site.connect().observer
    with pytest.raises(Denied, match="the token may see no guest at all"):
        observer.snapshot([100])
    with pytest.raises(Denied, match="the token may see no guest at all"):
        observer.observe_guest(100)


def test_a_guest_the_token_may_not_see_is_hidden_and_not_gone(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": ["Sys.Audit"], "/vms/101": ["VM.Audit"]})
    site.world.add("qemu", 100, {})
    site.world.add("qemu", 101, {})
    actual = site.connect().observer.snapshot([100, 101, 102])
    assert set(actual.guests) == {101}
    assert actual.hidden == {100, 102}


def test_a_guest_whose_configuration_cannot_be_read_costs_that_guest_only(site: Site) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending$", "not-json"))
    actual = site.connect().observer.snapshot([100, 200])
    assert actual.guests[100].config is None
    assert actual.guests[200].config is not None


def test_a_look_at_a_guest_that_cannot_be_read_is_an_error_and_not_an_absence(
    site: Site,
) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending$", "not-json"))
    with pytest.raises(Unanswered):
        site.connect().observer.observe_guest(100)


def test_a_node_that_is_offline_is_known_as_such(site: Site) -> None:
    site.world.move(100, "pve2")
    site.world.peer("pve2", online=False)
    actual = site.connect().observer.snapshot([100])
    assert actual.elsewhere == {100: "pve2"}
    assert actual.offline == {"pve2"}


def test_an_older_nodes_version_is_seen(make_site: Callable[..., Site]) -> None:
    site = make_site(World(version="8.4.1"))
    assert site.connect().observer.snapshot([]).facts.version == (8, 4)


def test_a_look_is_given_up_when_the_agent_leaves(site: Site) -> None:
    node = site.connect()
    node.shutting_down.set()
    with pytest.raises(Interrupted):
        node.observer.snapshot([100, 200])
    assert not any(r.path.endswith(("/config", "/pending")) for r in site.devnode.requests)


def test_after_one_question_timed_out_the_others_are_not_asked(site: Site) -> None:
    """Hundreds of guests that time out one after the other would hold a pass for hours."""
    for vmid in range(300, 340):
        site.world.add("lxc", vmid, {})
    site.devnode.faults.add(Fault("GET", "config$", "hang", times=1000))
    node = site.connect(read_timeout=0.3)
    actual = node.observer.snapshot(range(300, 340))
    asked = [r for r in site.devnode.requests if r.path.endswith("/config")]
    assert len(asked) <= 2 * READERS
    assert all(guest.config is None for guest in actual.guests.values())
    # Each says why: the one that was asked for in PVE's place, the others by that.
    reasons = {actual.guests[vmid].unread.partition("127.0.0.1")[0] for vmid in range(300, 340)}
    assert reasons == {"https://", "not read: the node did not answer in time"}
    assert actual.timed_out


@pytest.mark.parametrize("action", ["reset-before", "truncated", "status:596", "garbage"])
def test_a_question_that_breaks_off_costs_its_guest_only(site: Site, action: str) -> None:
    times = 2 if action == "reset-before" else 1
    site.devnode.faults.add(Fault("GET", "qemu/100/pending$", action, times=times))
    for vmid in range(300, 320):
        site.world.add("lxc", vmid, {})
    actual = site.connect().observer.snapshot([100, *range(300, 320)])
    assert actual.guests[100].unread
    assert all(actual.guests[vmid].config is not None for vmid in range(300, 320))
    assert not actual.timed_out


def test_a_question_that_breaks_off_once_costs_nothing(site: Site) -> None:
    for path in ("version$", "cluster/resources$", "lxc$", "qemu/100/pending$"):
        site.devnode.faults.add(Fault("GET", path, "reset-before"))
    actual = site.connect().observer.snapshot([100, 200])
    assert all(guest.config is not None for guest in actual.guests.values())
    assert not actual.timed_out


def test_a_guest_shut_by_a_role_of_its_own_is_found_hidden_by_a_look(
    make_site: Callable[..., Site],
) -> None:
    """PVE leaves a path without any privilege out of the list of all, so that a snapshot cannot
    tell; a look asks for the path (recorded: 95-access/089).
    """
    site = make_site(privileges={"/": ["Sys.Audit", "VM.Audit"], "/vms/100": []})
    site.world.add("qemu", 100, {})
    site.world.add("qemu", 101, {})
    assert site.connect().observer.observe_guest(100).hidden == {100}


@pytest.mark.parametrize("action", ["truncated", "not-json"])
@pytest.mark.parametrize("path", ["cluster/resources", "cluster/options", "version", "lxc$"])
def test_a_listing_that_makes_no_sense_is_an_error_in_words(
    site: Site, path: str, action: str
) -> None:
    site.devnode.faults.add(Fault("GET", path, action))
    with pytest.raises(Unanswered):
        site.connect().observer.snapshot([100])


def test_the_version_and_the_datacenters_options_are_asked_for_again_after_a_while(
    site: Site, clock: Clock
) -> None:
    node = site.connect()
    observer = Observer(node.client, node.guests, Flag(), clock=clock)

    def asked() -> tuple[int, int]:
        paths = [request.path for request in site.devnode.requests]
        return paths.count("/version"), paths.count("/cluster/options")

    for _ in range(3):
        observer.snapshot([])
    assert asked() == (1, 1)
    clock.pass_by(FACTS_AGE - 1)
    observer.snapshot([])
    assert asked() == (1, 1)
    clock.pass_by(1)
    observer.snapshot([])
    assert asked() == (2, 2)
    observer.refresh()
    observer.snapshot([])
    assert asked() == (3, 3)


@pytest.mark.parametrize(
    ("value", "workers"),
    [(2, 2), ("8", 8), (64, 64), (999, 64), (0, 4), (-1, 4), ("many", 4), ([3], 4), (True, 4)],
)
def test_a_datacenter_that_says_nonsense_of_max_workers_says_nothing(
    value: object, workers: int
) -> None:
    assert facts_of({"version": "9.1.7"}, {"max_workers": value}).max_workers == workers
