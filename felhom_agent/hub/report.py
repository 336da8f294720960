"""What a host tells its hub: how it is, how its guests are, how the agent gets on.

`report_of` is a pure function of what the main loop's latest snapshot left behind
(`proxmox.nodereport`), of how the agent gets on and of what there is to tell of jobs; nothing is
asked for it. A guest whose configuration could not be read loses only its `spec`, and an odd row or
value of PVE's costs itself. Of guests that the owner did not name for the hub it learns that they
are there, of which kind, and whether they run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from felhom_agent import __version__
from felhom_agent.authz.canonical import MAX_BYTES
from felhom_agent.hub.jobs import JobsReport, SignedStatus, SignersInForce
from felhom_agent.model import GuestStatus, outcome_word
from felhom_agent.printable import moment_text
from felhom_agent.proxmox.nodereport import NodeReport, ReportedGuest
from felhom_agent.redaction import redacted

SCHEMA = 1
MEBIBYTE = 1024 * 1024
MAX_RECENT: Final = 50
"""How many jobs a report tells of."""
MAX_PENDING: Final = 20
"""How many requests a report tells of."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RefusedState:
    """A generation of the desired state that was refused, and why."""

    generation: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class AgentFacts:
    """How the agent gets on; times are seconds since the epoch.

    `passed` is when the last pass began (0: none did), `pass_seconds` how long it took.
    """

    node: str
    started: float
    enforces: bool
    generation: int = 0
    passed: float = 0.0
    pass_seconds: float = 0.0
    pass_good: bool = False
    in_flight: int = 0
    unknown: int = 0
    statuses: Mapping[int, GuestStatus] = field(default_factory=dict)
    managed: frozenset[int] = frozenset()
    frozen: bool = False
    refused: RefusedState | None = None
    jobs: JobsReport = field(default_factory=JobsReport)


def report_of(host_id: str, node: NodeReport, agent: AgentFacts) -> dict[str, Any]:
    """Given who, what a snapshot of the node left behind and how the agent gets on, return the
    report; it was collected when the snapshot was taken.
    """
    return {
        "schema": SCHEMA,
        "host_id": host_id,
        "at": moment_text(node.at),
        "agent": _agent(agent),
        "host": _host(agent.node, node.status),
        "guests": [_guest(g, agent) for g in sorted(node.guests, key=lambda g: g.vmid)],
        "storage_targets": [],
        "backups": [],
        "restore_tests": [],
    }


def _agent(agent: AgentFacts) -> dict[str, Any]:
    counts = Counter(outcome_word(s.outcome) for s in agent.statuses.values())
    passed = {
        "at": moment_text(agent.passed),
        "seconds": round(agent.pass_seconds, 3),
        "ok": agent.pass_good,
    }
    return {
        "version": __version__,
        "started_at": moment_text(agent.started),
        "mode": "enforce" if agent.enforces else "observe",
        "generation": agent.generation,
        "last_pass": passed if agent.passed else None,
        "outcomes": {state: counts[state] for state in _STATES},
        "journal": {"in_flight": agent.in_flight, "unknown": agent.unknown},
        "refused": _refused(agent.refused),
        "frozen": agent.frozen,
        **_signed(agent.jobs),
    }


def _signed(jobs: JobsReport) -> dict[str, Any]:
    """Given what is to be told of jobs, return it; null is what this host cannot tell now."""
    status = jobs.status or SignedStatus()
    return {
        "jobs": {
            "last_nonce": _text(status.last_nonce),
            "accepted": status.accepted,
            "recent": [
                {
                    "job_id": plain(redacted(job_id)),
                    "state": plain(job.state),
                    "why": plain(redacted(job.why)),
                }
                for job_id, job in jobs.recent[-MAX_RECENT:]
            ],
        },
        "pending": [
            {
                "job_id": plain(redacted(job_id)),
                "request": plain(redacted(request.text), MAX_BYTES),
                "expires": request.expires,
            }
            for job_id, request in jobs.pending[:MAX_PENDING]
        ],
        "challenge": _text(status.challenge),
        "audit_head": _text(status.audit_head),
        "signers": _signers(status.signers),
    }


def _signers(signers: SignersInForce | None) -> dict[str, Any] | None:
    if signers is None:
        return None
    return {
        "version": signers.version,
        "by": plain(signers.by),
        "since": None if signers.since is None else moment_text(signers.since),
        "expires": None if signers.expires is None else moment_text(signers.expires),
        "operational": signers.operational,
        "recovery": signers.recovery,
    }


def _text(text: str) -> str | None:
    return plain(redacted(text)) or None


def _refused(refusal: RefusedState | None) -> dict[str, Any] | None:
    if refusal is None:
        return None
    problems = [plain(redacted(problem)) for problem in refusal.problems[:_MAX_PROBLEMS]]
    return {"generation": refusal.generation, "problems": problems}


_MAX_PROBLEMS = 20
_STATES = ("converged", "retry", "blocked", "refused")


def _host(node: str, status: Row) -> dict[str, Any]:
    memory, rootfs = _table(status, "memory"), _table(status, "rootfs")
    load = status.get("loadavg")
    return {
        "node": node,
        "pve_version": plain(_release(status.get("pveversion"))),
        "uptime_seconds": _number(status.get("uptime")),
        "cpu_count": _number(_table(status, "cpuinfo").get("cpus")),
        "cpu_usage": min(max(_real(status.get("cpu")), 0.0), 1.0),
        "load_avg": [_real(value) for value in load[:3]] if isinstance(load, list) else [],
        "memory_total_bytes": _number(memory.get("total")),
        "memory_used_bytes": _number(memory.get("used")),
        "rootfs_total_bytes": _number(rootfs.get("total")),
        "rootfs_used_bytes": _number(rootfs.get("used")),
    }


def _guest(guest: ReportedGuest, agent: AgentFacts) -> dict[str, Any]:
    known = {
        "vmid": guest.vmid,
        "kind": str(guest.kind),
        "status": str(guest.state or "unknown"),
    }
    if not guest.seen:
        return known
    status_now = agent.statuses.get(guest.vmid)
    return {
        **known,
        "name": plain(guest.name),
        "spec": None if guest.options is None else _spec(guest.options),
        "managed": guest.vmid in agent.managed,
        "outcome": None if status_now is None else _outcome(status_now),
    }


def _spec(options: Row) -> dict[str, Any]:
    # Absent, PVE uses 512 MiB for both kinds (PVE: qemu-server Memory.pm, pve-container Config.pm).
    memory = _number(str(options.get("memory", "512")).removeprefix("current="))
    return {
        "cores": _number(options["cores"]) if "cores" in options else None,
        "memory_bytes": memory * MEBIBYTE,
        "description": plain(str(options.get("description", "")), 8192, keep="\n\t"),
        "tags": plain(str(options.get("tags", ""))).replace(",", ";").replace(" ", ";").strip(";"),
        "onboot": str(options.get("onboot", 0)) == "1",
    }


def _outcome(status: GuestStatus) -> dict[str, Any]:
    return {
        "state": outcome_word(status.outcome),
        "why": plain(str(getattr(status.outcome, "why", ""))),
        "since": moment_text(status.since),
    }


def _release(value: object) -> str:
    """Return the release of what PVE calls itself: 9.1.7 of pve-manager/9.1.7/0307225d4bc8b3ed
    (recorded: 01-reads).
    """
    parts = value.split("/") if isinstance(value, str) else []
    return parts[1] if len(parts) > 1 else ""


def _table(row: Row, key: str) -> Row:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int:
    return int(_real(value))


def _real(value: object) -> float:
    """Return a number as PVE gives it, as text or not; 0 for what is none, or is endless."""
    try:
        number = float(str(value)[:64])
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def plain(text: str, longest: int = 1024, keep: str = "") -> str:
    """Given a text, return what of it can be shown anywhere, cut to a length in characters."""
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(c if c.isprintable() or c in keep else "?" for c in cut)
