"""A fair limit on how many calls are under way at the same time.

Places are given in the order in which they were asked for, and each place that becomes free wakes
exactly the one thread that gets it.

A node that is slow gets slower with each call more. So a place that was held for longer than
`slow` seconds halves the number of places, down to one, and so does `narrow`; after `CALM` prompt
ones in a row there is one more again, up to the whole number.

Threads: one lock guards the counts and the line. A waiting thread waits on an event of its own,
with a deadline; whoever gives a place back hands it over before that lock is released. Who is to
hear of a stop meanwhile looks for it every `_HEARS_WITHIN` seconds: nobody can wait for a flag.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from felhom_agent.errors import Interrupted, NotSent
from felhom_agent.service.flag import Signal

_log = logging.getLogger(__name__)

MAX_WAIT = 600.0
"""Seconds after which a thread that waits for a place gives up, where nothing else is said."""
CALM = 20
"""How many prompt calls in a row give one place back."""
_HEARS_WITHIN = 0.2


class Limit:
    """At most `count` holders at a time; `name` is what they are, in words."""

    def __init__(
        self,
        count: int,
        name: str = "calls",
        slow: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        patience: float = MAX_WAIT,
    ) -> None:
        """`patience` is how many seconds a place is waited for."""
        self._patience = patience
        self._count = self._allowed = count
        self._name = name
        self._slow = slow
        self._clock = clock
        self._held = 0
        self._prompt = 0
        self._line: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        with self._lock:
            return len(self._line)

    @property
    def allowed(self) -> int:
        """How many may hold a place at this moment."""
        with self._lock:
            return self._allowed

    @contextmanager
    def held(self, abandon: Signal | None = None) -> Iterator[None]:
        """Hold a place for the length of a block. Raise NotSent if there was none in time,
        Interrupted soon after `abandon` is set.
        """
        self._take(abandon)
        begun = self._clock()
        try:
            yield
        finally:
            self._give_back(slowly=self._clock() - begun > self._slow)

    def narrow(self) -> None:
        """Hear that there is too much at once."""
        with self._lock:
            self._halve()

    def _take(self, abandon: Signal | None) -> None:
        with self._lock:
            if self._held < self._allowed and not self._line:
                self._held += 1
                return
            mine = threading.Event()
            self._line.append(mine)
        if self._comes(mine, abandon):
            return
        with self._lock:
            if mine.is_set():
                return
            self._line.remove(mine)
        if abandon is not None and abandon.is_set():
            raise Interrupted(f"waits no more for other {self._name}: the agent is stopping")
        words = f"{self._patience:.0f} s went by and other {self._name} are still under way"
        raise NotSent(words, timed_out=True)

    def _comes(self, place: threading.Event, abandon: Signal | None) -> bool:
        """Wait for a place; return whether it came."""
        end = time.monotonic() + self._patience
        while (left := end - time.monotonic()) > 0:
            if place.wait(left if abandon is None else min(left, _HEARS_WITHIN)):
                return True
            if abandon is not None and abandon.is_set():
                return False
        return False

    def _give_back(self, *, slowly: bool) -> None:
        with self._lock:
            self._held -= 1
            if slowly:
                self._halve()
            else:
                self._note_prompt()
            while self._line and self._held < self._allowed:
                self._held += 1
                self._line.popleft().set()

    def _halve(self) -> None:
        """Allow half as many; the caller holds the lock."""
        if self._allowed == self._count > 1:
            _log.info("PVE is slow or busy; fewer %s are made at once", self._name)
        self._allowed = max(1, self._allowed // 2)
        self._prompt = 0

    def _note_prompt(self) -> None:
        """Count a prompt one; the caller holds the lock."""
        self._prompt += 1
        if self._prompt >= CALM and self._allowed < self._count:
            self._prompt = 0
            self._allowed += 1
