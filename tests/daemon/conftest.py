"""An agent whose main loop a test steps through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from tests.conftest import Clock, Site
from tests.daemon.running import Begin, Running
from tests.daemon.signing import DNS, PRIVILEGES, WEB, SigningHost


@pytest.fixture
def begin(site: Site) -> Iterator[Begin]:
    with ExitStack() as stack:

        def begun(**settings: object) -> Running:
            config = site.config(**settings)
            monotonic = Clock(1000.0)
            parts = stack.enter_context(assembled(config, site.clock, monotonic=site.clock))
            daemon = Daemon(config, parts, clock=monotonic, chance=lambda: 0.0)
            return Running(daemon, monotonic, site)

        yield begun


@pytest.fixture
def host(make_site: Callable[..., Site]) -> SigningHost:
    """A host with a VM (100, web) and a container (200, dns), whose owner has a key."""
    site = make_site(privileges=PRIVILEGES)
    site.world.add("qemu", 100, WEB)
    site.world.add("lxc", 200, DNS)
    return SigningHost(site)
