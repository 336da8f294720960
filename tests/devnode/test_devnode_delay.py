"""A POST of a VM's configuration waits for its task as long as `background_delay` says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from felhom_agent.devnode import Behaviour, DevNode, World
from tests.devnode.conftest import AGENT, Caller, Clock

VM = "/nodes/pve1/qemu/102/config"
HELD = "can't lock file '/var/lock/qemu-server/lock-102.conf' - "
FAILED = "failed to update VM 102: "
Act = Callable[[World], object]


def make(clock: Clock, version: str = "9.2") -> World:
    world = World(now=clock, version=version, waits=clock.pass_by)
    world.add("qemu", 102, {"name": "vm102", "memory": "64", "cores": 1})
    return world


@pytest.fixture
def world(clock: Clock) -> World:
    return make(clock)


@pytest.fixture
def call(world: World) -> Iterator[Caller]:
    with DevNode(world) as node:
        caller = Caller(node, AGENT, world.token(AGENT))
        yield caller
        caller.connection.close()


def held_for(world: World, seconds: float, meanwhile: Act = lambda _: None) -> None:
    """Hold the VM's lock for that long; just before its end something happens."""
    world.hold_lock(102)

    def act() -> None:
        meanwhile(world)

    with world.guard:
        flock = world.guests[102].flock
        world.events.later(seconds - 0.2, act)
        world.events.later(seconds, flock.let_go)


def last_end(world: World) -> str | None:
    with world.guard:
        return next(task for task in world.tasks.ended() if task.type == "qmconfig").exitstatus


@pytest.mark.parametrize(
    ("seconds", "delay", "took"), [(1.5, 2, 1.5), (1.5, 5, 1.5), (1.5, 1, 1), (12, 2, 2)]
)
def test_a_call_waits_for_its_task_and_no_longer(
    world: World, call: Caller, clock: Clock, seconds: float, delay: int, took: float
) -> None:
    """recorded: calls-9.2/200-post-worker/003-009"""
    held_for(world, seconds)
    began = clock()
    reply = call("POST", VM, {"description": "x", "background_delay": delay})
    assert took <= clock() - began <= took + 0.2
    assert (reply.status, reply.reason) == (200, "OK")
    assert (reply.data is None) is (seconds < delay)


@pytest.mark.parametrize("delay", [12, 30])
def test_a_lock_that_is_held_too_long_is_told(world: World, call: Caller, delay: int) -> None:
    """recorded: calls-9.2/200-post-worker/010"""
    held_for(world, 12)
    reply = call("POST", VM, {"description": "x", "background_delay": delay})
    assert (reply.status, reply.reason) == (500, f"{FAILED}{HELD}got timeout")
    assert last_end(world) == f"{HELD}got timeout"


CHANGED: dict[str, tuple[Act, str]] = {
    "digest": (
        lambda world: world.edit(102, {"onboot": 1}),
        "checksum mismatch (file change by other user?)",
    ),
    "lock": (lambda world: world.lock(102, "backup"), "VM is locked (backup)"),
    "removed": (
        lambda world: world.remove(102),
        "Configuration file 'nodes/pve1/qemu-server/102.conf' does not exist",
    ),
    "balloon": (
        lambda world: world.edit(102, {"memory": 32}),
        "balloon value too large (must be smaller than assigned memory)",
    ),
    "killed": (lambda world: world.kill_tasks(102), "unexpected status"),
    "deleted": (lambda world: world.interrupt_tasks(102), f"{HELD}received interrupt"),
}


@pytest.mark.parametrize("what", CHANGED)
@pytest.mark.parametrize("delay", [2, 5, None])
def test_what_the_worker_finds_is_told_by_the_call_that_waits(
    world: World, call: Caller, clock: Clock, what: str, delay: int | None
) -> None:
    """recorded: calls-9.2/200-post-worker/012-031"""
    act, words = CHANGED[what]
    params: dict[str, object] = {"balloon": 48} if what == "balloon" else {"description": "x"}
    if what == "digest":
        params["digest"] = world.config(102)["digest"]
    held_for(world, 1.5, act)
    more = {} if delay is None else {"background_delay": delay}
    reply = call("POST", VM, {**params, **more})
    if delay is None:
        assert reply.data.startswith("UPID:")
        for _ in range(20):
            clock.pass_by(0.1)
            call("GET", "/version")
    else:
        assert (reply.status, reply.reason) == (500, f"{FAILED}{words}")
    assert last_end(world) == words


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        ("0", "value must have a minimum value of 1"),
        ("31", "value must have a maximum value of 30"),
        ("-1", "value must have a minimum value of 1"),
        ("x", "type check ('integer') failed - got 'x'"),
    ],
)
def test_a_delay_out_of_its_bounds_is_refused(call: Caller, delay: str, words: str) -> None:
    """recorded: calls-9.2/200-post-worker/035-038"""
    reply = call("POST", VM, {"description": "x", "background_delay": delay})
    assert (reply.status, reply.body["errors"]) == (400, {"background_delay": words})


def test_a_change_that_takes_its_time_is_waited_for(
    world: World, call: Caller, clock: Clock
) -> None:
    world.behave(102, Behaviour(config_seconds=1.5))
    began = clock()
    assert call("POST", VM, {"cores": 2, "background_delay": 1}).data.startswith("UPID:")
    assert clock() - began >= 1
    clock.pass_by(5)
    assert call("POST", VM, {"cores": 3, "background_delay": 2}).data is None
    assert world.config(102)["cores"] == 3


def test_others_go_on_while_a_call_waits_really() -> None:
    """Where time is real a call takes it, and holds nobody up."""
    world = World(version="9.2")
    world.add("qemu", 102, {"cores": 1})
    with DevNode(world) as node:
        secret = world.token(AGENT)
        world.hold_lock(102)
        one, other = (Caller(node, AGENT, secret, timeout=40) for _ in range(2))
        replies: list[int] = []
        wait = threading.Thread(
            target=lambda: replies.append(
                one("POST", VM, {"cores": 2, "background_delay": 30}).status
            )
        )
        wait.start()
        while not other("GET", "/nodes/pve1/tasks?source=active").data:
            assert wait.is_alive()
        world.release_lock(102)
        wait.join(20)
        assert replies == [200]
        assert world.config(102)["cores"] == 2
        for caller in (one, other):
            caller.connection.close()
