"""What all benchmarks measure with: shares of a sample, memory and CPU of a process, a command's
cost.

Times are seconds of the monotonic clock, memory is MiB. Nothing here judges a figure.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LAUNCH = Path(__file__).parent / "launch.py"

Row = dict[str, Any]
"""One line of a table: names and figures."""


def share(values: Sequence[float], part: float) -> float:
    """Given a sample and a part of it (0 to 1), return the value that this part does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def own_cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_of(pid: int) -> float:
    """Given a running process, return its CPU seconds so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int | str = "self") -> tuple[float, float]:
    """Given a process, return its resident memory now and at most so far."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {row.partition(":")[0]: row.split() for row in rows}
    return int(found["VmRSS"][1]) / 1024, int(found["VmHWM"][1]) / 1024


@dataclass(frozen=True)
class Ended:
    """A command that ran: its exit code, what it said, and what it cost.

    `cpu` is that of all its processes, `rss` the most that any one of them had.
    """

    code: int
    wall: float
    cpu: float
    rss: float
    said: str


def command(words: Sequence[str], environment: Mapping[str, str], seconds: float) -> Ended:
    """Given a command, what it finds in its environment, and a deadline, return how it ended.

    Raise TimeoutExpired if it had to be killed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        told, said = Path(name) / "used", Path(name) / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  the benchmark's own words
                [sys.executable, "-I", "-S", str(_LAUNCH), str(told), *words],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(seconds)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        return Ended(**json.loads(told.read_text()), said=said.read_text(errors="replace"))
