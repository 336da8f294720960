"""What happens while something else does: jobs, passes, declarations and stops beside a lane."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.places import HANDOVER
from felhom_agent.devnode import Behaviour
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.model import Blocked, Converged, Kind, Retry, Start
from tests.conftest import Site, TickingClock
from tests.daemon.running import (
    Begin,
    add,
    asked,
    declare_restarted,
    declare_running,
    heard,
    lose_start,
    refuse_start,
)
from tests.process import SOON, wait_until

TWO_CORES = "[guest.100.config]\ncores = 2\n"


# One-shot jobs beside the guest's own reconciling.


def test_a_guest_that_gets_its_place_while_a_job_of_it_runs_is_reconciled_after_it(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, start_seconds=60)
    site.world.behave(100, Behaviour(start_seconds=60))
    declare_running(site, vmids)
    agent = begin(parallel=2)
    agent.run_pass()
    wait_until(lambda: len(asked(site, "start")) == 2)
    job = agent.scheduler.run_once("job-1", Start(100, Kind.QEMU))
    site.declare("[guest.100]\nrestart = 'allowed'\nstate = 'running'\n" + TWO_CORES, "other.toml")
    agent.run_pass()
    agent.finish()
    assert job.done()
    assert agent.look()
    assert site.world.config(100)["cores"] == 2


def test_a_guest_that_is_declared_while_a_job_of_it_runs_is_not_submitted_beside_it(
    site: Site, begin: Begin
) -> None:
    site.world.behave(200, Behaviour(start_seconds=60))
    agent = begin(parallel=2)
    job = agent.scheduler.run_once("job-1", Start(200, Kind.LXC))
    site.declare("[guest.200.config]\ncores = 2\n")
    agent.run_pass()
    assert not agent.daemon._parts.engine._queue._lanes[200].work
    agent.finish()
    assert job.done()
    assert asked(site, "config") == []
    assert agent.look()
    assert asked(site, "config") == [200]


def test_a_job_whose_future_is_cancelled_while_it_waits_is_never_begun(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 1, start_seconds=60)
    declare_running(site, vmids)
    agent = begin(parallel=1)
    agent.run_pass()
    job = agent.scheduler.run_once("job-1", Start(100, Kind.QEMU))
    assert job.cancel()
    agent.finish()
    assert asked(site, "start") == vmids


def test_a_job_does_not_take_the_place_for_restarts(site: Site, begin: Begin) -> None:
    vmids = add(site, 1, running=True, shutdown_seconds=1e6)
    site.world.behave(100, Behaviour(start_seconds=1e6))
    agent = begin(parallel=4)
    agent.scheduler.run_once("job-1", Start(100, Kind.QEMU))
    wait_until(lambda: asked(site, "start") == [100])
    declare_restarted(site, vmids)
    agent.run_pass()
    agent.hear(lambda: asked(site, "shutdown") == vmids)
    agent.daemon._parts.node.cancel_waits.set()


# What a lane says at its end.


def test_a_lane_that_ends_in_whatever_way_gives_its_place_back(site: Site, begin: Begin) -> None:
    site.declare(TWO_CORES)
    agent = begin(parallel=1)
    holds = agent.daemon._parts.holds

    def exits(_vmid: int) -> str:
        if threading.current_thread().name.startswith("lane-"):
            raise SystemExit
        return ""

    holds.register("test", exits)
    agent.run_pass()
    agent.finish()
    assert "internal error: SystemExit" in str(agent.outcome())
    holds.register("test", lambda _: "")
    agent.later(5)
    assert agent.outcome() == Converged()


def test_a_restart_for_one_declaration_is_not_in_vain_for_the_next(
    site: Site, begin: Begin
) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(start_seconds=50))
    declare_restarted(site, [100])
    agent = begin()
    agent.run_pass()
    agent.hear(lambda: asked(site, "start") == [100])
    site.guests_directory.joinpath("guests.toml").write_text(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n[guest.100.config]\ncores = 3\n'
    )
    agent.run_pass()
    agent.finish()
    assert agent.outcome() == Converged()
    assert site.world.config(100)["cores"] == 3
    assert len(asked(site, "shutdown")) == 2


def test_a_guest_declared_anew_while_its_lane_runs_is_reconciled_as_it_is_declared_now(
    site: Site, begin: Begin
) -> None:
    """Its lane may have found it withdrawn, and says then that there is nothing to do."""
    site.world.behave(100, Behaviour(start_seconds=60))
    declare_running(site, [100])
    agent = begin()
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [100])
    (site.guests_directory / "guests.toml").unlink()
    agent.run_pass()
    site.clock.pass_by(100)
    wait_until(lambda: not agent.daemon._inbox.empty())
    site.declare(TWO_CORES + '[guest.100]\nstate = "running"\nrestart = "allowed"\n')
    agent.run_pass()
    agent.finish()
    assert agent.outcome() == Converged()
    assert site.world.config(100)["cores"] == 2


def test_a_held_guest_stays_blocked_after_what_was_in_flight_is_settled(
    site: Site, begin: Begin
) -> None:
    lose_start(site)
    declare_running(site, [100])
    with assembled(site.config(), site.clock) as parts:
        Daemon(site.config(), parts).run_pass()
        assert parts.operations.in_flight()
    site.clock.pass_by(60)
    site.declare('[guest.100]\nstate = "running"\n', "twice.toml")
    shutil.rmtree(site.directory / "journal" / "guest-files")  # else what was in force stays so
    agent = begin()
    assert not agent.look()
    assert agent.daemon._parts.operations.in_flight() == ()
    assert isinstance(agent.outcome(), Blocked)


@pytest.mark.parametrize("others", [False, True], ids=["nothing else", "others"])
def test_what_is_in_flight_for_a_guest_that_was_undeclared_is_settled_at_a_later_pass(
    site: Site, begin: Begin, others: bool
) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    site.declare('[guest.100]\nstate = "running"\n')
    agent = begin(start_timeout=0.1)
    agent.look()
    assert agent.daemon._parts.operations.in_flight()
    (site.guests_directory / "guests.toml").unlink()
    if others:
        site.declare("[guest.200.config]\ncores = 1\n")
    agent.look()
    site.clock.pass_by(2000)
    agent.look()
    assert agent.daemon._parts.operations.in_flight() == ()
    agent.run_pass()
    assert agent.scheduler.idle


# A pass beside a lane: what it saw may be older than what the lane did since.


def test_a_pass_that_saw_a_guest_before_it_was_shut_down_does_not_end_our_restart(
    site: Site, begin: Begin
) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(shutdown_seconds=50))
    refuse_start(site, 100)
    declare_restarted(site, [100])
    agent = begin()
    parts = agent.daemon._parts
    agent.run_pass()
    agent.hear(lambda: asked(site, "shutdown") == [100])

    def late(request: Request, answer: Callable[[], Answer]) -> Answer:
        answered = answer()
        if request.path.endswith("/qemu"):
            site.clock.pass_by(100)
            wait_until(lambda: parts.operations.has_open_restart(100))
        return answered

    with heard(site, late):
        agent.run_pass()
    agent.finish()
    assert not site.world.running(100)
    assert parts.operations.has_open_restart(100)
    parts.holds.register("test", lambda _: "held by a test")
    agent.monotonic.pass_by(60)
    agent.look()
    assert site.world.running(100)


def test_a_pass_that_saw_a_guest_before_its_identity_was_changed_does_not_remember_the_old_one(
    site: Site, begin: Begin
) -> None:
    card = "name=eth0,bridge=vmbr0,type=veth,hwaddr=BC:24:11:00:00:0"
    site.world.edit(200, {"net0": f"{card}1", "rootfs": "local:200/vm-200-disk-0.raw,size=8G"})
    site.declare(f'[guest.200.config]\nnet0 = "{card}2"\n')
    agent = begin()
    planner = agent.daemon._parts.planner
    read = threading.Event()

    def known() -> str:
        return planner._identities.of(200).identity

    def ordered(request: Request, answer: Callable[[], Answer]) -> Answer:
        if request.method == "PUT":
            read.wait(SOON)
        answered = answer()
        second = agent.scheduler.number == 2 and not read.is_set()
        if second and request.method == "GET" and request.path.endswith("200/config"):
            read.set()
            wait_until(lambda: known().endswith("02"))
        return answered

    with heard(site, ordered):
        agent.run_pass()
        agent.run_pass()
    agent.finish()
    assert read.is_set()
    assert known().endswith("02")


def test_the_record_of_a_guest_is_forgotten_once_it_is_undeclared_and_nothing_of_it_runs(
    site: Site, begin: Begin
) -> None:
    site.world.behave(100, Behaviour(start_seconds=60))
    declare_running(site, [100])
    site.declare("[guest.200.config]\ncores = 1\n", "other.toml")
    agent = begin()
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [100])
    for name in ("guests.toml", "other.toml"):
        (site.guests_directory / name).unlink()
    agent.run_pass()
    assert list(agent.scheduler._records) == [100]
    agent.finish()
    assert agent.scheduler._records == {}


def test_while_a_guest_is_down_by_a_restart_of_ours_no_other_one_is_restarted(
    site: Site, begin: Begin
) -> None:
    """Two halves of a service must not be down together because the first one does not start."""
    vmids = add(site, 3, running=True)
    declare_restarted(site, vmids)
    refuse_start(site)
    agent = begin(parallel=4)
    assert not agent.look()
    (down,) = asked(site, "shutdown")
    others = [vmid for vmid in vmids if vmid != down]
    for vmid in others:
        assert isinstance(agent.outcome(vmid), Retry)
        assert f"guest {down} was stopped for its restart and is still down" in str(
            agent.outcome(vmid)
        )
        assert site.world.running(vmid)
    agent.later(60)
    assert agent.outcome(down) == Converged()
    assert agent.look()
    assert sorted(asked(site, "shutdown")) == vmids


def test_a_guest_that_is_to_stay_down_after_our_restart_holds_up_no_other(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, running=True)
    declare_restarted(site, vmids[:1])
    refuse_start(site)
    agent = begin()
    assert not agent.look()
    declare_restarted(site, vmids[1:])
    site.declare(f'[guest.{vmids[0]}]\nstate = "stopped"\n', "other.toml")
    agent.look()
    assert agent.look()
    assert asked(site, "shutdown") == vmids


# Times and ends.


def test_a_place_that_time_gave_back_just_after_it_was_asked_for_is_not_slept_over(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, start_seconds=1e6)
    declare_running(site, vmids)
    agent = begin(parallel=1, start_timeout=3000.0)
    agent.run_pass()
    agent.monotonic.pass_by(HANDOVER - 1)
    agent.scheduler.retry()
    agent.monotonic.pass_by(2)
    assert agent.scheduler.next_event() <= agent.monotonic.now
    agent.scheduler.retry()
    assert agent.scheduler.running == 2
    agent.daemon._parts.node.cancel_waits.set()


def test_one_look_hands_places_over_as_time_goes_by(site: Site, begin: Begin) -> None:
    vmids = add(site, 2, start_seconds=1e6)
    declare_running(site, vmids)
    agent = begin(parallel=1, start_timeout=3000.0, interval=0.01)
    ticking = Daemon(agent.daemon.config, agent.daemon._parts, clock=TickingClock())
    looking = threading.Thread(target=ticking.run_pass)
    looking.start()
    try:
        wait_until(lambda: len(asked(site, "start")) == 2)
    finally:
        agent.daemon._parts.node.shutting_down.set()
        ticking.send("stop")
        looking.join(SOON)
    agent.daemon._parts.node.cancel_waits.set()


def test_one_look_ends_at_a_stop_whose_message_somebody_else_has_taken(
    site: Site, begin: Begin
) -> None:
    """As the wait for files that are being written does."""
    site.world.behave(100, Behaviour(start_seconds=1e6))
    declare_running(site, [100])
    agent = begin(interval=0.01)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [100])
    agent.daemon._parts.node.shutting_down.set()
    looking = threading.Thread(target=agent.look)
    looking.start()
    looking.join(SOON / 2)
    try:
        assert not looking.is_alive()
    finally:
        agent.daemon._parts.node.cancel_waits.set()
        looking.join(SOON)


def test_a_guest_that_waits_is_in_the_queue_once_however_often_it_is_in_line_meanwhile(
    site: Site, begin: Begin
) -> None:
    (vmid,) = add(site, 1, start_seconds=1e6)
    declare_running(site, [vmid])
    agent = begin(parallel=1)
    agent.run_pass()
    site.declare(f'[guest.100]\nstate = "running"\n{TWO_CORES}', "other.toml")
    for cores in (1, 1, 2, 2, 1, 1):
        site.world.edit(100, {"cores": cores})
        agent.run_pass()
    assert list(agent.scheduler._waiting._power) == [100]
    agent.daemon._parts.node.cancel_waits.set()


def test_a_guest_that_needs_no_restart_any_more_does_not_wait_for_the_place_for_one(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2, running=True, shutdown_seconds=1e6)
    declare_restarted(site, vmids)
    agent = begin(parallel=4)
    agent.run_pass()
    agent.hear(lambda: len(asked(site, "shutdown")) == 1 and agent.scheduler.running == 1)
    (waiting,) = set(vmids) - set(asked(site, "shutdown"))
    site.world.stop(waiting)
    agent.run_pass()
    agent.hear(lambda: agent.scheduler.running == 1)
    assert asked(site, "start") == [waiting]
    agent.daemon._parts.node.cancel_waits.set()


def test_a_lane_attaches_no_volume_that_another_guest_holds(site: Site, begin: Begin) -> None:
    """It looks at its own guest alone, after each of its acts."""
    first, second = add(site, 2)
    site.world.edit(second, {"scsi3": f"local-lvm:vm-{first}-disk-1,size=8G"})
    site.declare(
        f'[guest.{first}.config]\ncores = 2\nscsi1 = "local-lvm:vm-{first}-disk-1,size=8G"\n'
        f"[guest.{second}.config]\ncores = 1\n"
    )
    agent = begin()
    agent.look()
    assert site.world.config(first)["cores"] == 2
    assert asked(site, "config") == [first]
    assert f"is held by scsi3 of guest {second}" in str(agent.outcome(first))


def test_before_the_first_pass_no_volume_is_attached(site: Site, begin: Begin) -> None:
    """A lane that settles what an earlier process left sees its own guest alone."""
    first, second = add(site, 2)
    site.world.edit(second, {"scsi3": f"local-lvm:vm-{first}-disk-1,size=8G"})
    site.declare(
        f'[guest.{first}.config]\nscsi1 = "local-lvm:vm-{first}-disk-1,size=8G"\n'
        f"[guest.{second}.config]\ncores = 1\n"
    )
    agent = begin()
    agent.scheduler.declare(agent.daemon._intent.load())
    agent.scheduler.settle_first({first})
    agent.finish()
    assert asked(site, "config") == []
    assert "the other guests were not observed yet" in str(agent.outcome(first))
    agent.look()
    assert f"is held by scsi3 of guest {second}" in str(agent.outcome(first))
