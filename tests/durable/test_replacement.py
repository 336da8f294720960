"""A person's file is replaced as a whole, with its owner, mode and ACL."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from felhom_agent.durable.replacement import replace_whole
from felhom_agent.errors import FelhomError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    return path


def test_owner_and_mode_stay(path: Path) -> None:
    before = path.stat()
    replace_whole(path, b"old", b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("of", ["the file", "the directory"])
def test_who_is_let_in_by_name_stays_so_and_nobody_else_comes_to_be(path: Path, of: str) -> None:
    rights = [(1, 6, -1), (2, 4, 12345), (4, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *right) for right in rights)
    where = (path, "access") if of == "the file" else (path.parent, "default")
    try:
        os.setxattr(where[0], f"system.posix_acl_{where[1]}", acl)
    except OSError:
        pytest.skip("the file system has no ACLs")
    before = acl_of(path), path.stat().st_mode
    replace_whole(path, b"old", b"new")
    assert (acl_of(path), path.stat().st_mode) == before


def acl_of(path: Path) -> bytes:
    name = "system.posix_acl_access"
    return os.getxattr(path, name) if name in os.listxattr(path) else b""


def test_what_was_changed_meanwhile_stays(path: Path) -> None:
    with pytest.raises(FelhomError, match="changed meanwhile; try again"):
        replace_whole(path, b"older", b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_gone_or_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FelhomError, match="cannot be written: No such file"):
        replace_whole(tmp_path / "absent" / "agent.toml", b"", b"new")
