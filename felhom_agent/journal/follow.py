"""A journal as it grows: what begins and what ends, for who watches an agent.

The agent replaces the journal's file when it makes it smaller, and at each start. What was written
to the old file is read to its end, then the new one from its beginning; of that only what was not
told before is news. A line that is not yet whole waits for its end.

Belongs to one thread. Nothing here waits.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from felhom_agent.durable.disk import DISK
from felhom_agent.durable.line import Content, Damage, LineReader, Record
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.operation import Operation, State, take
from felhom_agent.journal.shape import problem_of
from felhom_agent.journal.tail import Tail, Wanted, open_to_read, read_all, tail_of, unreadable


class Follower:
    """Reads a journal on and on; `close` gives its file back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._lines = LineReader(problem_of)
        self._told: dict[str, Operation] = {}

    def start(self, wanted: Wanted) -> Tail:
        """Return what the journal holds by now, of it the operations that are wanted; nothing where
        there is no journal yet. Raise JournalClosed if it cannot be read.
        """
        records, damage = self._opened()
        for record in records:
            take(self._told, record)
        return tail_of(Content(tuple(records), b"", damage), wanted)

    def news(self) -> tuple[list[Operation], tuple[Damage, ...]]:
        """Return each operation that has begun or ended since the last time, in that order, and
        what is wrong with the lines read. Raise JournalClosed if they cannot be read.
        """
        is_replaced = self._is_replaced()
        records, damage = self._grown()
        found = [news for record in records for news in self._step(record)]
        if is_replaced:
            records, more = self._opened()
            found += self._compared(records)
            damage += more
        return found, damage

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _step(self, record: Record) -> Iterator[Operation]:
        before = self._told.get(str(record.get("op")))
        if before is not None and not before.in_flight:
            return  # it has ended; the file was cut, and is written anew
        if (after := take(self._told, record)) is not None:
            yield from _news(before, after)

    def _compared(self, records: list[Record]) -> list[Operation]:
        """Return what a new file tells that was not told before."""
        found: dict[str, Operation] = {}
        for record in records:
            take(found, record)
        told: list[Operation] = []
        for key in sorted(found):
            before = self._told.get(key)
            told += _news(before, found[key])
            if before is None or before.in_flight:  # what has ended stays so
                self._told[key] = found[key]
        return told

    def _is_replaced(self) -> bool:
        """Return whether the path leads to another file than the open one, or that was cut."""
        if self._file is None:
            return True
        try:
            if DISK.identify_path(self._path) != DISK.identify(self._file.fileno()):
                return True
        except FileNotFoundError:
            return True
        except OSError as error:
            raise JournalClosed(unreadable(self._path, error)) from None
        return os.fstat(self._file.fileno()).st_size < self._file.tell()

    def _opened(self) -> tuple[list[Record], tuple[Damage, ...]]:
        """Open the file that the path leads to, and read it; nothing while there is none."""
        self.close()
        self._rest, self._lines = b"", LineReader(problem_of)
        try:
            self._file = open_to_read(self._path)
        except FileNotFoundError:
            return [], ()
        except OSError as error:
            raise JournalClosed(unreadable(self._path, error)) from None
        return self._grown()

    def _grown(self) -> tuple[list[Record], tuple[Damage, ...]]:
        """Return what the open file has since it was read last."""
        if self._file is None:
            return [], ()
        try:
            data = self._rest + read_all(self._file)
        except OSError as error:
            raise JournalClosed(unreadable(self._path, error)) from None
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            self._lines.take(line)
        records, damage = self._lines.records, tuple(self._lines.damage)
        self._lines.records, self._lines.damage = [], []
        return records, damage


def _news(before: Operation | None, after: Operation) -> Iterator[Operation]:
    """Given an operation as it was told and as it is, yield what is to be told: that it has begun,
    that it has ended.
    """
    if before is None:
        yield dataclasses.replace(after, state=State.INTENT, ended=0.0, why="", untouched=False)
    if not after.in_flight and (before is None or before.in_flight):
        yield after
