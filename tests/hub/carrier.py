"""A hub that carries signed jobs as a test says (late, twice, changed, or not at all), and an agent
with real keys, a real journal and a real node, whose rounds with that hub a test steps through.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.form import NAMESPACE
from felhom_agent.authz.jobs import JobState, JobStatus
from felhom_agent.authz.request import SignedRequest, parse_request
from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import AuthzConfig, Config, HubConfig
from felhom_agent.daemon.signedhub import SignedForHub
from felhom_agent.desired.hub import HubProvider
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.loop import HubLoop
from felhom_agent.proxmox.nodereport import Reporter
from tests.authz.desk import Key
from tests.conftest import Clock, Site
from tests.daemon.signing import DNS, WEB, SigningAgent, SigningHost

NAMED = (range(100, 200),)
"""The guests that the owner named for the hub."""
KEY = "the-hubs-own-key-for-this-host"
_JOBS = "/api/v1/hosts/pve1/jobs"

Row = Mapping[str, Any]


class Carrier:
    """A hub over HTTP: it lists `rows`, and lets go of what is acknowledged unless it `insists`.

    `report` is what it was told last, `acknowledged` what it may let go of, in that order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.rows: list[Row] = []
        self.insists = False
        self.report: dict[str, Any] = {}
        self.acknowledged: list[str] = []

    def answer(self, method: str, path: str, body: bytes) -> object:
        if method == "POST":
            self.report = json.loads(body)
            return {"poll_interval_seconds": 600, "has_signed_ops": bool(self.rows)}
        if method == "GET":
            return {"jobs": self.rows}
        job_id = unquote(path.removeprefix(f"{_JOBS}/"))
        self.acknowledged.append(job_id)
        if not self.insists:
            self.rows = [row for row in self.rows if row["job_id"] != job_id]
        return {}


@contextmanager
def a_carrier() -> Iterator[Carrier]:
    """Hold a hub for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody reads it."""

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            found = carrier.answer(self.command, self.path, self.rfile.read(length))
            data = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        carrier = Carrier(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=lambda: server.serve_forever(0.01))
        thread.start()
        try:
            yield carrier
        finally:
            server.shutdown()
            thread.join()


def carried(job: SignedJob, job_id: str = "j") -> Row:
    """Return a job as a hub lists it, under a name of the hub's."""
    return {
        "job_id": job_id,
        "op_blob_b64": base64.b64encode(job.blob).decode(),
        "sigs_armored": [each.decode() for each in job.signatures],
    }


def asked(job_id: str, act: str, vmid: int = 0, **params: object) -> Row:
    """Return a request as a hub lists it; without a vmid it is for the host."""
    guest = {"vmid": vmid} if vmid else {}
    return {"job_id": job_id, "request": {"act": act, **guest, "params": params}}


def signed(request: SignedRequest, *signers: Key) -> SignedJob:
    """Sign a request at the desk."""
    blob = request.operation.encode()
    return SignedJob(blob, tuple(each.sign(blob, NAMESPACE) for each in signers))


class Linked:
    """A running agent, and its rounds with a hub."""

    def __init__(self, agent: SigningAgent, hub: Carrier, config: Config) -> None:
        self.agent = agent
        self.hub = hub
        clock = agent.host.site.clock
        wanted = HubConfig(
            url=hub.url, host_id="pve1", connect_timeout=5.0, read_timeout=5.0, guests=NAMED
        )
        provider = HubProvider(config.journal.directory, wanted)
        reporter = Reporter(provider.speaks_for, clock, Clock(1e3), lambda: 180.0)
        agent.parts.node.observer.reporter = reporter
        ready = agent.parts.signing.ready
        self.loop = HubLoop(
            HubClient(wanted, Secret(KEY)), reporter, provider, "pve1", agent.running.daemon.facts,
            lambda: None, lambda: 0.5,
            SignedForHub(ready, provider.speaks_for) if ready else None, clock,
        )  # fmt: skip

    def round(self, *rows: Row) -> None:
        """Go through one round; with rows these are what the hub lists from now on."""
        if rows:
            self.hub.rows = list(rows)
        self.loop.round()

    def told(self) -> dict[str, Any]:
        """Report once more; return what the hub is told of the agent."""
        self.hub.report = {}
        self.loop.round()
        found: dict[str, Any] = self.hub.report["agent"]
        return found

    def recent(self) -> dict[str, tuple[str, str]]:
        """Report once more; return how each job stands, and why, by the hub's names."""
        return {each["job_id"]: (each["state"], each["why"]) for each in self.told_jobs()["recent"]}

    def told_jobs(self) -> dict[str, Any]:
        """Report once more; return what the hub is told of jobs."""
        found: dict[str, Any] = self.told()["jobs"]
        return found

    def wanted(self, row: Row) -> SignedRequest:
        """Let the hub ask for a request; return what it is told to have signed."""
        self.hub.rows = [row]
        self.loop.round()
        pending = {each["job_id"]: each["request"] for each in self.told()["pending"]}
        self.hub.rows = []
        self.loop.round()
        return parse_request(pending[row["job_id"]].encode())

    def settled(self, job: SignedJob, job_id: str = "j") -> JobStatus:
        """Let the hub carry a job, and the agent come to its last word on it."""
        self.round(carried(job, job_id))
        return self.agent.ended(job)

    def wait_for(self, job: SignedJob, state: JobState) -> None:
        """Let the agent go on until a job stands like that."""
        self.agent.running.hear(lambda: self.agent.status(job).state is state)

    def later(self, seconds: float) -> None:
        """Let time go by on each clock of the agent's that says how old a job is."""
        clock = self.agent.ready._clock
        boottime = clock._boottime
        clock._boottime = lambda: boottime() + seconds
        self.agent.host.site.clock.pass_by(seconds)


class HubbedHost:
    """A host whose guest 100 is named for a hub; `policy` is what its owner wants of signers."""

    def __init__(self, site: Site, hub: Carrier) -> None:
        site.world.add("qemu", 100, WEB)
        site.world.add("lxc", 200, DNS)
        self.host = SigningHost(site)
        self.hub = hub
        self.policy: dict[str, Any] = {}

    def allow(self, *lines: str) -> None:
        self.host.signers.allow(*lines)

    @property
    def config(self) -> Config:
        config = self.host.config
        kept = config.journal.directory / "signers"
        wanted = {"kept": kept, "spool": None, **self.policy}
        authz: AuthzConfig = replace(config.authz, **wanted)
        return replace(config, authz=authz)

    @contextmanager
    def agent(self) -> Iterator[Linked]:
        """Hold an agent that has looked at its node."""
        with self.host.agent(self.config) as agent:
            linked = Linked(agent, self.hub, self.config)
            agent.running.look()
            try:
                yield linked
            finally:
                linked.loop.close(5.0)
