"""A directory of guest files keeps what was last good."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.provider import DesiredProvider, EmptyProvider, StaticProvider
from felhom_agent.model import Desired, DesiredGuest, RunState


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
