"""A program that is run within bounds: of time, of what it says, and of what it sees.

Apart from who runs it, since Python's `subprocess` is large, and an agent on a host where nobody
signs never needs it.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_MAX_OUTPUT: Final = 4096


def run_bounded(
    words: list[str], stdin: Path, directory: Path, seconds: float
) -> tuple[int, bytes]:
    """Given a command, the file that it reads, the directory that it works in, and how many seconds
    it may take, return its exit status (negative: the signal that ended it) and the first 4 KiB of
    what it said. Its environment is empty.

    Raise TimeoutError if it takes longer, and then it and what it began is killed; OSError if it
    cannot be run.
    """
    with stdin.open("rb") as file:
        # Not Popen's own wait: it would gather whatever the program says.
        process = subprocess.Popen(  # noqa: S603  # an absolute path, and no text of a job
            words,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            cwd=directory,
            close_fds=True,
            start_new_session=True,
        )
    try:
        said = _said(process, seconds)
        return process.wait(timeout=max(0.1, seconds)), said
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        _end(process)


def _said(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """Return what a program says until it is silent for good, as much of it as is kept. Raise
    TimeoutExpired if that takes longer.
    """
    assert process.stdout is not None  # noqa: S101  # it was asked for
    until = time.monotonic() + seconds
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise subprocess.TimeoutExpired(process.args, seconds)
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                return kept
            kept = (kept + chunk)[:_MAX_OUTPUT]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(OSError):
            # The whole session that it leads, whatever it has begun.
            os.killpg(process.pid, 9)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)
    if process.stdout is not None:
        process.stdout.close()
