"""A flag that a signal handler may set.

An Event may not: its `set` takes a lock, which the very thread that the handler interrupts may hold
at that moment. This one takes none, and nobody can wait for it.
"""

from __future__ import annotations

from typing import Protocol


class Signal(Protocol):
    """Whatever tells whether it was set: a `Flag`, or an Event."""

    def is_set(self) -> bool:
        """Return whether it was set."""
        ...


class Flag:
    """False until it is set; may be set and read from any thread and from signal handlers."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set
