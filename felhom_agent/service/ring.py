"""The newest events of this process, kept in memory for whoever asks at the control socket.

Journald keeps the whole story. This keeps the end of it where a command can ask for it in one
question, also where there is no journald, and where the caller may not read the system's journal.

What it promises: it keeps the newest `CAPACITY` records that tell of an event (`service/events`),
each as an immutable entry with a number of its own, in the order of the numbers, which begin with 1
and have no gaps. An entry holds what left through the log, too: without secrets, printable, and
bounded, so that all of them are some megabytes at the most. A record that it cannot make sense of
is not kept; nothing is ever raised.

It belongs to the process, and outlives the agents that are assembled in it one after the other.
The numbers of another process begin anew: `run` tells which process they are of.

Threads: any thread logs, so any thread may call `emit`, and any may call `excerpt`. `_entries_lock`
guards that a number is taken and its entry is there at once, so that no reader sees a gap. Nothing
is done under it but that: a record is made into an entry before, and a reader gets a copy. So
nobody waits for anybody longer than a copy of `CAPACITY` references takes. The lock is one that its
holder may take again: Python may collect garbage anywhere, and a finalizer that fails is logged, on
the thread that happens to be here. Then two entries may stand in the other order, so readers sort.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count, islice
from types import MappingProxyType
from typing import Final

from felhom_agent.printable import printable
from felhom_agent.service.logging import event_of, told_by

CAPACITY: Final = 1000
"""How many events are kept."""
MAX_TEXT: Final = 1000
"""The longest sentence of an entry, in characters."""
MAX_VALUE: Final = 200
"""The longest name or value of a field, in characters."""
MAX_VALUES: Final = 16
"""How many fields an entry has at most."""

_LEVELS: Final = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))
_OURS: Final = logging.getLogger("felhom_agent")


@dataclass(frozen=True)
class EventEntry:
    """One event: when it was (seconds since the epoch), how bad ("debug", "info", "warning" or
    "error"), of which kind, of which guest (None: of none, or of all), and the log's sentence with
    its other fields.
    """

    number: int
    at: float
    level: str
    event: str
    vmid: int | None
    text: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Excerpt:
    """Some entries, oldest first; `run` names the process, which began at `started` (seconds since
    the epoch), `oldest` and `newest` are the numbers of what is kept (0: nothing is).
    """

    run: str
    started: float
    oldest: int
    newest: int
    entries: tuple[EventEntry, ...]


class Ring(logging.Handler):
    """Keeps the newest events; `now` tells seconds since the epoch."""

    def __init__(self, capacity: int = CAPACITY, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._run = uuid.uuid4().hex
        self._started = now()
        self._entries_lock = threading.RLock()
        self._entries: deque[EventEntry] = deque(maxlen=capacity)
        self._numbers = count(1)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep what this process logs for the length of a block."""
        _OURS.addHandler(self)
        try:
            yield
        finally:
            _OURS.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, keep it if it tells of an event."""
        with suppress(Exception):  # whatever a record is made of, who logged it goes on
            if (entry := entry_of(record)) is None:
                return
            with self._entries_lock:
                self._entries.append(replace(entry, number=next(self._numbers)))

    def excerpt(self, after: int = 0, vmid: int | None = None) -> Excerpt:
        """Return what is kept beyond the number `after`; with a `vmid` only what is of it."""
        with self._entries_lock:
            copied = self._entries.copy()
        kept = sorted(copied, key=lambda entry: entry.number)
        oldest, newest = (kept[0].number, kept[-1].number) if kept else (0, 0)
        wanted = (entry for entry in kept if entry.number > after and vmid in (None, entry.vmid))
        return Excerpt(self._run, self._started, oldest, newest, tuple(wanted))


def entry_of(record: logging.LogRecord) -> EventEntry | None:
    """Given a record, return it as an entry without a number; None if it tells of no event."""
    event = event_of(record)
    if event is None:
        return None
    text, values = told_by(record)
    vmid = _vmid(getattr(record, "fields", None))
    kept = {
        printable(name, MAX_VALUE): printable(value, MAX_VALUE)
        for name, value in islice(values.items(), MAX_VALUES)
        if name != "vmid" or vmid is None
    }
    return EventEntry(
        number=0,
        at=record.created,
        level=next((word for least, word in _LEVELS if record.levelno >= least), "debug"),
        event=event.name,
        vmid=vmid,
        text=printable(text, MAX_TEXT),
        fields=MappingProxyType(kept),
    )


def _vmid(values: object) -> int | None:
    found = values.get("vmid") if isinstance(values, Mapping) else None
    return found if type(found) is int and 100 <= found <= 999_999_999 else None
