"""Guests that are to be started together begin in PVE's own order, and wait for nobody else."""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.daemon.places import HANDOVER
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.model import Kind, Start
from tests.conftest import Site
from tests.daemon.running import Begin, add, asked, declare_restarted, declare_running, heard
from tests.process import wait_until


def starts(site: Site, count: int) -> list[int]:
    """Return the guests that PVE was asked to start, once there are so many."""
    wait_until(lambda: len(asked(site, "start")) >= count)
    return asked(site, "start")


def test_guests_of_a_lower_order_are_started_first_and_those_without_one_last(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 4, start_seconds=1)
    for vmid, startup in zip(vmids, ("", "order=2", "order=1", "1"), strict=True):
        site.world.edit(vmid, {"startup": startup} if startup else {})
    declare_running(site, vmids)
    agent = begin(parallel=4)
    agent.run_pass()
    assert sorted(starts(site, 2)) == vmids[2:]
    agent.finish()
    assert asked(site, "start")[2:] == [vmids[1], vmids[0]]


def test_after_a_guest_with_a_delay_the_next_is_started_that_much_later(
    site: Site, begin: Begin
) -> None:
    first, second = add(site, 2, start_seconds=1)
    site.world.edit(first, {"startup": "order=1,up=90"})
    declare_running(site, [first, second])
    agent = begin(parallel=4)
    agent.run_pass()
    agent.hear(lambda: agent.scheduler.running == 0)
    assert agent.scheduler.next_event() == agent.monotonic.now + 90
    agent.monotonic.pass_by(89)
    agent.scheduler.retry()
    assert agent.scheduler.running == 0
    agent.later(1)
    assert asked(site, "start") == [first, second]


def test_what_is_declared_of_the_order_counts_before_it_is_written(
    site: Site, begin: Begin
) -> None:
    first, second = 400, 401
    for vmid in (first, second):
        site.world.add("lxc", vmid, {"hostname": f"ct{vmid}"})
    declare_running(site, [first])
    text = f'[guest.{second}]\nstate = "running"\n[guest.{second}.config]\nstartup = "order=1"\n'
    site.declare(text, "second.toml")
    agent = begin(parallel=1)
    agent.run_pass()
    agent.finish()
    assert asked(site, "start") == [second, first]


def test_a_start_that_fails_holds_up_no_other(site: Site, begin: Begin) -> None:
    first, second = add(site, 2, start_seconds=1)
    site.world.behave(first, Behaviour(start_error="no such disk"))
    site.world.edit(first, {"startup": "order=1,up=600"})
    declare_running(site, [first, second])
    agent = begin(parallel=4)
    agent.run_pass()
    agent.hear(lambda: second in asked(site, "start"))


def test_a_start_that_takes_long_holds_up_the_next_order_for_a_minute_only(
    site: Site, begin: Begin
) -> None:
    first, second = add(site, 2, start_seconds=1e6)
    site.world.edit(first, {"startup": "order=1"})
    declare_running(site, [first, second])
    agent = begin(parallel=4, start_timeout=3000.0)
    agent.run_pass()
    assert starts(site, 1) == [first]
    agent.monotonic.pass_by(HANDOVER - 1)
    agent.scheduler.retry()
    assert agent.scheduler.running == 1
    assert agent.scheduler.next_event() == agent.monotonic.now + 1
    agent.monotonic.pass_by(1)
    agent.scheduler.retry()
    assert starts(site, 2) == [first, second]
    agent.daemon._parts.node.cancel_waits.set()


def test_a_guest_that_is_only_stopped_or_changed_waits_for_no_order(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 3, start_seconds=1e6)
    site.world.edit(vmids[0], {"startup": "order=1"})
    site.world.start(vmids[1])
    declare_running(site, vmids[:1])
    text = f'[guest.{vmids[1]}]\nstate = "stopped"\n[guest.{vmids[2]}.config]\ncores = 2\n'
    site.declare(text, "others.toml")
    agent = begin(parallel=2)
    agent.run_pass()
    assert starts(site, 1) == vmids[:1]
    wait_until(lambda: asked(site, "shutdown") == [vmids[1]])
    wait_until(lambda: asked(site, "config") == [vmids[2]])
    agent.daemon._parts.node.cancel_waits.set()


def test_without_a_setting_the_datacenter_says_how_many_are_started_at_once(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 8, start_seconds=1e6)
    declare_running(site, vmids)
    site.world.max_workers = 3
    agent = begin(parallel=0)
    agent.run_pass()
    assert len(starts(site, 3)) == agent.scheduler.running == 3
    agent.daemon._parts.node.cancel_waits.set()


def test_a_configuration_is_changed_while_all_places_for_starts_are_taken(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 3, start_seconds=1e6)
    declare_running(site, vmids[:2])
    site.declare(f"[guest.{vmids[2]}.config]\ncores = 2\n", "other.toml")
    agent = begin(parallel=1)
    agent.run_pass()
    agent.hear(lambda: site.world.config(vmids[2])["cores"] == 2)
    wait_until(lambda: asked(site, "start") == vmids[:1])
    agent.daemon._parts.node.cancel_waits.set()


def test_a_guest_that_turns_out_to_need_a_start_waits_for_a_place_for_it(
    site: Site, begin: Begin
) -> None:
    """A person stops it while its configuration is being written."""
    busy, changed = add(site, 2, start_seconds=1e6)
    site.world.start(changed)
    site.world.behave(changed, Behaviour(config_seconds=10.0))
    declare_running(site, [busy])
    text = f'[guest.{changed}]\nstate = "running"\n[guest.{changed}.config]\nonboot = true\n'
    site.declare(text, "other.toml")
    agent = begin(parallel=1, start_timeout=3000.0)
    agent.pace = 0.0
    agent.run_pass()
    wait_until(lambda: asked(site, "config") == [changed])
    site.world.stop(changed)
    agent.pace = 10.0
    agent.hear(lambda: site.world.config(changed).get("onboot") == 1)
    agent.hear(lambda: agent.scheduler.running == 1)
    assert not agent.scheduler.idle
    assert asked(site, "start") == [busy]
    agent.monotonic.pass_by(HANDOVER)
    agent.scheduler.retry()
    assert starts(site, 2) == [busy, changed]
    agent.daemon._parts.node.cancel_waits.set()


def test_the_next_guest_is_started_while_the_one_before_is_only_read_back(
    site: Site, begin: Begin
) -> None:
    first, second = add(site, 2, start_seconds=1)
    declare_running(site, [first, second])
    agent = begin(parallel=1)
    agent.run_pass()
    starts(site, 1)
    site.devnode.faults.add(Fault("GET", f"/{first}/status/current", "hang"))
    agent.hear(lambda: asked(site, "start") == [first, second])
    assert agent.scheduler.running == 2
    agent.finish()


def test_a_guest_that_turns_out_to_need_a_restart_holds_up_no_start(
    site: Site, begin: Begin
) -> None:
    """A person starts it meanwhile; then it waits for the place for restarts, maybe for long."""
    (busy,) = add(site, 1, running=True, shutdown_seconds=1e6)
    first, second = 400, 401
    for vmid in (first, second):
        site.world.add("qemu", vmid, {"cores": 1}, behaviour=Behaviour(start_seconds=1))
    site.world.edit(first, {"startup": "order=1"})
    declare_restarted(site, [busy, first])
    site.declare(f'[guest.{second}]\nstate = "running"\n', "second.toml")
    agent = begin(parallel=4)

    def started_by_hand(request: Request, answer: Callable[[], Answer]) -> Answer:
        if request.method == "POST" and request.path.endswith(f"{first}/config"):
            wait_until(lambda: asked(site, "shutdown") == [busy])
            site.world.start(first)
        return answer()

    with heard(site, started_by_hand):
        agent.run_pass()
        agent.hear(lambda: site.world.running(second))
    assert agent.scheduler._records[first].queued
    agent.daemon._parts.node.cancel_waits.set()


def test_a_guest_of_which_a_job_runs_holds_up_no_start(site: Site, begin: Begin) -> None:
    early, first, second = add(site, 3, start_seconds=1e6)
    for vmid, startup in ((early, "order=1"), (first, "order=2"), (second, "order=3")):
        site.world.edit(vmid, {"startup": startup})
    declare_running(site, [early, first, second])
    agent = begin(parallel=4, start_timeout=3000.0)
    agent.run_pass()
    assert starts(site, 1) == [early]
    agent.scheduler.run_once("job-1", Start(first, Kind.QEMU))
    assert starts(site, 2) == [early, first]
    agent.monotonic.pass_by(HANDOVER)
    agent.scheduler.retry()
    assert starts(site, 3) == [early, first, second]
    agent.daemon._parts.node.cancel_waits.set()
