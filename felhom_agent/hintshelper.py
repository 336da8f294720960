"""Copy pmxcfs' two lists of versions to where the agent's user may read them: a program of its own.

`/etc/pve/.vmlist` and `.version` tell which guest's configuration was written, for nothing. They
are for root and www-data; that group would also open the keys of PVE's web server to the agent. So
a unit of its own (felhom-agent-hints.service) runs this as root and does nothing else. It imports
the standard library alone, and nothing of the agent.

What it promises:
* It reads `.version` and `.vmlist` and no other file, only where they are regular files, up to
  1 MB, and copies them only after it has understood them.
* It writes by rename, into a directory of its own that no one else may write to; else not at all.
* The copies are there as long as pmxcfs answers. When it does not, they are taken away, and come
  back with it. `.version` gets a new time every few seconds, as a sign of life.
* `.version` is read before `.vmlist` and written after it, so that the copy of `.vmlist` is never
  older than that of `.version` tells, nor of an earlier pmxcfs: who reads them in the same order
  can miss nothing.
* `session` is another one each time that the copies come back: a pmxcfs that begins anew counts
  anew, perhaps within the same second, and who reads once a second need not have seen them away.
* `clock` tells whether the kernel takes its clock for right (adjtimex(2)): the agent's sandbox has
  not that call, and a signature's own times count only then.
* SIGTERM ends it and takes the copies away. It never ends for what it reads.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 1_000_000
POLL_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 5.0
VERSION: Final = ".version"
VMLIST: Final = ".vmlist"
SESSION: Final = "session"
CLOCK: Final = "clock"
TIME_ERROR: Final = 5
"""What adjtimex(2) answers while the clock is not synchronised."""
_TIMEX_BYTES: Final = 1024  # struct timex has 208

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Unusable(Exception):
    """What is read or written is not as it must be; `str()` says what, in one printable line."""


class Copier:
    """Copies of the two files; used by one thread."""

    def __init__(
        self,
        source: Path,
        target: Path,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda _: None,
        kernel: Callable[[], int] | None = None,
    ) -> None:
        """`kernel` is asked for the state of its clock (default: `clock_state`)."""
        self._source = source
        self._target = target
        self._clock = clock
        self._say = say
        self._said = ""
        self._raw = b""
        self._key: tuple[int, int] | None = None
        self._vmlist = b""
        self._beat = 0.0
        self._session_told = False
        self._kernel = kernel or clock_state
        self._clock_told: tuple[bool, float] | None = None

    def poll(self) -> bool:
        """Look at the files once, and copy what changed; return whether the copies are current."""
        self._tell_clock()
        try:
            self._look()
        except (Unusable, OSError) as first:
            # pmxcfs makes these files while they are read; a long one may be read half old and
            # half new. The second look is at once.
            if not self._again(first):
                return False
        self._tell("", f"<6>{self._target}: copies of .vmlist and .version are kept here")
        return True

    def close(self) -> None:
        """Take all away that is here."""
        self.withdraw()
        self._clock_told = None
        with suppress(Unusable, OSError), _directory(self._target) as directory:
            os.unlink(CLOCK, dir_fd=directory.fileno)

    def _tell_clock(self) -> None:
        """Pass on whether the kernel takes its clock for right, now and then, or if it is news."""
        told, now = 0 <= self._kernel() < TIME_ERROR, self._clock()
        before, at = self._clock_told or (None, 0.0)
        if told == before and at <= now < at + BEAT_SECONDS:
            return
        # Where it cannot be written, the agent sees that it is old.
        with suppress(Unusable, OSError), _directory(self._target) as directory:
            if told != before or not directory.has(CLOCK):
                directory.put(CLOCK, json.dumps({"synchronised": told}).encode())
            os.utime(CLOCK, dir_fd=directory.fileno, follow_symlinks=False)
            self._clock_told = (told, now)

    def withdraw(self) -> None:
        """Take the copies away."""
        self._forget()
        self._session_told = False
        try:
            with _directory(self._target) as directory:
                for name in (VERSION, VMLIST, SESSION):
                    with suppress(OSError):
                        os.unlink(name, dir_fd=directory.fileno)
        except (Unusable, OSError):
            # They cannot be reached; the agent sees by their time that they are old.
            return

    def _again(self, first: Exception) -> bool:
        self._forget()
        try:
            self._look()
        except (Unusable, OSError):
            self.withdraw()
            why = str(first) if isinstance(first, Unusable) else _words(first)
            self._tell(why, f"<4>no copies of .vmlist and .version for the agent: {why}")
            return False
        return True

    def _look(self) -> None:
        raw = _read(self._source / VERSION)
        now = self._clock()
        beat = not self._beat <= now < self._beat + BEAT_SECONDS
        key = self._key if raw == self._raw and self._key else version_key(raw)
        if key != self._key or beat:
            self._copy(raw, key, now)
        self._raw = raw

    def _copy(self, raw: bytes, key: tuple[int, int], now: float) -> None:
        """Bring the copies up to date; say by the time of `.version` that they are."""
        vmlist = _read(self._source / VMLIST)
        with _directory(self._target) as directory:
            if not self._session_told or not directory.has(SESSION):
                directory.put(SESSION, json.dumps({"session": os.urandom(16).hex()}).encode())
                self._session_told = True
            if vmlist != self._vmlist or not directory.has(VMLIST):
                check_vmlist(vmlist)
                directory.put(VMLIST, vmlist)
                self._vmlist = vmlist
            if key != self._key or not directory.has(VERSION):
                directory.put(VERSION, raw)
                self._key = key
            os.utime(VERSION, dir_fd=directory.fileno, follow_symlinks=False)
        self._beat = now

    def _forget(self) -> None:
        self._raw, self._key, self._vmlist = b"", None, b""

    def _tell(self, why: str, line: str) -> None:
        """Say it if it is news: what it says of a fault may differ from poll to poll."""
        kind = "fault" if why else "good"
        if kind != self._said:
            self._say(line)
        self._said = kind


class _Directory:
    """The directory that the copies are in, open; it was looked at before."""

    def __init__(self, path: Path, fileno: int) -> None:
        self._path = path
        self.fileno = fileno

    def __enter__(self) -> _Directory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fileno)

    def has(self, name: str) -> bool:
        try:
            found = os.stat(name, dir_fd=self.fileno, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode)

    def put(self, name: str, data: bytes) -> None:
        """Put a file there whole. Raise OSError if that is not possible."""
        new = f"{name}.new"
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=self.fileno)
        try:
            with os.fdopen(os.open(new, _CREATE, 0o600, dir_fd=self.fileno), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o640)
            os.rename(new, name, src_dir_fd=self.fileno, dst_dir_fd=self.fileno)
        except OSError:
            with suppress(OSError):
                os.unlink(new, dir_fd=self.fileno)
            raise


def _directory(path: Path) -> _Directory:
    """Return it opened. Raise Unusable if others could write there, OSError if it is away."""
    fileno = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(fileno)
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        os.close(fileno)
        raise Unusable(f"{path}: others may write there; it must be root's, with mode 0750")
    return _Directory(path, fileno)


def clock_state() -> int:
    """Return what adjtimex(2) answers, asked without setting anything; negative if it may not be
    asked.
    """
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # of zeroes: nothing is set by it
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(buffer))


def version_key(data: bytes) -> tuple[int, int]:
    """Given `.version`, return when pmxcfs began and its counter of writes to guests.

    Raise Unusable if it has none. The other counters move by themselves, every 10 s.
    """
    content = _object(data, VERSION)
    begun, count = content.get("starttime"), content.get("vmlist")
    if not (_is_count(begun) and _is_count(count)):
        raise Unusable(f"{VERSION}: it has no starttime or no vmlist")
    return begun, count  # type: ignore[return-value]  # _is_count


def check_vmlist(data: bytes) -> None:
    """Given `.vmlist`, raise Unusable if it is no list of guests and their versions."""
    content = _object(data, VMLIST)
    guests = content.get("ids")
    if not (_is_count(content.get("version")) and isinstance(guests, dict)):
        raise Unusable(f"{VMLIST}: it has no version or no ids")
    for row in guests.values():
        if not (isinstance(row, dict) and _is_count(row.get("version"))):
            raise Unusable(f"{VMLIST}: a guest has no version")


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise Unusable(f"{name}: it is no JSON") from None
    if not isinstance(content, dict):
        raise Unusable(f"{name}: it is no JSON object")
    return content


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read(path: Path) -> bytes:
    """Return what is in a regular file. Raise Unusable if it is none or too large, or OSError."""
    fileno = os.open(path, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(fileno).st_mode):
            raise Unusable(f"{path}: not a regular file")
        parts, size = [], 0
        # Its size is not asked for: pmxcfs makes the content while it is read.
        while part := os.read(fileno, MAX_BYTES + 1 - size):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise Unusable(f"{path}: larger than {MAX_BYTES} bytes")
    finally:
        os.close(fileno)
    return b"".join(parts)


def _words(error: Exception) -> str:
    return f"{getattr(error, 'filename', None) or 'a file'}: {getattr(error, 'strerror', error)}"


def main(source: Path, target: Path) -> int:
    """Copy until SIGTERM or SIGINT; return the exit code."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)

    def say(line: str) -> None:
        with suppress(OSError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    copier = Copier(source, target, say=say)
    copier.poll()
    while signal.sigtimedwait(ends, POLL_SECONDS) is None:
        copier.poll()
    copier.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
