"""An agent on a site: without its main loop, or with one that a test steps through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from felhom_agent.assembly import Parts, assembled
from felhom_agent.mainloop import Daemon
from tests.conftest import Clock, Site
from tests.reconcile.running import Begin, Running

Open = Callable[..., AbstractContextManager[Parts]]


@pytest.fixture
def agent(site: Site) -> Open:
    @contextmanager
    def opened(**settings: object) -> Iterator[Parts]:
        with assembled(site.config(**settings), site.clock) as parts:
            yield parts

    return opened


@pytest.fixture
def begin(site: Site) -> Iterator[Begin]:
    with ExitStack() as stack:

        def begun(**settings: object) -> Running:
            config = site.config(**settings)
            monotonic = Clock(1000.0)
            parts = stack.enter_context(assembled(config, site.clock))
            daemon = Daemon(config, parts, clock=monotonic, chance=lambda: 0.0)
            return Running(daemon, monotonic, site)

        yield begun
