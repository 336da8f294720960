"""How long to leave a guest alone that could not be brought in line.

The wait doubles with every failure in a row, up to a cap, and a share of it is drawn by chance so
that many guests (and many hosts) do not come back in step. Success forgets the failures, and so
does a changed declaration: an operator who mended it must not wait for old sins.

Threads: one lock guards the counts; nothing is awaited under it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

_MOST_DOUBLINGS = 32


@dataclass
class Backoff:
    """Counts failures per guest; `chance` returns a number from 0 to 1."""

    first: float
    cap: float
    jitter: float
    chance: Callable[[], float]
    _failures: dict[int, tuple[Hashable, int]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def failed(self, vmid: int, declared: Hashable) -> float:
        """Given a guest and what is declared of it, return the seconds until the next look."""
        with self._lock:
            before, count = self._failures.get(vmid, (declared, 0))
            count = count + 1 if before == declared else 1
            self._failures[vmid] = (declared, count)
            delay = min(self.cap, self.first * 2.0 ** min(count - 1, _MOST_DOUBLINGS))
            return delay * (1.0 - self.jitter * self.chance())

    def adopt(self, first: float, cap: float, jitter: float) -> None:
        """Take other settings from now on; failures stay counted."""
        with self._lock:
            self.first, self.cap, self.jitter = first, cap, jitter

    def succeeded(self, vmid: int) -> None:
        """Forget the guest's failures."""
        with self._lock:
            self._failures.pop(vmid, None)
