"""The system calls that the journal rests on, and nothing else.

Everything the journal does to a disk passes through here, one method a call, so that a test can
put itself between any two of them: fail one, count them, lose power after one. No method retries
or swallows anything; each may raise OSError.

What stands under a file's name need not be a file: a FIFO would let an open wait for ever, and a
device would never come to an end. So nothing is opened in a way that waits, and only regular files
of a bounded size are used.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from felhom_agent.printable import printable

_GUARDED = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OURS = _GUARDED | os.O_CREAT | os.O_APPEND | os.O_WRONLY
MAX_BYTES = 512 * 1024 * 1024
"""The size beyond which a file is not read: nothing that is kept here grows so large."""

_MAX_SHOWN: Final = 300

FileId = tuple[int, int]
"""What tells a file from any other that exists at the same time: its device and its inode."""


class Disk:
    """The real disk; holds no state of its own and may be shared between threads."""

    def make_directory(self, path: Path) -> None:
        """Make a directory for this user alone."""
        path.mkdir(mode=0o700)

    def read(self, path: Path) -> bytes:
        """Return a regular file's bytes. Raise FileNotFoundError if there is none."""
        # Not through a link: a rename would replace the link and not the file behind it.
        descriptor = open_regular(path, _GUARDED | os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size > MAX_BYTES:
                text = f"it has {size} bytes, and more than {MAX_BYTES} are not read; move it away"
                raise OSError(errno.EFBIG, text)
            return file.read(MAX_BYTES)

    def create(self, path: Path) -> int:
        """Return the descriptor of a new, empty file for its owner alone, in place of any old."""
        descriptor = open_regular(path, _OURS | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def create_only(self, path: Path) -> int:
        """Return the descriptor of a new, empty file for its owner alone. Raise FileExistsError."""
        return open_regular(path, _OURS | os.O_EXCL, 0o600)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Give a file these permission bits, whatever the umask is."""
        os.fchmod(descriptor, mode)

    def link(self, old: Path, new: Path) -> None:
        """Give a file another name besides. Raise FileExistsError if something has that name."""
        os.link(old, new, follow_symlinks=False)

    def open_to_append(self, path: Path) -> int:
        """Return a descriptor that writes at a file's end; the file is made if absent."""
        return open_regular(path, _OURS, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of the data; a failure may leave a part of it."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Return once what was written is durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of whatever had it."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file's name, if it is there."""
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory are durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def identify(self, descriptor: int) -> FileId:
        """Return which file a descriptor leads to."""
        return _id(os.fstat(descriptor))

    def identify_path(self, path: Path) -> FileId:
        """Return which file a name leads to. Raise FileNotFoundError if there is none."""
        return _id(path.lstat())


DISK = Disk()


def open_regular(path: Path, flags: int, mode: int = 0) -> int:
    """Given a path and the flags of open(2), return a descriptor of the regular file there.

    Never waits. Raise OSError, with the reason in words, if something else has that name.
    """
    try:
        descriptor = os.open(path, flags | _GUARDED, mode)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        # A FIFO that nobody reads, or a socket.
        raise _irregular(path, "a FIFO or a socket") from None
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def owner_of(path: Path) -> str:
    """Given a path, return the user that it belongs to, or the directory that hides it from us;
    empty if nobody can tell.
    """
    for each in (path, *path.parents):
        with suppress(OSError):
            return _name(each.lstat().st_uid)
    return ""


def prepare(directory: Path, disk: Disk = DISK) -> None:
    """Given a directory, make it durable, for this user alone, with those above it.

    Raise PermissionError if it is somebody else's: what root leaves behind in the directory of a
    service's user locks that user out. Raise OSError if it cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        disk.make_directory(path)
        disk.sync_directory(path.parent)
    owner, me = directory.stat().st_uid, os.geteuid()
    if owner != me:
        text = (
            f"it belongs to user {_name(owner)}, and this is user {_name(me)}; "
            f"{_to_mend(directory, owner, me)}"
        )
        raise PermissionError(errno.EACCES, text)


def _to_mend(directory: Path, owner: int, me: int) -> str:
    """Return what to do about a directory that is another user's: nobody runs this as root for it,
    and root gives away what it made.
    """
    if owner == 0:
        return f"as root: chown -R {_name(me)} {shlex.quote(printable(str(directory), _MAX_SHOWN))}"
    return f"run as its owner (as root: runuser -u {_name(owner)} -- felhom-agent ...)"


def _require_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        text = "it is a directory and no regular file; move it away"
        raise IsADirectoryError(errno.EISDIR, text)
    raise _irregular(path, "a FIFO" if stat.S_ISFIFO(mode) else "a device")


def _irregular(path: Path, kind: str) -> OSError:
    return OSError(errno.EINVAL, f"{path.name} is {kind} and no regular file; move it away")


def _id(found: os.stat_result) -> FileId:
    return found.st_dev, found.st_ino


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
