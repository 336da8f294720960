"""A running agent as a process of its own, and waiting for what it does."""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

SOON = 30.0
"""Deadline, in seconds, of waits that end at once unless something is broken."""


class Process:
    """A running agent; `lines` is what it logged so far."""

    def __init__(self, config: Path, *words: str, within: Sequence[str] = ()) -> None:
        """Run it; `within` is a command that ends by running what follows it."""
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", "felhom_agent", "--config", str(config), "run", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        # Neither outlives a test that failed before it could end them.
        self._reader = threading.Thread(target=self._read, daemon=True)
        atexit.register(self._process.kill)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        for line in self._process.stderr or ():
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self.lines.append("(end)")
            self._news.notify_all()

    def count(self, words: str) -> int:
        """Return how many lines with these words were logged."""
        return sum(words in line for line in self.lines)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Return once a line with these words was logged that often."""

        def seen() -> bool:
            return self.count(words) >= times

        with self._news:
            self._news.wait_for(lambda: seen() or "(end)" in self.lines, SOON)
            assert seen(), "\n".join([f"not logged: {words}", *self.lines])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if number is not None:
            self.send(number)
        try:
            code = self._process.wait(SOON)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(SOON)
            if self._process.stderr is not None:
                self._process.stderr.close()
        return code

    def is_over(self) -> bool:
        return self._process.poll() is not None


def wait_until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if done():
            return
        pause.wait(0.02)
    raise AssertionError("it never came to pass")
