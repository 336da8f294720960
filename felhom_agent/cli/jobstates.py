"""What came of each signed job, by the decisions in the audit log. Pure.

A job is known by the SHA-256 of its bytes. Its last word counts, but for one thing: once it was
authorized its nonce is burnt, and the same bytes that come once more are refused for that. Such a
refusal is of the second coming and says nothing about the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from felhom_agent.journal.audit import AuditEntry

KEPT: Final = 7 * 86400.0
"""For how many seconds a job that has ended is told."""
_ENDED: Final = ("done", "failed", "unknown")


class JobState(StrEnum):
    """How a signed job is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True)
class JobLine:
    """A job: how it is, the decision that says so, and when it first came (seconds since the
    epoch).
    """

    state: JobState
    entry: AuditEntry
    came: float

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self.state in (JobState.PENDING, JobState.RUNNING)


def jobs_of(entries: Iterable[AuditEntry], now: float) -> tuple[JobLine, ...]:
    """Given the decisions in their order and the present time, return the jobs that wait or run,
    and those that ended within the last `KEPT` seconds, in the order of their last words.
    """
    found: dict[str, JobLine] = {}
    for entry in entries:
        if not entry.blob:
            continue
        before = found.get(entry.blob)
        state = _next(before, entry)
        if state is not None:
            came = before.came if before else entry.at
            found.pop(entry.blob, None)
            found[entry.blob] = JobLine(state, _filled(entry, before), came)
    return tuple(job for job in found.values() if job.is_open or job.entry.at >= now - KEPT)


def _next(before: JobLine | None, entry: AuditEntry) -> JobState | None:
    """Return how a job is after a decision; None if the decision says nothing about it."""
    state = before.state if before else None
    if entry.decision in _ENDED:
        return JobState(entry.decision)
    if state in _ENDED:
        return None
    match entry.decision:
        case "accepted" | "waits":
            return None if state is JobState.RUNNING else JobState.PENDING
        case "authorized":
            return JobState.RUNNING
        case "refused" if state is JobState.RUNNING and entry.stage == "nonce":
            return None
        case "refused" if state is JobState.PENDING and entry.stage == "time":
            return JobState.EXPIRED
        case "refused":
            # Who brings a job that has expired once more does not make another one of it.
            return state if state is JobState.EXPIRED else JobState.REFUSED
    return None


def _filled(entry: AuditEntry, before: JobLine | None) -> AuditEntry:
    """Return a decision with what earlier ones told of the job and it does not."""
    if before is None or entry.act:
        return entry
    old = before.entry
    return replace(
        entry,
        act=old.act,
        vmid=entry.vmid or old.vmid,
        name=entry.name or old.name,
        fingerprint=entry.fingerprint or old.fingerprint,
        role=entry.role or old.role,
        source=entry.source or old.source,
    )
