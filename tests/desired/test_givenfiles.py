"""Guest files that somebody names are read as the agent reads them, with nothing from before."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.desired import givenfiles
from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.givenfiles import guest_files, read_given

FILES = {
    "b.toml": "[guest.200]\nstate = 'running'\n",
    "a.toml": "[guest.100.config]\ncores = 2\n[guest.101.config]\ncorse = 2\n",
    "c.toml": "[guest.100]\n",
    "d.toml": "not toml",
    ".e.toml": "not toml",
    "f.txt": "not toml",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_they_declare_what_they_declare_to_an_agent(directory: Path) -> None:
    given, provided = read_given([directory]).desired, TomlDirectoryProvider(directory).load()
    assert given.guests == provided.guests
    assert given.held.keys() == provided.held.keys()
    assert list(given.guests) == [200]


def test_their_problems_are_those_of_an_agent_without_what_becomes_of_the_guests(
    directory: Path,
) -> None:
    given, provided = read_given([directory]).desired, TomlDirectoryProvider(directory).load()
    assert set(given.problems) < set(provided.problems)
    assert all(problem.place.line for problem in given.problems)
    assert {problem.place for problem in given.problems} == {
        problem.place for problem in provided.problems if problem.place.line
    }


@pytest.mark.parametrize(
    ("text", "complete"), [("[guest.100]\n", True), ("x = 1\n[guest.100]\n", False), ("x", False)]
)
def test_whether_it_is_known_what_a_file_declares_is_told(
    tmp_path: Path, text: str, complete: bool
) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert read_given([tmp_path]).desired.complete is complete


def test_a_file_is_read_once_however_often_it_is_named(directory: Path) -> None:
    path = directory / "b.toml"
    assert read_given([path, path]).desired.problems == ()


def test_a_file_is_read_once_by_whatever_name_it_is_given(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    (directory / "sub").mkdir()
    names = ["b.toml", "./b.toml", "sub/../b.toml", str(directory / "b.toml")]
    desired = read_given(list(map(Path, names))).desired
    assert (list(desired.guests), desired.problems) == ([200], ())


def test_a_link_to_a_file_is_another_file_as_it_is_to_the_agent(directory: Path) -> None:
    (directory / "g.toml").symlink_to("b.toml")
    assert set(read_given([directory]).desired.held) == {100, 101, 200}


def test_a_directory_that_holds_more_than_any_does_is_not_read_to_its_end(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(givenfiles, "MAX_FILES", 2)
    with pytest.raises(ValueError, match="holds more than 2 guest files"):
        guest_files(directory)
    (problem,) = read_given([directory]).desired.problems
    assert str(problem) == f"{directory}: holds more than 2 guest files"
