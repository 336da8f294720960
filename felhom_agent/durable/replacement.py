"""A person's file, replaced as a whole by one with the same owner, mode and access rules."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from felhom_agent import regularfile
from felhom_agent.errors import FelhomError

_SUFFIX: Final = ".felhom-agent-new"
_RULES: Final = "system.posix_acl_access"


def replace_whole(path: Path, before: bytes, after: bytes) -> None:
    """Given a file's path, what was read of it and what it shall hold, replace it, durably: a crash
    leaves one of the two. A link stays one. Raise FelhomError if it is not what was read any more,
    or cannot be replaced.
    """
    target = path.resolve()
    try:
        status = target.stat()
        descriptor, name = tempfile.mkstemp(suffix=_SUFFIX, prefix=".", dir=target.parent)
    except OSError as error:
        raise FelhomError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(after)
            file.flush()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            _copy_rules(target, descriptor)
            os.fchmod(descriptor, status.st_mode & 0o7777)
            os.fsync(descriptor)
        if regularfile.read(target).data != before:
            raise FelhomError(f"{path}: was changed meanwhile; try again")
        Path(name).replace(target)
        _sync(target.parent)
    except (OSError, regularfile.FileUnreadable) as error:
        words = getattr(error, "strerror", None) or error
        raise FelhomError(f"{path}: cannot be written: {words}") from None
    finally:
        with suppress(OSError):  # it has the other name by now, if all went well
            Path(name).unlink()


def _copy_rules(source: Path, descriptor: int) -> None:
    """Give a new file the access rules (ACL) of a file, or none where that has none, whatever the
    directory gives to new files. The mode is set after that: its middle bits are the rules' mask.
    """
    try:
        rules = os.getxattr(source, _RULES)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        if _RULES in os.listxattr(descriptor):
            os.removexattr(descriptor, _RULES)
    else:
        os.setxattr(descriptor, _RULES, rules)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
