"""A node that keeps a change pending, whatever happens to the guest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from tests.conftest import Site


@contextmanager
def kept_pending(site: Site, key: str, value: object, pending: object) -> Iterator[None]:
    """Let the node say of each guest that runs that a key waits for a restart, for the length of a
    block.

    PVE keeps some changes pending through a restart (recorded: 100-snapshots-qemu/238).
    """
    rows = [{"key": key, "value": value, "pending": pending}, {"key": "digest", "value": "d" * 40}]
    body = json.dumps({"data": rows}).encode()
    real = site.devnode.answer

    def answer(heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        if heard.path.endswith("/pending") and site.world.running(int(heard.path.split("/")[-2])):
            return Answer(200, "OK", body, "application/json;charset=UTF-8")
        return real(heard, raw, authorization)

    site.devnode.answer = answer  # type: ignore[method-assign]
    try:
        yield
    finally:
        site.devnode.answer = real  # type: ignore[method-assign]
