"""Running a command as the owner of the agent's journal, where root has typed it.

What root leaves behind in the directory of the service's user locks that user out, and what only
root can read (the token) the service gets from systemd. So the command is run once more as the
service's user, and gets the same files in the same way: as credentials (systemd.exec(5),
LoadCredential=), in a directory of its own in memory, which is removed when the command has ended.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from felhom_agent.cli.itself import command_line
from felhom_agent.config.place import CREDENTIALS
from felhom_agent.errors import FelhomError

_IN_MEMORY = Path("/run")


def run_as_owner(
    directory: Path, words: Sequence[str], sources: Mapping[str, Path] = CREDENTIALS
) -> int | None:
    """Given the journal's directory and the words of a command line, run that as the directory's
    owner, if this is root and the owner is somebody else; return its exit code. Return None if the
    command shall go on by itself. `sources` are the files that become its credentials. Raise
    FelhomError if it cannot be run.
    """
    owner = owner_of(directory)
    if os.geteuid() != 0 or owner is None or owner.pw_uid == 0:
        return None
    with _credentials(owner, sources) as credentials:
        try:
            process = subprocess.Popen(  # noqa: S603  # it runs this very program
                command_line(*words),
                user=owner.pw_uid,
                group=owner.pw_gid,
                extra_groups=os.getgrouplist(owner.pw_name, owner.pw_gid),
                env={**os.environ, "HOME": owner.pw_dir, "CREDENTIALS_DIRECTORY": credentials},
            )
        except OSError as error:
            text = (
                f"{directory}: belongs to user {owner.pw_name}, and this command cannot run as "
                f"that user: {sys.executable}: {error.strerror or error}; the user must be able to "
                f"run it, and to enter the directories that it is in"
            )
            raise FelhomError(text) from None
        return _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a process; Ctrl-C is its own to hear, too."""
    while True:
        with suppress(KeyboardInterrupt):
            code = process.wait()
            return code if code >= 0 else 128 - code


def owner_of(directory: Path) -> pwd.struct_passwd | None:
    """Given a directory, return whose it is, or the nearest above it that is there; None if that is
    nobody's.
    """
    for path in (directory, *directory.parents):
        try:
            return pwd.getpwuid(path.stat().st_uid)
        except FileNotFoundError:
            continue
        except (OSError, KeyError):
            return None
    return None


@contextmanager
def _credentials(owner: pwd.struct_passwd, sources: Mapping[str, Path]) -> Iterator[str]:
    """Hold a directory with copies of what the service gets from systemd, for the owner alone."""
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="felhom-agent-", dir=place))
    try:
        for name, source in sources.items():
            with suppress(OSError):  # what is missing there is told by who needs it
                copy = directory / name
                copy.touch(mode=0o400)
                copy.write_bytes(source.read_bytes())
                os.chown(copy, owner.pw_uid, owner.pw_gid)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        yield str(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
