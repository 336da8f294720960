"""Files in which the agent keeps what it knows of its hub, and copies of what was last good of
guest files: one checked line each, written whole.

They are no journal: one that cannot be used costs what is in it, never the agent. It is set aside
under the same name with `.damaged` (one copy, the latest), and told. Who only looks (`felhom-agent
plan`) writes nothing and sets nothing aside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from felhom_agent.durable.disk import DISK, Disk, prepare
from felhom_agent.durable.file import write_in_place
from felhom_agent.durable.line import Newer, Unreadable, body_of, decode, encode
from felhom_agent.errors import FelhomError
from felhom_agent.model import Place, Problem

MAX_BYTES = 32_000_000
"""What a hub may send, with each byte of it escaped, is less."""

# What has the name is a directory, or a symbolic link: nothing of ours.
_NO_FILE = frozenset({errno.EISDIR, errno.ELOOP})

T = TypeVar("T")


class OddContent(Exception):
    """A file is not what the agent writes; the text says how."""


class HubFile:
    """One such file; holds no state."""

    def __init__(self, path: Path, disk: Disk = DISK, *, keeps: bool = True) -> None:
        """Without `keeps` it is only looked at."""
        self.path = path
        self._disk = disk
        self._keeps = keeps

    def read(self, understood: Callable[[Mapping[str, Any]], T]) -> tuple[T | None, str]:
        """Given what makes sense of a record (or raises OddContent), return the file's content,
        None if there is none; and what is wrong with the file, empty if nothing is.
        """
        try:
            return understood(self._record()), ""
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
            if not self._keeps or error.errno not in _NO_FILE:
                # It may be whole: it is left where it is, and counts once it can be read.
                return None, f"{self.path}: {why}"
            return None, f"{self.path}: {why}; {self._set_aside()}"
        except OddContent as error:
            return None, f"{self.path}: {error}; {self._set_aside()}"

    def write(self, record: Mapping[str, Any]) -> None:
        """Given a record, keep it, durably, in the place of the last one. Raise FelhomError if that
        cannot be done.
        """
        if not self._keeps:
            return
        try:
            prepare(self.path.parent, self._disk)
            write_in_place(self._disk, self.path, encode(1, body_of(record)))
        except OSError as error:
            raise FelhomError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _record(self) -> Mapping[str, Any]:
        try:
            _, record = decode(_regular(self.path).rstrip(b"\n"))
        except Newer:
            raise OddContent("was written by a newer felhom-agent") from None
        except Unreadable:
            raise OddContent("is damaged") from None
        return record

    def _set_aside(self) -> str:
        aside = self.path.with_name(self.path.name + ".damaged")
        if not self._keeps:
            return f"the agent sets it aside as {aside.name} when it starts"
        try:
            self._disk.rename(self.path, aside)
            self._disk.sync_directory(aside.parent)
        except OSError as error:
            return f"it cannot be set aside either: {error.strerror}"
        return f"it is set aside as {aside.name}"


def problem_of(trouble: str) -> Problem:
    """Given what is wrong with a file, with its path in front, return it as a problem."""
    path, _, text = trouble.partition(": ")
    return Problem(Place(path), text)


def _regular(path: Path) -> bytes:
    """Return a file's bytes.

    Raise OddContent if it is none or too long, OSError if it cannot be read.
    """
    # Without waiting: whatever has the name, opening it must not hang (a FIFO would).
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags | os.O_NOCTTY), "rb", closefd=True) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OddContent("is no regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OddContent(f"is longer than {MAX_BYTES} bytes")
    return data
