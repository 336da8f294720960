"""A pause or a freeze stays until its time is over or a person ends it, whatever clocks do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.durable.line import Record
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.shape import problem_of
from felhom_agent.journal.suspensions import (
    ALL,
    MAX_PAUSED,
    Moment,
    Suspension,
    Suspensions,
    _Entry,
    in_force,
)
from felhom_agent.service.boot import boot_id, since_boot
from tests.conftest import Clock

HOUR, DAY = 3600.0, 86400.0
BEGIN = Clock().now
LIMITS = Limits(days=90.0, size=1_000_000)
DECADE = 3653 * DAY


class Host:
    """A host whose clocks a test moves; the agent's journal is on its disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wall = Clock()
        self.boottime = Clock(100.0)
        self.boot = "a" * 32
        self._opened = self._open()
        self.suspensions = next(self._opened)

    def pass_by(self, seconds: float) -> None:
        self.wall.pass_by(seconds)
        self.boottime.pass_by(seconds)

    def restart(self) -> Suspensions:
        """Let the agent end and begin again; opening is compaction, too."""
        self.close()
        self._opened = self._open()
        self.suspensions = next(self._opened)
        return self.suspensions

    def reboot(self, off: float = 0.0) -> Suspensions:
        """Let the host be off for so many seconds, then begin another boot."""
        self.wall.pass_by(off)
        self.boottime.now = 5.0
        self.boot = f"{int(self.boot, 16) + 1:032x}"
        return self.restart()

    def close(self) -> None:
        self._opened.close()

    @property
    def records(self) -> list[Record]:
        return [r for r in read(self.directory / NAME) if "suspend" in r]

    def _open(self) -> Generator[Suspensions]:
        log, records = JournalLog.open(
            self.directory, lambda found: retain(found, self.wall(), LIMITS)
        )
        try:
            yield Suspensions(log, records, self.wall, self.boottime, self.boot)
        finally:
            log.close()


@contextmanager
def on(directory: Path) -> Iterator[Host]:
    found = Host(directory)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("TZ", "Europe/Budapest")
    time.tzset()
    with on(tmp_path) as found:
        yield found
    monkeypatch.undo()
    time.tzset()


def test_a_pause_holds_its_guest_and_no_other_and_says_until_when_by_whom_and_why(
    host: Host,
) -> None:
    host.suspensions.pause(101, 2 * HOUR, "moving disks", "root")
    assert host.suspensions.reason(101) == "paused until 11:00 CET by root: moving disks"
    assert host.suspensions.reason(102) == host.suspensions.reason(ALL) == ""
    assert host.suspensions.frozen() == ""
    (found,) = host.suspensions.all()
    assert found == Suspension(101, False, BEGIN, 2 * HOUR, "moving disks", "root")


def test_a_pause_of_all_holds_each_guest_and_a_guests_own_is_told_with_it(host: Host) -> None:
    host.suspensions.pause(ALL, 20 * HOUR, "", "root")
    all_of_them = "all guests are paused until 2027-01-16 05:00 CET by root"
    assert host.suspensions.reason(ALL) == host.suspensions.reason(7777) == all_of_them
    host.suspensions.pause(101, None, "mine", "a member of felhom-admin")
    own = "paused by a member of felhom-admin until `felhom-agent resume 101`: mine"
    assert host.suspensions.reason(101) == f"{own}; {all_of_them}"
    assert host.suspensions.resume(ALL, "root")
    assert host.suspensions.reason(101) == own
    assert host.suspensions.reason(ALL) == ""


def test_a_freeze_is_told_first_and_says_what_ends_it(host: Host) -> None:
    host.suspensions.pause(101, None, "", "root")
    host.suspensions.freeze(HOUR, "storage is sick", "root")
    told = "frozen until 10:00 CET by root: storage is sick; `felhom-agent thaw` ends it"
    assert host.suspensions.frozen() == told
    assert [each.freeze for each in host.suspensions.all()] == [True, False]
    assert host.suspensions.summary() == f"{told}; paused by hand: 101 (1)"
    assert host.suspensions.thaw("root")
    assert host.suspensions.frozen() == ""
    assert not host.suspensions.thaw("root")
    host.suspensions.freeze(None, "for good", "root")
    assert host.suspensions.frozen() == "frozen by root: for good; `felhom-agent thaw` ends it"


def test_what_was_said_and_not_ended_outlives_restarts_and_reboots(host: Host) -> None:
    host.suspensions.pause(101, None, "one", "root")
    host.suspensions.pause(102, None, "two", "root")
    host.suspensions.pause(101, None, "again", "eve")
    host.suspensions.freeze(None, "three", "root")
    assert host.suspensions.resume(102, "root")
    for begin in (host.restart, host.restart, host.reboot, lambda: host.reboot(DECADE)):
        found = begin()
        assert [(s.vmid, s.freeze, s.why, s.by) for s in found.all()] == [
            (ALL, True, "three", "root"),
            (101, False, "again", "eve"),
        ]
    host.suspensions.thaw("root")
    host.suspensions.resume(101, "root")
    assert host.restart().all() == ()
    assert host.records == []


def test_a_change_is_durable_before_the_call_returns_and_is_not_made_where_it_cannot_be(
    host: Host,
) -> None:
    host.suspensions.freeze(None, "why", "root")
    assert host.records[-1]["why"] == "why"
    (host.directory / NAME).rename(host.directory / "elsewhere")
    with pytest.raises(JournalClosed):
        host.suspensions.pause(101, None, "", "root")
    with pytest.raises(JournalClosed):
        host.suspensions.thaw("root")
    assert host.suspensions.reason(101) == ""
    assert host.suspensions.frozen()


def test_it_ends_by_time_and_that_is_written_down_so_that_no_clock_brings_it_back(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    host.suspensions.pause(101, HOUR, "", "root")
    host.pass_by(HOUR - 1)
    host.suspensions.keep()
    assert host.suspensions.reason(101)
    host.pass_by(1)
    assert host.suspensions.reason(101) == ""
    assert host.suspensions.all() == ()
    host.suspensions.keep()
    host.suspensions.keep()
    assert host.records[-1]["by"] == "time"
    ended = [r.getMessage() for r in caplog.records if "has ended" in r.getMessage()]
    assert ended == ["guest 101: the pause has ended: its time is over"]
    host.wall.pass_by(-DECADE)
    assert host.reboot().all() == ()


def test_to_end_what_is_over_by_time_says_that_there_was_nothing(host: Host) -> None:
    host.suspensions.freeze(HOUR, "why", "root")
    host.pass_by(HOUR)
    assert not host.suspensions.thaw("root")
    assert not host.suspensions.resume(101, "root")


@pytest.mark.parametrize("jump", [DECADE, -DECADE, 2 * HOUR, -2 * HOUR])
@pytest.mark.parametrize("restarts", [False, True])
def test_within_a_boot_no_jump_of_the_wall_clock_ends_it_early_or_keeps_it(
    host: Host, jump: float, restarts: bool
) -> None:
    host.suspensions.freeze(HOUR, "why", "root")
    host.pass_by(HOUR / 2)
    host.wall.pass_by(jump)
    if restarts:
        host.restart()
    assert host.suspensions.all()[0].left == HOUR / 2
    host.pass_by(HOUR / 2 - 1)
    assert host.suspensions.frozen()
    host.pass_by(1)
    assert host.suspensions.frozen() == ""


@pytest.mark.parametrize("jump", [DECADE, -DECADE, 2 * HOUR, -2 * HOUR])
def test_a_jump_that_a_pass_has_seen_does_not_count_for_the_next_boot(
    host: Host, jump: float
) -> None:
    host.suspensions.freeze(4 * HOUR, "why", "root")
    host.pass_by(HOUR)
    host.wall.pass_by(jump)
    host.suspensions.keep()
    host.reboot(off=HOUR)
    assert host.suspensions.all()[0].left == 2 * HOUR


def test_a_wall_clock_that_fell_back_across_a_boot_counts_as_no_time(host: Host) -> None:
    host.suspensions.freeze(4 * HOUR, "why", "root")
    host.pass_by(HOUR)
    host.suspensions.keep()
    host.wall.pass_by(-DECADE)
    host.reboot(off=HOUR)
    assert host.suspensions.all()[0].left == 3 * HOUR


def test_a_host_that_boots_over_and_over_with_a_dead_clock_is_not_frozen_for_ever(
    host: Host,
) -> None:
    host.suspensions.freeze(2 * HOUR, "why", "root")
    boots = 0
    while host.suspensions.frozen():
        boots += 1
        assert boots <= 120
        for _ in range(2):
            host.pass_by(60)
            host.suspensions.keep()
        host.wall.now = 0.0
        host.reboot()
    assert boots >= 60


def test_the_time_that_people_read_follows_the_wall_clock_and_not_each_second(host: Host) -> None:
    host.suspensions.freeze(2 * HOUR, "why", "root")
    host.pass_by(HOUR)
    host.wall.pass_by(-59)
    host.suspensions.keep()
    assert "until 11:00 CET" in host.suspensions.frozen()
    host.wall.pass_by(-31 * 60)
    host.suspensions.keep()
    assert "until 10:28 CET" in host.suspensions.frozen()


def test_where_nobody_tells_which_boot_it_is_each_start_counts_as_another(tmp_path: Path) -> None:
    with on(tmp_path) as host:
        host.boot = ""
        host.restart()
        host.suspensions.freeze(2 * HOUR, "why", "root")
        host.boottime.pass_by(HOUR)  # as if from another boot
        assert host.restart().all()[0].left == 2 * HOUR
        host.wall.pass_by(HOUR)
        assert host.restart().all()[0].left == HOUR


def test_a_pass_writes_nothing_where_nothing_must_be_remembered(host: Host) -> None:
    host.pass_by(DAY)
    host.suspensions.pause(101, None, "", "root")
    host.suspensions.pause(102, 300 * DAY, "", "root")
    before = len(host.records)
    for _ in range(59):
        host.pass_by(60)
        host.suspensions.keep()
    assert len(host.records) == before
    host.pass_by(60)
    host.suspensions.keep()
    assert len(host.records) == before + 1


def test_an_agent_that_does_not_run_is_read_by_its_journal(host: Host) -> None:
    host.suspensions.freeze(2 * HOUR, "why", "root")
    host.pass_by(HOUR)
    now = Moment(host.wall(), host.boottime(), host.boot)
    assert in_force(host.records, now) == host.suspensions.all()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda s: s.pause(101, 0.5, "", "root"),
        lambda s: s.pause(101, 367 * DAY, "", "root"),
        lambda s: s.pause(101, float("nan"), "", "root"),
        lambda s: s.pause(99, None, "", "root"),
        lambda s: s.pause(10**9, None, "", "root"),
        lambda s: s.pause(101, None, "x" * 201, "root"),
        lambda s: s.pause(101, None, "two\nlines", "root"),
        lambda s: s.pause(101, None, "\x1b[31m", "root"),
        lambda s: s.pause(101, None, "", ""),
        lambda s: s.pause(101, None, "", "x" * 201),
        lambda s: s.freeze(None, "", "root"),
        lambda s: s.freeze(0, "why", "root"),
        lambda s: s.thaw(""),
        lambda s: s.resume(101, "two\nlines"),
    ],
)
def test_what_is_out_of_bounds_is_refused_and_nothing_is_written(
    host: Host, attempt: Callable[[Suspensions], object]
) -> None:
    with pytest.raises(ValueError, match=r"must|vmid|say"):
        attempt(host.suspensions)
    assert host.records == []


def test_at_most_so_many_guests_are_paused_and_all_and_the_freeze_besides(host: Host) -> None:
    table = {(v, False): _paused(host, v) for v in range(100, 100 + MAX_PAUSED)}
    host.suspensions._table = table
    with pytest.raises(ValueError, match="at most 5000 guests can be paused"):
        host.suspensions.pause(9_000, None, "", "root")
    host.suspensions.pause(100, None, "again", "root")
    host.suspensions.pause(ALL, None, "", "root")
    host.suspensions.freeze(None, "why", "root")
    assert len(host.suspensions.all()) == MAX_PAUSED + 2
    assert host.suspensions.summary().endswith("paused by hand: 100, 101, 102, ... (5000)")


def _paused(host: Host, vmid: int) -> _Entry:
    return _Entry(Suspension(vmid, False, 0.0, None, "", "root"), host.suspensions._moment(), None)


GOOD: Record = {
    "suspend": 101, "freeze": False, "since": BEGIN, "left": None, "why": "", "by": "root",
    "wall": BEGIN, "boottime": 5.0, "boot": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"left": 5.0, "of a newer version": 1}, ""),
        ({"suspend": 0, "freeze": True}, ""),
        ({"freeze": True}, "its suspend is not to be understood: 101"),
        ({"suspend": 99}, "its suspend is not to be understood: 99"),
        ({"suspend": False}, "its suspend is not to be understood: False"),
        ({"left": -1}, "its left is not to be understood: -1"),
        ({"left": float("inf")}, "its left is not to be understood: inf"),
        ({"boottime": None}, "its boottime is not to be understood: None"),
        ({"why": "a\nb"}, "its why is not to be understood: 'a\\nb'"),
        ({"ended": "now"}, "its ended is not to be understood: 'now'"),
        ({"mark": "0" * 12}, "it is of several kinds at once (suspend, mark)"),
    ],
)
def test_the_shape_of_a_record_is_judged(change: Record, problem: str) -> None:
    assert problem_of({**GOOD, **change}) == problem


@pytest.mark.parametrize("key", [key for key in GOOD if key != "suspend"])
def test_a_record_that_lacks_something_is_none_of_ours(key: str) -> None:
    assert problem_of({k: v for k, v in GOOD.items() if k != key}) == f"it has no {key}"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(1, 2000)),
        st.tuples(st.just("jump"), st.floats(-DECADE, DECADE)),
        st.tuples(st.just("restart"), st.just(0.0)),
        st.tuples(st.just("reboot"), st.floats(0, 2000)),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_by_passes_that_see_each_jump_a_freeze_lasts_exactly_as_long_as_it_shall(
    steps: list[tuple[str, float]],
) -> None:
    with tempfile.TemporaryDirectory(prefix="host-") as directory, on(Path(directory)) as host:
        host.suspensions.freeze(3 * HOUR, "why", "root")
        left = 3 * HOUR
        for what, amount in steps:
            match what:
                case "pass":
                    host.pass_by(amount)
                case "jump":
                    # No further than a date can be written.
                    host.wall.now = max(DECADE, host.wall.now + amount)
                case "restart":
                    host.restart()
                case _:
                    host.reboot(off=amount)
            left -= amount if what in ("pass", "reboot") else 0.0
            host.suspensions.keep()
            # By so much the clocks may differ without being moved.
            slack = 61.0 * len(steps)
            assert bool(host.suspensions.frozen()) == (left > 0) or abs(left) < slack


def test_the_id_of_this_boot_is_the_kernels_or_what_the_unit_passes(tmp_path: Path) -> None:
    file = tmp_path / "boot_id"
    file.write_text("0123ABCD-0123-0123-0123-0123456789ab\n")
    assert boot_id(file, {"FELHOM_BOOT_ID": "f" * 32}) == "0123abcd0123012301230123456789ab"
    assert boot_id(tmp_path / "none", {"FELHOM_BOOT_ID": "f" * 32}) == "f" * 32
    assert boot_id(tmp_path / "none", {"FELHOM_BOOT_ID": "%b"}) == ""
    assert boot_id(tmp_path / "none", {}) == ""
    assert since_boot() > 0
