"""One agent per journal.

Two agents that share a journal would work on the same guests and not know of each other. The first
holds an flock on the journal's directory itself: on what is written, not on a file beside it that
somebody may remove. The kernel drops it however the process ends.

A directory that was moved away takes its lock along, and a second agent may begin in a new one. The
first one notices before its next write: the journal's file is not in its place (`journal/log.py`).

The file `lock` in it tells the holder's pid to whoever is refused. It is locked as well, since
earlier versions lock it alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from felhom_agent.durable.disk import open_regular, prepare
from felhom_agent.errors import FelhomError, JournalClosed

# What a disk may get over without anybody's change to the agent's settings.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class AlreadyRunning(FelhomError):
    """Another agent holds the journal."""

    temporary = True


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory (made if absent) for the length of a block.

    Raise AlreadyRunning, with the holder's pid, if another process does; JournalClosed if the disk
    takes nothing at present; FelhomError if the directory cannot be used.
    """
    path = directory / "lock"
    with ExitStack() as stack:
        try:
            prepare(directory)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(_give_back, descriptor)
            pid_file = open_regular(path, os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(_give_back, pid_file)
            free = _take(descriptor) and _take(pid_file)
        except OSError as error:
            kind = JournalClosed if error.errno in _PASSING else FelhomError
            raise kind(f"{path}: cannot be opened: {error.strerror or error}") from None
        if not free:
            raise AlreadyRunning(
                f"another felhom-agent (pid {_holder(pid_file)}) works with {directory}; "
                f"stop it first"
            )
        _sign(pid_file)
        yield


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(pid_file: int) -> str:
    with suppress(OSError):
        if (pid := os.pread(pid_file, 32, 0).strip()).isdigit():
            return pid.decode("ascii")
    return "unknown"


def _sign(pid_file: int) -> None:
    # The pid is for whoever is refused; a full disk must not be what stops the agent here.
    with suppress(OSError):
        os.ftruncate(pid_file, 0)
        os.pwrite(pid_file, f"{os.getpid()}\n".encode("ascii"), 0)


def _give_back(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)
