"""A change that PVE refuses, as its answer or as its task's end, is no unknown outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.devnode import Behaviour, Fault, World
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.model import Blocked, Converged, Desired, Outcome, Refused, Retry
from tests.conftest import Clock, Open, Site, TickingClock
from tests.devnode.stage import EVERYTHING
from tests.process import wait_until
from tests.reconcile.test_reconciliation import let_time_pass_until, turn, wanted

SLOW = 3.0
"""Longer than PVE waits before it answers with a UPID."""
LOCK = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
TAG = "403 Permission check failed (/, Sys.Modify for modifying tag 'alpha')"

REFUSALS = [
    (TAG, Blocked, "the token lacks Sys.Modify on /; "),
    ("403 Permission check failed (/vms/100, VM.Config.Disk)", Blocked, "VM.Config.Disk on /vms"),
    ("VM is locked (backup)", Blocked, "locked (backup)"),
    (LOCK, Retry, "another task holds the guest"),
    ("cannot set aw-bits if no vIOMMU is configured", Refused, ": cannot set"),
    ("EFI base image '/x' not found", Retry, ": EFI base image '/x' not found"),
    (
        (
            "drive 'scsi1' - volume 'a:1/b' - 'format=qcow2' option different from storage format "
            "'raw'"
        ),
        Refused,
        ": drive 'scsi1'",
    ),
]


def history(site: Site) -> list[Operation]:
    return replay(read(site.directory / "journal" / NAME))


@pytest.fixture
def ticking(make_site: Callable[..., Site]) -> Site:
    """A node on which time passes at each look, with a VM and a container."""
    site = make_site(World(node="pve1", now=TickingClock()))
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1})
    site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "cores": 1})
    return site


@contextmanager
def agent_on(site: Site) -> Iterator[Parts]:
    with assembled(site.config(), site.clock, monotonic=site.clock) as parts:
        yield parts


@pytest.mark.parametrize(("words", "outcome", "why"), REFUSALS)
@pytest.mark.parametrize("seconds", [0.0, SLOW], ids=["as an answer", "as a task's end"])
def test_a_refusal_of_the_worker_is_told_as_what_it_is(
    ticking: Site, words: str, outcome: type[Outcome], why: str, seconds: float
) -> None:
    ticking.world.behave(100, Behaviour(config_seconds=seconds, config_error=words))
    with agent_on(ticking) as parts:
        found = turn(parts, wanted(100, cores=2))
        assert type(found) is outcome
        assert why in str(found)
        assert parts.operations.in_flight() == ()
    assert [(o.state, o.untouched) for o in history(ticking)] == [(State.FAILED, True)]


def test_a_change_that_was_overtaken_in_the_worker_is_planned_again_and_made(
    make_site: Callable[..., Site],
) -> None:
    """PVE 9.2 looks at the digest again in the worker (recorded: calls-9.2/200-post-worker/012)."""
    clock = Clock()
    site = make_site(World(node="pve1", now=clock, version="9.2.11"))
    site.clock = clock
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1})
    site.world.behave(100, Behaviour(config_seconds=60.0))
    with agent_on(site) as parts:
        parts.engine.desired = Desired({100: wanted(cores=2)})
        future = parts.engine.reconcile(100)
        wait_until(lambda: bool(site.devnode.mutations))
        site.world.behave(100, Behaviour())
        site.world.edit(100, {"description": "a person's"})
        let_time_pass_until(site, future.done)
        assert future.result(0).outcome == Converged()
    assert [(o.state, o.untouched) for o in history(site)] == [
        (State.FAILED, True),
        (State.SUCCEEDED, False),
    ]
    assert site.world.config(100)["description"] == "a person's"


@pytest.mark.parametrize("seconds", [0.0, SLOW], ids=["as an answer", "as a task's end"])
def test_a_refusal_after_a_part_was_written_is_settled_at_once(
    ticking: Site, seconds: float
) -> None:
    """recorded: calls-9.2/200b-post-worker-privileges/065: the other key is in the file."""
    words = "403 Permission check failed (/vms/100, VM.Config.Disk)"
    behaviour = Behaviour(config_seconds=seconds, config_error=words, config_written=("cores",))
    ticking.world.behave(100, behaviour)
    with agent_on(ticking) as parts:
        found = turn(parts, wanted(100, cores=2, onboot=True))
        assert isinstance(found, Retry | Blocked)
        assert parts.operations.in_flight() == ()
        assert parts.operations.unknown_count == 0
        # What was denied is none of the keys, so that each is tried by itself.
        found_out = [(o.state, o.untouched) for o in history(ticking)]
        assert found_out == [(State.FAILED, False), (State.FAILED, True)]
        ticking.world.behave(100, Behaviour())
        assert turn(parts, wanted(100, cores=2, onboot=True)) == Converged()


def test_a_container_that_was_written_although_pve_says_no_is_as_declared(
    make_site: Callable[..., Site],
) -> None:
    """recorded: 13-lxc-roundtrip-root/006, calls-9.2/202-values/503"""
    site = make_site(privileges={"/": list(EVERYTHING)})
    site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "cores": 1})
    site.world.bridges.clear()
    card = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,type=veth"
    with agent_on(site) as parts:
        found = turn(parts, wanted(200, net0=card))
        assert isinstance(found, Retry)
        assert "bridge 'vmbr0' does not exist" in found.why
        assert parts.operations.in_flight() == ()
        assert turn(parts, wanted(200, net0=card)) == Converged()
    assert [o.state for o in history(site)] == [State.SUCCEEDED]


def test_a_containers_card_that_is_refused_before_it_is_written_is_a_refusal(
    site: Site, agent: Open
) -> None:
    words = "net0: MTU size '9000' is bigger than bridge MTU '1500'"
    site.devnode.faults.add(Fault("PUT", "lxc/200/config$", f"refuse:{words}"))
    with agent() as parts:
        found = turn(parts, wanted(200, cores=2))
        assert found == Retry(0.0, f"PVE refuses the change: {words}")
        assert parts.operations.in_flight() == ()
    assert [(o.state, o.untouched) for o in history(site)] == [(State.FAILED, True)]
