"""Whose guests are whose: files on the host, those that were, and what a hub wishes."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pytest

from felhom_agent.desired.claims import DECLARED, INCOMPLETE, NAME, UNKNOWN, Claims
from felhom_agent.desired.merged import BOTH, MergedProvider
from felhom_agent.durable.line import encode_file
from felhom_agent.model import Desired, DesiredGuest
from tests.journal.disks import WatchedDisk, failing


@dataclass
class Source:
    """A source whose next answer a test decides."""

    guests: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    complete: bool = True
    settles_in: float = 0.0

    def load(self) -> Desired:
        return Desired(
            MappingProxyType({v: DesiredGuest(v) for v in self.guests}),
            held=MappingProxyType(dict.fromkeys(self.held, "is declared twice")),
            complete=self.complete,
            settles_in=self.settles_in,
        )


@dataclass
class Both:
    """A local source, a hub, and what comes of them, across restarts."""

    directory: Path
    disk: WatchedDisk = field(default_factory=WatchedDisk)
    here: Source = field(default_factory=Source)
    hub: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        claims = Claims(self.directory, self.disk)
        self.provider = MergedProvider(self.here, self.hub, claims)

    def look(self) -> tuple[list[int], dict[int, str]]:
        found = self.provider.load()
        return sorted(found.guests), dict(found.held)


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path / "state")


def test_a_hub_speaks_for_what_no_file_here_declares(both: Both) -> None:
    both.here.guests, both.hub.guests = (100,), (100, 101)
    found = both.provider.load()
    assert sorted(found.guests) == [100, 101]
    assert found.remarks == {100: BOTH}
    assert found.held == {}


def test_a_guest_that_files_here_declare_wrongly_is_held_and_not_the_hubs(both: Both) -> None:
    both.here.held, both.hub.guests = (100,), (100, 101)
    assert both.look() == ([101], {100: "is declared twice"})


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("was", ["declared", "held"])
def test_a_guest_that_was_declared_here_is_the_hubs_only_when_the_owner_says_so(
    both: Both, restarts: bool, was: str
) -> None:
    both.hub.guests = (100, 101)
    if was == "declared":
        both.here.guests = (100,)
    else:
        both.here.held = (100,)
    both.look()
    both.here.guests = both.here.held = ()
    if restarts:
        both.restart()
    for _ in range(2):
        assert both.look() == ([101], {100: DECLARED})
    both.provider.release()
    assert both.look() == ([100, 101], {})
    both.restart()
    assert both.look() == ([100, 101], {})


def test_a_reload_leaves_nothing_to_the_hub_while_a_file_cannot_be_read(both: Both) -> None:
    both.here.guests, both.hub.guests = (100,), (100,)
    both.look()
    both.here.guests, both.here.complete = (), False
    both.provider.release()
    for complete in (False, True):
        both.here.complete = complete
        assert both.look() == ([], {100: DECLARED})


def test_a_reload_right_after_a_file_was_removed_counts_once_that_is_believed(both: Both) -> None:
    """`rm 100.toml; systemctl reload felhom-agent`, within the seconds that a file settles for."""
    both.here.guests, both.hub.guests = (100,), (100,)
    both.look()
    both.here.settles_in = 1.5
    both.provider.release()
    assert both.look() == ([100], {})
    both.here.guests, both.here.settles_in = (), 0.0
    assert both.look() == ([100], {})
    assert both.provider.load().remarks == {}


def test_a_reload_counts_once(both: Both) -> None:
    both.provider.release()
    both.here.guests, both.hub.guests = (100,), (100,)
    both.look()
    both.here.guests = ()
    assert both.look() == ([], {100: DECLARED})


def test_a_reload_takes_nothing_from_what_files_here_declare_now(both: Both) -> None:
    both.here.guests, both.here.held, both.hub.guests = (100,), (101,), (100, 101)
    both.provider.release()
    both.look()
    both.here.guests = both.here.held = ()
    assert both.look() == ([], {100: DECLARED, 101: DECLARED})


@pytest.mark.parametrize("restarts", [False, True])
def test_while_a_file_cannot_be_read_the_hub_goes_on_with_its_own_and_gets_no_more(
    both: Both, restarts: bool
) -> None:
    both.hub.guests = (101,)
    both.look()
    both.here.complete, both.hub.guests = False, (101, 102)
    if restarts:
        both.restart()
    assert both.look() == ([101], {102: INCOMPLETE})
    both.here.complete = True
    assert both.look() == ([101, 102], {})


def test_a_hub_that_comes_while_a_file_cannot_be_read_gets_nothing(both: Both) -> None:
    both.here.complete, both.hub.guests = False, (101,)
    assert both.look() == ([], {101: INCOMPLETE})


def test_a_guest_that_is_missing_for_a_while_on_both_sides_stays_whose_it_was(both: Both) -> None:
    both.here.guests, both.hub.guests = (100,), (101,)
    both.look()
    both.here.guests, both.here.complete, both.hub.guests = (), False, ()
    both.look()
    both.hub.guests = (100, 101)
    assert both.look() == ([101], {100: DECLARED})


def test_it_is_written_when_it_changes_and_not_otherwise(both: Both) -> None:
    both.here.guests, both.hub.guests = (100,), (101,)
    both.look()
    assert both.disk.calls.count("sync") == 1
    for _ in range(3):
        both.look()
    assert both.disk.calls.count("sync") == 1


def test_who_only_looks_writes_nothing(both: Both, tmp_path: Path) -> None:
    both.here.guests, both.hub.guests = (100,), (101,)
    claims = Claims(tmp_path / "elsewhere", keeps=False)
    assert sorted(MergedProvider(both.here, both.hub, claims).load().guests) == [100, 101]
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_written_holds_all_the_same_is_told_and_tried_again(both: Both) -> None:
    both.hub.guests = (100, 101)
    both.disk.before = failing("create", errno.EROFS)
    both.here.guests = (100,)
    problems = {str(p) for _ in range(3) for p in both.provider.load().problems}
    assert len(problems) == 1
    assert "cannot be written: Read-only file system" in problems.pop()
    both.here.guests = ()
    assert both.look() == ([101], {100: DECLARED})
    both.disk.before = lambda call: None
    assert both.provider.load().problems == ()
    both.restart()
    assert both.look() == ([101], {100: DECLARED})


FINE = {"declared": [], "hubs": [], "known": True}
ODD: list[dict[str, object]] = [
    {},
    {"declared": [], "hubs": []},
    {**FINE, "declared": 1},
    {**FINE, "declared": ["100"]},
    {**FINE, "declared": [True]},
    {**FINE, "hubs": {}},
    {**FINE, "known": 1},
]


@pytest.mark.parametrize("spoiled", [b"", b"garbage", *(encode_file([r]) for r in ODD)])
def test_where_its_memory_is_damaged_nothing_is_the_hubs_until_the_owner_says_so(
    both: Both, spoiled: bytes
) -> None:
    both.hub.guests = (100,)
    both.look()
    path = both.directory / NAME
    path.write_bytes(spoiled)
    for _ in range(2):
        both.restart()
        assert both.look() == ([], {100: UNKNOWN})
    assert path.with_name(f"{NAME}.damaged").read_bytes() == spoiled
    both.provider.release()
    assert both.look() == ([100], {})
    assert both.provider.load().problems == ()


def test_a_pipe_in_the_place_of_its_memory_does_not_hang(both: Both) -> None:
    both.directory.mkdir()
    os.mkfifo(both.directory / NAME)
    both.restart()
    both.hub.guests = (100,)
    assert both.look() == ([], {100: UNKNOWN})
