"""What is being done at this moment, and until when it must be over.

The service manager's watchdog is pinged only while nothing here is overdue: a call to PVE that
never ends, a sync that never returns. A lane that waits for a long task is none of that: it asks
PVE again and again, and each question ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """What is being done at this moment, and until when it must be over.

    Threads: one lock guards the table; nothing is done under it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doing: dict[object, tuple[str, float]] = {}

    @contextmanager
    def guard(self, what: str, longest: float) -> Iterator[None]:
        """Note for the length of a block what is done, and the seconds that it may take."""
        me = object()
        with self._lock:
            self._doing[me] = (what, self._clock() + longest)
        try:
            yield
        finally:
            with self._lock:
                del self._doing[me]

    def overdue(self) -> list[str]:
        """Return what should be over and is not."""
        now = self._clock()
        with self._lock:
            return [what for what, until in self._doing.values() if now > until]
