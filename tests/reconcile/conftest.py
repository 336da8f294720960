"""An agent without its main loop, on a site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from tests.conftest import Site

Open = Callable[..., AbstractContextManager[Parts]]


@pytest.fixture
def agent(site: Site) -> Open:
    @contextmanager
    def opened(**settings: object) -> Iterator[Parts]:
        with assembled(site.config(**settings), site.clock, monotonic=site.clock) as parts:
            yield parts

    return opened
