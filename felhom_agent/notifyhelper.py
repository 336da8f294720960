"""Hands the agent's notifications to this host's commands; felhom-agent-notify.service runs it.

    notifyhelper.py SPOOL CONFIGURATION

It takes each JSON file out of SPOOL, oldest first, and starts with it every command in
CONFIGURATION/notify.d, in the order of their names, and CONFIGURATION/notify, if there is one. A
command gets the path of a file with the message as its only argument, and the message on its stdin.

What it promises: a message is taken out before a command sees it, so that each is handed over once
at the most and a bad one is not tried for ever; a command that fails, or takes longer than
`PATIENCE` seconds, costs itself, and is one line on stderr; what is no message (a link, a large
file, no JSON) is removed with a line. Only files that root, or the user of this service, owns and
nobody else may write are commands.

It imports nothing of the agent's: it runs outside of the agent's sandbox, and trusts it with
nothing. One thread, which ends when the directory is empty.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 64 * 1024
"""How large a message may be."""
PATIENCE = 60.0
"""Seconds that a command may take."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ANY_STARTS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def main(words: list[str]) -> int:
    """Given the two directories, hand over all that waits; return the exit code."""
    if len(words) != 2:
        _say("usage: notifyhelper.py SPOOL CONFIGURATION")
        return 64
    spool, configuration = Path(words[0]), Path(words[1])
    try:
        while found := _waiting(spool):
            for path in found:
                message = _taken(path)
                if message:
                    _hand_over(message, configuration)
    except OSError as error:
        # What cannot be removed would be handed over again and again.
        _say(f"{error.filename or spool}: {error.strerror or error}; nothing more is handed over")
        return 1
    return 0


def _waiting(spool: Path) -> list[Path]:
    with os.scandir(spool) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        )
    return [spool / name for name in names]


def _taken(path: Path) -> bytes:
    """Return the message of a file, which is removed; nothing if it is none. Raise OSError if it
    cannot be removed.
    """
    try:
        data = _read(path)
        why = _why_no_message(data)
    except OSError as error:
        data, why = b"", error.strerror or "it cannot be read"
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()
    if why:
        _say(f"{path.name}: is no message: {why}")
        return b""
    return data


def _read(path: Path) -> bytes:
    """Return what is in a file, and one byte more than it may have at the most. Raise OSError if it
    cannot be read, or is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no file")
        return os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _why_no_message(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return "it is not JSON"
    return "" if isinstance(found, dict) else "it is no object"


def _hand_over(message: bytes, configuration: Path) -> None:
    """Start every command with a message, one after the other."""
    with tempfile.NamedTemporaryFile(prefix="event-", suffix=".json") as file:
        file.write(message)
        file.flush()
        groups = {os.getegid(), *os.getgroups()}
        for command, status in commands(configuration):
            if why := why_not(status, os.geteuid(), groups):
                _say(f"{command}: is not started: {why}")
            else:
                _start(command, file.name, message)


def commands(configuration: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Given the directory of the configuration, yield each file that is meant to be a command, and
    how it is, in the order in which they are started.
    """
    directory = configuration / "notify.d"
    found: list[Path] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found = sorted(path for path in directory.iterdir() if not _is_left_over(path.name))
    for path in (*found, configuration / "notify"):
        try:
            status = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & _ANY_STARTS:
            yield path, status


def why_not(status: os.stat_result, user: int, groups: Collection[int]) -> str:
    """Given how a command's file is, and who starts commands, return why this one is not started,
    and what to do; nothing if it is.
    """
    if status.st_uid not in (0, user) or status.st_mode & _OTHERS_WRITE:
        return "others may write it; as root: chown root; chmod go-w"
    if status.st_uid == user:
        needed = stat.S_IXUSR
    else:
        needed = stat.S_IXGRP if status.st_gid in groups else stat.S_IXOTH
    if not status.st_mode & needed:
        return "the user of the commands may not start it; as root: chmod a+rx"
    return ""


def _is_left_over(name: str) -> bool:
    """Return whether a name is what an editor or dpkg leaves beside a file."""
    return name.startswith(".") or name.endswith("~") or ".dpkg-" in name


def _start(command: Path, argument: str, message: bytes) -> None:
    """Start a command and wait for it, for so long."""
    try:
        process = subprocess.Popen(  # noqa: S603  # root's own commands are what it is for
            [command, argument], stdin=subprocess.PIPE, stdout=sys.stderr, start_new_session=True
        )
    except OSError as error:
        _say(f"{command}: cannot be started: {error.strerror or error}")
        return
    try:
        process.communicate(message, PATIENCE)
    except subprocess.TimeoutExpired:
        _say(f"{command}: was killed: it took longer than {PATIENCE:g} s")
        # All that it has started, too.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return
    if process.returncode > 0:
        _say(f"{command}: ended with exit code {process.returncode}")
    elif process.returncode < 0:
        _say(f"{command}: was ended by signal {-process.returncode}")


def _say(text: str) -> None:
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    with suppress(OSError):
        sys.stderr.write(f"{shown[:1000]}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
