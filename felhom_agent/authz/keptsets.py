"""The sets of signers that came by signature, and the keys taken back, beside the agent's journal.

    /var/lib/felhom-agent/signers/3/                the set of version 3
        job, job.1.sig, job.2.sig, ...              the job that brought it, which alone counts
        allowed_signers, revoked_keys, set.toml     what it says, for people
    /var/lib/felhom-agent/signers/revoked/HASH/     a job that took keys back, by its SHA-256

A directory counts once its `job` is there, which is written last: the agent may end at any moment.
What stands here has no authority of its own: `trust.py` checks each job again.

Threads: `keep` belongs to whoever holds the lock of `trust.Trust`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent.authz.armor import MAX_ARMOR
from felhom_agent.authz.canonical import MAX_BYTES
from felhom_agent.authz.form import hash_of
from felhom_agent.config.settings import MAX_SIGNATURES
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import write_in_place
from felhom_agent.errors import JournalClosed

JOB: Final = "job"
REVOKED_DIRECTORY: Final = "revoked"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class KeptTrust:
    """A job that changed who may sign: its signed bytes and the files of its signatures."""

    blob: bytes = field(repr=False)
    signatures: tuple[bytes, ...] = field(repr=False)

    @property
    def hash(self) -> str:
        """The SHA-256 of the signed bytes."""
        return hash_of(self.blob)


class KeptSets:
    """What is kept in one directory of the agent's own."""

    def __init__(self, directory: Path, disk: Disk = DISK) -> None:
        self.directory = directory
        self._disk = disk

    def path_of(self, version: int) -> Path:
        """Given a version, return where its set is."""
        return self.directory / str(version)

    def versions(self) -> dict[int, KeptTrust]:
        """Return the jobs that brought a set, by version, in their order. Raise OSError if they
        cannot be read.
        """
        names = sorted(int(n) for n in self._names(self.directory) if _VERSION.fullmatch(n))
        found = {version: self._read(self.path_of(version)) for version in names}
        return {version: job for version, job in found.items() if job is not None}

    def revocations(self) -> list[KeptTrust]:
        """Return the jobs that took keys back. Raise OSError if they cannot be read."""
        where = self.directory / REVOKED_DIRECTORY
        names = sorted(n for n in self._names(where) if _HASH.fullmatch(n))
        return [job for name in names if (job := self._read(where / name)) is not None]

    def keep(self, name: str, job: KeptTrust, texts: dict[str, str]) -> None:
        """Given where below the directory, a job and what it says file by file, return when all of
        it is durable. Raise JournalClosed if it cannot be kept.
        """
        where = self.directory / name
        try:
            for each in reversed([where, *where.parents][: len(Path(name).parts) + 1]):
                is_new = not each.is_dir()
                if is_new:
                    each.mkdir(mode=0o700)
                # Also where it is there: an agent may have ended between the two.
                if is_new or each != self.directory:
                    self._disk.sync_directory(each.parent)
            self._clear(where)
            for file_name, text in texts.items():
                write_in_place(self._disk, where / file_name, text.encode("utf-8"))
            for number, signature in enumerate(job.signatures, start=1):
                write_in_place(self._disk, where / f"{JOB}.{number}.sig", signature)
            write_in_place(self._disk, where / JOB, job.blob)
        except OSError as error:
            raise JournalClosed(f"{where}: cannot be written: {error.strerror or error}") from None

    def _clear(self, where: Path) -> None:
        """Take away what a try before has left, its job first: a job with signatures that are not
        its own would be a set that does not follow, and nobody could sign.
        """
        job = where / JOB
        if job.exists():
            self._disk.remove(job)
            self._disk.sync_directory(where)
        for file in where.glob(f"{JOB}.*.sig"):
            self._disk.remove(file)

    def _names(self, where: Path) -> Iterator[str]:
        try:
            yield from (each.name for each in where.iterdir())
        except FileNotFoundError:
            return

    def _read(self, where: Path) -> KeptTrust | None:
        """Return the job in a directory; None if it was not written to its end."""
        path = where / JOB
        if not path.exists():
            return None
        signatures = []
        for number in range(1, MAX_SIGNATURES + 1):
            file = where / f"{JOB}.{number}.sig"
            if not file.exists():
                break
            signatures.append(_bounded(self._disk, file, MAX_ARMOR))
        return KeptTrust(_bounded(self._disk, path, MAX_BYTES), tuple(signatures))


def _bounded(disk: Disk, path: Path, most: int) -> bytes:
    if path.stat().st_size > most:
        raise OSError(0, f"{path.name} has more than {most} bytes")
    return disk.read(path)
