"""While the host tells what happens, nothing else is asked for; and nothing is missed for long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest

from felhom_agent.daemon.eyes import HOURLY, LATE, SWEEP, Eyes, Look
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.model import ActualGuest, Converged, Kind, Retry, RunState, Stop
from felhom_agent.proxmox.hints import Heard
from felhom_agent.proxmox.permit import Permit
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import HINTS, HINTS_MISSED
from felhom_agent.service.names import Names
from tests.conftest import Clock, Site
from tests.daemon.running import add, asked
from tests.daemon.told import Listening, ToldHost, listening
from tests.process import wait_until

RUNNING = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A VM (100, web) that is known by its uuid, and a container (200, dns)."""
    site = make_site()
    uuid = "uuid=11111111-2222-3333-4444-555555555555"
    site.world.add("qemu", 100, {"name": "web", "cores": 1, "smbios1": uuid})
    site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "cores": 1})
    return site


@pytest.fixture
def agent(site: Site) -> Iterator[Listening]:
    """An agent that listens, with its guest as declared."""
    site.declare(RUNNING)
    with listening(site) as found:
        found.goes_on(90)
        assert isinstance(found.outcome(), Converged)
        yield found


def test_while_nothing_happens_nothing_is_asked(agent: Listening) -> None:
    before = agent.calls()
    agent.goes_on(180)
    assert [r.path for r in agent.site.devnode.requests[before:]] == []


def test_what_is_declared_and_missing_costs_nothing(site: Site, agent: Listening) -> None:
    site.declare(RUNNING + "[guest.300]\n")
    agent.goes_on(70)
    assert "there is no such guest" in str(agent.outcome(300))
    before = agent.calls()
    agent.goes_on(120)
    assert [r.path for r in site.devnode.requests[before:]] == []


def test_while_one_guest_settles_nothing_is_asked_of_the_others(
    site: Site, agent: Listening
) -> None:
    site.declare(RUNNING + "[guest.200.config]\ncores = 1\n")
    agent.goes_on(70)
    before = agent.calls()
    for _ in range(40):
        agent.host.written(100)
        agent.goes_on(2)
    assert [r.path for r in site.devnode.requests[before:]] == []


def test_a_sweep_asks_for_the_listings_alone(agent: Listening) -> None:
    agent.goes_on(SWEEP)
    before = agent.calls()
    agent.goes_on(SWEEP)
    found = [r.path for r in agent.site.devnode.requests[before:]]
    assert len(found) == 3, found
    assert not any(path.endswith(("/config", "/pending")) for path in found)


def test_a_change_by_hand_is_put_back_once_it_has_settled(site: Site, agent: Listening) -> None:
    site.world.edit(100, {"cores": 1})
    agent.host.written(100)
    agent.goes_on(3)
    site.world.edit(100, {"cores": 3})
    agent.host.written(100)
    agent.goes_on(5)
    assert site.world.config(100)["cores"] == 3, "it was written to less than 5 s ago"
    agent.goes_on(3)
    assert site.world.config(100)["cores"] == 2


def test_what_we_write_ourselves_costs_one_look_at_most(site: Site, agent: Listening) -> None:
    site.world.edit(100, {"cores": 1})
    agent.host.written(100)
    agent.goes_on(8)
    assert site.world.config(100)["cores"] == 2
    before = agent.calls()
    agent.host.written(100)
    agent.goes_on(120)
    assert agent.calls() - before <= 2, "a status and a configuration"


def test_a_guest_that_goes_down_is_started_after_it_stayed_down(
    site: Site, agent: Listening
) -> None:
    starts = len(asked(site, "start"))
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(29)
    assert len(asked(site, "start")) == starts
    agent.goes_on(4)
    assert len(asked(site, "start")) == starts + 1
    assert site.world.running(100)


def test_a_person_who_stops_changes_and_starts_a_guest_is_not_disturbed(
    site: Site, agent: Listening
) -> None:
    mutations = len(site.devnode.mutations)
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(25)
    site.world.edit(100, {"description": "by hand"})
    agent.host.written(100)
    agent.goes_on(20)
    site.world.start(100)
    agent.host.power(100)
    agent.goes_on(120)
    assert len(site.devnode.mutations) == mutations
    assert isinstance(agent.outcome(), Converged)


def test_a_reboot_from_inside_is_nobodys_drift(site: Site, agent: Listening) -> None:
    mutations = len(site.devnode.mutations)
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(3)
    site.world.start(100)
    agent.host.power(100)
    agent.goes_on(120)
    assert len(site.devnode.mutations) == mutations
    assert isinstance(agent.outcome(), Converged)


def test_a_backup_that_stops_its_guest_is_waited_for(site: Site, agent: Listening) -> None:
    mutations = len(site.devnode.mutations)
    site.world.lock(100, "backup")
    agent.host.written(100)
    agent.goes_on(2)
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(2 * SWEEP)
    assert "backup" in str(agent.outcome())
    site.world.start(100)
    agent.host.power(100)
    site.world.unlock(100)
    agent.host.written(100)
    agent.goes_on(120)
    assert len(site.devnode.mutations) == mutations
    assert isinstance(agent.outcome(), Converged)


def test_a_sweep_that_comes_meanwhile_lets_it_settle_all_the_same(
    site: Site, agent: Listening
) -> None:
    starts = len(asked(site, "start"))
    agent.goes_on(SWEEP - 110)
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(2)
    agent.daemon.send("wake")
    agent.goes_on(3)
    assert len(asked(site, "start")) == starts
    found = agent.outcome()
    assert isinstance(found, Retry)
    assert "left alone until that has settled" in found.why


def test_a_guest_that_pve_works_on_is_not_even_looked_at(site: Site, agent: Listening) -> None:
    site.world.behave(100, Behaviour(shutdown_seconds=80.0))
    act = Stop(100, Kind.QEMU)
    site.connect().guests.stop(act, 300.0, Permit(act))
    agent.host.power(100)
    before = agent.calls()
    agent.goes_on(60)
    found = [r.path for r in site.devnode.requests[before:]]
    assert "/nodes/pve1/tasks" in found
    assert "/nodes/pve1/qemu/100/status/current" not in found
    agent.goes_on(30)
    agent.host.power(100)
    agent.goes_on(40)
    assert len(asked(site, "start")) == 2
    assert site.world.running(100)


def test_what_no_hint_told_is_found_by_a_sweep_and_said(
    site: Site, agent: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    starts = len(asked(site, "start"))
    site.world.stop(100)
    agent.goes_on(SWEEP + 60)
    assert len(asked(site, "start")) == starts + 1
    assert agent.daemon._eyes.missed == 1
    assert "guest 100 web: was started or stopped, and no hint of the host has told" in caplog.text


def test_each_configuration_is_read_within_the_hour(site: Site, agent: Listening) -> None:
    site.world.edit(100, {"cores": 1})
    agent.goes_on(HOURLY + 70, step=10.0)
    assert site.world.config(100)["cores"] == 2
    assert agent.daemon._eyes.missed == 1


@pytest.mark.parametrize("how", ["not working", "everything"])
def test_when_the_host_tells_nothing_or_too_much_all_is_read(
    site: Site, agent: Listening, how: str
) -> None:
    site.world.edit(100, {"cores": 1})
    if how == "everything":
        agent.host.everything("pmxcfs began anew")
    else:
        agent.host.working = False
    agent.goes_on(8)
    assert site.world.config(100)["cores"] == 2


def test_a_changed_declaration_is_followed_without_a_sweep(site: Site, agent: Listening) -> None:
    before = agent.calls()
    site.declare(RUNNING.replace("cores = 2", "cores = 3"))
    agent.goes_on(70)
    assert site.world.config(100)["cores"] == 3
    paths = [r.path for r in site.devnode.requests[before:]]
    assert "/cluster/resources" not in paths, paths


def test_a_guest_that_is_newly_declared_is_read(site: Site, agent: Listening) -> None:
    site.declare(RUNNING + "[guest.200.config]\ncores = 2\n")
    agent.goes_on(70)
    assert site.world.config(200)["cores"] == 2


def test_a_guest_that_comes_and_goes_is_seen_to(site: Site, agent: Listening) -> None:
    site.declare(RUNNING + '[guest.300]\nstate = "running"\n')
    agent.goes_on(70)
    site.world.add("qemu", 300, {"cores": 1})
    agent.host.written(300)
    agent.goes_on(70)
    assert site.world.running(300)
    site.world.stop(300)
    site.world.remove(300)
    agent.host.written(300)
    agent.host.power(300)
    agent.goes_on(70)
    assert "there is no such guest" in str(agent.outcome(300))


def test_the_first_look_of_the_host_costs_no_second_pass(site: Site) -> None:
    site.declare(RUNNING)
    first = Heard(everything="the first look")
    with listening(site, given=[first]) as agent:
        lists = [r.path for r in site.devnode.requests if r.path == "/cluster/resources"]
        assert len(lists) == 1
        agent.goes_on(10)
        lists = [r.path for r in site.devnode.requests if r.path == "/cluster/resources"]
        assert len(lists) == 1


def test_what_was_heard_before_all_is_read_settles_all_the_same(
    site: Site, agent: Listening
) -> None:
    starts = len(asked(site, "start"))
    site.world.stop(100)
    agent.host.power(100)
    agent.goes_on(2)
    agent.host.everything("pmxcfs began anew")
    agent.goes_on(26)
    assert len(asked(site, "start")) == starts
    agent.goes_on(6)
    assert len(asked(site, "start")) == starts + 1


def test_what_happened_while_hints_were_lost_settles_and_was_not_missed(
    site: Site, agent: Listening
) -> None:
    starts = len(asked(site, "start"))
    site.world.stop(100)
    agent.host.everything("too many events")
    agent.goes_on(28)
    assert len(asked(site, "start")) == starts
    agent.goes_on(8)
    assert len(asked(site, "start")) == starts + 1
    assert agent.daemon._eyes.missed == 0


def test_a_hint_that_comes_after_the_sweep_that_saw_it_was_not_missed(
    site: Site, agent: Listening
) -> None:
    site.world.stop(100)
    agent.daemon.send("wake")
    agent.goes_on(2)
    agent.host.power(100)
    agent.goes_on(60)
    assert site.world.running(100)
    assert agent.daemon._eyes.missed == 0


def test_a_node_that_is_away_is_not_asked_without_a_rest(site: Site, agent: Listening) -> None:
    site.devnode.faults.add(Fault("GET", "/status/current$", "status:500", times=1000))
    site.world.edit(100, {"cores": 1})
    agent.host.written(100)
    before = agent.calls()
    agent.goes_on(40)
    tries = [r for r in site.devnode.requests[before:] if r.path.endswith("/status/current")]
    assert 2 <= len(tries) <= 8
    assert agent.daemon._eyes.next_due() > agent.monotonic()
    site.devnode.faults.clear()
    agent.goes_on(10)
    assert site.world.config(100)["cores"] == 2


def test_before_the_node_was_ever_seen_what_is_heard_wakes_nobody(site: Site) -> None:
    site.declare(RUNNING)
    site.devnode.faults.add(Fault("GET", "", "status:500", times=1000))
    with listening(site, given=[Heard(written=frozenset({100}))]) as agent:
        agent.goes_on(10)
        assert agent.daemon._eyes.next_due() == math.inf


def test_many_guests_at_once_are_looked_at_by_one_sweep(site: Site, agent: Listening) -> None:
    vmids = add(site, 30)
    site.declare(RUNNING + "".join(f"[guest.{v}.config]\ncores = 1\n" for v in vmids))
    agent.goes_on(70)
    for vmid in vmids:
        site.world.edit(vmid, {"cores": 2})
    agent.host.written(*vmids)
    before = agent.calls()
    agent.goes_on(7)
    found = [r.path for r in site.devnode.requests[before:]]
    assert found.count("/cluster/resources") == 1
    sweep = found.index("/cluster/resources")
    assert not [
        path for path in found[:sweep] if path.endswith(("/current", "/config", "/pending"))
    ]
    agent.goes_on(10)
    assert {site.world.config(vmid)["cores"] for vmid in vmids} == {1}


def test_what_is_heard_while_our_own_lane_is_at_work_does_not_settle() -> None:
    clock, host = Clock(1000.0), ToldHost()
    eyes = Eyes(host, clock, lambda: 30.0, Names(), lambda vmid: vmid == 100)
    eyes.listen()
    eyes.swept(Look.ALL, (), (100, 101))
    host.power(100, 101)
    eyes.listen()
    assert eyes.quiet_until(100) <= clock()
    assert eyes.quiet_until(101) == clock() + 30.0
    assert eyes.due((100, 101)) == [100], "it is looked at once"


def test_a_guest_that_waits_for_a_place_is_left_alone_once_somebody_is_at_it(
    site: Site, agent: Listening
) -> None:
    vmids = add(site, 5, start_seconds=1e6)
    site.declare(RUNNING + "".join(f'[guest.{v}]\nstate = "running"\n' for v in vmids))
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 1 + 4)
    (waits,) = set(vmids) - set(asked(site, "start"))
    agent.host.power(waits)
    agent.daemon._eyes.listen()
    site.clock.pass_by(2e6)
    agent.hear(lambda: not agent.scheduler.running)
    agent.scheduler.dispatch()
    agent.hear(lambda: not agent.scheduler.running)
    assert waits not in asked(site, "start")
    site.world.behave(waits, Behaviour(start_seconds=0.0))
    agent.goes_on(35)
    assert waits in asked(site, "start")


def test_what_the_host_tells_and_what_it_misses_is_counted() -> None:
    clock, host, counters = Clock(1000.0), ToldHost(), Counters()
    eyes = Eyes(host, clock, lambda: 30.0, Names(), counters=counters)
    eyes.listen()
    eyes.swept(Look.ALL, (), (100, 101, 102))
    host.power(100, 101)
    host.written(100)
    eyes.listen()
    eyes.listen()
    stopped, runs = (
        {102: ActualGuest(102, Kind.QEMU, "pve1", state)}
        for state in (RunState.STOPPED, RunState.RUNNING)
    )
    eyes.compare(stopped, runs)
    eyes.listen()
    assert counters.snapshot().counters[HINTS_MISSED] == {(): 0}
    clock.pass_by(LATE)
    eyes.listen()
    found = counters.snapshot().counters
    assert found[HINTS] == {("config",): 1, ("power",): 2}
    assert found[HINTS_MISSED] == {(): 1}
