"""`felhom-agent jobs`: which signed jobs wait, and what came of those of the last 7 days.

Made of the audit log, without an agent, and safe beside one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any, Final

from felhom_agent.authz.jobs import KEPT_SECONDS, JobState, JobStatus, statuses_of
from felhom_agent.cli import auditlog
from felhom_agent.cli.codes import DATAERR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.cli.terminal import Part, Style, put, put_table
from felhom_agent.config.agentfile import load
from felhom_agent.journal.audit import AuditEntry
from felhom_agent.printable import local_text, printable

MAX_SHOWN: Final = 200
"""How many jobs a person is shown; the newest."""
_MAX_TEXT: Final = 500
_SHORT: Final = 12
_HEAD: Final = ("WHEN", "JOB", "ACT", "GUEST", "STATE", "WHY")
_STYLES: Final = {
    JobState.PENDING: Style.WARN, JobState.RUNNING: None, JobState.DONE: Style.GOOD,
    JobState.FAILED: Style.BAD, JobState.UNKNOWN: Style.BAD, JobState.REFUSED: Style.WARN,
    JobState.EXPIRED: Style.DIM,
}  # fmt: skip


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "jobs",
        run,
        summary="Show which signed jobs wait or run, and what came of those that ended within 7 "
        "days: done, failed, unknown, refused, expired. Exit code 65: the audit log is not what "
        "was written.",
        example="jobs",
    )
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json/jobs.json)")


def run(arguments: argparse.Namespace) -> int:
    found = auditlog.examine(load(arguments.config).journal.directory)
    now = time.time()
    jobs = _told(found.report.entries, now)
    if arguments.json:
        say_json({"log": str(found.path), "jobs": [_as_json(job) for job in jobs]})
    else:
        _show(jobs, now)
    for problem in found.problems[:1]:
        complain(f"{problem}; so a job may be missing: `felhom-agent audit verify`")
    return DATAERR if found.problems else OK


def _told(entries: Iterable[AuditEntry], now: float) -> list[JobStatus]:
    """Return the jobs that have not ended, whatever their age, and those that ended lately."""
    since = now - KEPT_SECONDS
    return [job for job in statuses_of(entries).values() if not job.state.final or job.at >= since]


def _show(jobs: list[JobStatus], now: float) -> None:
    if not jobs:
        say("No signed job waits, and none came within the last 7 days.")
        return
    if more := len(jobs[:-MAX_SHOWN]):
        put(f"{more} older ones are left out; --json has all.")
    put_table(_HEAD, [_row(job, now) for job in jobs[-MAX_SHOWN:]], indent=0)


def _row(job: JobStatus, now: float) -> tuple[str | Part, ...]:
    why = ": ".join(filter(None, (job.stage, job.why)))
    return (
        local_text(auditlog.seconds(job.at), now),
        printable(job.job[:_SHORT], _SHORT),
        printable(job.act or "-", 40),
        printable(job.guest or "-", 80),
        Part(str(job.state), _STYLES[job.state]),
        printable("   ".join(filter(None, (why, job.upid))), _MAX_TEXT),
    )


def _as_json(job: JobStatus) -> dict[str, Any]:
    return {
        "job": job.job, "act": job.act, "vmid": job.vmid or None, "name": job.name,
        "state": str(job.state), "stage": job.stage, "why": job.why, "upid": job.upid,
        "at": auditlog.rfc3339(job.at),
    }  # fmt: skip
