"""A command on a real terminal: of some width, or with a person who says yes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.process import SOON

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(
    command: Sequence[str | os.PathLike[str]],
    columns: int,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, list[str]]:
    """Given a command, a width and what is added to the environment (COLUMNS and NO_COLOR are not
    inherited), return its exit code, and the lines that the terminal got on stdout.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.DEVNULL,
        env={**inherited, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(its)
        data = b""
        try:
            while piece := os.read(ours, 65536):
                data += piece
        except OSError:  # Linux says EIO where the other end was closed
            pass
        os.close(ours)
        code = process.wait(60)
    return code, data.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")


def with_yes(
    command: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str],
    where: Path | None = None,
    *,
    until_said: bool = False,
) -> tuple[int, str]:
    """Given a command, its environment and directory, run it at a terminal at which yes is said;
    return its exit code, and all that it said. With `until_said` it is interrupted instead, once it
    has said something.
    """
    ours, its = pty.openpty()
    process = subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, cwd=where, env=environment
    )
    os.close(its)
    deadline = threading.Timer(2 * SOON, process.kill)
    deadline.start()
    said = b""
    try:
        if not until_said:
            os.write(ours, b"y\n")
        while part := _read(ours):
            if until_said and not said:
                process.send_signal(signal.SIGINT)
            said += part
        return process.wait(SOON), said.decode().replace("\r\n", "\n")
    finally:
        deadline.cancel()
        process.kill()
        os.close(ours)


def _read(master: int) -> bytes:
    """Return what comes next from a terminal; nothing once nobody writes to it any more."""
    try:
        return os.read(master, 65536)
    except OSError:  # Linux says EIO where the other end was closed
        return b""


def plain(line: str) -> str:
    """Given a line, return it without colour."""
    return _ESCAPE.sub("", line)
