"""Findings: what was looked at, how it is, and what to do; and how a probe is run.

Each probe looks at one thing and changes nothing. A finding that is not good says what to do. A
probe that breaks, or takes too long, costs itself: that is a finding, and the next one goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from felhom_agent.cli.codes import CONFIG, DATAERR, ERROR, OK, TEMPFAIL
from felhom_agent.cli.failures import code_of as code_of_error
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.service.origins import described

DEADLINE: Final = 120.0
"""Seconds that one probe may take; each call in it has a shorter one of its own."""

_END: Final = None


class Level(StrEnum):
    """How a thing is: as it should be, worth knowing, or a fault."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` are the commands that would mend it, and `code` is the
    exit code of a command that finds nothing worse. Faults of the same `cause` are one (empty: it
    has none that others may have).
    """

    level: Level
    text: str
    remedy: tuple[str, ...] = ()
    code: int = OK
    cause: str = ""

    @property
    def good(self) -> bool:
        """Whether it is no fault."""
        return self.level is not Level.BAD


Probe = Callable[[], Iterable[Finding]]


def good(text: str) -> Finding:
    """Given what is as it should be, return the finding."""
    return Finding(Level.GOOD, text)


def note(text: str, *remedy: str) -> Finding:
    """Given what is worth knowing, and perhaps what to do, return the finding."""
    return Finding(Level.NOTE, text, remedy)


def bad(text: str, *remedy: str, code: int = ERROR) -> Finding:
    """Given what is wrong, and the commands that mend it, return the finding."""
    return Finding(Level.BAD, text, remedy, code)


def of_error(error: FelhomError) -> Iterator[Finding]:
    """Given what a probe met, yield what that means."""
    if isinstance(error, ConfigError):
        yield from (bad(str(problem)) for problem in error.problems)
    else:
        yield bad(str(error), code=code_of_error(error))


def once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Given findings, yield them, of each cause the first: what mends that mends the others."""
    told: set[str] = set()
    for finding in findings:
        if finding.cause not in told:
            yield finding
        if finding.cause:
            told.add(finding.cause)


def code_of(findings: Iterable[Finding]) -> int:
    """Given findings, return the exit code: a wrong configuration goes before all other faults, a
    damaged journal comes next, and a node that is only away last.
    """
    codes = {finding.code for finding in findings}
    return next((code for code in (CONFIG, DATAERR, ERROR, TEMPFAIL) if code in codes), OK)


def probed(name: str, probe: Probe, deadline: float = DEADLINE) -> Iterator[Finding]:
    """Given a probe and what it looks at, yield its findings as they come, until the deadline."""
    # The thread belongs to this call and shares nothing but the queue: it puts, we get. A disk that
    # hangs holds the thread and nobody else; it ends with the process.
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()
    arguments = (name, probe, found)
    threading.Thread(target=_run, args=arguments, name=f"probe-{name}", daemon=True).start()
    until = time.monotonic() + deadline
    try:
        while finding := found.get(timeout=max(0.0, until - time.monotonic())):
            yield finding
    except queue.Empty:
        yield bad(f"{name}: no answer within {deadline:g} s; is a disk, or the network, hanging?")


def _run(name: str, probe: Probe, found: queue.SimpleQueue[Finding | None]) -> None:
    try:
        for finding in probe():
            found.put(finding)
    except FelhomError as error:
        for finding in of_error(error):
            found.put(finding)
    except OSError as error:
        found.put(bad(f"{name}: {error.filename or ''}: {error.strerror or error}"))
    except Exception as error:  # a defect of ours costs this probe
        found.put(bad(f"{name}: internal error, please report it: {described(error)}"))
    finally:
        found.put(_END)
