"""One agent per journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from felhom_agent.errors import FelhomError
from felhom_agent.journal.lock import AlreadyRunning, held


def test_a_second_agent_is_sent_away_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}.*{tmp_path}"),
        held(tmp_path),
    ):
        pass


def test_the_directory_is_free_again_afterwards_and_made_if_absent(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    with held(directory):
        pass
    with held(directory):
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FelhomError, match="cannot be opened"), held(tmp_path / "file"):
        pass
