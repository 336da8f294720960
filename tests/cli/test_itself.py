"""The program starts itself once more as the package that runs, wherever that is done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import felhom_agent
from felhom_agent.cli.itself import NEEDED, command_line
from tests.process import SOON

ROOT = Path(__file__).parent.parent.parent
PLANTED = "print('planted')\n"


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Return a directory with other programs of the same names."""
    directory = tmp_path / "planted"
    (directory / "felhom_agent").mkdir(parents=True)
    for name in ("felhom_agent/__init__.py", "felhom_agent/__main__.py", "json.py", "argparse.py"):
        (directory / name).write_text(PLANTED)
    return directory


def test_what_lies_in_the_working_directory_or_in_a_variable_is_not_taken_for_it(
    planted: Path,
) -> None:
    done = subprocess.run(
        command_line("--version"),
        cwd=planted, env={**os.environ, "PYTHONPATH": f":{planted}"}, capture_output=True,
        text=True, timeout=SOON,
    )  # fmt: skip
    assert done.stdout == f"felhom-agent {felhom_agent.__version__}\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_the_package_that_runs_and_what_that_has_found(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted)
    (planted / "tomli").mkdir()
    (planted / "tomli/__init__.py").write_text(PLANTED)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "tomli", raising=False)
    start = command_line("plan")[3]
    assert str(Path(felhom_agent.__file__)) in start
    assert str(planted) not in start, "the working directory is not passed on"


def test_words_that_are_no_text_reach_it_as_they_are(tmp_path: Path) -> None:
    done = subprocess.run(
        command_line("plan", "\udcff"), cwd=tmp_path, capture_output=True, timeout=SOON
    )
    assert (done.returncode, b"is not a vmid" in done.stderr) == (64, True)


def test_it_needs_what_the_package_says_that_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {re.split(r"\W", need)[0] for need in project["dependencies"]}
    assert found == set(NEEDED)


def test_a_working_directory_that_was_removed_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = subprocess.run(command_line("--version"), capture_output=True, timeout=SOON)
    assert done.returncode == 0
