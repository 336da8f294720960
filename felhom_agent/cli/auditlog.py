"""The audit log of signed operations as commands read it: beside a running agent, without a lock.

The journal is read before the log. The agent writes a decision into the log first and the nonce
that it is for into the journal afterwards, so each line that the journal knows of is in the log by
then; the other way round a decision made in between would look like one that was cut off.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from felhom_agent.cli.moment import day_of, day_text
from felhom_agent.cli.terminal import Line, Part, Style
from felhom_agent.journal.audit import AUDIT_NAME, BEGUN, AuditEntry, AuditReport, verify_audit
from felhom_agent.journal.content import NAME
from felhom_agent.journal.repair import inspect
from felhom_agent.journal.signed import Decision, decisions_of
from felhom_agent.printable import moment_text, printable

HANG: Final = 12
_MAX_TEXT: Final = 500
_STYLES: Final = {
    "done": Style.GOOD, "refused": Style.WARN, "failed": Style.BAD, "unknown": Style.BAD,
}  # fmt: skip
_WIDTH: Final = len("authorized")
# What datetime holds in every zone.
_LATEST: Final = 253_370_764_800.0


@dataclass(frozen=True)
class AuditLook:
    """An audit log that was looked at: where it is, whether there is one, what was found, and how
    many of its lines the journal knows.
    """

    path: Path
    present: bool
    report: AuditReport
    known: int

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong."""
        if self.present and not self.report.lines and not self.report.problems:
            # A log is begun with a line in it.
            return (f"{self.path}: it is empty, and no log ever is: it was cut off",)
        return self.report.problems


def examine(directory: Path, head: str = "") -> AuditLook:
    """Given the journal's directory and a head that somebody has kept (empty: none), return how the
    audit log is. Raise JournalClosed if it, or the journal, cannot be read.
    """
    known, damaged = _known(directory / NAME)
    path = directory / AUDIT_NAME
    report = verify_audit(path, known, head)
    if damaged:
        problems = (*report.problems, damaged)
        report = dataclasses.replace(report, problems=problems)
    return AuditLook(path, path.exists(), report, len(known))


def _known(path: Path) -> tuple[tuple[Decision, ...], str]:
    """Return the lines that the journal knows of, and what keeps it from knowing all."""
    if not path.exists():
        return (), ""
    content, _ = inspect(path)
    text = f"{path}: is damaged, so it may know of lines no more; `felhom-agent journal verify`"
    return decisions_of(content.records), text if content.damage else ""


def lines(entries: tuple[AuditEntry, ...], today: date) -> Iterator[Line]:
    """Given decisions, yield them as lines for a person, each day's under its name."""
    day: date | None = None
    for entry in entries:
        at = seconds(entry.at)
        if (its := day_of(at)) != day:
            if day is not None:
                yield ("",)
            day = its
            yield (Part(day_text(day, today), Style.STRONG),)
        decision = printable(entry.decision, 20)
        yield (
            f"  {datetime.fromtimestamp(at).astimezone():%H:%M:%S}  ",
            Part(f"{decision:{_WIDTH}}", _STYLES.get(decision)),
            f"  {_words(entry)}",
        )


def _words(entry: AuditEntry) -> str:
    """Return what was decided on, by whom, and why."""
    if entry.decision == BEGUN:
        return "the log"
    parts = [entry.act, entry.guest]
    parts += [f"by {entry.role} key {entry.fingerprint}"] if entry.fingerprint else []
    parts += [f"({entry.source})"] if entry.source else []
    why = ": ".join(filter(None, (entry.stage, entry.why, entry.exit)))
    parts += [f"- {why}"] if why else []
    parts += [entry.upid]
    return printable(" ".join(filter(None, parts)), _MAX_TEXT)


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """Given a decision, return it as plain data (docs/json/audit.json)."""
    return {**dataclasses.asdict(entry), "at": rfc3339(entry.at)}


def rfc3339(at: float) -> str:
    """Given a time that was read, return it as JSON has it."""
    return moment_text(seconds(at))


def seconds(at: float) -> float:
    """Given a time that was read, return it within what a calendar has."""
    return min(max(float(at), 0.0), _LATEST) if math.isfinite(at) else 0.0
