"""The owner's part in chaos: signs jobs on guests of their own, hands them in by two ways, some of
them wrong, and judges by the node and the audit log what came of each.

Each job has its guest for itself until it has its last word. What is counted are the requests that
came to the node since the job was handed in.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.challenge import random_id
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.jobs import JobState, statuses_of
from felhom_agent.authz.request import compose, with_times
from felhom_agent.config.agentfile import load
from felhom_agent.devnode import Behaviour, DevNode
from felhom_agent.devnode.http.request import Request
from felhom_agent.errors import FelhomError
from felhom_agent.journal.audit import AUDIT_NAME, AuditEntry, verify_audit
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.signed import decisions_of
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.signedview import SignedView
from tests.authz.desk import key
from tests.chaos.doomed import is_final
from tests.daemon.signing import PRIVILEGES

GUESTS = range(950, 956)
SETTINGS = """
[authz]
clock = "trust"
signers = "signers"
kept = "kept"
spool = "spool"
"""
_ACTS = ("guest_destroy", "stop", "snapshot_rollback", "snapshot_delete", "force_stop")
_MISTAKES = ("signature", "key", "host", "late", "changed")
_LASTS = 600


@dataclass
class Signed:
    """One signed job: what it does to which guest, with which mistake, the requests that had come
    before it, and its last word.
    """

    job: SignedJob
    act: str
    vmid: int
    mistake: str
    since: int
    state: JobState | None = None

    def __str__(self) -> str:
        return f"signed {self.act} of {self.vmid} ({self.mistake or 'good'}): {self.state}"


class Owner:
    """Signs, hands in, and judges."""

    def __init__(self, node: DevNode, directory: Path, rng: Random) -> None:
        self.jobs: list[Signed] = []
        self._node = node
        self._directory = directory
        self._rng = rng
        self._born = 0
        for name in ("signers", "spool"):
            (directory / name).mkdir(mode=0o755)
        (directory / "signed").touch()
        listed = directory / "signers" / "allowed_signers"
        listed.write_text(f'operational namespaces="felhom-op-v1" {key().line}\n')
        listed.chmod(0o644)
        secret = (directory / "token").read_text().strip()
        node.world.token("felhom-agent@pve!agent", PRIVILEGES, secret)
        for vmid in GUESTS:
            self._furnish(vmid)

    @property
    def declared(self) -> str:
        """The guest file's text for the guests that jobs are on."""
        return "".join(f"[guest.{vmid}.config]\ncores = 2\n" for vmid in GUESTS)

    def act(self) -> None:
        """Sign jobs on some of the guests that have none, and hand them in; all by chance."""
        self._interrupt()
        free = [v for v in GUESTS if not any(j.vmid == v and j.state is None for j in self.jobs)]
        if not (self._journal / "host-id").exists():
            return
        chosen = [vmid for vmid in free if self._rng.random() < 0.4]
        if chosen:
            self._sign(chosen)

    def hear(self) -> list[str]:
        """Take what the audit log says; return which promises were not kept."""
        entries, broken = self._entries()
        told = statuses_of(entries)
        for each in self.jobs:
            status = told.get(each.job.hash)
            if each.state is None and status is not None and is_final(status):
                each.state = status.state
                broken += self._lies(each)
        return broken + list(self._broken(entries))

    @property
    def waits(self) -> bool:
        """Whether a job has no last word yet."""
        return any(job.state is None for job in self.jobs)

    def without_word(self) -> list[str]:
        """Return the jobs that have no last word."""
        return [f"{each} has no last word" for each in self.jobs if each.state is None]

    @property
    def _journal(self) -> Path:
        return self._directory / "journal"

    def _entries(self) -> tuple[tuple[AuditEntry, ...], list[str]]:
        path = self._journal / AUDIT_NAME
        if not path.exists():
            return (), []
        records = read(self._journal / NAME, absent_ok=True)
        report = verify_audit(path, decisions_of(records))
        # A line that a kill cut short was promised to nobody; the next start sets it aside.
        problems = [text for text in report.problems if "cut" not in text and "torn" not in text]
        spent = {r["blob"] for r in records if r.get("signed") == "nonce"}
        refused = [j for j in self.jobs if j.state is JobState.REFUSED and j.job.hash in spent]
        return report.entries, [*problems, *(f"{j}: its nonce is burnt" for j in refused)]

    def _lies(self, job: Signed) -> Iterator[str]:
        """Yield what the last word on a job says that the node does not show."""
        sent, shows = self._sent(job), self._shows(job)
        if job.state is JobState.DONE and not shows:
            yield f"{job}, and it does not show"
        if job.state in (JobState.REFUSED, JobState.EXPIRED) and sent:
            yield f"{job}, and PVE was asked: {sent}"
        if job.mistake and sent:
            yield f"{job}, and PVE was asked: {sent}"
        if job.state is JobState.FAILED and shows and job.act in ("guest_destroy", "stop"):
            yield f"{job}, and the guest is gone"

    def _broken(self, entries: tuple[AuditEntry, ...]) -> Iterator[str]:
        ends = [e.blob for e in entries if e.decision in ("done", "failed", "unknown")]
        for job in self.jobs:
            sent = self._sent(job)
            if len(sent) > len({(r.method, r.path) for r in sent}):
                yield f"{job} was asked for more than once: {sent}"
            if ends.count(job.job.hash) > 1:
                yield f"{job} has {ends.count(job.job.hash)} last words"
        for vmid in GUESTS:
            yield from self._healed(vmid)
            destroyed = {j.vmid for j in self.jobs if j.act in ("guest_destroy", "stop")}
            if vmid not in destroyed and vmid not in self._node.world.guests:
                yield f"guest {vmid} is gone, and nobody signed for that"

    def _healed(self, vmid: int) -> Iterator[str]:
        latest = next((j for j in reversed(self.jobs) if j.vmid == vmid), None)
        if latest is None or latest.act != "snapshot_rollback" or latest.state is not JobState.DONE:
            return
        if self._node.world.config(vmid)["cores"] != 1:
            yield f"{latest}, and it was healed away"

    def _sent(self, job: Signed) -> list[Request]:
        """Return what was asked of PVE for a job, but for what was surely not done."""
        later = (j.since for j in self.jobs if j.vmid == job.vmid and j.since > job.since)
        found = self._node.requests[job.since : min(later, default=None)]
        return [
            r for r in found
            if r.changes and r.guest == str(job.vmid) and not r.path.endswith("/config")
            and not 400 <= r.status <= 595
        ]  # fmt: skip

    def _shows(self, job: Signed) -> bool:
        world, vmid = self._node.world, job.vmid
        if job.act in ("guest_destroy", "stop"):
            return world.here(_kind(vmid), vmid) is None
        if vmid not in world.guests:
            return False
        if job.act == "snapshot_rollback":
            return bool(world.config(vmid)["cores"] == 1)
        if job.act == "snapshot_delete":
            return "before" not in world.snapshots(vmid)
        return not world.running(vmid)

    def _sign(self, vmids: list[int]) -> None:
        node = Node.connect(load(self._directory / "agent.toml").proxmox)
        host = json.loads((self._journal / "host-id").read_text())["host"]
        try:
            for vmid in vmids:
                act = self._rng.choice(_ACTS)
                self._prepare(vmid, act)
                guest = SignedView(node).guest(vmid)
                if guest is None:
                    continue
                of = "guest_destroy" if act == "stop" else act
                params: dict[str, str | bool] = {"purge": False} if of == "guest_destroy" else {}
                params |= {"snapshot": "before"} if act.startswith("snapshot") else {}
                made = compose(of, guest, host, random_id(), params=params, stop=act == "stop")
                self._hand_in(with_times(made, int(time.time()), _LASTS), act, vmid)
        except FelhomError:
            pass  # a guest that is locked for a while, or a fault; another time
        finally:
            node.client.close()

    def _hand_in(self, operation: SignedOperation, act: str, vmid: int) -> None:
        rng = self._rng
        mistake = rng.choice(_MISTAKES) if rng.random() < 0.25 else ""
        if mistake == "host":
            operation = replace(operation, host="f" * 32)
        if mistake == "late":
            operation = with_times(operation, int(time.time()) - 2 * _LASTS, _LASTS)
        blob = operation.encode()
        armor = key(number=9 if mistake == "key" else 0).sign(blob, "felhom-op-v1")
        if mistake == "signature":
            blob = blob.replace(b'"stop":false', b'"stop":true ').replace(b"true ", b"true")
            blob = blob.replace(b'"resume":false', b'"resume":true')
        if mistake == "changed":
            self._node.world.edit(vmid, {"description": f"changed {rng.random()}"})
        job = SignedJob(blob, (armor,), "socket")
        self.jobs.append(Signed(job, act, vmid, mistake, len(self._node.requests)))
        way = rng.choice(("spool", "socket", "both"))
        if way != "socket":
            name = self._directory / "spool" / f"{len(self.jobs):06}.job"
            name.with_name(f"{name.name}.sig").write_bytes(armor)
            name.write_bytes(blob)
        if way != "spool":
            told = [base64.b64encode(part).decode("ascii") for part in (blob, armor)]
            with (self._directory / "signed").open("a") as file:
                file.write(json.dumps(told) + "\n")

    def tidy(self) -> None:
        """Take away the spool's files whose jobs have ended, as root does now and then."""
        for number, job in enumerate(self.jobs, start=1):
            if job.state is not None:
                for name in (f"{number:06}.job", f"{number:06}.job.sig"):
                    (self._directory / "spool" / name).unlink(missing_ok=True)

    def _prepare(self, vmid: int, act: str) -> None:
        """Let a guest be as the act needs it, and behave well or badly."""
        world, rng = self._node.world, self._rng
        if vmid not in world.guests or world.guests[vmid].lock:
            world.guests.pop(vmid, None)
            self._furnish(vmid)
        world.behave(vmid, Behaviour())
        world.edit(vmid, {"cores": 1})
        if "before" not in world.snapshots(vmid):
            world.snapshot(vmid, "before")
        world.edit(vmid, {"cores": 2})
        if act in ("stop", "force_stop"):
            world.start(vmid)
        else:
            world.stop(vmid)
        slow = rng.choice((0.0, 0.1, 0.5))
        error = "something went wrong" if rng.random() < 0.15 else ""
        world.behave(vmid, Behaviour(
            stop_seconds=slow, snapshot_seconds=slow, destroy_seconds=slow, stop_error=error,
            snapshot_error=error, destroy_error=error,
        ))  # fmt: skip

    def _interrupt(self) -> None:
        """Kill the workers of some guests."""
        for vmid in GUESTS:
            if vmid in self._node.world.guests and self._rng.random() < 0.1:
                self._node.world.kill_tasks(vmid)

    def _furnish(self, vmid: int) -> None:
        """Make a guest, another one each time."""
        self._born += 1
        config: dict[str, object] = {"cores": 2}
        if _kind(vmid) == "qemu":
            config["smbios1"] = f"uuid=11111111-2222-3333-4444-{self._born:012d}"
            config["meta"] = f"creation-qemu=9.0.2,ctime={1_700_000_000 + self._born}"
            config["scsi0"] = f"local-lvm:vm-{vmid}-disk-0,size=4G"
        else:
            config["rootfs"] = f"local-lvm:vm-{vmid}-disk-0,size=4G"
            mac = f"BC:24:11:00:{self._born >> 8 & 255:02X}:{self._born & 255:02X}"
            config["net0"] = f"name=eth0,bridge=vmbr0,hwaddr={mac},type=veth"
        self._node.world.create(_kind(vmid), vmid, config)


def _kind(vmid: int) -> str:
    return "qemu" if vmid % 2 else "lxc"
