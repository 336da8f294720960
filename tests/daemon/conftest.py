"""An agent whose main loop a test steps through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from tests.conftest import Clock, Site
from tests.daemon.running import Begin, Running


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
