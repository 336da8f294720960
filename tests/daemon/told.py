"""A host that tells what a test says, and an agent that listens to it, stepped through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.proxmox.hints import Heard
from tests.conftest import Clock, Site
from tests.daemon.running import Running


@dataclass
class ToldHost:
    """Tells what was given, once each; `working` until a test says otherwise."""

    working: bool = True
    given: list[Heard] = field(default_factory=list)

    def look(self) -> Heard:
        if self.given:
            return replace(self.given.pop(0), working=self.working)
        return Heard(working=self.working)

    def close(self) -> None:
        pass

    def written(self, *vmids: int) -> None:
        self.given.append(Heard(written=frozenset(vmids)))

    def power(self, *vmids: int) -> None:
        self.given.append(Heard(power=frozenset(vmids)))

    def everything(self, why: str) -> None:
        self.given.append(Heard(everything=why))


class Listening(Running):
    """An agent whose main loop a test steps through, second by second."""

    def __init__(self, daemon: Daemon, monotonic: Clock, site: Site, host: ToldHost) -> None:
        super().__init__(daemon, monotonic, site)
        self.host = host
        self.site = site
        self.pace = 0.0

    def goes_on(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by: the host is listened to each second, and what is due is done."""
        for _ in range(round(seconds / step)):
            self.monotonic.pass_by(step)
            self.site.clock.pass_by(step)
            if self.daemon._eyes.listen():
                self.daemon._next_pass = 0.0
            self.daemon.send("a message of nobody's")
            assert self.daemon._step()
            self.hear(lambda: not self.scheduler._runs)

    def calls(self) -> int:
        """Return how many requests the node has answered."""
        return len(self.site.devnode.requests)


@contextmanager
def listening(
    site: Site, config: Config | None = None, given: Sequence[Heard] = ()
) -> Iterator[Listening]:
    """Hold an agent that listens to a host for the length of a block; its first pass is done.
    `given` is what the host tells first.
    """
    config = config or site.config(interval=60.0)
    with assembled(config, site.clock, monotonic=site.clock) as parts:
        monotonic, host = Clock(1000.0), ToldHost(given=list(given))
        daemon = Daemon(config, replace(parts, hints=host), clock=monotonic, chance=lambda: 0.5)
        agent = Listening(daemon, monotonic, site, host)
        agent.daemon.send("a message of nobody's")
        assert daemon._step()
        agent.hear(lambda: not agent.scheduler._runs)
        agent.goes_on(2)
        yield agent
