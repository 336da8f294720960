"""How a signed job stands, as its decisions in the audit log tell.

    pending    it was taken, and waits: for its turn, a hold, its time
    running    its nonce is burnt, and its act has no outcome yet
    done       the act is done, and was seen to be done
    failed     it was begun and failed; nothing tries it again
    unknown    nobody can tell what came of it; nothing tries it again
    refused    it did not pass the examination; nothing was done
    expired    it was good once, and its time was over before it could be done

No job leaves the last five by itself. One that was refused or has expired is examined anew if it
is brought again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from felhom_agent.journal.audit import AuditEntry

KEPT_SECONDS: Final = 7 * 86400.0
"""For how long jobs are listed after the last decision on them."""


class JobState(StrEnum):
    """How a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing comes of the same bytes any more unless they are brought again."""
        return self not in (JobState.PENDING, JobState.RUNNING)

    @property
    def tried(self) -> bool:
        """Whether its nonce is burnt, so that nothing comes of the same bytes ever again."""
        return self in _TRIED


_STATES: Final = {
    "accepted": JobState.PENDING,
    "waits": JobState.PENDING,
    "authorized": JobState.RUNNING,
    "done": JobState.DONE,
    "failed": JobState.FAILED,
    "unknown": JobState.UNKNOWN,
    "refused": JobState.REFUSED,
}


@dataclass(frozen=True)
class JobStatus:
    """One job: the SHA-256 of its signed bytes, what it is and how it stands since `at` (seconds
    since the epoch); at which stage it was refused or waits, and why; PVE's task.
    """

    job: str
    state: JobState
    at: float
    act: str = ""
    vmid: int = 0
    name: str = ""
    stage: str = ""
    why: str = ""
    upid: str = ""

    @property
    def guest(self) -> str:
        """Its guest, as people call it: "101 web"; empty if it is not known."""
        return f"{self.vmid} {self.name}".rstrip() if self.vmid else ""


def statuses_of(entries: Iterable[AuditEntry], since: float = 0.0) -> dict[str, JobStatus]:
    """Given an audit log's decisions in their order, and a time, return the jobs on which the last
    decision is no older, by their hash, in the order of those decisions.
    """
    found: dict[str, JobStatus] = {}
    for entry in entries:
        if entry.blob and entry.decision in _STATES:
            before = found.get(entry.blob)
            found[entry.blob] = after(before, entry)
            if before is not None:
                found[entry.blob] = found.pop(entry.blob)
    return {job: status for job, status in found.items() if status.at >= since}


def after(before: JobStatus | None, entry: AuditEntry) -> JobStatus:
    """Given how a job stood, and the next decision on it, return how it stands."""
    state = _STATES[entry.decision]
    if before is not None and before.state in _TRIED and state in _BEFORE_THE_ACT:
        # The same bytes came in once more; what became of them stands.
        return before
    was_good = before is not None and before.state in (JobState.PENDING, JobState.EXPIRED)
    if state is JobState.REFUSED and entry.stage == "time" and was_good:
        state = JobState.EXPIRED
    known = entry
    if before is not None and not entry.act:
        # The same bytes: what was found in them once is in them still.
        known = replace(entry, act=before.act, vmid=before.vmid, name=before.name)
    return JobStatus(
        known.blob, state, known.at, known.act, known.vmid, known.name, known.stage, known.why,
        known.upid,
    )  # fmt: skip


_BEFORE_THE_ACT: Final = (JobState.PENDING, JobState.REFUSED)
_TRIED: Final = (JobState.RUNNING, JobState.DONE, JobState.FAILED, JobState.UNKNOWN)
