"""Problems are told with the time of what is in force instead."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.lastgood import LastGood
from felhom_agent.desired.told import told
from felhom_agent.model import Desired, Place, Problem
from felhom_agent.printable import local_text

HELD = "what was changed in it is not in force, because of another file"
NOW = 1_800_000_000.0


def problem(file: str, text: str) -> Problem:
    return Problem(Place(file, 3), text)


def test_the_first_problem_of_each_file_says_of_when_its_guests_are() -> None:
    desired = Desired(
        problems=(problem("a", "x"), problem("a", "y"), problem("b", "z"), problem("c", "w")),
        kept=MappingProxyType({"a": NOW, "b": NOW - 30 * 86400, "d": NOW}),
    )
    assert [str(each) for each in told(desired, NOW)] == [
        f"a:3: x; its guests: last good version of {local_text(NOW)[11:]}",
        "a:3: y",
        f"b:3: z; its guests: last good version of {local_text(NOW - 30 * 86400)}",
        "c:3: w",
        f"d: {HELD}; its guests: last good version of {local_text(NOW)[11:]}",
    ]


def test_an_edited_file_that_another_one_holds_is_named_with_its_time(tmp_path: Path) -> None:
    files = tmp_path / "guests.d"
    files.mkdir()
    edited, second = files / "c.toml", files / "d.toml"
    edited.write_text("[guest.103.config]\ncores = 1\n")
    store = tmp_path / "store"
    provider = TomlDirectoryProvider(files, last_good=LastGood(store, files))
    assert told(provider.load()) == ()
    edited.write_text("[guest.103.config]\ncores = 6\n")
    second.write_text("[guest.103.config]\ncores = 2\n")
    begun_anew = TomlDirectoryProvider(files, last_good=LastGood(store, files))
    for desired in (provider.load(), begun_anew.load()):
        assert desired.guests[103].config == {"cores": 1}
        (one,) = (str(each) for each in told(desired) if each.place.file == str(edited))
        assert one.startswith(f"{edited}: what was changed in it is not in force")
        assert "; its guests: last good version of " in one
    second.unlink()
    assert told(provider.load()) == ()
    assert provider.load().guests[103].config == {"cores": 6}


def test_any_time_has_a_text() -> None:
    for seconds in (-1e300, -1.0, 0.0, NOW, 1e300):
        assert len(local_text(seconds)) == len("2027-01-15 09:00")
        assert len(local_text(seconds, seconds)) == len("09:00")
