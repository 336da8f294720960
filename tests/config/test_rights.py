"""Who may not read a file is told what lets him, and that is enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load, load_control
from felhom_agent.config.rights import to_open
from felhom_agent.errors import ConfigError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")

NOBODY, UNKNOWN = 65534, 54321
"""A user, and a number that no user and no group has."""


@contextmanager
def being(number: int) -> Iterator[None]:
    """Be another user, of the group of the same number, for the length of a block."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that everybody can enter, with an agent.toml in a directory of its own."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    (directory / "etc").mkdir(mode=0o755)
    (directory / "etc" / "agent.toml").touch(mode=0o644)
    yield directory
    shutil.rmtree(directory)


def said(path: Path, user: int) -> str:
    with being(user), pytest.raises(ConfigError) as told:
        load(path)
    return str(told.value)


def opened(line: str, path: Path, user: int) -> bool:
    """Do what is said, as root; return whether the user may read the file then."""
    subprocess.run(["sh", "-ec", line], check=True)
    with being(user):
        return os.access(path, os.R_OK, effective_ids=True)


@pytest.mark.parametrize("user", [NOBODY, UNKNOWN])
@pytest.mark.parametrize("by_link", [False, True])
def test_where_a_directory_is_closed_that_is_opened_and_the_file_is_left_alone(
    place: Path, user: int, by_link: bool
) -> None:
    path = place / "etc" / "agent.toml"
    (place / "etc").chmod(0o700)
    if by_link:
        (place / "link.toml").symlink_to(path)
    found = said(place / "link.toml" if by_link else path, user)
    assert found.endswith(f"cannot be read: Permission denied; as root: chmod o+x {place}/etc")
    assert opened(found.partition("as root: ")[2], path, user)
    assert path.stat().st_gid == 0


@pytest.mark.parametrize("user", [NOBODY, UNKNOWN])
@pytest.mark.parametrize("group", [0, NOBODY, 7])
def test_where_the_file_is_closed_it_is_given_to_a_group_that_there_is(
    place: Path, user: int, group: int
) -> None:
    path = place / "etc" / "agent.toml"
    path.chmod(0o600)
    os.chown(path.parent, 0, group)
    found = said(path, user)
    line = found.partition("as root: ")[2]
    assert line.startswith("chgrp ")
    assert "write it" not in found
    assert opened(line, path, user)


def test_two_closed_directories_are_told_one_after_the_other_and_each_time_it_gets_further(
    place: Path,
) -> None:
    path = place / "etc" / "inner" / "agent.toml"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    (place / "etc").chmod(0o700)
    lines = []
    while True:
        with being(NOBODY):
            if os.access(path, os.R_OK, effective_ids=True):
                break
            lines.append(to_open(path))
        subprocess.run(["sh", "-ec", lines[-1]], check=True)
    assert lines == [
        f"chmod o+x {place}/etc", f"chmod o+x {place}/etc/inner",
        f"chgrp nogroup {path}; chmod g+r {path}",
    ]  # fmt: skip


def test_a_command_that_asks_the_agent_says_the_same(place: Path) -> None:
    (place / "etc").chmod(0o700)
    with being(NOBODY), pytest.raises(ConfigError, match="as root: chmod o.x .*/etc$"):
        load_control(place / "etc" / "agent.toml")


def test_a_file_that_is_not_there_is_to_be_written(place: Path) -> None:
    assert said(place / "etc" / "none.toml", NOBODY).endswith(
        "No such file or directory; write it, or name another file with --config"
    )
