"""A hub for one host, an agent's loop to it, and a stand-in that answers whatever a test says."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import HubConfig
from felhom_agent.desired.hub import HubProvider
from felhom_agent.devhub import DevHub, Store
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.jobs import ComposedRequest, SignedOperations, SignedStatus, TakenJob
from felhom_agent.hub.loop import HubLoop
from felhom_agent.hub.report import AgentFacts
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.nodereport import Reporter
from tests.conftest import Clock, Site
from tests.hub.client import Client

KEY = "the-hubs-own-key-for-this-host"
NAMED = (range(100, 300),)
"""The guests that the owner named for the hub."""
STATE = {"guest": {"100": {"state": "running", "config": {"cores": 2}}}}


MAX_AGE = 180.0


def observed(
    site: Site,
    named: Callable[[int], bool] = lambda vmid: True,
    monotonic: Clock | None = None,
) -> Node:
    """Return a node that leaves a report behind with each snapshot, and took one, in which nobody
    is declared.
    """
    node = site.connect()
    node.observer.reporter = Reporter(named, site.clock, monotonic or Clock(1e3), lambda: MAX_AGE)
    node.observer.snapshot(())
    return node


PENDING, DONE = TakenJob("pending"), TakenJob("done", final=True)


class JobTable:
    """Where signed jobs end up: how each stands is what a test says, or pending.

    `taken` is what was handed over, `wanted` what was to be composed; `trouble` is what a job, by
    its job_id, or a request, by its act, meets instead.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, TakenJob] = {}
        self.taken: list[tuple[str, bytes, tuple[bytes, ...]]] = []
        self.wanted: list[Mapping[str, object]] = []
        self.trouble: dict[str, Exception] = {}
        self.expires = 2_000_000_000
        self.status = SignedStatus()

    def take(self, job_id: str, blob: bytes, signatures: tuple[bytes, ...]) -> TakenJob:
        self.taken.append((job_id, blob, signatures))
        if job_id in self.trouble:
            raise self.trouble[job_id]
        return self.jobs.setdefault(job_id, PENDING)

    def compose(self, wanted: Mapping[str, object]) -> ComposedRequest:
        self.wanted.append(wanted)
        if error := self.trouble.get(str(wanted["act"])):
            raise error
        return ComposedRequest(f'{{"number":{len(self.wanted)}}}', self.expires)

    def told(self) -> SignedStatus:
        return replace(self.status, recent=tuple(self.jobs.items()))

    @property
    def ids(self) -> list[str]:
        """The jobs that were handed over, by their job_id, in that order."""
        return [job_id for job_id, _, _ in self.taken]


@dataclass
class Round:
    """What a loop needs, and what came of it; `woken` counts how often the main loop was, `observe`
    takes a snapshot, and `monotonic` is the clock by which that ages.
    """

    loop: HubLoop
    provider: HubProvider
    facts: AgentFacts
    observe: Callable[[], object]
    monotonic: Clock
    woken: list[None] = field(default_factory=list)


Begin = Callable[..., Round]


@pytest.fixture
def begin(site: Site, tmp_path: Path) -> Iterator[Begin]:
    """Make a loop to a hub's URL, with a key, after a snapshot; nothing is sent before
    `loop.round()`.
    """
    made: list[Round] = []

    def make(
        url: str,
        key: str = KEY,
        facts: AgentFacts | None = None,
        signed: SignedOperations | None = None,
        **more: object,
    ) -> Round:
        config = HubConfig(
            url=url, host_id="pve1", connect_timeout=2.0, read_timeout=2.0, guests=NAMED
        )
        config = replace(config, **more)  # type: ignore[arg-type]
        provider = HubProvider(tmp_path / "state", config)
        facts = facts or AgentFacts("pve1", site.clock.now, enforces=True)
        woken: list[None] = []
        monotonic = Clock(1e3)
        node = observed(site, config.names, monotonic)
        assert node.observer.reporter is not None
        loop = HubLoop(
            HubClient(config, Secret(key)),
            node.observer.reporter,
            provider,
            "pve1",
            lambda: replace(facts, generation=provider.kept.generation),
            lambda: woken.append(None),
            lambda: 0.5,
            signed,
            site.clock,
        )
        observe = lambda: node.observer.snapshot(())  # noqa: E731
        made.append(Round(loop, provider, facts, observe, monotonic, woken))
        return made[-1]

    yield make
    for each in made:
        each.loop.close(1.0)


@pytest.fixture
def hub() -> Iterator[DevHub]:
    with DevHub(Store()) as hub:
        yield hub


@pytest.fixture
def host(hub: DevHub) -> Client:
    """Call the hub as its one host."""
    return Client(hub, hub.store.enroll("pve1"))


@pytest.fixture
def operator(hub: DevHub) -> Client:
    """Call the hub as its operator."""
    return Client(hub, hub.operator_key)


class Scripted:
    """Answers each request with the next bytes of a script; the last is used again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: list[bytes | Callable[[Callable[[bytes], None]], None]] = []
        self.heard: list[bytes] = []

    def answers(self, *script: bytes | Callable[[Callable[[bytes], None]], None]) -> None:
        self.script[:] = script


def http(status: str, body: object = None, *headers: str, raw: bytes | None = None) -> bytes:
    """Return an HTTP answer with that status line, a body as JSON (or `raw`), and headers."""
    data = json.dumps(body).encode() if raw is None else raw
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def envelope(**words: object) -> bytes:
    return http("200 OK", words)


@contextmanager
def scripted_hub() -> Iterator[Scripted]:
    """Hold a stand-in for a hub for the length of a block."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10

        def handle(self) -> None:
            head = b""
            while (line := self.rfile.readline()).strip():
                head += line
            length = re.search(rb"(?i)content-length: (\d+)", head)
            stand_in.heard.append(head + b"\n" + self.rfile.read(int(length[1]) if length else 0))
            answer = stand_in.script.pop(0) if len(stand_in.script) > 1 else stand_in.script[0]
            if callable(answer):
                answer(self.send)
            else:
                self.send(answer)

        def send(self, data: bytes) -> None:
            self.wfile.write(data)
            self.wfile.flush()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A caller that goes away in the middle is what these tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        stand_in = Scripted(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with scripted_hub() as stand_in:
        yield stand_in
