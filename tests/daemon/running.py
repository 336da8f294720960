"""An agent whose main loop a test steps through, and what such tests ask of a site."""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.devnode import Behaviour
from felhom_agent.model import Outcome
from tests.conftest import Clock, Site

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
        self.hear(lambda: self.scheduler.idle)

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
