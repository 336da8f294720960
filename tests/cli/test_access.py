"""What another user may read is told as the kernel would: compared with what he can really open."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli.access import ENTER, READ, WRITE, obstacle
from felhom_agent.cli.serviceuser import User

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

NOBODY = pwd.getpwnam("nobody")
DAEMON = pwd.getpwnam("daemon")
USER = User("nobody", NOBODY.pw_uid, frozenset({NOBODY.pw_gid}), "nogroup")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def can_open(path: Path, user: User, *, write: bool = False) -> bool:
    """Return whether a process of that user can open a file."""
    done = subprocess.run(
        ["sh", "-c", f'exec 3{">>" if write else "<"}"$1"', "sh", str(path)],
        user=user.uid,
        group=next(iter(user.gids)),
        extra_groups=list(user.gids),
        capture_output=True,
    )
    return done.returncode == 0


MODES = (0o600, 0o640, 0o604, 0o060, 0o006, 0o400, 0o000, 0o044, 0o222)
OWNERS = ((0, 0), (NOBODY.pw_uid, 0), (0, NOBODY.pw_gid), (DAEMON.pw_uid, DAEMON.pw_gid))


@pytest.mark.parametrize(("mode", "owner"), list(itertools.product(MODES, OWNERS)))
def test_it_is_as_the_kernel_says(place: Path, mode: int, owner: tuple[int, int]) -> None:
    path = place / "a.toml"
    path.write_text("")
    os.chown(path, *owner)
    path.chmod(mode)
    assert (obstacle(path, USER, READ) is None) is can_open(path, USER)
    assert (obstacle(path, USER, WRITE) is None) is can_open(path, USER, write=True)


def test_a_directory_on_the_way_is_what_is_named(place: Path) -> None:
    (place / "closed" / "in").mkdir(parents=True)
    path = place / "closed" / "in" / "a.toml"
    path.write_text("")
    (place / "closed").chmod(0o700)
    found = obstacle(path, USER, READ)
    assert found is not None
    assert found.path == place / "closed"
    assert "user nobody may not enter" in found.text
    assert "(mode 0700, root:root)" in found.text
    assert not can_open(path, USER)


def test_a_link_leads_through_the_directories_of_its_target(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    (place / "closed" / "a.toml").write_text("")
    (place / "link.toml").symlink_to(Path("closed", "..", "closed", "a.toml"))
    found = obstacle(place / "link.toml", USER, READ)
    assert found is not None
    assert found.path == place / "closed"
    (place / "closed").chmod(0o711)
    assert obstacle(place / "link.toml", USER, READ) is None
    assert can_open(place / "link.toml", USER)


def test_links_in_a_circle_end(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    found = obstacle(place / "a", USER, READ)
    assert found is not None
    assert "too many symbolic links" in found.text


def test_what_is_not_there_is_no_matter_of_rights(place: Path) -> None:
    assert obstacle(place / "no" / "thing", USER, READ) is None


def test_a_group_of_the_unit_counts(place: Path) -> None:
    path = place / "a.toml"
    path.write_text("")
    os.chown(path, 0, DAEMON.pw_gid)
    path.chmod(0o640)
    assert obstacle(path, USER, READ) is not None
    both = User("nobody", NOBODY.pw_uid, frozenset({NOBODY.pw_gid, DAEMON.pw_gid}), "nogroup")
    assert obstacle(path, both, READ) is None
    assert can_open(path, both)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return the bytes of an ACL of tags, rights and ids (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("mask", [0, 4, 7])
def test_an_acl_lets_a_user_as_far_as_its_mask_does(place: Path, mask: int) -> None:
    path = place / "a.toml"
    path.write_text("")
    none = 0xFFFFFFFF
    entries = acl(
        (1, 6, none), (2, 4, NOBODY.pw_uid), (4, 0, none), (16, mask, none), (32, 0, none)
    )
    try:
        os.setxattr(path, "system.posix_acl_access", entries)
    except OSError:
        pytest.skip("this file system has no ACLs")
    assert (obstacle(path, USER, READ) is None) is can_open(path, USER) is bool(mask & 4)


@pytest.mark.parametrize(
    ("mode", "directory", "wanted"),
    [
        (0o600, False, READ),
        (0o000, False, READ),
        (0o700, True, READ | ENTER),
        (0o750, True, READ | WRITE | ENTER),
        (0o500, True, READ | WRITE | ENTER),
    ],
)
def test_its_remedy_mends_it(place: Path, mode: int, directory: bool, wanted: int) -> None:
    path = place / "a file"
    path.mkdir() if directory else path.write_text("")
    path.chmod(mode)
    for _ in range(3):
        found = obstacle(path, USER, wanted)
        if found is None:
            break
        for line in found.remedy:
            subprocess.run(["sh", "-ec", line], check=True)
    assert obstacle(path, USER, wanted) is None
    assert not path.stat().st_mode & 0o007, "it is not opened to everybody"


def test_the_remedy_of_a_directory_on_the_way_lets_the_file_be_read(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    path = place / "closed" / "a.toml"
    path.write_text("")
    found = obstacle(path, USER, READ)
    assert found is not None
    for line in found.remedy:
        subprocess.run(["sh", "-ec", line], check=True)
    assert can_open(path, USER)


def test_root_may_all(place: Path) -> None:
    path = place / "a.toml"
    path.write_text("")
    path.chmod(0)
    assert obstacle(path, User("root", 0, frozenset({0}), "root"), READ) is None
