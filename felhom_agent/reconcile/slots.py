"""How many guests may be changed at the same time.

A host that gets two hundred boots at once is a host that is down. A lane takes a slot before it
changes its guest and gives it back afterwards; looking needs none. Slots are handed out in the
order they were asked for.

Threads: one condition guards the count and the line of waiters. Waiters wait in slices with a
deadline of their own and are woken by every slot given back and by `close`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from felhom_agent.errors import Interrupted

_SLICE = 5.0


class Slots:
    """A fair, closable limit."""

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._line: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a slot for the length of a block. Raise Interrupted if closed while waiting."""
        self._take()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    @contextmanager
    def taken_if_free(self) -> Iterator[bool]:
        """Hold a slot for the length of a block if one is free at once; yield whether it was."""
        with self._changed:
            free = self._free > 0 and not self._line and not self._closed
            self._free -= free
        try:
            yield free
        finally:
            with self._changed:
                self._free += free
                self._changed.notify_all()

    def resize(self, count: int) -> None:
        """Allow `count` holders from now on; slots above that are not given out again."""
        with self._changed:
            self._free += count - self._count
            self._count = count
            self._changed.notify_all()

    def close(self) -> None:
        """Send everybody away who waits or comes; slots that are held stay held."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        with self._changed:
            return len(self._line)

    def _take(self) -> None:
        me = object()
        with self._changed:
            self._line.append(me)
            try:
                while not self._closed and (self._free <= 0 or self._line[0] is not me):
                    self._changed.wait(_SLICE)
                if self._closed:
                    raise Interrupted("the agent is stopping")
                self._free -= 1
            finally:
                self._line.remove(me)
                self._changed.notify_all()
