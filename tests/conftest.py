"""A site: a PVE node in memory behind real HTTPS, and an agent's configuration for it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings

from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import (
    Config,
    ControlConfig,
    DesiredConfig,
    JournalConfig,
    LimitsConfig,
    ProxmoxConfig,
    ReconcileConfig,
)
from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.devnode import DevNode, World
from felhom_agent.proxmox.node import Node
from tests.commands import QUICK, Felhom, Start, typed
from tests.process import Process

# In CI the examples are the same each time; elsewhere they are drawn again.
# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any")

TOKEN_ID = "felhom-agent@pve!agent"


@pytest.fixture(autouse=True)
def levels_of_the_log() -> Iterator[None]:
    """Put back which lines are logged: a command that a test runs in here sets that for good."""
    ours = logging.getLogger("felhom_agent"), logging.getLogger()
    before = [each.level for each in ours]
    yield
    for each, level in zip(ours, before, strict=True):
        each.setLevel(level)


class Clock:
    """A clock that a test moves; seconds since the epoch."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class TickingClock(Clock):
    """Goes on by some seconds at each look at it."""

    def __call__(self) -> float:
        self.now += 5.0
        return self.now


@dataclass
class Site:
    """One node and everything an agent needs to work on it."""

    directory: Path
    clock: Clock
    world: World
    devnode: DevNode
    secret: str
    proxmox: ProxmoxConfig
    _nodes: list[Node] = field(default_factory=list)

    @property
    def guests_directory(self) -> Path:
        return self.directory / "guests.d"

    def declare(self, text: str, name: str = "guests.toml") -> None:
        """Write a guest file."""
        (self.guests_directory / name).write_text(text)

    def config(self, **settings: object) -> Config:
        """Return a configuration whose `[reconcile]` has these settings."""
        quick = ReconcileConfig(interval=1.0, jitter=0.0, backoff_first=0.05, drain_timeout=5.0)
        return Config(
            proxmox=self.proxmox,
            desired=DesiredConfig(self.guests_directory, settle=0.0),
            reconcile=replace(quick, **settings),  # type: ignore[arg-type]
            # The brake has tests of its own; in all others a test may stop as many as it likes.
            limits=LimitsConfig(changed=1000, stopped=1000, restarted=1000),
            journal=JournalConfig(self.directory / "journal"),
            control=ControlConfig(self.directory / "control.sock"),
            path=self.directory / "agent.toml",
        )

    def write_config(self, extra: str = "") -> Path:
        """Write agent.toml; return its path."""
        path = self.directory / "agent.toml"
        control = "" if "[control]" in extra else '[control]\nsocket = "control.sock"\n'
        path.write_text(
            f'[proxmox]\nendpoint = "{self.devnode.endpoint}"\nnode = "pve1"\n'
            f'token_id = "{TOKEN_ID}"\ntoken_file = "{self.proxmox.token_file}"\n'
            f'ca_file = "{self.devnode.ca_file}"\n'
            f'[desired]\ndirectory = "guests.d"\nsettle = 0\n{control}'
            f'[journal]\ndirectory = "journal"\n{extra}'
        )
        load(path)
        return path

    def connect(self, **changes: object) -> Node:
        """Return a node for the agent's token; it is closed when the test ends."""
        node = Node.connect(replace(self.proxmox, **changes))  # type: ignore[arg-type]
        self._nodes.append(node)
        return node

    def close(self) -> None:
        for node in self._nodes:
            node.cancel_waits.set()
            node.client.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def opened_site(
    directory: Path, world: World, clock: Clock, privileges: dict[str, list[str]] | None = None
) -> Iterator[Site]:
    """Hold a site around a world for the length of a block."""
    secret = world.token(TOKEN_ID, privileges)
    token_file = directory / "token"
    token_file.write_text(secret)
    token_file.chmod(0o600)
    (directory / "guests.d").mkdir(exist_ok=True)
    with DevNode(world) as devnode:
        proxmox = ProxmoxConfig(
            endpoint=devnode.endpoint,
            node="pve1",
            token_id=TOKEN_ID,
            token_file=token_file,
            ca_file=devnode.ca_file,
            connect_timeout=5.0,
            read_timeout=5.0,
            write_timeout=5.0,
        )
        site = Site(directory, clock, world, devnode, secret, proxmox)
        try:
            yield site
        finally:
            site.close()


@pytest.fixture
def make_site(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Site]]:
    """Make a site around a world; its devnode serves until the test ends."""
    with ExitStack() as stack:

        def make(
            world: World | None = None, privileges: dict[str, list[str]] | None = None
        ) -> Site:
            world = world or World(node="pve1", now=clock)
            return stack.enter_context(opened_site(tmp_path, world, clock, privileges))

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A node with a VM (100, web) and a container (200, dns), both stopped."""
    site = make_site()
    site.world.add("qemu", 100, {"name": "web", "memory": "1024", "cores": 1})
    site.world.add("lxc", 200, {"hostname": "dns", "memory": 512, "cores": 1})
    return site


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    """Runs a command on the site; an agent.toml that is there already stays."""
    path = site.directory / "agent.toml"
    return typed(path if path.exists() else site.write_config(), capsys)


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    """Starts agents on the site, which end with the test."""
    processes: list[Process] = []

    def begin(*words: str, settings: str = QUICK) -> Process:
        processes.append(Process(site.write_config(settings), *words))
        return processes[-1]

    yield begin
    for process in processes:
        if not process.is_over():
            process.end(signal.SIGKILL)


Open = Callable[..., AbstractContextManager[Parts]]


@pytest.fixture
def agent(site: Site) -> Open:
    """An agent without its main loop, on the site."""

    @contextmanager
    def opened(**settings: object) -> Iterator[Parts]:
        with assembled(site.config(**settings), site.clock, monotonic=site.clock) as parts:
            yield parts

    return opened
