"""Root's spool directory: signed jobs as pairs of files, for hosts without the control socket.

    NAME.job         the signed bytes
    NAME.job.sig     the signature, as ssh-keygen writes it
    NAME.job.2.sig   that of a second signer, and so on up to NAME.job.8.sig

The agent reads and never removes: the directory is root's. A job is looked at once, and again only
when one of its files was replaced, or came, or the agent begins anew. The signatures are the
authority; that the directory must be root's keeps others from filling it.

Threads: belongs to the lane that reads it.
"""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.refusals import TooManyJobs
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.errors import FelhomError
from felhom_agent.printable import printable
from felhom_agent.regularfile import FileUnreadable, Stamp, read, stamp
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)

MAX_FILES: Final = 200
"""How many files are looked at, by their names; more are left alone, and that is said."""
_MAX_BYTES: Final = 70_000
_JOB, _SIGNATURE = ".job", ".sig"
_Seen = tuple[Stamp | None, ...]


class Spool:
    """A spool directory, which must belong to `owner`, or to root."""

    def __init__(self, directory: Path, owner: int = 0) -> None:
        self._directory = directory
        self._owner = owner
        self._seen: dict[str, _Seen] = {}
        self._said = ""
        self._tried: dict[str, str] = {}

    @property
    def is_there(self) -> bool:
        """Whether there is anything to read under its name."""
        return os.path.lexists(self._directory)

    def read(self, submit: Callable[[SignedJob], object]) -> None:
        """Given what takes in a job, bring it each job that was not brought yet. Raises nothing:
        what stands in the way is logged, once, and tried again where that may help.
        """
        why = self._why_unusable()
        names = [] if why else self._names()
        if len(names) > MAX_FILES:
            why = f"{self._directory}: has more than {MAX_FILES} files, the others are not read; "
            why += "remove those whose jobs have ended"
        if why and why != self._said:
            _log.warning("%s", why)
        self._said = why
        for name, seen, job in self._pairs(names[:MAX_FILES]):
            try:
                submit(job)
            except TooManyJobs as error:
                self._not_yet(name, error)
                return  # each of the others would be told the same
            except FelhomError as error:
                self._not_yet(name, error)
            except Exception as error:  # a bug of ours costs this pair alone
                _log.exception("internal error; please report it: %s", described(error))
                self._seen[name] = seen
            else:
                self._seen[name] = seen
                self._tried.pop(name, None)

    def _not_yet(self, name: str, error: FelhomError) -> None:
        """Say once that a job cannot be taken now."""
        kind = type(error).__name__
        if self._tried.get(name) != kind:
            self._tried[name] = kind
            text = "%s: cannot be taken now, and is tried again: %s"
            _log.warning(text, printable(str(self._directory / name), 200), error)

    def _why_unusable(self) -> str:
        """Return why the directory is not read; empty if it is, or there is none."""
        try:
            status = self._directory.lstat()
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"{self._directory}: cannot be read: {error.strerror}"
        if not S_ISDIR(status.st_mode):
            return f"{self._directory}: is no directory (a link to one does not count)"
        if status.st_uid not in (0, self._owner) or status.st_mode & 0o022:
            return f"{self._directory}: others than root can write it; chown root, chmod go-w"
        return ""

    def _names(self) -> list[str]:
        """Return the first names in the directory, one more than are looked at."""
        try:
            with os.scandir(self._directory) as found:
                return heapq.nsmallest(MAX_FILES + 1, (each.name for each in found))
        except OSError:
            return []

    def _pairs(self, names: list[str]) -> Iterator[tuple[str, _Seen, SignedJob]]:
        """Given the names to look at, yield each job that was not brought yet."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        self._tried = {name: why for name, why in self._tried.items() if name in names}
        for name in names:
            if not name.endswith(_JOB) or f"{name}{_SIGNATURE}" not in names:
                continue
            path = self._directory / name
            files = [path, *(self._directory / each for each in _signatures(name, names))]
            seen = tuple(stamp(each) for each in files)
            if self._seen.get(name) == seen:
                continue
            try:
                blob, *signatures = (read(each, _MAX_BYTES).data for each in files)
                job = SignedJob(blob, tuple(signatures), "spool")
            except FileUnreadable as error:
                self._seen[name] = seen
                _log.warning("%s %s", printable(str(path), 200), error)
            else:
                yield name, seen, job


def _signatures(job: str, names: list[str]) -> list[str]:
    """Given a job's name and all names, return those of its signatures."""
    more = (f"{job}.{number}{_SIGNATURE}" for number in range(2, MAX_SIGNATURES + 1))
    return [f"{job}{_SIGNATURE}", *(name for name in more if name in names)]
