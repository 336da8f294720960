"""What changed is believed once it has been left alone; the clocks are the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.settle import CHANGING, GRACE, PATIENCE, load_settled
from felhom_agent.model import RunState

RUNNING = '[guest.101]\nstate = "running"\n'
STOPPED = '[guest.101]\nstate = "stopped"\n'


class Time:
    """A wall clock and a monotonic one, both the test's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mono = 1000.0
        self.skew = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        """Seconds since the epoch, as those who stamp files see them."""
        probe = self._path / "probe"
        probe.touch()
        return probe.stat().st_ctime + self.skew

    def clock(self) -> float:
        return self.mono

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.waits.append(seconds)
        self.mono += seconds


@pytest.fixture
def time(tmp_path: Path) -> Time:
    return Time(tmp_path)


@pytest.fixture
def guests(tmp_path: Path) -> Path:
    path = tmp_path / "guests.d"
    path.mkdir()
    return path


@pytest.fixture
def provider(guests: Path, time: Time) -> TomlDirectoryProvider:
    return TomlDirectoryProvider(guests, 2.0, time.now, time.clock)


@pytest.mark.parametrize("skew", [0.0, -3600.0, -1e9], ids=["right", "an hour back", "far back"])
def test_a_new_file_is_believed_after_two_seconds(
    guests: Path, time: Time, provider: TomlDirectoryProvider, skew: float
) -> None:
    time.skew = skew
    (guests / "a.toml").write_text(RUNNING)
    first = provider.load()
    assert (first.guests, first.problems) == ({}, ())
    assert not first.complete, "nobody knows yet whom it declares"
    assert 1.0 < first.settles_in <= 2.0
    assert first.unsettled == (str(guests / "a.toml"),)
    time.mono += 1.0
    assert provider.load().guests == {}
    time.mono += 1.0
    desired = provider.load()
    assert set(desired.guests) == {101}
    assert (desired.complete, desired.settles_in, desired.unsettled) == (True, 0.0, ())


def test_a_file_that_has_long_been_there_is_believed_at_once(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    desired = provider.load()
    assert (set(desired.guests), desired.settles_in) == ({101}, 0.0)


def test_an_old_time_of_writing_does_not_hide_a_new_arrival(
    guests: Path, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    os.utime(guests / "a.toml", (0, 0))
    assert provider.load().settles_in > 0, "it was put there just now"


def test_a_time_in_the_future_holds_a_file_up_no_longer(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    os.utime(guests / "a.toml", (4e9, 4e9))
    assert provider.load().settles_in == 2.0
    time.mono += 2.0
    assert set(provider.load().guests) == {101}


def test_a_changed_file_says_the_same_until_it_is_left_alone(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    provider.load()
    time.skew = 0.0
    for text in ("", STOPPED[:14], STOPPED):
        (guests / "a.toml").write_text(text)
        desired = provider.load()
        assert desired.guests[101].state is RunState.RUNNING
        assert (desired.problems, desired.complete) == ((), True)
        assert 0 < desired.settles_in <= 2.0
        time.mono += 1.0
    time.mono += 2.0
    assert provider.load().guests[101].state is RunState.STOPPED


def test_a_file_that_comes_back_in_time_was_never_away(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    provider.load()
    (guests / "a.toml").rename(guests / "a.tmp")
    desired = provider.load()
    assert set(desired.guests) == {101}
    assert desired.settles_in == 2.0
    (guests / "a.tmp").rename(guests / "a.toml")
    assert (set(provider.load().guests), provider.load().settles_in) == ({101}, 0.0)
    (guests / "a.toml").unlink()
    provider.load()
    time.mono += 2.0
    desired = provider.load()
    assert desired.guests == {}
    assert "no longer declared, and not managed any more: guest 101" in str(desired.news[0])
    assert provider.load().news == (), "it is said once"


def test_a_file_may_be_renamed(guests: Path, time: Time, provider: TomlDirectoryProvider) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    provider.load()
    (guests / "a.toml").rename(guests / "b.toml")
    for skew in (0.0, 10.0):
        time.skew = skew
        desired = provider.load()
        assert (set(desired.guests), desired.problems) == ({101}, ())
    time.mono += 3.0
    desired = provider.load()
    assert (set(desired.guests), desired.problems, desired.news) == ({101}, (), ())


def test_a_command_waits_until_it_can_believe(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    desired = load_settled(provider, time.wait, time.clock)
    assert (set(desired.guests), desired.problems) == ({101}, ())
    assert sum(time.waits) <= 2.0


def test_a_command_waits_for_nothing_where_nothing_changed(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    assert set(load_settled(provider, time.wait, time.clock).guests) == {101}
    assert time.waits == []


def restless(guests: Path, time: Time) -> Callable[[float], None]:
    def wait(seconds: float) -> None:
        time.wait(min(seconds, 0.5))
        (guests / "a.toml").write_text(f"{RUNNING}# {time.mono}\n")

    return wait


def test_a_command_gives_up_on_a_file_that_keeps_changing(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    desired = load_settled(provider, restless(guests, time), time.clock)
    assert (desired.guests, desired.complete) == ({}, False)
    assert [str(p) for p in desired.problems] == [f"{guests}/a.toml: {CHANGING}"]
    assert sum(time.waits) <= 2.0 + GRACE + 0.5


def test_the_daemon_says_so_when_a_file_keeps_changing(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    wait = restless(guests, time)
    while time.mono < 1000.0 + PATIENCE:
        assert provider.load().problems == ()
        wait(1.0)
    time.mono += 5.0
    wait(1.0)
    assert [p.text for p in provider.load().problems] == [CHANGING]
    time.mono += 2.0
    assert provider.load().problems == ()


def test_a_file_that_kept_changing_and_is_as_it_was_is_good(
    guests: Path, time: Time, provider: TomlDirectoryProvider
) -> None:
    (guests / "a.toml").write_text(RUNNING)
    time.skew = 10.0
    provider.load()
    time.skew = 0.0
    wait = restless(guests, time)
    for _ in range(80):
        wait(1.0)
        changing = provider.load()
    assert [p.text for p in changing.problems] == [CHANGING]
    (guests / "a.toml").write_text(RUNNING)
    assert (provider.load().problems, provider.load().settles_in) == ((), 0.0)
