"""One agent per journal.

Two agents that share a journal would work on the same guests and not know of each other. The first
holds an flock on a file beside the journal; the kernel drops it however the process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from felhom_agent.errors import FelhomError
from felhom_agent.journal.disk import prepare


class AlreadyRunning(FelhomError):
    """Another agent holds the journal."""


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory (made if absent) for the length of a block.

    Raise AlreadyRunning, with the holder's pid, if another process does; FelhomError if the
    directory cannot be used.
    """
    path = directory / "lock"
    try:
        prepare(directory)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FelhomError(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise AlreadyRunning(
            f"another felhom-agent (pid {holder}) works with {path.parent}; stop it first"
        ) from None
    # The pid is for whoever is refused; a full disk must not be what stops the agent here.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
