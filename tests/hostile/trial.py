"""One input on trial: did a harness take it as documented, in time, and within memory?"""

from __future__ import annotations

import logging
import resource
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from felhom_agent.service.logging import MAX_LINE, TailFormatter
from tests.hostile.fuzz_text import check

MAX_SECONDS = 0.3
"""How much CPU time an input may take."""
MAX_MEMORY = 400 * 1024
"""How much memory a process that tries inputs may have at its peak, in KiB."""
MAX_LOGGED = 100
"""How many lines an input may log."""
HANGS_AFTER = 60.0
"""After how many seconds by the clock on the wall an input is given up."""
MAX_SAVED = 20


class Hung(BaseException):
    """An input came to no end. No `except Exception` takes it for something else."""


@dataclass(frozen=True)
class Finding:
    """An input that was not taken as it must be: what came of it, and where it is kept."""

    what: str
    path: Path | None


@dataclass
class Result:
    """What the trials of a harness came to; times in seconds of CPU, memory in KiB."""

    inputs: int = 0
    bad: int = 0
    findings: list[Finding] = field(default_factory=list)
    longest: float = 0.0
    memory: int = 0
    kept: int = 0

    def add(self, other: Result) -> None:
        """Given the result of another process, count it in."""
        self.inputs += other.inputs
        self.bad += other.bad
        self.findings += other.findings
        self.longest = max(self.longest, other.longest)
        self.memory = max(self.memory, other.memory)
        self.kept += other.kept


class LogCheck(logging.Handler):
    """Formats each record as the agent does; `wrong` has what no log may hold."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(TailFormatter(priorities=True))
        self.lines = 0
        self.wrong: AssertionError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, judge the line that it makes."""
        self.lines += 1
        try:
            check(self.format(record), MAX_LINE)
            assert "Traceback" not in record.getMessage()
            assert self.lines <= MAX_LOGGED, f"more than {MAX_LOGGED} lines"
        except AssertionError as error:
            self.wrong = self.wrong or error


def _peak() -> int:
    """Return the most memory that this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Trial:
    """Tries inputs on a harness, and keeps those that were not taken as they must be.

    Belongs to the main thread of a process, since a signal ends what hangs.
    """

    def __init__(self, one: Callable[[bytes], None], directory: Path, name: str) -> None:
        """Inputs are kept in `directory`, as files whose names begin with `name`."""
        self.result = Result()
        self._one = one
        self._directory = directory
        self._name = name
        self._log = LogCheck()
        self._said: set[str] = set()
        self._begun_with = _peak()
        logging.getLogger().handlers[:] = [self._log]
        signal.signal(signal.SIGALRM, _give_up)

    def run(self, data: bytes) -> bool:
        """Given an input, try it. Return whether it was taken as it must be."""
        result = self.result
        result.inputs += 1
        wrong, seconds = self._tried(data)
        if seconds > MAX_SECONDS:
            # Once more: the first time may have paid for an import or a collection of garbage.
            seconds = min(seconds, self._tried(data)[1])
        result.longest = max(result.longest, seconds)
        if not wrong and seconds > MAX_SECONDS:
            wrong = f"took {seconds:.2f} s of CPU time"
        before = result.memory
        # By how much: a process may have done other things before.
        result.memory = _peak() - self._begun_with
        if not wrong and result.memory > MAX_MEMORY >= before:
            wrong = f"memory grew by {result.memory // 1024} MiB"
        if wrong:
            self._keep(wrong, data)
        return not wrong

    def _tried(self, data: bytes) -> tuple[str, float]:
        self._log.lines, self._log.wrong = 0, None
        wrong: BaseException | None = None
        signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER)
        begun = time.process_time()
        try:
            self._one(data)
        except (Exception, Hung) as error:
            wrong = error
        seconds = time.process_time() - begun
        signal.setitimer(signal.ITIMER_REAL, 0)
        wrong = wrong or self._log.wrong
        return (_told(wrong) if wrong else "", seconds)

    def _keep(self, wrong: str, data: bytes) -> None:
        """Count a bad input; keep the first of each kind."""
        self.result.bad += 1
        kind = wrong.split(":", 1)[0]
        if kind in self._said or len(self._said) >= MAX_SAVED:
            return
        self._said.add(kind)
        path: Path | None = self._directory / f"{self._name}-{len(self._said)}"
        with suppress(OSError):
            assert path is not None
            path.write_bytes(data)
            self.result.findings.append(Finding(wrong, path))
            return
        self.result.findings.append(Finding(wrong, None))


def _told(error: BaseException) -> str:
    """Given an error, return its kind and innermost place, a colon, and its words."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name} {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {ascii(str(error))[:300]}"


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise Hung(f"no end after {HANGS_AFTER:.0f} s")
