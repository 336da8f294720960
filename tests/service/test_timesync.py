"""The clock is right only where somebody who knows says so, and has said so just now."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from felhom_agent.service.timesync import CLOCK, FRESH_SECONDS, is_synchronised

SAYS = '{"synchronised": %s}'


@pytest.fixture
def timesyncd(tmp_path: Path) -> Path:
    return tmp_path / "synchronized"


def told(directory: Path, text: str, age: float = 0.0) -> Path:
    """Let the helper say something; return its directory."""
    path = directory / CLOCK
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return directory


def test_the_helpers_word_counts(tmp_path: Path, timesyncd: Path) -> None:
    assert is_synchronised(told(tmp_path, SAYS % "true"), timesyncd)
    assert not is_synchronised(told(tmp_path, SAYS % "false"), timesyncd)


def test_it_counts_before_that_of_timesyncd_which_is_said_once(
    tmp_path: Path, timesyncd: Path
) -> None:
    timesyncd.touch()
    assert not is_synchronised(told(tmp_path, SAYS % "false"), timesyncd)
    assert is_synchronised(None, timesyncd)


@pytest.mark.parametrize("age", [FRESH_SECONDS + 5, -FRESH_SECONDS - 5, 1e9])
def test_an_old_word_or_one_of_the_future_is_none(
    tmp_path: Path, timesyncd: Path, age: float
) -> None:
    hints = told(tmp_path, SAYS % "true", age)
    assert not is_synchronised(hints, timesyncd)
    timesyncd.touch()
    assert is_synchronised(hints, timesyncd)


@pytest.mark.parametrize("text", ["", "{}", "[]", "true", SAYS % "1", SAYS % '"true"', "[" * 9999])
def test_what_is_no_word_is_none(tmp_path: Path, timesyncd: Path, text: str) -> None:
    assert not is_synchronised(told(tmp_path, text), timesyncd)


def test_without_anybody_who_tells_it_is_not_known(tmp_path: Path, timesyncd: Path) -> None:
    assert not is_synchronised(tmp_path, timesyncd)
    assert not is_synchronised(None, timesyncd)
    os.mkfifo(tmp_path / CLOCK)
    assert not is_synchronised(tmp_path, timesyncd)
