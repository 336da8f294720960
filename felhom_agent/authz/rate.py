"""How many jobs may come: more than people sign, and far fewer than a flood.

Each source has a bucket of its own, so that one that floods does not keep another from being heard.

Threads: one lock guards the buckets, for as long as one is looked at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 20
"""How many jobs a source may bring at once."""
SECONDS_EACH: Final = 15.0
"""In how many seconds one more may come."""
_MAX_SOURCES: Final = 64


class Rate:
    """Buckets of tokens; `monotonic` tells seconds since any moment."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Of each source: how many may still come at once, as of which moment.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, source: str) -> float:
        """Given where a job comes from, count it; return in how many seconds it may come (0: now,
        and it was counted).
        """
        with self._lock:
            now = self._monotonic()
            # More sources than there are ways in share the last bucket.
            known = source in self._buckets or len(self._buckets) < _MAX_SOURCES
            name = source if known else ""
            left, since = self._buckets.get(name, (float(BURST), now))
            left = min(float(BURST), left + max(0.0, now - since) / SECONDS_EACH)
            if left < 1.0:
                self._buckets[name] = (left, now)
                return (1.0 - left) * SECONDS_EACH
            self._buckets[name] = (left - 1.0, now)
            return 0.0
