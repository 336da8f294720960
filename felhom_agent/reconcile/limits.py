"""A fair limit on how many threads do something at the same time.

Places are given in the order in which they were asked for, and each place that becomes free wakes
exactly the one thread that gets it.

Threads: one lock guards the count and the line. A waiting thread waits on a lock of its own, with
a deadline; whoever gives a place back hands it over before that lock is released.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from felhom_agent.errors import Interrupted

MAX_WAIT = 600.0
"""Seconds after which a thread that waits for a place gives up."""


class Limit:
    """At most `count` holders at a time."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        with self._lock:
            return len(self._line)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold a place for the length of a block. Raise Interrupted after `MAX_WAIT` seconds."""
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def _take(self) -> None:
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            mine = threading.Event()
            self._line.append(mine)
        if mine.wait(MAX_WAIT):
            return
        with self._lock:
            if mine.is_set():
                return
            self._line.remove(mine)
        raise Interrupted("no place became free in time")

    def _give_back(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1
