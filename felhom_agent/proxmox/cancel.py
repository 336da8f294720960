"""An event that also wakes those who wait for something else.

Whoever waits for news under a condition cannot wait for an event at the same time. This event
notifies such conditions when it is set.

Threads: `set` may be called from any thread that holds none of the conditions, and not from a
signal handler. The event is set before a condition is notified, so a waiter that looks at it under
its condition before it waits cannot miss it. Conditions are registered for good.
"""

from __future__ import annotations

import threading


class Cancellation(threading.Event):
    """Set once, it ends every wait that knows it."""

    def __init__(self) -> None:
        super().__init__()
        self._woken: tuple[threading.Condition, ...] = ()

    def wakes(self, condition: threading.Condition) -> None:
        """Given a condition, notify all who wait on it whenever this event is set."""
        self._woken = (*self._woken, condition)

    def set(self) -> None:
        """Set the event and wake everybody."""
        super().set()
        for condition in self._woken:
            with condition:
                condition.notify_all()
