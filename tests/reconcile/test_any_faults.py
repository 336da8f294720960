"""Whatever goes wrong, and in whatever order: in the end all is as declared, or a person is told.

Each example is a short history of a node: people change guests, lock them, pull plugs; answers are
lost, late, cut, or nonsense; tasks are lost or killed; the agent looks, and sometimes dies. Then
the wire is good again, nobody holds a guest's lock file any more, and the agent looks some more.
Each guest is then as declared, or Blocked with a reason; nothing is in flight; and no two of our
changes ever met at one guest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode import Behaviour, Fault, World
from felhom_agent.model import Blocked, Converged
from tests.conftest import Site, TickingClock, opened_site

GUESTS = (100, 200)
DECLARED = """\
[guest.100]
state = "running"
stop = "power-off"
[guest.100.config]
description = "as declared"
onboot = true
[guest.200]
state = "stopped"
[guest.200.config]
cores = 2
tags = ["a", "b"]
"""
WAKE, DIE = "the agent looks", "the agent dies and begins again"
Step = str | tuple[str, Callable[[Site], None]]


def _step(words: str, act: Callable[[Site], None]) -> Step:
    return (words, act)


def _on_the_world(vmid: int) -> list[Step]:
    other = {"description": "drift", "cores": 4, "tags": "z"}
    slow = Behaviour(start_seconds=20, shutdown_seconds=20, config_seconds=20)
    return [
        _step(f"start {vmid}", lambda site: site.world.start(vmid)),
        _step(f"stop {vmid}", lambda site: site.world.stop(vmid)),
        _step(f"edit {vmid}", lambda site: site.world.edit(vmid, other)),
        _step(f"lock {vmid}", lambda site: site.world.lock(vmid, "backup")),
        _step(f"unlock {vmid}", lambda site: site.world.unlock(vmid)),
        _step(f"kill the tasks of {vmid}", lambda site: site.world.kill_tasks(vmid)),
        _step(f"hold the lock of {vmid}", lambda site: site.world.hold_lock(vmid)),
        _step(f"release the lock of {vmid}", lambda site: site.world.release_lock(vmid)),
        _step(f"{vmid} is slow", lambda site: site.world.behave(vmid, slow)),
        _step(f"{vmid} is quick", lambda site: site.world.behave(vmid, Behaviour())),
    ]


def _on_the_wire() -> list[Step]:
    actions = ("reset-before", "reset-after", "status:596", "status:595", "truncated", "not-json",
               "garbage", "redirect", "refuse:got no worker upid - start worker failed",
               "refuse:out of cheese")  # fmt: skip
    calls = (("POST", "config$"), ("PUT", "config$"), ("POST", "status/"), ("GET", "tasks"),
             ("GET", ""))  # fmt: skip
    return [
        _step(f"{action} at {method} {path}", _fault(Fault(method, path, action)))
        for action in actions
        for method, path in calls
    ]


def _fault(fault: Fault) -> Callable[[Site], None]:
    return lambda site: site.devnode.faults.add(fault)


STEPS = st.one_of(
    st.just(WAKE),
    st.just(DIE),
    st.sampled_from([step for vmid in GUESTS for step in _on_the_world(vmid)]),
    st.sampled_from(_on_the_wire()),
    st.just(_step("tasks are forgotten", lambda site: site.world.forget_tasks())),
    st.just(_step("tasks are found late", lambda site: site.world.hide_tasks(2))),
)


class Agent:
    """An agent that can be replaced by a new one on the same journal."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._begin()

    def _begin(self) -> None:
        config = self._site.config(
            parallel=2, drain_timeout=5.0, start_timeout=0.5, stop_timeout=30.0, config_timeout=0.5
        )
        self._held = assembled(config, self._site.clock, monotonic=self._site.clock)
        self.parts = self._held.__enter__()
        self.daemon = Daemon(config, self.parts, clock=self._site.clock, chance=lambda: 0.5)
        self.daemon.begin()

    def die(self) -> None:
        self.end()
        self._begin()

    def end(self) -> None:
        self._held.__exit__(None, None, None)


@contextmanager
def stage() -> Iterator[Site]:
    clock = TickingClock()
    world = World(node="pve1", now=clock)
    world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1})
    world.add("lxc", 200, {"hostname": "dns", "memory": 512, "cores": 1})
    with (
        tempfile.TemporaryDirectory(prefix="any-faults-") as directory,
        opened_site(Path(directory), world, clock) as site,
    ):
        site.declare(DECLARED)
        yield site


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_in_the_end_all_is_as_declared_or_a_person_is_told(steps: list[Step]) -> None:
    with stage() as site:
        agent = Agent(site)
        try:
            for step in steps:
                match step:
                    case "the agent looks":
                        agent.daemon.run_pass()
                    case "the agent dies and begins again":
                        agent.die()
                    case (_, act):
                        act(site)
            site.devnode.faults.clear()
            for vmid in GUESTS:
                site.world.release_lock(vmid)
            for _ in range(8):
                if agent.daemon.run_pass():
                    break
            judge(site, agent)
        finally:
            agent.end()


def judge(site: Site, agent: Agent) -> None:
    assert agent.parts.operations.in_flight() == ()
    assert [r for r in site.devnode.mutations if r.during] == []
    for vmid, status in agent.daemon._scheduler.statuses.items():
        outcome = status.outcome
        if isinstance(outcome, Converged):
            assert is_as_declared(site.world, vmid)
        else:
            assert isinstance(outcome, Blocked), (vmid, outcome)
            assert "locked" in outcome.why, outcome


def is_as_declared(world: World, vmid: int) -> bool:
    config = world.config(vmid)
    if vmid == 100:
        text = str(config["description"]).strip()
        return world.running(100) and text == "as declared" and config["onboot"] == 1
    return not world.running(200) and (config["cores"], config["tags"]) == (2, "a;b")
