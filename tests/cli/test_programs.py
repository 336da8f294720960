"""A program of the system is never one that lies in the working directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.cli import initservice, programs, pveum
from felhom_agent.cli.healthnotify import _state_of
from felhom_agent.cli.serviceuser import _shown
from felhom_agent.errors import FelhomError


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with programs that leave a file behind; return that file."""
    for name in ("pveum", "systemctl"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho planted | tee {tmp_path}/was-run\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "was-run"


@pytest.mark.parametrize("path", ["", ".", ":", ":/nowhere", "/nowhere:", "./:..", "none/.."])
def test_nothing_is_found_by_a_path_that_is_relative(
    path: str, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path)
    assert not programs.is_here("pveum")
    with pytest.raises(FileNotFoundError):
        programs.path_of("pveum")
    assert not pveum.is_here()
    with pytest.raises(FelhomError, match="cannot be run"):
        pveum.run("pveum role list")
    assert _state_of("x.service") == "not known"
    assert _shown() == ""
    assert not planted.exists()


def test_it_is_the_first_one_in_a_directory_that_is_named_whole(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f":.:{planted.parent}:/usr/bin")
    assert programs.path_of("systemctl") == str(planted.parent / "systemctl")
    assert programs.path_of("sh") == shutil.which("sh", path="/usr/bin")


def test_without_a_path_it_is_where_the_system_has_its_programs(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATH")
    assert programs.path_of("sh") in ("/bin/sh", "/usr/bin/sh")
    assert not programs.is_here("pveum")


@pytest.mark.parametrize("ask", [initservice.enable, initservice.is_set])
def test_a_program_that_hangs_is_told_with_its_line(
    ask: Callable[[], object], planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init` on a host whose systemd waits for something is no bug of ours."""
    (planted.parent / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setenv("PATH", f"{planted.parent}:/usr/bin:/bin")
    monkeypatch.setattr(initservice, "TIMEOUT", 0.1)
    with pytest.raises(FelhomError, match=r"`systemctl .*` did not end within"):
        ask()


def test_what_a_program_says_is_taken_as_text_whatever_its_bytes(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planted.parent / "pveum").write_text("#!/bin/sh\nprintf '\\377' >&2; exit 3\n")
    monkeypatch.setenv("PATH", f"{planted.parent}:/usr/bin:/bin")
    with pytest.raises(FelhomError, match="`pveum role list` failed: \N{REPLACEMENT CHARACTER}"):
        pveum.run("pveum role list")
