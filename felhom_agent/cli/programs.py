"""Programs of the system (`pveum`, `systemctl`), found in PATH, but never in the working directory.

An empty or relative part of PATH means that directory, where anybody may have put a program of that
name; and root runs it.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


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
