"""What lets us read a file that we must not: the commands for root, the least that is enough."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
from pathlib import Path
from typing import Final

from felhom_agent.printable import printable

_MAX_NAME: Final = 300
_NOBODYS: Final = 65534  # user_namespaces(7), overflowgid


def to_open(path: Path) -> str:
    """Given the path of a file that we must not read, return the command that lets us: where a
    directory on the way is closed, it is that one which is opened first.
    """
    for directory in reversed(Path(os.path.realpath(path)).parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            return f"chmod o+x {_quoted(directory)}"
    return f"chgrp {_group(path)} {_quoted(path)}; chmod g+r {_quoted(path)}"


def _group(path: Path) -> str:
    """Return the group that a file is given to."""
    # The directory's group is the service's, so that a file need not be open to everybody. The
    # service itself sees no group but its own (systemd.exec(5), PrivateUsers=).
    group = path.parent.stat().st_gid
    if group in (0, _NOBODYS) or group not in (os.getegid(), *os.getgroups()):
        group = _own_group()
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def _own_group() -> int:
    try:
        return pwd.getpwuid(os.geteuid()).pw_gid
    except KeyError:
        return os.getegid()


def _quoted(path: Path) -> str:
    return shlex.quote(printable(str(path), _MAX_NAME))
