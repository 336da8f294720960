"""What waits outlives an agent, and a disk that fails for a moment loses none of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from felhom_agent.errors import JournalClosed
from felhom_agent.journal.pendingjobs import KeptJob, PendingJobs
from tests.journal.disks import WatchedDisk

JOBS = [KeptJob(f"job {number}".encode(), (b"a signature",), "socket") for number in range(3)]


@pytest.fixture
def pending(tmp_path: Path) -> PendingJobs:
    found = PendingJobs(tmp_path)
    for job in JOBS:
        found.keep(job)
    return found


def test_what_was_kept_is_there_again_and_what_has_ended_is_not(pending: PendingJobs) -> None:
    pending.drop(JOBS[0].hash)
    pending.drop(JOBS[0].hash)
    found = pending.load()
    assert sorted(job.blob for job in found.jobs) == [b"job 1", b"job 2"]
    assert (found.problems, found.unread) == ([], set())


def test_no_directory_is_no_job(tmp_path: Path) -> None:
    assert PendingJobs(tmp_path).load().jobs == []


def test_a_file_that_the_disk_does_not_give_now_is_told_and_still_waits(
    pending: PendingJobs, tmp_path: Path
) -> None:
    reads = iter(range(9))

    def before(call: str) -> None:
        if call == "read" and next(reads) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    found = PendingJobs(tmp_path, WatchedDisk(before)).load()
    lost = {job.hash for job in JOBS} - {job.hash for job in found.jobs}
    assert found.unread == lost
    (problem,) = found.problems
    assert "Input/output error" in problem
    assert "remove" not in problem


def test_a_directory_that_cannot_be_listed_is_not_taken_for_one_without_jobs(
    tmp_path: Path,
) -> None:
    (tmp_path / "signed-jobs").write_text("no directory")
    with pytest.raises(JournalClosed, match="cannot be read"):
        PendingJobs(tmp_path).load()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"job":"!","signatures":[],"source":""}'])
def test_a_file_that_is_none_of_ours_is_told(pending: PendingJobs, text: bytes) -> None:
    (pending.path / f"{'0' * 64}.json").write_bytes(text)
    found = pending.load()
    assert len(found.jobs) == 3
    assert "is no job that was kept; remove it" in found.problems[0]
    assert found.unread == set()
