"""What the pages and the hooks tell a developer to type is there, and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.pages import names

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
PYTHONS = (re.findall(r"^PYTHONS := (.+)$", MAKEFILE, re.MULTILINE) or [""])[0].split()
PAGES = [ROOT / name for name in (*names(), ".ci/run")]
TELLING = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run")]
HOOKS = ROOT / ".pre-commit-config.yaml"
DEADLINE = 60


@pytest.mark.parametrize("page", [*PAGES, HOOKS], ids=lambda page: page.name)
def test_every_target_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"(?:`|^|entry: )make ([a-z][\w -]*)", text, re.MULTILINE)
    assert named or page not in TELLING
    assert {w for words in named for w in words.split() if w.islower()} <= TARGETS


def test_every_target_is_told_by_make_help_or_is_a_part_of_one_that_is() -> None:
    told = set(re.findall(r'^\t@echo "make ([\w-]+) ', MAKEFILE, re.MULTILINE))
    parts = {"help", "lint", "shell", "pages", "types", "unit", "older", "browser", "uninstall"}
    assert TARGETS - told == parts


def test_a_hook_fetches_nothing() -> None:
    text = HOOKS.read_text()
    assert re.findall(r"^ +- repo: (.+)$", text, re.MULTILINE) == ["local"]
    assert set(re.findall(r"^ +language: (.+)$", text, re.MULTILINE)) == {"system"}


def test_the_versions_of_python_that_are_tried_are_those_that_are_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (entry.rpartition(" :: ")[2] for entry in project["classifiers"])
    assert [name for name in names if re.fullmatch(r"3\.\d+", name)] == PYTHONS
    assert project["requires-python"] == f">={PYTHONS[0]}"
    assert f"Python {PYTHONS[0]} to {PYTHONS[-1]}" in (ROOT / "docs" / "versions.md").read_text()


def test_a_python_that_is_not_at_hand_is_skipped_with_a_line(tmp_path: Path) -> None:
    # On the PATH, and no Python: as the stand-in of a version manager is.
    stand_in = tmp_path / "python3.98"
    stand_in.write_text("#!/bin/sh\necho not set up >&2\nexit 127\n")
    stand_in.chmod(0o755)
    done = pythons(tmp_path, "3.98", "3.99")
    assert done.stdout.splitlines() == [
        "python3.98 is not here: skipped",
        "python3.99 is not here: skipped",
    ]
    assert (done.returncode, done.stderr) == (1, "none of these versions is here: 3.98 3.99\n")


def test_a_python_of_another_version_than_its_name_is_not_at_hand(tmp_path: Path) -> None:
    python = tmp_path / "python3.99"
    python.write_text('#!/bin/sh\nexec python3 "$@"\n')
    python.chmod(0o755)
    assert "python3.99 is not here: skipped" in pythons(tmp_path, "3.99").stdout


def pythons(first: Path, *versions: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools" / "pythons", *versions],
        env={**os.environ, "PATH": f"{first}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
