"""Clocks that jump, there and back: real processes under libfaketime, and the journal's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.devnode import Fault
from felhom_agent.errors import JobRefused
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import State, replay
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.model import Kind, Start
from tests.conftest import Clock, Site
from tests.process import Process, wait_until

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
needs_faketime = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not there")
DAY = 86400.0
YEARS = 10 * 365 * DAY
START = Start(101, Kind.QEMU)
SETTINGS = (
    "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\nbackoff_cap = 1\n"
    "drain_timeout = 1\n"
)
MAY_BEGIN = "PVE may yet start"
FOUND = "found out: start: unknown"
DONE = "guest 100 web: done: start"


class Faked:
    """Processes whose wall clock is ours to move; the monotonic one goes on as it does."""

    def __init__(self, site: Site) -> None:
        self.offset = site.directory / "offset"
        self.jump(0)
        path = site.write_config(SETTINGS)
        # A request is worked on for a second, and five more are waited.
        path.write_text(path.read_text().replace("[proxmox]\n", "[proxmox]\nwrite_timeout = 1\n"))
        self._config = path

    def jump(self, seconds: float) -> None:
        """Let the clock be so many seconds off from now on."""
        fresh = self.offset.with_name("offset.new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self.offset)

    def start(self) -> Process:
        words = {
            "LD_PRELOAD": LIBRARIES[0],
            "FAKETIME_TIMESTAMP_FILE": self.offset,
            "FAKETIME_CACHE_DURATION": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        }
        return Process(self._config, within=["env", *(f"{k}={v}" for k, v in words.items())])


@needs_faketime
@pytest.mark.parametrize("hours", [-2, 12], ids=["back", "ahead"])
def test_an_agent_whose_clock_jumps_waits_for_a_lost_start_as_long_as_any(
    site: Site, hours: int
) -> None:
    """A clock that went back closed the guest for as long, one that was ahead skipped the wait."""
    site.declare('[guest.100]\nstate = "running"\n')
    site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
    faked = Faked(site)
    agent = faked.start()
    agent.wait_for("not known yet what became of start")
    faked.jump(hours * 3600)
    agent.wait_for(MAY_BEGIN)
    assert len(site.devnode.mutations) == 1, "the wait is not skipped"
    agent.wait_for(FOUND)
    agent.wait_for(DONE)
    assert agent.end() == 0
    assert not agent.count("internal error")
    states = [o.state for o in replay(read(site.directory / "journal" / NAME))]
    assert states == [State.UNKNOWN, State.SUCCEEDED]


@needs_faketime
def test_an_agent_that_is_started_with_another_clock_waits_from_its_own_start(site: Site) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
    faked = Faked(site)
    faked.jump(12 * 3600)
    agent = faked.start()
    agent.wait_for("not known yet what became of start")
    assert agent.end() == 0
    faked.jump(-2 * 3600)
    again = faked.start()
    again.wait_for(FOUND)
    again.wait_for(DONE)
    wait_until(lambda: site.world.running(100))
    assert again.end() == 0
    assert len(site.devnode.mutations) == 2
    ids = [o.op_id for o in replay(read(site.directory / "journal" / NAME))]
    assert ids == sorted(ids)


class Journal:
    """A journal of operations, a minute apart, on clocks that a test moves."""

    def __init__(self, directory: Path) -> None:
        self.clock, self.passed = Clock(), Clock(0.0)
        self.directory = directory
        self.limits = Limits()
        self.open()

    def open(self) -> None:
        self.log, records = JournalLog.open(
            self.directory, lambda r: retain(r, self.clock(), self.limits)
        )
        self.operations = Operations(self.log, records, self.clock, self.limits, self.passed)

    def restart(self) -> None:
        self.log.close()
        self.open()

    def work(self, count: int) -> None:
        for _ in range(count):
            self.operations.succeeded(self.operations.begin(START))
            self.clock.pass_by(60.0)
            self.passed.pass_by(60.0)

    def count(self) -> int:
        return len(replay(read(self.directory / NAME)))


@pytest.mark.parametrize("jump", [YEARS, -YEARS, 3600.0, -3600.0])
def test_a_clock_that_jumps_and_comes_back_takes_no_history_along(
    tmp_path: Path, jump: float
) -> None:
    journal = Journal(tmp_path)
    journal.work(20)
    journal.clock.pass_by(jump)
    journal.restart()
    journal.work(5)
    journal.restart()
    journal.clock.pass_by(-jump)
    journal.work(5)
    journal.restart()
    assert journal.count() == 30
    ids = [o.op_id for o in replay(read(tmp_path / NAME))]
    assert ids == sorted(set(ids))
    journal.log.close()


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_journal_is_made_smaller_once_a_day_whatever_the_clock_says(
    tmp_path: Path, jump: float
) -> None:
    journal = Journal(tmp_path)
    journal.limits = Limits(days=10.0)
    journal.restart()
    journal.work(3)
    for _ in range(3):
        journal.clock.pass_by(6 * DAY)
        journal.work(1)
    journal.clock.pass_by(jump)
    journal.work(1)
    assert not journal.operations.compact(), "no day has passed"
    journal.passed.pass_by(DAY + 1)
    assert journal.operations.compact()
    assert journal.count() < 7
    journal.log.close()


@pytest.mark.parametrize("again", [False, True], ids=["same process", "next process"])
def test_a_job_that_has_expired_once_stays_so_whatever_the_clock_says(
    tmp_path: Path, *, again: bool
) -> None:
    journal = Journal(tmp_path)
    end = journal.clock() + 100.0
    journal.clock.pass_by(200.0)
    with pytest.raises(JobRefused, match="has expired"):
        journal.operations.begin(START, key="a", expires=end)
    journal.clock.pass_by(-200.0)
    if again:
        journal.restart()
    with pytest.raises(JobRefused, match="has expired"):
        journal.operations.begin(START, key="a", expires=end)
    journal.operations.begin(START, key="b", expires=end + 1)
    journal.log.close()


def test_no_job_is_good_that_ended_before_the_latest_time_at_which_anything_was_begun(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    begin = journal.clock()
    journal.clock.pass_by(1000.0)
    journal.work(1)
    journal.clock.now = begin
    journal.restart()
    with pytest.raises(JobRefused, match="the latest time seen is 2027-01-15T08:16:40"):
        journal.operations.begin(START, key="a", expires=begin + 500.0)
    journal.log.close()


@pytest.mark.parametrize("expires", [-1.0, 1e300, float("nan"), float("inf")])
def test_a_job_whose_end_is_no_time_is_refused_and_not_written(
    tmp_path: Path, expires: float
) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JobRefused, match="is no time"):
        journal.operations.begin(START, key="a", expires=expires)
    journal.restart()
    assert journal.count() == 0
    journal.log.close()
