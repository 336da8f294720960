"""A command on a real terminal of some width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from types import MappingProxyType

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


def plain(line: str) -> str:
    """Given a line, return it without colour."""
    return _ESCAPE.sub("", line)
