"""An append-only file of JSON lines that keeps what it was given.

The crash model. Power may fail and the process may die between any two system calls. Of bytes that
were written to a file and not yet synced, the disk keeps any prefix, perhaps followed by zeros; of
synced ones, all. A name that was made or moved is either as it was or as it became, until its
directory is synced; then it is as it became. The disk does not alter what it has kept; where it
does, checksums and numbers tell.

What is promised.

* `append` returns when its records are durable: written, synced, then return. Appenders that come
  while a sync runs share the next one (group commit); each still returns only after the sync that
  covers its own lines.
* Records come back in the order in which they were appended.
* A torn tail, as a crash in the middle of a write leaves it, was promised to nobody. It is kept
  aside in `journal.jsonl.broken`, and the log goes on without it.
* Damage anywhere else is not repaired: `open` raises JournalDamaged with file, line and remedy, and
  nothing is changed. A line of a newer format is refused in the same way, never half understood.
* After a failed write or sync the log is closed for good. The kernel may count pages that it could
  not write as clean, so a second sync that succeeds proves nothing. Every append then raises
  JournalClosed, and the agent must stop changing things.
* For the same reason `open` never appends to a file that another process left: what looks fine in
  the page cache may not be on the disk. It writes all that it keeps into a new file, syncs it, and
  gives it the name; so opening is also compaction, and the end of a torn tail.
* `compact` does the same while appenders go on; they wait only for the last step.

The file is for its owner alone (0600). Whoever only reads (`read`) takes no lock: a line is there
wholly or not at all, and a file that was replaced is still whole for whoever has it open.

Threads: one condition guards the buffer, the counters and the state. The descriptor, and with it
the file, belongs to whoever has set `_busy`: an appender who found nobody at work, or the last step
of a compaction. The owner leaves the lock for its system calls, comes back and tells all. Waiters
wait in slices, with the owner's end or `close` to wake them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from felhom_agent.errors import JournalClosed, JournalError
from felhom_agent.journal.disk import DISK, Disk, prepare
from felhom_agent.journal.file import (
    NAME,
    intact,
    new_name,
    read_or_empty,
    set_aside,
    take_the_name,
    write_new,
)
from felhom_agent.journal.line import Record, body_of, encode, encode_file
from felhom_agent.service.systemd import Vitals

_SLICE = 5.0
# Seconds after which a write hangs.
_LONGEST_WRITE = 60.0

Keep = Callable[[list[Record]], list[Record]]
"""Given all records, returns those that a smaller file shall hold, in their order."""


class JournalLog:
    """The open log of one directory; one process may hold it at a time."""

    def __init__(
        self, path: Path, disk: Disk, descriptor: int, lines: int, size: int, vitals: Vitals
    ) -> None:
        self.path = path
        self._vitals = vitals
        self._disk = disk
        self._fd = descriptor
        self._lines = lines
        self._size = size
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._late: list[bytes] | None = None
        self._taken = 0
        self._durable = 0
        self._busy = False
        self._closed = ""

    @classmethod
    def open(
        cls,
        directory: Path,
        keep: Keep = list,
        disk: Disk = DISK,
        vitals: Vitals | None = None,
    ) -> tuple[Self, list[Record]]:
        """Given a directory (made if absent), return its log and the records kept, oldest first.

        `vitals` hears of each write while it is made.

        Raise JournalDamaged if a line is not what was written, JournalClosed if the directory
        cannot be used.
        """
        path = directory / NAME
        try:
            prepare(directory, disk)
            content = intact(path, read_or_empty(disk, path))
            if content.tail:
                set_aside(disk, path, content.tail)
            kept = keep(list(content.records))
            data = encode_file(kept)
            descriptor = write_new(disk, path, data, named=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise JournalClosed(f"{path}: cannot be opened: {why}") from None
        return cls(path, disk, descriptor, len(kept), len(data), vitals or Vitals()), kept

    @property
    def size(self) -> int:
        """The bytes that the file has."""
        with self._changed:
            return self._size

    def append(self, *records: Record) -> None:
        """Given records, return when all are durable. Raise JournalClosed if they cannot be."""
        bodies = [body_of(record) for record in records]
        with self._changed:
            self._check()
            self._waiting += bodies
            self._taken += len(bodies)
            mine = self._taken
            while self._durable < mine:
                self._check()
                if self._busy:
                    self._changed.wait(_SLICE)
                else:
                    self._write_waiting()

    def compact(self, keep: Keep) -> None:
        """Replace the file by one that holds only what `keep` returns, and what came meanwhile.

        Raise JournalError if that cannot be done; the log then goes on as it was, unless it is
        JournalClosed.
        """
        with self._changed:
            self._check()
            if self._late is not None:
                raise JournalError(f"{self.path}: is being made smaller already")
            # Nothing is in the file yet that its last owner did not finish.
            while self._busy:
                self._changed.wait(_SLICE)
                self._check()
            self._late = []
            upto = self._size
        try:
            self._replace(upto, keep)
        finally:
            with self._changed:
                self._late = None

    def close(self) -> None:
        """Give the file back; closing again is allowed."""
        with self._changed:
            while self._busy:
                self._changed.wait(_SLICE)
            self._closed = self._closed or "it was closed"
            descriptor, self._fd = self._fd, -1
            self._changed.notify_all()
        if descriptor >= 0:
            self._disk.close(descriptor)

    def check(self) -> None:
        """Raise JournalClosed if the log takes no more records."""
        with self._changed:
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise JournalClosed(f"{self.path}: takes no more records: {self._closed}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Own the file for the length of a block; entered and left with the lock held.

        Whatever fails inside closes the log. Raise JournalClosed for an OSError.
        """
        self._busy = True
        failure = "a write to it was cut short"
        self._changed.release()
        try:
            with self._vitals.doing("a write to the journal", _LONGEST_WRITE):
                yield
            failure = ""
        except OSError as error:
            failure = error.strerror or str(error)
            raise JournalClosed(f"{self.path}: takes no more records: {failure}") from None
        finally:
            self._changed.acquire()
            self._busy = False
            self._closed = self._closed or failure
            self._changed.notify_all()

    def _write_waiting(self) -> None:
        """Write and sync what waits; called, and left, with the lock held."""
        bodies, self._waiting = self._waiting, []
        data = self._numbered(bodies)
        with self._alone():
            self._disk.write(self._fd, data)
            self._disk.sync(self._fd)
        self._size += len(data)
        self._lines += len(bodies)
        self._durable += len(bodies)
        if self._late is not None:
            self._late += bodies

    def _replace(self, upto: int, keep: Keep) -> None:
        disk = self._disk
        try:
            kept = keep(list(intact(self.path, disk.read(self.path)[:upto]).records))
            data = encode_file(kept)
            fresh = write_new(disk, self.path, data)
        except OSError as error:
            raise self._too_hard(error) from None
        with self._changed:
            while self._busy:
                self._changed.wait(_SLICE)
            try:
                self._check()
                self._move_to(fresh, len(kept), len(data))
            except OSError as error:
                disk.close(fresh)
                raise self._too_hard(error) from None
            except JournalClosed:
                disk.close(fresh)
                raise

    def _move_to(self, fresh: int, lines: int, size: int) -> None:
        """Add to a new file what came meanwhile, and go on with it; the lock is held."""
        late = self._late or []
        data = self._numbered(late, after=lines)
        failed: OSError | None = None
        with self._alone():
            try:
                self._disk.write(fresh, data)
                self._disk.sync(fresh)
            except OSError as error:
                # The old file is untouched and has everything.
                failed = error
            else:
                take_the_name(self._disk, self.path)
        if failed:
            raise failed
        old, self._fd = self._fd, fresh
        self._lines, self._size = lines + len(late), size + len(data)
        self._disk.close(old)

    def _numbered(self, bodies: list[bytes], after: int | None = None) -> bytes:
        first = (self._lines if after is None else after) + 1
        return b"".join(encode(n, body) for n, body in enumerate(bodies, start=first))

    def _too_hard(self, error: OSError) -> JournalError:
        with suppress(OSError):
            self._disk.remove(new_name(self.path))
        why = error.strerror or str(error)
        return JournalError(f"{self.path}: cannot be made smaller, and grows on: {why}")
