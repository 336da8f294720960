"""Root's spool directory: whatever lies in it costs neither the agent nor the next job anything."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.refusals import TooManyJobs
from felhom_agent.daemon.spool import MAX_FILES, Spool
from felhom_agent.errors import JournalClosed


class Intake:
    """Takes jobs in, or fails as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.jobs: list[SignedJob] = []

    def __call__(self, job: SignedJob) -> None:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error

    @property
    def blobs(self) -> list[bytes]:
        return [job.blob for job in self.jobs]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "spool"
    place.mkdir(mode=0o755)
    return place


@pytest.fixture
def spool(place: Path) -> Spool:
    return Spool(place, os.getuid())


def put(place: Path, name: str, blob: bytes = b"{}") -> None:
    (place / f"{name}.job").write_bytes(blob)
    (place / f"{name}.job.sig").write_bytes(b"signature")


def test_a_pair_is_brought_once_and_again_once_it_was_replaced(place: Path, spool: Spool) -> None:
    intake = Intake()
    put(place, "one")
    for _ in range(3):
        spool.read(intake)
    assert intake.blobs == [b"{}"]
    put(place, "new", b"[]")
    (place / "new.job").replace(place / "one.job")
    spool.read(intake)
    assert intake.blobs == [b"{}", b"[]"]


def test_what_is_no_file_is_told_once_and_keeps_no_other_from_being_read(
    place: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(place / "a.job")
    (place / "a.job.sig").write_bytes(b"x")
    (place / "b.job").mkdir()
    (place / "b.job.sig").write_bytes(b"x")
    (place / "c.job").symlink_to("/dev/zero")
    (place / "c.job.sig").write_bytes(b"x")
    (place / "d.job").symlink_to(place / "nowhere")
    (place / "d.job.sig").write_bytes(b"x")
    put(place, "e", b"x" * 70_001)
    with (place / "f.job").open("wb") as file:
        file.truncate(1 << 40)
    (place / "f.job.sig").write_bytes(b"x")
    put(place, "z", b"good")
    intake = Intake()
    for _ in range(3):
        spool.read(intake)
    assert intake.blobs == [b"good"]
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == len(set(told)) == 6, told


@pytest.mark.parametrize(
    "name", [b"x\x1b[2J", b"x\ny", b"\xff\xfe", b" ", b"-rf", "\u202ex".encode(), b"\x7f" * 200]
)
def test_names_that_trick_a_terminal_are_shown_harmlessly(
    place: Path, spool: Spool, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = os.fsencode(place) + b"/" + name
    for end in (b".job", b".job.sig"):
        Path(os.fsdecode(path + end)).write_bytes(b"x")
    intake = Intake(JournalClosed("no room"))
    spool.read(intake)
    assert intake.blobs == [b"x"]
    (told,) = [r.getMessage() for r in caplog.records]
    assert told.isprintable()
    told.encode("utf-8")


def test_of_too_many_files_the_first_are_read_and_that_is_said_once(
    place: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2000):
        put(place, f"{number:05}", str(number).encode())
    intake = Intake()
    for _ in range(3):
        spool.read(intake)
    assert intake.blobs == [str(n).encode() for n in range(MAX_FILES // 2)]
    (told,) = [r.getMessage() for r in caplog.records]
    assert f"more than {MAX_FILES} files" in told


def test_what_cannot_be_taken_now_is_tried_again_and_told_once(
    place: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    put(place, "one")
    intake = Intake(JournalClosed("no room"))
    for _ in range(4):
        spool.read(intake)
    assert len(intake.jobs) == 4
    assert len(caplog.records) == 1
    intake.error = None
    spool.read(intake)
    spool.read(intake)
    assert len(intake.jobs) == 5


def test_a_flood_in_the_spool_is_not_a_flood_in_the_log(
    place: Path, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(80):
        put(place, f"{number:03}", str(number).encode())
    intake = Intake(TooManyJobs("too many signed jobs at once; again in 15 s"))
    for _ in range(5):
        spool.read(intake)
    assert len(caplog.records) == 1
    assert len(intake.jobs) == 5


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_directory_that_others_can_write_is_not_read(
    place: Path, spool: Spool, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    put(place, "one")
    place.chmod(mode)
    intake = Intake()
    for _ in range(3):
        spool.read(intake)
    assert intake.jobs == []
    (told,) = caplog.records
    assert "chmod go-w" in told.getMessage()
    place.chmod(0o755)
    spool.read(intake)
    assert intake.blobs == [b"{}"]


def test_a_directory_of_somebody_else_a_link_and_a_file_are_not_read(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(place, "one")
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    intake = Intake()
    for name in ("link", "file", "fifo", "none"):
        Spool(tmp_path / name, os.getuid()).read(intake)
    if os.getuid() == 0:
        os.chown(place, 12345, 12345)
        Spool(place).read(intake)
    assert intake.jobs == []
    assert all(record.levelno == logging.WARNING for record in caplog.records)
