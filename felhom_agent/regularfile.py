"""Reading a file that somebody else may have put there: never for long, never for much.

What stands under a path need not be a file: opening a FIFO waits for a writer for ever, reading
`/dev/zero` never ends, opening some devices acts on them. So it is looked at first, opened without
waiting, looked at again (it may have been exchanged in between), and read up to a limit. A symbolic
link to a regular file is as good as the file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1_000_000
"""How large a configuration file may be."""

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileUnreadable(Exception):
    """A path that is not read; `str()` says why, in words that follow the path.

    `denied` tells that it is for want of a right, `missing` that nothing is there, `no_file` that
    something else than a file is.
    """

    def __init__(
        self, text: str, *, denied: bool = False, missing: bool = False, no_file: bool = False
    ) -> None:
        self.denied = denied
        self.missing = missing
        self.no_file = no_file
        super().__init__(text)


@dataclass(frozen=True)
class Stamp:
    """What changes when a file is written or replaced; times in seconds since the epoch."""

    device: int
    inode: int
    size: int
    modified: float
    changed: float


@dataclass(frozen=True)
class FileContent:
    """What was in a file, with the file's permission bits, and its stamp after it was read."""

    data: bytes
    mode: int
    stamp: Stamp


def read(path: Path, max_bytes: int = MAX_BYTES) -> FileContent:
    """Given a path, return what is in the regular file there.

    Raise FileUnreadable if there is none, it is larger than `max_bytes`, or it cannot be read.
    """
    try:
        _refuse_others(path.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _because(error) from None
    except ValueError:
        raise FileUnreadable("cannot be read: no file has such a name") from None
    try:
        return _content(descriptor, max_bytes)
    except OSError as error:
        raise _because(error) from None
    finally:
        os.close(descriptor)


def _content(descriptor: int, max_bytes: int) -> FileContent:
    status = os.fstat(descriptor)
    _refuse_others(status)
    if status.st_size > max_bytes:
        raise FileUnreadable(f"is not read: it has {status.st_size:,} bytes, {max_bytes:,} at most")
    chunks: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (chunk := os.read(descriptor, min(left, 1 << 16))):
        chunks.append(chunk)
        left -= len(chunk)
    if left <= 0:
        raise FileUnreadable(f"is not read: it has more than {max_bytes:,} bytes")
    # Its times after it was read: so what was written meanwhile shows.
    return FileContent(
        b"".join(chunks), stat.S_IMODE(status.st_mode), stamp_of(os.fstat(descriptor))
    )


def stamp(path: Path) -> Stamp | None:
    """Given a path, return the stamp of what is there; None if it cannot be had."""
    try:
        return stamp_of(path.stat())
    except (OSError, ValueError):
        return None


def stamp_of(status: os.stat_result) -> Stamp:
    """Given what the system says of a file, return its stamp."""
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime, status.st_ctime)


def _refuse_others(status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = next((words for test, words in _KINDS if test(status.st_mode)), "something else")
    raise FileUnreadable(f"is not read: it is {kind}, not a file", no_file=True)


def _because(error: OSError) -> FileUnreadable:
    return FileUnreadable(
        f"cannot be read: {error.strerror or error}",
        denied=isinstance(error, PermissionError),
        missing=isinstance(error, FileNotFoundError),
    )
