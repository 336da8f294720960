"""The kernel's inotify, by ctypes: Debian's standard library for Python has none.

The libraries that wrap it are no part of what a PVE host has, and what is needed of them is three
calls of the libc that have not changed since Linux 2.6.27. Nothing here waits.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_OVERFLOW: Final = 0x4000
# IN_CREATE | IN_MOVED_TO.
_CAME: Final = 0x100 | 0x80

# IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF,
# and IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK.
_MASK: Final = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x01000000 | 0x02000000 | 0x04000000
_HEAD: Final = struct.Struct("iIII")
_BYTES: Final = 65_536
# The kernel's queue is 16,384 events by default, of 32 bytes with names as short as these.
_MAX_READS: Final = 64
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class DirectoryEvent:
    """What happened in a watched directory: to the entry `name`, or to itself."""

    watch: int
    mask: int
    name: str

    @property
    def lost(self) -> bool:
        """Whether it stands for events that were lost."""
        return bool(self.mask & _OVERFLOW)

    @property
    def came(self) -> bool:
        """Whether the entry is new there; else it has gone."""
        return bool(self.mask & _CAME)


class Inotify:
    """One inotify descriptor; used by one thread."""

    def __init__(self) -> None:
        """Raise OSError if the kernel gives none (EMFILE: max_user_instances)."""
        self._fileno = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def watch(self, directory: Path) -> int:
        """Watch what comes and goes in a directory; return the watch's number. Raise OSError."""
        return _checked(_LIBC.inotify_add_watch(self._fileno, os.fsencode(directory), _MASK))

    def unwatch(self, watch: int) -> None:
        """End a watch, if it has not ended by itself."""
        _LIBC.inotify_rm_watch(self._fileno, watch)

    def read(self) -> list[DirectoryEvent]:
        """Return what waits to be read; an event that is `lost` stands for more than that."""
        events: list[DirectoryEvent] = []
        for _ in range(_MAX_READS):
            try:
                data = os.read(self._fileno, _BYTES)
            except BlockingIOError:
                return events
            events += _events(data)
        return [*events, DirectoryEvent(-1, _OVERFLOW, "")]

    def close(self) -> None:
        if self._fileno >= 0:
            os.close(self._fileno)
            self._fileno = -1


def _events(data: bytes) -> list[DirectoryEvent]:
    found, place = [], 0
    while place < len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        name = data[place : place + length].rstrip(b"\0")
        place += length
        found.append(DirectoryEvent(watch, mask, os.fsdecode(name)))
    return found


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
