"""An agent whose main loop a test steps through, and what such tests ask of a site."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.model import Outcome
from tests.conftest import Clock, Site
from tests.process import wait_until

Begin = Callable[..., "Running"]


class Running:
    """An agent whose main loop a test steps through; `monotonic` is its clock.

    While a test waits for lanes, the node's clock goes on by `pace` seconds at each look.
    """

    def __init__(self, daemon: Daemon, monotonic: Clock, site: Site) -> None:
        self.daemon = daemon
        self.monotonic = monotonic
        self._site = site
        self.pace = 10.0

    @property
    def scheduler(self) -> Scheduler:
        return self.daemon._scheduler

    def look(self) -> bool:
        return self.daemon.run_pass()

    def run_pass(self) -> None:
        """Observe and submit, without waiting for what was submitted."""
        self.daemon._pass()

    def hear(self, done: Callable[[], bool]) -> None:
        """Take in what lanes report until something is so."""
        for _ in range(500):
            self.scheduler.publish()
            if done():
                return
            self.daemon._wait(0.1)
            self._site.clock.pass_by(self.pace)
        raise AssertionError("it never came to pass")

    def later(self, seconds: float) -> None:
        """Let time go by, and do what is due by then."""
        self.monotonic.pass_by(seconds)
        self.scheduler.retry()
        self.finish()

    def finish(self) -> None:
        """Take in what lanes report until nobody runs or waits for a place."""
        self.hear(lambda: self.scheduler.idle)

    def waiting(self) -> set[int]:
        """Return the guests that wait for a place."""
        self.scheduler.publish()
        return set(self.scheduler.activity.queued)

    def leave_alone(self, vmid: int, until: float) -> None:
        """Let a guest be one that somebody else has just changed."""
        self.scheduler._quiet_until = lambda other: until if other == vmid else -math.inf

    def outcome(self, vmid: int = 100) -> Outcome:
        self.scheduler.publish()
        return self.scheduler.statuses[vmid].outcome


def asked(site: Site, verb: str) -> list[int]:
    """Return the guests that PVE was asked to `verb`, in order."""
    found = [m.path.split("/") for m in site.devnode.mutations]
    return [int(parts[4]) for parts in found if parts[-1] == verb]


def add(site: Site, count: int, *, running: bool = False, **behaviour: float) -> list[int]:
    """Add guests from 300 on; return their vmids."""
    vmids = list(range(300, 300 + count))
    for vmid in vmids:
        words = Behaviour(**behaviour)  # type: ignore[arg-type]
        site.world.add("qemu", vmid, {"cores": 1}, running=running, behaviour=words)
    return vmids


def declare_running(site: Site, vmids: list[int]) -> None:
    site.declare("".join(f'[guest.{v}]\nstate = "running"\n' for v in vmids))


def declare_restarted(site: Site, vmids: list[int]) -> None:
    site.declare(
        "".join(
            f'[guest.{v}]\nstate = "running"\nrestart = "allowed"\n[guest.{v}.config]\ncores = 2\n'
            for v in vmids
        )
    )


def in_line(site: Site, begin: Begin, count: int = 2) -> Running:
    """Return an agent that starts guest 300, which takes its time, and has one place; 301 and the
    next ones wait for it.
    """
    vmids = add(site, count, start_seconds=40)
    declare_running(site, vmids)
    agent = begin(parallel=1)
    agent.run_pass()
    wait_until(lambda: asked(site, "start") == [300])
    assert agent.waiting() == set(vmids[1:])
    return agent


def refuse_start(site: Site, vmid: int | str = "") -> None:
    """Let the node refuse the next start, of one guest or of any: it has no memory for a worker."""
    site.devnode.faults.add(
        Fault("POST", f"{vmid}/status/start", "refuse:got no worker upid - no memory")
    )


def lose_start(site: Site) -> None:
    """Let the node do the next start, and its answer be lost."""
    site.devnode.faults.add(Fault("POST", "start$", "reset-after"))


@contextmanager
def heard(site: Site, hear: Callable[[Request, Callable[[], Answer]], Answer]) -> Iterator[None]:
    """Let `hear` answer what the node is asked, for the length of a block."""
    real = site.devnode.answer

    def answer(request: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        return hear(request, lambda: real(request, raw, authorization))

    site.devnode.answer = answer  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        site.devnode.answer = real  # type: ignore[method-assign]
