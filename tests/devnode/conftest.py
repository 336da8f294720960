"""A caller with nothing but the standard library, and the recordings it compares with."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from felhom_agent.devnode import DevNode, World

AGENT = "felhom-agent@pve!agent"
FORM = "application/x-www-form-urlencoded"
_DATA = Path(__file__).parent.parent / "data"
OLDER, NEWER = "9.1.7", "9.2.11"
RECORDINGS: Mapping[str, Path] = {OLDER: _DATA / "pve", NEWER: _DATA / "pve-9.2"}
"""Where the recordings of each version are."""


@dataclass(frozen=True)
class Reply:
    """What came back; `body` is parsed where it is JSON."""

    status: int
    reason: str
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        return self.body["data"]


class Caller:
    """Makes calls to a node over one connection, which is opened again when it was closed."""

    def __init__(self, node: DevNode, token: str, secret: str, timeout: float = 10.0) -> None:
        context = ssl.create_default_context(cafile=str(node.ca_file))
        host = urlsplit(node.endpoint).netloc
        self.connection = http.client.HTTPSConnection(host, context=context, timeout=timeout)
        self.authorization = f"PVEAPIToken={token}={secret}"

    def __call__(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None = None,
        *,
        sent: bytes | None = None,
        content_type: str = FORM,
        authorization: str | None = None,
    ) -> Reply:
        body = urlencode(dict(params)).encode() if params else sent
        headers = {"Authorization": self.authorization if authorization is None else authorization}
        if body is not None and content_type:
            headers["Content-Type"] = content_type
        self.connection.request(method, "/api2/json" + path, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        is_json = "json" in response.headers.get("Content-Type", "")
        parsed = json.loads(text) if is_json else text
        return Reply(response.status, response.reason, parsed, dict(response.headers))


@dataclass
class Clock:
    """A clock that a test moves; seconds since the epoch."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> World:
    """A world with a stopped VM 100 and a stopped container 200."""
    world = World(now=clock)
    world.add("qemu", 100, {"name": "vm100", "memory": "512", "cores": 1, "boot": " "})
    world.add("lxc", 200, {"hostname": "ct200", "memory": 128, "arch": "amd64", "cores": 1})
    return world


@pytest.fixture
def node(world: World) -> Iterator[DevNode]:
    with DevNode(world) as node:
        yield node


@pytest.fixture
def callers(node: DevNode) -> Iterator[Callable[..., Caller]]:
    """Make callers whose connections are closed in the end."""
    made: list[Caller] = []

    def make(token: str = AGENT, *, timeout: float = 10.0, **given: Any) -> Caller:
        secret = node.world.token(token, **given)
        made.append(Caller(node, token, secret, timeout))
        return made[-1]

    yield make
    for caller in made:
        caller.connection.close()


@pytest.fixture
def call(callers: Callable[..., Caller]) -> Caller:
    """The agent."""
    return callers()


def recorded(chapter: str, prefix: str = "", version: str = OLDER) -> list[dict[str, Any]]:
    """Given a chapter and how its recordings begin, return that version's in their order."""
    text = (RECORDINGS[version] / f"{chapter}.jsonl").read_text(encoding="utf-8")
    lines = (json.loads(line) for line in text.splitlines())
    return [line for line in lines if line["case"].startswith(f"{chapter}/{prefix}")]
