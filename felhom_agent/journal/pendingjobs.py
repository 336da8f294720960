"""The signed jobs that wait, in their bytes as they came in: for an agent that begins anew.

One file for each in `signed-jobs` beside the journal, named by the SHA-256 of the signed bytes. It
is there before anybody is told that the job was taken, and goes once the job has ended. What it
says counts for nothing: the job is examined again before anything is done.

Threads: belongs to whoever holds the table of jobs (`daemon/signedjobs.py`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import write_in_place
from felhom_agent.errors import JournalClosed

DIRECTORY: Final = "signed-jobs"
MAX_PENDING: Final = 50
"""How many signed jobs may wait at once."""
_MAX_FILE: Final = 400_000
_NAME = re.compile(r"[0-9a-f]{64}\.json")


@dataclass(frozen=True)
class KeptJob:
    """A job's signed bytes, the files of its signatures, and which way it came."""

    blob: bytes = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)
    source: str

    @property
    def hash(self) -> str:
        """The SHA-256 of the signed bytes."""
        return hashlib.sha256(self.blob).hexdigest()


@dataclass(frozen=True)
class Loaded:
    """The jobs that wait, what of the files cannot be used, in words, and the hashes of the jobs
    whose files could not be read now.
    """

    jobs: list[KeptJob] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


class PendingJobs:
    """The files of the jobs that wait, beside one journal whose lock the caller holds."""

    def __init__(self, journal: Path, disk: Disk = DISK) -> None:
        self.path = journal / DIRECTORY
        self._disk = disk

    def load(self) -> Loaded:
        """Return the jobs that wait. Raise JournalClosed if the directory cannot be listed."""
        found = Loaded()
        try:
            names = sorted(each.name for each in self.path.iterdir())
        except FileNotFoundError:
            return found
        except OSError as error:
            why = error.strerror or error
            raise JournalClosed(f"{self.path}: cannot be read: {why}") from None
        for name in filter(_NAME.fullmatch, names):
            self._load(name, found)
        return found

    def _load(self, name: str, found: Loaded) -> None:
        path = self.path / name
        try:
            job = self._read(path)
        except OSError as error:
            # Perhaps the next start can: so it is not lost by that it is not there now.
            found.problems.append(f"{path}: cannot be read now: {error.strerror or error}")
            found.unread.add(path.stem)
            return
        if job is None or job.hash != path.stem or len(found.jobs) == MAX_PENDING:
            found.problems.append(f"{path}: is no job that was kept; remove it")
        else:
            found.jobs.append(job)

    def keep(self, job: KeptJob) -> None:
        """Given a job, return when it is durable. Raise JournalClosed if it cannot be kept."""
        told = {
            "job": base64.b64encode(job.blob).decode("ascii"),
            "signatures": [base64.b64encode(each).decode("ascii") for each in job.signatures],
            "source": job.source,
        }
        path = self.path / f"{job.hash}.json"
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            write_in_place(self._disk, path, json.dumps(told).encode("ascii"))
        except OSError as error:
            raise JournalClosed(f"{path}: cannot be written: {error.strerror or error}") from None

    def drop(self, hash_: str) -> None:
        """Given a job's hash, keep it no more; that it cannot be removed harms nothing."""
        with suppress(OSError):
            (self.path / f"{hash_}.json").unlink(missing_ok=True)

    def _read(self, path: Path) -> KeptJob | None:
        """Return the job in a file; None if it is none. Raise OSError if it cannot be read."""
        if path.stat().st_size > _MAX_FILE:
            return None
        data = self._disk.read(path)
        try:
            found = json.loads(data)
            signatures = found["signatures"]
            if not isinstance(signatures, list):
                return None
            return KeptJob(
                base64.b64decode(found["job"], validate=True),
                tuple(base64.b64decode(each, validate=True) for each in signatures),
                str(found["source"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
