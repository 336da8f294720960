"""An agent on a site whose owner signs: what tests of signed operations share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.jobs import JobStatus
from felhom_agent.authz.request import SignedRequest, with_times
from felhom_agent.config.settings import AuthzConfig, ClockTrust, Config
from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.daemon.signing import Ready
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.journal.audit import verify_audit
from tests.authz.desk import Key, SignerFiles, key
from tests.conftest import Clock, Site
from tests.daemon.running import Running

OWNER = ("VM.Allocate", "VM.Snapshot", "VM.Snapshot.Rollback", "Datastore.AllocateSpace")
"""What a host gives to its token besides, so that signed operations can be done."""
PRIVILEGES = {
    "/": [*AGENT_PRIVILEGES, *OWNER],
    "/sdn/zones/localnetwork": ["SDN.Use"],
}

WEB = {
    "name": "web",
    "memory": "1024",
    "cores": 1,
    "scsi0": "local-lvm:vm-100-disk-0,size=4G",
    "smbios1": "uuid=11111111-2222-3333-4444-555555555555",
    "meta": "creation-qemu=9.0.2,ctime=1700000000",
}
DNS = {
    "hostname": "dns",
    "memory": 512,
    "cores": 1,
    "rootfs": "local-lvm:vm-200-disk-0,size=4G",
    "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,type=veth",
}
DESTROY = "guest_destroy"


class SigningHost:
    """A host with an agent, and the desk of its owner."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.path: Path = site.write_config("[reconcile]\ninterval = 1\n")
        self.signers = SignerFiles(site.directory / "signers")
        self.spool = site.directory / "spool"
        self.key: Key = key()
        self.allow(self.key)

    def allow(self, *keys: Key, role: str = "operational") -> None:
        self.signers.allow(*(f'{role} namespaces="felhom-op-v1" {k.line}' for k in keys))

    @property
    def config(self) -> Config:
        kept = self.site.directory / "kept"
        wanted = AuthzConfig(self.signers.directory, ClockTrust.TRUST, self.spool, kept=kept)
        return replace(self.site.config(), authz=wanted)

    @contextmanager
    def agent(self, config: Config | None = None, disk: Disk = DISK) -> Iterator[SigningAgent]:
        """Hold an agent for the length of a block; its journal lives on `disk`."""
        config = config or self.config
        with assembled(config, self.site.clock, disk, monotonic=self.site.clock) as parts:
            monotonic = Clock(1000.0)
            daemon = Daemon(config, parts, clock=monotonic, chance=lambda: 0.0)
            daemon.begin(greets=False)
            yield SigningAgent(self, parts, Running(daemon, monotonic, self.site))

    def signed(self, request: SignedRequest, by: Key | None = None, **times: int) -> SignedJob:
        """Given a request, return it as a signed job."""
        operation = request.operation
        if times:
            operation = with_times(operation, times["now"], times["seconds"])
        blob = operation.encode()
        return SignedJob(blob, ((by or self.key).sign(blob, "felhom-op-v1"),), "socket")


class SigningAgent:
    """A running agent that does signed operations."""

    def __init__(self, host: SigningHost, parts: Parts, running: Running) -> None:
        self.host = host
        self.parts = parts
        self.running = running

    @property
    def ready(self) -> Ready:
        return self.parts.signing.parts

    def request(
        self,
        act: str,
        vmid: int = 100,
        params: Mapping[str, str | bool] | None = None,
        *,
        stop: bool = False,
        resume: bool = False,
    ) -> SignedRequest:
        given = params if params is not None else {"purge": False} if act == DESTROY else {}
        return self.ready.request(act, vmid, given, stop=stop, resume=resume)

    def job(self, act: str, *words: object, **more: object) -> SignedJob:
        """Return a job as the owner signs it."""
        return self.host.signed(self.request(act, *words, **more))  # type: ignore[arg-type]

    def done(self, job: SignedJob) -> JobStatus:
        """Hand a job in, and return how it stands once it has ended."""
        self.ready.jobs.submit(job)
        return self.ended(job)

    def ended(self, job: SignedJob) -> JobStatus:
        self.running.hear(lambda: self.status(job).state.final)
        self.running.hear(lambda: self.running.scheduler.idle)
        return self.status(job)

    def ended_known(self, job: SignedJob) -> JobStatus:
        """As `ended`, for a job that is taken in meanwhile."""
        self.running.hear(lambda: self.ready.jobs.status(job.hash) is not None)
        return self.ended(job)

    def status(self, job: SignedJob) -> JobStatus:
        found = self.ready.jobs.status(job.hash)
        assert found is not None
        return found

    def tried(self, job: SignedJob) -> JobStatus:
        """Let whatever waits have a turn; return how a job stands then."""
        self.running.run_pass()
        self.running.hear(lambda: self.running.scheduler.idle)
        return self.status(job)

    def decisions(self) -> list[str]:
        """Return what the audit log has, in its order."""
        path = self.host.config.journal.directory / "audit.jsonl"
        report = verify_audit(path)
        assert not report.problems
        return [entry.decision for entry in report.entries[1:]]
