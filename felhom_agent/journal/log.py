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
  gives it the name; so opening is also compaction, and the end of a torn tail. What is kept has at
  least one record (the agent's mark), so a file of zeros alone is no crash of ours: it is damage.
* Nothing is written into a file that its name no longer leads to: that is compared before every
  write, and whenever somebody asks by `check`. Where the file or its directory was removed, moved
  or replaced, the log is closed as after a failed write. It may be opened again once the file is
  back in its place (`reopens`), and never by making a new one: what the old one says of jobs and
  of changes in flight would be forgotten. Only a start of the agent begins with what is there.
* `compact` does the same while appenders go on; they wait only for the last step.

The file is for its owner alone (0600). Whoever only reads (`read`) takes no lock: a line is there
wholly or not at all, and a file that was replaced is still whole for whoever has it open.

Threads: one condition guards the buffer, the counters and the state. The descriptor, and with it
the file, belongs to whoever has set `_busy`: an appender who found nobody at work, or the last step
of a compaction. The owner leaves the lock for its system calls, comes back and tells all. Waiters
wait in slices, with the owner's end or `close` to wake them.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from felhom_agent.durable.disk import DISK, Disk, FileId, prepare
from felhom_agent.durable.file import (
    give_back,
    new_name,
    read_or_empty,
    set_aside,
    take_the_name,
    write_new,
)
from felhom_agent.durable.line import Record, body_of, encode, encode_file
from felhom_agent.errors import JournalClosed, JournalError
from felhom_agent.journal.content import NAME, intact
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import APPENDS, FSYNC, REPAIRS
from felhom_agent.service.watchdog import Watchdog

_SLICE = 5.0
# Seconds after which a write hangs.
_LONGEST_WRITE = 60.0

Keep = Callable[[list[Record]], list[Record]]
"""Given all records, returns those that a smaller file shall hold, in their order."""


class JournalLog:
    """The open log of one directory; one process may hold it at a time."""

    def __init__(
        self,
        path: Path,
        disk: Disk,
        descriptor: int,
        lines: int,
        size: int,
        watchdog: Watchdog,
        counters: Counters,
    ) -> None:
        self.path = path
        self._watchdog = watchdog
        self._counters = counters
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
        # What the path may lead to; two files only after a rename that failed.
        self._ours: set[FileId] = {disk.identify(descriptor)}

    @classmethod
    def open(
        cls,
        directory: Path,
        keep: Keep = list,
        disk: Disk = DISK,
        watchdog: Watchdog | None = None,
        counters: Counters | None = None,
    ) -> tuple[Self, list[Record]]:
        """Given a directory (made if absent), return its log and the records kept, oldest first.

        `watchdog` hears of each write while it is made; `counters` count them.

        Raise JournalDamaged if a line is not what was written, JournalClosed if the directory
        cannot be used.
        """
        path = directory / NAME
        counters = counters or Counters()
        try:
            prepare(directory, disk)
            kept, data = _kept(path, keep, disk, counters)
            descriptor = write_new(disk, path, data, named=True)
            log = cls(
                path, disk, descriptor, len(kept), len(data), watchdog or Watchdog(), counters
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise JournalClosed(f"{path}: cannot be opened: {why}") from None
        return log, kept

    def reopens(self, keep: Keep = list) -> bool:
        """Of a log that is closed, return whether its file could be written new by now.

        It stays closed: whoever used it has to begin again from what the file says. False, and
        nothing is touched, where the path leads to another file than the log's own.
        """
        disk = self._disk
        try:
            self._compare()
            _, data = _kept(self.path, keep, disk, self._counters)
            descriptor = write_new(disk, self.path, data)
        except (OSError, JournalError):
            return False
        try:
            with self._changed:
                self._ours.add(disk.identify(descriptor))
            take_the_name(disk, self.path)
        except OSError:
            return False
        finally:
            give_back(disk, descriptor)
        return True

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
            # Not in a directory that is another's by now.
            with self._alone():
                self._compare()
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
            give_back(self._disk, descriptor)

    def check(self) -> None:
        """Raise JournalClosed if the log takes no more records, or its file is not in its place."""
        with self._changed:
            self._check()
            # Whoever is at work has compared by himself; a write that hangs is not waited for.
            if not self._busy:
                with self._alone():
                    self._compare()

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
            with self._watchdog.guard("a write to the journal", _LONGEST_WRITE):
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
            self._compare()
            self._disk.write(self._fd, data)
            begun = time.monotonic()
            self._disk.sync(self._fd)
            seconds = time.monotonic() - begun
        self._counters.observe(FSYNC, seconds)
        self._size += len(data)
        self._lines += len(bodies)
        self._durable += len(bodies)
        self._counters.add(APPENDS, by=len(bodies))
        if self._late is not None:
            self._late += bodies

    def _compare(self) -> None:
        """Raise OSError if the path leads to another file than the one that is written."""
        try:
            found = self._disk.identify_path(self.path)
        except FileNotFoundError:
            found = None
        if found in self._ours:
            return
        what = "is gone" if found is None else "is another file now"
        text = (
            f"it {what}: it, or its directory, was removed, moved or replaced under the agent; "
            f"put it back, or restart the agent to begin with what is there"
        )
        raise OSError(errno.ESTALE, text)

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
                give_back(disk, fresh)
                raise self._too_hard(error) from None
            except JournalClosed:
                give_back(disk, fresh)
                raise

    def _move_to(self, fresh: int, lines: int, size: int) -> None:
        """Add to a new file what came meanwhile, and go on with it; the lock is held."""
        late = self._late or []
        data = self._numbered(late, after=lines)
        failed: OSError | None = None
        with self._alone():
            self._compare()
            try:
                self._disk.write(fresh, data)
                self._disk.sync(fresh)
            except OSError as error:
                # The old file is untouched and has everything.
                failed = error
            else:
                self._ours.add(self._disk.identify(fresh))
                take_the_name(self._disk, self.path)
        if failed:
            raise failed
        old, self._fd = self._fd, fresh
        self._ours = {self._disk.identify(fresh)}
        self._lines, self._size = lines + len(late), size + len(data)
        give_back(self._disk, old)

    def _numbered(self, bodies: list[bytes], after: int | None = None) -> bytes:
        first = (self._lines if after is None else after) + 1
        return b"".join(encode(n, body) for n, body in enumerate(bodies, start=first))

    def _too_hard(self, error: OSError) -> JournalError:
        with suppress(OSError):
            self._disk.remove(new_name(self.path))
        why = error.strerror or str(error)
        return JournalError(f"{self.path}: cannot be made smaller, and grows on: {why}")


def _kept(path: Path, keep: Keep, disk: Disk, counters: Counters) -> tuple[list[Record], bytes]:
    """Return what shall be kept of a file, and as what bytes; its torn tail is set aside."""
    content = intact(path, read_or_empty(disk, path))
    if content.tail:
        set_aside(disk, path, content.tail)
        counters.add(REPAIRS)
    kept = keep(list(content.records))
    return kept, encode_file(kept)
