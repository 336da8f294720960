"""Programs of the system (`pveum`, `systemctl`), found in PATH, but never in the working directory.

An empty or relative part of PATH means that directory, where anybody may have put a program of that
name; and root runs it.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from felhom_agent.errors import FelhomError


def path_of(name: str) -> str:
    """Given a program's name, return its path. Raise FileNotFoundError if it is not here."""
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = shutil.which(name, path=os.pathsep.join(p for p in places if Path(p).is_absolute()))
    # Without one that is absolute, `which` would look for the name itself.
    if found is None or not Path(found).is_absolute():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return found


def is_here(name: str) -> bool:
    """Return whether this host has a program of that name."""
    try:
        path_of(name)
    except FileNotFoundError:
        return False
    return True


def run(words: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Given a command of ours, word by word, and how long it may take, return how it ended.

    It reads nothing. Raise FelhomError if it cannot be run, or does not end in that time.
    """
    try:
        return subprocess.run(  # noqa: S603  # no shell; the words are ours
            words, executable=path_of(words[0]), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        text = f"`{shlex.join(words)}` did not end within {seconds:.0f} s"
        raise FelhomError(text) from None
    except OSError as error:
        raise FelhomError(f"`{shlex.join(words)}` cannot be run: {error}") from None
