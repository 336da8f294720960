"""`felhom-agent jobs`: which signed jobs wait, and what came of those of the last 7 days.

Made of the audit log, without an agent, and safe beside one.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from felhom_agent.cli import auditlog
from felhom_agent.cli.codes import DATAERR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.jobstates import JobLine, JobState, jobs_of
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.cli.terminal import Part, Style, put, put_table
from felhom_agent.config.agentfile import load
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
    jobs = jobs_of(found.report.entries, now)
    if arguments.json:
        say_json({"log": str(found.path), "jobs": [_as_json(job) for job in jobs]})
    else:
        _show(jobs, now)
    for problem in found.problems[:1]:
        complain(f"{problem}; so a job may be missing: `felhom-agent audit verify`")
    return DATAERR if found.problems else OK


def _show(jobs: tuple[JobLine, ...], now: float) -> None:
    if not jobs:
        say("No signed job waits, and none came within the last 7 days.")
        return
    if more := len(jobs[:-MAX_SHOWN]):
        put(f"{more} older ones are left out; --json has all.")
    put_table(_HEAD, [_row(job, now) for job in jobs[-MAX_SHOWN:]], indent=0)


def _row(job: JobLine, now: float) -> tuple[str | Part, ...]:
    entry = job.entry
    why = ": ".join(filter(None, (entry.stage, entry.why, entry.exit)))
    return (
        local_text(auditlog.seconds(entry.at), now),
        printable(entry.blob[:_SHORT], _SHORT),
        printable(entry.act or "-", 40),
        printable(entry.guest or "-", 80),
        Part(str(job.state), _STYLES[job.state]),
        printable("   ".join(filter(None, (why, entry.upid))), _MAX_TEXT),
    )


def _as_json(job: JobLine) -> dict[str, Any]:
    entry = job.entry
    return {
        "job": entry.blob, "state": str(job.state), "act": entry.act, "vmid": entry.vmid,
        "name": entry.name, "stage": entry.stage, "why": entry.why, "fingerprint":
        entry.fingerprint, "source": entry.source, "upid": entry.upid, "exit": entry.exit,
        "came": auditlog.rfc3339(job.came), "at": auditlog.rfc3339(entry.at),
    }  # fmt: skip
