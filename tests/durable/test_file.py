"""A file that is made new, and never in the place of another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.file import write_if_absent, write_over


def test_a_new_file_has_its_bytes_and_its_mode_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_if_absent(DISK, tmp_path / "new", b"text", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == b"text"
    assert (tmp_path / "new").stat().st_mode & 0o7777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["file", "directory", "link to nowhere"])
def test_what_has_the_name_already_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "old"
    if kind == "file":
        path.write_text("mine")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_if_absent(DISK, path, b"text", 0o644)
    assert kind != "file" or path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]


def test_a_file_that_appears_while_another_one_is_written_is_not_overwritten(
    tmp_path: Path,
) -> None:
    class Late(Disk):
        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            (tmp_path / "new").write_text("mine")

    with pytest.raises(FileExistsError):
        write_if_absent(Late(), tmp_path / "new", b"text", 0o644)
    assert (tmp_path / "new").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, descriptor: int, data: bytes) -> None:
            os.write(descriptor, data[:2])
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_if_absent(Full(), tmp_path / "new", b"text", 0o644)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nothing", "file", "link to nowhere"])
def test_what_has_the_name_is_replaced_as_a_whole_where_that_is_meant(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "list"
    if kind == "file":
        path.write_text("mine")
        path.chmod(0o666)
    elif kind == "link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    write_over(DISK, path, b"text", 0o644)
    assert path.read_bytes() == b"text"
    assert path.lstat().st_mode & 0o7777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["list"]


def test_what_was_there_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, descriptor: int, data: bytes) -> None:
            os.write(descriptor, data[:2])
            raise OSError(28, "No space left on device")

    path = tmp_path / "list"
    path.write_text("mine")
    with pytest.raises(OSError, match="No space"):
        write_over(Full(), path, b"text", 0o644)
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["list"]
