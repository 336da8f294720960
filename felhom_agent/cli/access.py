"""What another user may read and write, told from modes, owners, groups and ACLs.

Root reads everything, so what root can open says nothing of a service that runs as another user.
Here a path is walked as the kernel does for that user (path_resolution(7)), symbolic links too, and
the first thing that stands in the way is named. Nothing is opened, and no user is switched to.
"""

from __future__ import annotations

import os
import shlex
import stat
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from felhom_agent.cli.serviceuser import User, group_name, user_name
from felhom_agent.printable import printable

READ: Final = 4
WRITE: Final = 2
ENTER: Final = 1
"""For a directory: to reach what is in it."""

_MAX_LINKS: Final = 40  # path_resolution(7)
_MAX_SHOWN: Final = 300
_WORDS: Final = {READ: "read", WRITE: "write", ENTER: "enter"}

# linux/posix_acl_xattr.h: a version, then entries of tag, rights and id.
_ACL: Final = "system.posix_acl_access"
_ENTRY: Final = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP_OWNER, _ACL_GROUP, _ACL_MASK = 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True)
class Obstacle:
    """What keeps a user from a path: the first thing on the way that he may not read, write or
    enter, whose it is, and the commands that let him (none where that is no matter of rights).
    """

    path: Path
    text: str
    remedy: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        """What others meet, too, who go the same way, and what is mended by the same commands."""
        return "; ".join((str(self.path), *self.remedy))


def obstacle(path: Path, user: User, wanted: int) -> Obstacle | None:
    """Given a path, a user and the rights he needs there (READ, WRITE and ENTER, added up), return
    what keeps him from it; None if nothing does, or it is not there, which is not a matter of
    rights.
    """
    if user.uid == 0:
        return None
    here, links = Path("/"), 0
    left = deque(_parts(path.absolute()))
    while True:
        try:
            status = here.lstat()
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    return Obstacle(here, f"{_shown(here)}: too many symbolic links")
                target = here.readlink()
                left.extendleft(reversed(_parts(target)))
                here = Path("/") if target.is_absolute() else here.parent
                continue
        except OSError:
            return None
        needed = ENTER if left else wanted
        if lacking := needed & ~_rights(here, status, user):
            return _told(here, status, user, lacking)
        if not left:
            return None
        if not stat.S_ISDIR(status.st_mode):
            return None
        name = left.popleft()
        here = here.parent if name == ".." else here / name


def _parts(path: Path) -> list[str]:
    return [part for part in path.parts if part != "/"]


def _rights(path: Path, status: os.stat_result, user: User) -> int:
    """Return what a user may do with what is there, as three bits (acl(5), ACCESS CHECK)."""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == user.uid:
        return mode >> 6 & 7
    entries = _entries(path)
    mask = next((rights for tag, rights, _ in entries if tag == _ACL_MASK), 7)
    for tag, rights, who in entries:
        if tag == _ACL_USER and who == user.uid:
            return rights & mask
    # With an ACL the mode's middle bits are its mask, and the group's own rights stand apart.
    owning = next((rights for tag, rights, _ in entries if tag == _ACL_GROUP_OWNER), mode >> 3 & 7)
    groups = [owning] if status.st_gid in user.gids else []
    groups += [rights for tag, rights, who in entries if tag == _ACL_GROUP and who in user.gids]
    if not groups:
        return mode & 7
    found = 0
    for rights in groups:
        found |= rights & mask
    return found


def _entries(path: Path) -> list[tuple[int, int, int]]:
    """Return the entries of a file's ACL; none if it has none, or its file system has none."""
    try:
        data = os.getxattr(path, _ACL)
    except OSError:
        return []
    return list(_ENTRY.iter_unpack(data[4:])) if (len(data) - 4) % _ENTRY.size == 0 else []


def _told(path: Path, status: os.stat_result, user: User, lacking: int) -> Obstacle:
    what = " and ".join(word for bit, word in _WORDS.items() if lacking & bit)
    whose = f"{user_name(status.st_uid)}:{group_name(status.st_gid)}"
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    text = f"user {user.name} may not {what} {_shown(path)} (mode {mode}, {whose})"
    return Obstacle(path, text, _remedy(path, status, user, lacking))


def _remedy(path: Path, status: os.stat_result, user: User, lacking: int) -> tuple[str, ...]:
    """Return the commands that let the user, and nobody else who need not be let."""
    letters = "".join(
        letter for bit, letter in ((READ, "r"), (WRITE, "w"), (ENTER, "x")) if lacking & bit
    )
    file = shlex.quote(_shown(path))
    if lacking & WRITE or status.st_uid == user.uid:
        owner = () if status.st_uid == user.uid else (f"chown {user.name} {file}",)
        return (*owner, f"chmod u+{letters} {file}")
    if stat.S_ISDIR(status.st_mode) and not lacking & READ:
        # On the way to it; who may enter sees no names there.
        return (f"chmod o+{letters} {file}",)
    group = () if status.st_gid in user.gids else (f"chgrp {user.group} {file}",)
    return (*group, f"chmod g+{letters} {file}")


def _shown(path: Path) -> str:
    return printable(str(path), _MAX_SHOWN)
