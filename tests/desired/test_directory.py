"""A directory of guest files keeps what was last good."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from felhom_agent.desired.directory import TICK, TomlDirectoryProvider
from felhom_agent.desired.provider import DesiredProvider, EmptyProvider, StaticProvider
from felhom_agent.model import Desired, DesiredGuest, RunState
from tests.conftest import Clock


def declare(directory: Path, name: str, *guests: str) -> None:
    (directory / name).write_text("".join(f"[guest.{guest}\n" for guest in guests))


def test_all_toml_files_speak_and_nothing_else(tmp_path: Path) -> None:
    declare(tmp_path, "b.toml", "102]")
    declare(tmp_path, "a.toml", "101]")
    declare(tmp_path, "c.toml.bak", "103]")
    declare(tmp_path, ".hidden.toml", "104]")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert list(desired.guests) == [101, 102]
    assert desired.problems == ()


def test_a_file_that_became_invalid_keeps_its_last_good_version(tmp_path: Path) -> None:
    declare(tmp_path, "a.toml", "101]", "102]")
    declare(tmp_path, "b.toml", "103]")
    provider = TomlDirectoryProvider(tmp_path)
    provider.load()
    (tmp_path / "a.toml").write_text("[guest.101\n")
    for _ in range(2):
        desired = provider.load()
        assert set(desired.guests) == {101, 102, 103}
        assert any("its last good version stays in force" in str(p) for p in desired.problems)
    declare(tmp_path, "a.toml", "102]")
    desired = provider.load()
    assert set(desired.guests) == {102, 103}
    assert desired.problems == ()


def test_a_file_that_was_never_good_has_no_say(tmp_path: Path) -> None:
    declare(tmp_path, "a.toml", "101]\nstate = ", "102]")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert desired.guests == {}
    assert not desired.complete, "nobody knows whom it declares"
    assert any("nothing of it is in force" in str(p) for p in desired.problems)


def test_a_guest_with_an_error_costs_no_other_guest_of_its_file(tmp_path: Path) -> None:
    declare(tmp_path, "a.toml", '101]\nstate = "running"', "102]")
    provider = TomlDirectoryProvider(tmp_path)
    before = provider.load().guests[101]
    declare(tmp_path, "a.toml", "101]\nstate = 1", '102]\nstate = "stopped"', "103]\nkind = 1")
    for _ in range(2):
        desired = provider.load()
        assert desired.guests[101] == before, "its last good declaration"
        assert desired.guests[102].state is RunState.STOPPED, "the new text"
        assert set(desired.held) == {103}
        assert "a.toml:6: guest 103: kind must be" in desired.held[103]
        assert desired.complete
        told = [p.text for p in desired.problems[-2:]]
        assert told == [
            "has errors; the last good declaration stays in force of: guest 101",
            "has errors; held until they are mended: guest 103",
        ]
    declare(tmp_path, "a.toml", "103]")
    assert set(provider.load().guests) == {103}
    assert provider.load().held == {}


def test_a_removed_file_makes_its_guests_unmanaged(tmp_path: Path) -> None:
    declare(tmp_path, "a.toml", "101]")
    provider = TomlDirectoryProvider(tmp_path)
    provider.load()
    (tmp_path / "a.toml").unlink()
    assert provider.load() == Desired()


def test_a_directory_that_cannot_be_listed_keeps_everything(tmp_path: Path) -> None:
    directory = tmp_path / "guests.d"
    directory.mkdir()
    declare(directory, "a.toml", "101]")
    provider = TomlDirectoryProvider(directory)
    provider.load()
    directory.rename(tmp_path / "away")
    desired = provider.load()
    assert set(desired.guests) == {101}
    assert "cannot be listed: No such file" in str(desired.problems[0])
    (tmp_path / "away").rename(directory)
    assert provider.load().problems == ()


def test_a_guest_declared_twice_names_both_places_and_is_left_alone(tmp_path: Path) -> None:
    declare(tmp_path, "a.toml", "101]", "102]")
    declare(tmp_path, "b.toml", "102]")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert set(desired.guests) == {101}
    assert set(desired.held) == {102}
    (problem,) = desired.problems
    assert str(problem).startswith(f"{tmp_path}/b.toml:1: guest 102 is declared twice")
    assert f"first at {tmp_path}/a.toml:2" in str(problem)


def test_a_guest_that_a_new_file_declares_again_stays_as_it_was(tmp_path: Path) -> None:
    declare(tmp_path, "b.toml", '102]\nstate = "running"')
    provider = TomlDirectoryProvider(tmp_path)
    before = provider.load().guests[102]
    declare(tmp_path, "a.toml", '102]\nstate = "stopped"')
    for _ in range(2):
        desired = provider.load()
        assert desired.guests[102] == before
        assert len(desired.problems) == 1


@pytest.mark.parametrize(
    ("provider", "desired"),
    [
        (EmptyProvider(), Desired()),
        (StaticProvider([DesiredGuest(101)]), Desired({101: DesiredGuest(101)})),
    ],
)
def test_the_simple_providers_say_what_they_were_given(
    provider: DesiredProvider, desired: Desired
) -> None:
    assert provider.load() == desired


_opened: list[str] = []


def _note_opening(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and isinstance(args[0], str | os.PathLike):
        _opened.append(os.fspath(args[0]))


@pytest.fixture(scope="module")
def openings() -> list[str]:
    """Return the list of the files that this process opens from now on."""
    sys.addaudithook(_note_opening)
    return _opened


def loaded(provider: TomlDirectoryProvider, openings: list[str]) -> tuple[Desired, list[str]]:
    """Return what is declared, and the names of the guest files that were opened for it."""
    openings.clear()
    desired = provider.load()
    return desired, [Path(path).name for path in openings if path.endswith(".toml")]


def an_hour_later() -> float:
    return time.time() + 3600


def test_a_file_that_did_not_change_is_not_read_again_and_gives_the_same_objects(
    tmp_path: Path, openings: list[str]
) -> None:
    declare(tmp_path, "a.toml", "101]")
    declare(tmp_path, "b.toml", "102]")
    provider = TomlDirectoryProvider(tmp_path, now=an_hour_later)
    first, opened = loaded(provider, openings)
    assert opened == ["a.toml", "b.toml"]
    declare(tmp_path, "new", "102]", "103]")
    (tmp_path / "new").replace(tmp_path / "b.toml")
    second, opened = loaded(provider, openings)
    assert opened == ["b.toml"]
    assert second.guests[101] is first.guests[101]
    assert second.guests.keys() == {101, 102, 103}
    third, opened = loaded(provider, openings)
    assert opened == []
    assert all(third.guests[vmid] is second.guests[vmid] for vmid in second.guests)


def test_a_file_with_errors_is_not_read_again_and_its_problems_stay(
    tmp_path: Path, openings: list[str]
) -> None:
    (tmp_path / "a.toml").write_text("[guest.101\n")
    provider = TomlDirectoryProvider(tmp_path, now=an_hour_later)
    first, _ = loaded(provider, openings)
    second, opened = loaded(provider, openings)
    assert opened == []
    assert second.problems == first.problems
    assert first.problems


def test_a_file_of_which_only_a_time_changed_is_read_again(tmp_path: Path) -> None:
    """Its content may have changed, too, and have the same length."""
    path = tmp_path / "a.toml"
    path.write_text('[guest.101]\nstate = "running"\n')
    provider = TomlDirectoryProvider(tmp_path, now=an_hour_later)
    provider.load()
    with path.open("r+") as file:
        file.write('[guest.101]\nstate = "stopped"\n')
    os.utime(path, (1e9, 1e9))
    assert provider.load().guests[101].state is RunState.STOPPED


def test_while_a_file_is_so_new_that_a_change_may_not_show_it_is_read_again(
    tmp_path: Path, openings: list[str]
) -> None:
    """Two changes within a tick of the file system's clock have the same times."""
    declare(tmp_path, "a.toml", "101]")
    changed = (tmp_path / "a.toml").stat().st_ctime
    clock = Clock(changed)
    provider = TomlDirectoryProvider(tmp_path, now=clock)
    for seconds in (0.0, TICK - 0.1, 0.2):
        clock.pass_by(seconds)
        assert loaded(provider, openings)[1] == ["a.toml"]
    assert loaded(provider, openings)[1] == []


def test_what_takes_an_unchanged_files_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    declare(tmp_path, "a.toml", "101]")
    provider = TomlDirectoryProvider(tmp_path, now=an_hour_later)
    provider.load()
    provider.load()
    path.rename(tmp_path / "aside")
    path.mkdir()
    desired = provider.load()
    assert desired.guests.keys() == {101}
    assert any("it is a directory" in str(problem) for problem in desired.problems)
    path.rmdir()
    (tmp_path / "aside").rename(path)
    assert provider.load().problems == ()
    path.unlink()
    assert provider.load().guests == {}
