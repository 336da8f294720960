"""An append-only file of JSON lines that keeps what it was given.

The crash model. Power may fail and the process may die between any two instructions. Of a file
that was written but not yet synced, the disk may keep nothing, all, or any prefix; of a synced
one, all. A new file's name is safe once its directory is synced. The disk does not alter what it
has kept; where it does, the checksums tell.

What is promised.

* `append` returns when the record is durable: written, then fsync, then return. Appenders that
  come while an fsync runs share the next one (group commit); each still returns only after the
  fsync that covers its own line.
* Records come back in the order they were appended.
* A torn tail (bytes after the last newline, as a crash in the middle of a write leaves them) was
  promised to nobody. It is kept aside as `journal.jsonl.broken`, cut off, and the log goes on.
* Damage anywhere else is not repaired: `open` raises JournalDamaged with file, line and advice.
  A line of a newer format is refused in the same way, never half understood.
* After a failed write or fsync the log is closed for good, since nobody knows what the disk holds
  then; a later fsync that succeeds would prove nothing about the lost pages. Every append raises
  JournalClosed, and the agent must stop changing things.

The form of a line: `{"v":1,"crc":"xxxxxxxx","r":{...}}`, with the CRC-32 of the record's own
bytes. A line must read back as exactly the bytes that `_encode` makes of it.

Threads: one condition guards the buffer, the counters and the state. The first appender who finds
no writer at work becomes it: takes the buffer, leaves the lock, writes and syncs, comes back and
tells all. Waiters wait in slices with the writer's end, or `close`, to wake them.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from felhom_agent.errors import JournalClosed, JournalDamaged

VERSION = 1
NAME = "journal.jsonl"
_SLICE = 5.0

Record = Mapping[str, Any]


class JournalLog:
    """The open log of one directory; one process may hold it at a time."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._fd = descriptor
        self._changed = threading.Condition()
        self._buffer: list[bytes] = []
        self._taken = 0
        self._durable = 0
        self._writing = False
        self._closed = ""

    @classmethod
    def open(cls, directory: Path) -> tuple[Self, list[Record]]:
        """Given a directory (made if absent), return its log and the records in it, oldest first.

        Raise JournalDamaged if a whole line is not what was written, JournalClosed if the
        directory cannot be used.
        """
        path = directory / NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalClosed(f"{path}: cannot be opened: {error.strerror}") from None
        try:
            _sync_directory(directory)
            records = _recover(path, descriptor)
        except OSError as error:
            os.close(descriptor)
            raise JournalClosed(f"{path}: cannot be read: {error.strerror}") from None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor), records

    def append(self, *records: Record) -> None:
        """Given records, return when all are durable. Raise JournalClosed if they cannot be."""
        lines = [_encode(record) for record in records]
        with self._changed:
            self._check()
            self._buffer += lines
            self._taken += 1
            mine = self._taken
            while self._durable < mine:
                self._check()
                if self._writing:
                    self._changed.wait(_SLICE)
                else:
                    self._write_buffer()

    def close(self) -> None:
        """Give the file back; closing again is allowed."""
        with self._changed:
            while self._writing:
                self._changed.wait(_SLICE)
            self._closed = self._closed or "it was closed"
            descriptor, self._fd = self._fd, -1
            self._changed.notify_all()
        if descriptor >= 0:
            os.close(descriptor)

    def check(self) -> None:
        """Raise JournalClosed if the log takes no more records."""
        with self._changed:
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise JournalClosed(f"{self.path}: takes no more records: {self._closed}")

    def _write_buffer(self) -> None:
        """Write and sync what waits; called, and left, with the lock held."""
        lines, self._buffer = self._buffer, []
        upto = self._taken
        self._writing = True
        failure = "a write to it was cut short"
        self._changed.release()
        try:
            _write_all(self._fd, b"".join(lines))
            os.fsync(self._fd)
            failure = ""
        except OSError as error:
            failure = error.strerror or str(error)
        finally:
            self._changed.acquire()
            self._writing = False
            if failure:
                self._closed = failure
            else:
                self._durable = upto
            self._changed.notify_all()


def read(path: Path, *, absent_ok: bool = False) -> list[Record]:
    """Given a log's path, return its records without touching it; a torn tail is left out.

    Safe beside a running agent. Raise JournalDamaged as `open` does, JournalClosed if it cannot
    be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        if absent_ok and isinstance(error, FileNotFoundError):
            return []
        raise JournalClosed(f"{path}: cannot be read: {error.strerror}") from None
    return _decode_all(path, content[: content.rfind(b"\n") + 1])


def _recover(path: Path, descriptor: int) -> list[Record]:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    records = _decode_all(path, content[:whole])
    if torn := content[whole:]:
        _set_aside(path, torn)
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    return records


def _set_aside(path: Path, torn: bytes) -> None:
    aside = path.with_name(path.name + ".broken")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(aside, flags, 0o600)
    try:
        _write_all(descriptor, torn + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_directory(path.parent)


def _decode_all(path: Path, content: bytes) -> list[Record]:
    records = []
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            records.append(_decode(line))
        except ValueError as error:
            raise JournalDamaged(
                f"{path}:{number}: {error}; nothing was changed. Keep a copy of the file, then "
                f"remove that line, or move the file away to begin a new journal"
            ) from None
    return records


def _encode(record: Record) -> bytes:
    body = _json(record)
    return b'{"v":%d,"crc":"%08x","r":%s}\n' % (VERSION, zlib.crc32(body), body)


def _decode(line: bytes) -> Record:
    """Given a whole line, return its record. Raise ValueError in words if it is not intact."""
    try:
        envelope = json.loads(line)
        version, record = envelope["v"], envelope["r"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("the line is damaged (it cannot be parsed)") from None
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"the line has format {version}, written by a newer felhom-agent")
    if not isinstance(record, dict) or _encode(record) != line:
        raise ValueError("the line is damaged (its checksum does not match)")
    return record


def _json(record: Record) -> bytes:
    text = json.dumps(dict(record), separators=(",", ":"), sort_keys=True, ensure_ascii=True)
    return text.encode("ascii")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
