"""What a snapshot leaves behind for a hub, what that costs, and what it never holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import Fault
from felhom_agent.errors import Unanswered
from felhom_agent.model import Kind, RunState
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.nodereport import NodeReport, ReportedGuest, Reporter
from tests.conftest import Clock, Site

MAX_AGE = 180.0


class Told:
    """A node whose snapshots leave a report behind; `named` are the guests that a hub may see."""

    def __init__(self, site: Site, named: set[int]) -> None:
        self.named = named
        self.monotonic = Clock(1000.0)
        self.node: Node = site.connect(read_timeout=0.5)
        self.reporter = Reporter(
            lambda vmid: vmid in self.named, site.clock, self.monotonic, lambda: MAX_AGE
        )
        self.node.observer.reporter = self.reporter

    def latest(self) -> NodeReport:
        found = self.reporter.latest()
        assert found is not None
        return found

    def guests(self) -> dict[int, ReportedGuest]:
        return {guest.vmid: guest for guest in self.latest().guests}


@pytest.fixture
def told(site: Site) -> Callable[..., Told]:
    return lambda *named: Told(site, set(named))


def paths(site: Site, since: int) -> list[str]:
    return sorted(r.path.removeprefix("/") for r in site.devnode.requests[since:])


def test_a_snapshot_without_a_hub_asks_for_neither_figures_nor_undeclared_guests(
    site: Site, told: Callable[..., Told]
) -> None:
    site.connect().observer.snapshot([100])
    without = paths(site, 0)
    assert not any("200" in path or path.endswith("pve1/status") for path in without)
    begun = len(site.devnode.requests)
    told(100).node.observer.snapshot([100])
    assert paths(site, begun) == sorted([*without, "nodes/pve1/status"])


def test_the_load_of_the_processors_is_that_of_the_clusters_resources(
    site: Site, told: Callable[..., Told]
) -> None:
    """The node's status has what one of PVE's workers saw since it was asked the last time."""
    it = told(100)
    it.node.observer.snapshot([100])
    client = it.node.client
    assert client.get("nodes", "pve1", "status")["cpu"] == 0
    rows = client.get("cluster", "resources", type="node")
    assert it.latest().status["cpu"] == rows[0]["cpu"] == 0.01


def test_a_guest_that_is_named_and_not_declared_is_read_for_the_hub_and_stays_undeclared(
    site: Site, told: Callable[..., Told]
) -> None:
    plain = site.connect().observer.snapshot([100])
    at = told(100, 200)
    begun = len(site.devnode.requests)
    actual = at.node.observer.snapshot([100])
    assert paths(site, begun).count("nodes/pve1/lxc/200/config") == 1
    assert actual == plain, "the pass sees what it saw without a hub"
    assert actual.guests[200].config is None
    options = at.guests()[200].options
    assert options is not None
    assert options["memory"] == 512


def test_of_a_running_guest_what_waits_for_its_restart_is_told(
    site: Site, told: Callable[..., Told]
) -> None:
    site.world.add("qemu", 300, {"cores": 1, "name": "a"}, running=True)
    site.world.edit(300, {"cores": "4"})
    at = told(300)
    at.node.observer.snapshot(())
    guest = at.guests()[300]
    assert (guest.state, guest.name) == (RunState.RUNNING, "a")
    assert guest.options is not None
    assert str(guest.options["cores"]) == "4"


def test_nothing_is_kept_of_a_guest_that_is_not_named_but_that_it_is_there(
    told: Callable[..., Told],
) -> None:
    at = told(200)
    at.node.observer.snapshot([100])
    assert at.guests()[100] == ReportedGuest(100, Kind.QEMU, RunState.STOPPED)
    kept = at.reporter._kept.report
    assert kept is not None
    assert "web" not in repr(kept)


def test_a_guest_that_is_named_no_more_is_told_no_more_of_before_the_next_snapshot(
    told: Callable[..., Told],
) -> None:
    at = told(100, 200)
    at.node.observer.snapshot(())
    at.named.remove(100)
    assert at.guests()[100] == ReportedGuest(100, Kind.QEMU, RunState.STOPPED)
    assert at.guests()[200].name == "dns"


def test_only_the_options_that_are_reported_are_kept(site: Site, told: Callable[..., Told]) -> None:
    site.world.edit(100, {"ciuser": "admin", "onboot": "1"})
    at = told(100)
    at.node.observer.snapshot([100])
    options = at.guests()[100].options
    assert options is not None
    assert options.keys() == {"cores", "memory", "onboot"}


@pytest.mark.parametrize("declared", [(), (100,)], ids=["undeclared", "declared"])
def test_a_configuration_that_cannot_be_read_costs_the_options_and_no_more(
    site: Site, told: Callable[..., Told], declared: tuple[int, ...]
) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending", "status:595"))
    at = told(100, 200)
    actual = at.node.observer.snapshot(declared)
    assert at.guests()[100] == ReportedGuest(
        100, Kind.QEMU, RunState.STOPPED, "web", None, seen=True
    )
    assert at.guests()[200].options is not None
    assert bool(actual.guests[100].unread) == bool(declared)


def test_an_undeclared_guest_that_answers_too_late_costs_no_declared_one(
    site: Site, told: Callable[..., Told]
) -> None:
    site.devnode.faults.add(Fault("GET", "lxc/200/config", "hang", times=2))
    at = told(100, 200)
    actual = at.node.observer.snapshot([100])
    assert actual.guests[100].config is not None
    assert not actual.timed_out
    assert at.guests()[200].options is None


def test_a_node_that_lets_declared_guests_time_out_is_asked_for_no_undeclared_one(
    site: Site, told: Callable[..., Told]
) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending", "hang", times=2))
    at = told(100, 200)
    assert at.node.observer.snapshot([100]).timed_out
    assert "nodes/pve1/lxc/200/config" not in paths(site, 0)
    assert at.guests()[200].options is None


@pytest.mark.parametrize("action", ["status:595", "status:403", "not-json", "hang"])
def test_a_status_of_the_node_that_fails_takes_the_report_back_and_not_the_snapshot(
    site: Site, told: Callable[..., Told], action: str
) -> None:
    at = told(100)
    at.node.observer.snapshot([100])
    site.devnode.faults.add(Fault("GET", "nodes/pve1/status", action, times=2))
    actual = at.node.observer.snapshot([100])
    assert actual.guests[100].config is not None
    with pytest.raises(Unanswered, match="nodes/pve1/status"):
        at.reporter.latest()
    site.devnode.faults.clear()
    at.node.observer.snapshot([100])
    assert at.latest().status["uptime"] >= 0


def test_a_snapshot_that_fails_leaves_the_report_before_it_until_that_is_too_old(
    site: Site, told: Callable[..., Told]
) -> None:
    at = told(100)
    at.node.observer.snapshot([100])
    first = at.latest()
    site.devnode.faults.add(Fault("GET", "cluster/resources", "status:595"))
    site.clock.pass_by(MAX_AGE)
    at.monotonic.pass_by(MAX_AGE)
    with pytest.raises(Unanswered):
        at.node.observer.snapshot([100])
    assert at.latest() == first
    at.monotonic.pass_by(1.0)
    with pytest.raises(Unanswered, match="more than 180 s ago"):
        at.reporter.latest()
    at.node.observer.snapshot([100])
    assert at.latest().at == site.clock.now


def test_nothing_in_a_report_is_older_than_its_moment(
    site: Site, told: Callable[..., Told], clock: Clock
) -> None:
    """A snapshot takes its time; what it saw first may be as old as its beginning."""
    at = told(100)
    begun = clock.now
    at.node.observer._beat = lambda: clock.pass_by(1.0)
    at.node.observer.snapshot([100])
    assert clock.now > begun
    assert at.latest().at == begun


def test_before_the_first_snapshot_there_is_no_report_and_no_complaint(
    told: Callable[..., Told],
) -> None:
    assert told(100).reporter.latest() is None


def test_a_wait_ends_for_what_was_replaced_after_it_was_read(told: Callable[..., Told]) -> None:
    """A wait that missed it would last an hour, and the test with it."""
    at = told(100)
    assert at.reporter.latest() is None
    at.reporter.withdraw("no figures")
    at.reporter.wait(3600.0)
