"""The agent as a process of its own, and what the system says it holds.

It lives as long as the block that holds it. What it logs is drained by a thread, which ends with
the process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 30.0


class Ended(Exception):
    """The agent ended by itself."""


@dataclass(frozen=True)
class Usage:
    """Open file descriptors, threads, and resident memory in KiB."""

    fds: int = 0
    threads: int = 0
    memory: int = 0

    def least(self, other: Usage) -> Usage:
        """Return the smaller of each."""
        return Usage(
            min(self.fds, other.fds),
            min(self.threads, other.threads),
            min(self.memory, other.memory),
        )

    def most(self, other: Usage) -> Usage:
        """Return the greater of each."""
        return Usage(
            max(self.fds, other.fds),
            max(self.threads, other.threads),
            max(self.memory, other.memory),
        )


class Agent:
    """A running agent; `lines` is what it has logged so far."""

    def __init__(self, config: Path) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "--config", str(config), "run"],
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._drain = threading.Thread(target=self._read, name="agent-log")
        self._drain.start()

    def usage(self) -> Usage:
        """Return what it holds at this moment. Raise Ended if it lives no more."""
        process = Path("/proc", str(self._process.pid))
        try:
            rows = (row.partition(":") for row in (process / "status").read_text().splitlines())
            status = {name: value.split() for name, _, value in rows}
            fds = len(list((process / "fd").iterdir()))
            return Usage(fds, int(status["Threads"][0]), int(status["VmRSS"][0]))
        except (OSError, KeyError):  # a process that has ended holds no memory
            raise Ended("the agent ended by itself") from None

    def said(self, *words: str) -> list[str]:
        """Return the lines so far that hold one of these words."""
        return [line for line in self.lines[:] if any(word in line for word in words)]

    def end(self) -> int:
        """Ask it to stop, and return its exit code; that of a kill if it does not obey."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._drain.join(_PATIENCE)
            if self._process.stderr is not None:
                self._process.stderr.close()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self.lines.append(line.rstrip())


@contextmanager
def running(config: Path) -> Iterator[Agent]:
    """Hold an agent for the length of a block."""
    agent = Agent(config)
    try:
        yield agent
    finally:
        agent.end()
