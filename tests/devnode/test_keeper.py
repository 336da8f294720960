"""`devnode --dir` writes into no directory but its own, and what a person edited there stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.devnode.demo.keeper import NOTE, Keeper
from tests.process import SOON


@contextmanager
def devnode(directory: Path) -> Iterator[list[str]]:
    """Hold a running devnode; what it said first."""
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        while not said or not said[-1].startswith("A PVE node listens on "):
            said.append(process.stdout.readline())
            assert said[-1], "it ended"
        yield said
        process.terminate()
        assert process.wait(SOON) == 0


def test_a_directory_that_somebody_else_made_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}: devnode did not make this directory" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_dir_nothing_is_left_at_the_end(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "felhom_agent", "devnode"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = ""
        while "is removed at the end; --dir names one that stays.\n" not in said:
            line = process.stdout.readline()
            assert line, "it ended"
            said += line
        (site,) = tmp_path.glob("felhom-devnode-*")
        assert (site / "token").exists()
        (site / "mine.txt").write_text("made meanwhile")
        process.send_signal(number)
        assert process.wait(SOON) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "nothing"])
def test_a_directory_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name if name != "nothing" else Path("/proc/nothing")
    command = [sys.executable, "-m", "felhom_agent", "devnode", "--dir", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"felhom-agent: {path}: ")
    assert done.stderr.endswith("; --dir names a new directory, or an empty one\n")


def test_what_a_person_edited_stays_and_points_to_the_new_node(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with devnode(site) as said:
        assert len(said) == 1
    guests, agent_toml = site / "guests.d" / "guests.toml", site / "agent.toml"
    guests.write_text('[guest.101]\nstate = "stopped"\n')
    text = agent_toml.read_text() + "# mine\n"
    agent_toml.write_text(text)
    with devnode(site) as said:
        assert sum("was edited, and stays as it is" in line for line in said) == 2
        endpoint = said[-1].split()[5].rstrip(";")
        assert load(agent_toml).proxmox.endpoint == endpoint
        old = load(agent_toml).proxmox.endpoint
        assert agent_toml.read_text() == text.replace(_endpoint(text), old)
    assert guests.read_text() == '[guest.101]\nstate = "stopped"\n'


def test_what_nobody_edited_is_written_again(tmp_path: Path) -> None:
    first = Keeper(tmp_path)
    first.write(tmp_path / "a", "one")
    second = Keeper(tmp_path)
    second.write(tmp_path / "a", "two")
    assert ((tmp_path / "a").read_text(), second.kept) == ("two", [])


@pytest.mark.parametrize("note", ["", "[", "[1]", '{"a": 3}'])
def test_a_damaged_note_makes_everything_a_persons(tmp_path: Path, note: str) -> None:
    Keeper(tmp_path).write(tmp_path / "a", "one")
    (tmp_path / NOTE).write_text(note)
    keeper = Keeper(tmp_path)
    keeper.write(tmp_path / "a", "two")
    assert ((tmp_path / "a").read_text(), keeper.kept) == ("one", [tmp_path / "a"])


def _endpoint(text: str) -> str:
    return text.partition('endpoint = "')[2].partition('"')[0]
