"""The life of operations, as records and across restarts."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.line import Record
from felhom_agent.errors import JobRefused, JournalClosed, JournalError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation, State, intent, record_of, replay
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.repair import repair
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.shape import problem_of
from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Start, Stop, StopPolicy
from felhom_agent.printable import printable
from tests.conftest import Clock
from tests.journal.disks import WatchedDisk, failing

DAY = 86400.0
UPID = "UPID:pve1:00000001:00000002:6B04A81C:qmstart:101:felhom-agent@pve!agent:"
DEFAULTS = Limits()
START = Start(101, Kind.QEMU)


@contextmanager
def opened(
    directory: Path,
    now: float = 1_800_000_000.0,
    *,
    clock: Callable[[], float] | None = None,
    limits: Limits = DEFAULTS,
    disk: Disk = DISK,
    monotonic: Callable[[], float] | None = None,
) -> Iterator[Operations]:
    clock = clock or Clock(now)
    log, records = JournalLog.open(directory, lambda r: retain(r, clock(), limits), disk)
    yield Operations(log, records, clock, limits, monotonic or clock)
    log.close()


def after_restart(directory: Path) -> list[Operation]:
    log, records = JournalLog.open(directory)
    log.close()
    return replay(records)


def test_an_operation_is_in_flight_from_intent_to_outcome(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operation = operations.begin(START)
        assert operations.in_flight() == (operation,)
        operation = operations.task(operation, UPID)
        assert operations.in_flight(101) == (operation,)
        assert operations.in_flight(102) == ()
        operations.succeeded(operation)
        assert operations.in_flight() == ()


def test_what_was_in_flight_is_in_flight_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.failed(operations.begin(START), "locked")
        begun = operations.task(operations.begin(START), UPID)
    with opened(tmp_path) as operations:
        assert operations.in_flight() == (begun,)
        assert operations.owns(UPID)


def test_nobody_acts_on_what_could_not_be_written_down(tmp_path: Path) -> None:
    disk = WatchedDisk()
    with opened(tmp_path, disk=disk) as operations:
        begun = operations.begin(START)
        disk.before = failing("sync", errno.EIO)
        with pytest.raises(JournalClosed):
            operations.succeeded(begun)
        assert operations.in_flight() == (begun,)
    with opened(tmp_path, disk=WatchedDisk(failing("sync", errno.EIO, after=1))) as operations:
        before = operations.in_flight()
        with pytest.raises(JournalClosed):
            operations.begin(START)
        assert operations.in_flight() == before


def test_the_latest_record_of_an_operation_wins(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.unknown(operations.task(operations.begin(START), UPID), "no trace")
    (operation,) = after_restart(tmp_path)
    assert (operation.state, operation.upid) == (State.UNKNOWN, UPID)
    assert (operation.why, operation.ended) == ("no trace", 1_800_000_000.0)


def test_a_configuration_change_remembers_what_it_sends(tmp_path: Path) -> None:
    action = SetConfig(
        101, Kind.LXC, (Change("cores", "1", "2"), Change("cpulimit", "1", ABSENT)), "digest"
    )
    with opened(tmp_path) as operations:
        operations.begin(action)
    (operation,) = after_restart(tmp_path)
    assert dict(operation.wanted) == {"cores": "2", "cpulimit": None}


def test_an_operation_remembers_what_is_done_in_words_and_to_whom(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.begin(Stop(101, Kind.QEMU, StopPolicy.POWER_OFF, restart=True), name="web")
        operations.begin(START)
    named, nameless = after_restart(tmp_path)
    assert (named.text, named.guest) == ("shut down to restart (power-off allowed)", "101 web")
    assert (nameless.text, nameless.name, nameless.guest) == ("start", "", "101")


@pytest.mark.parametrize("name", ["n" * 300, "a\nb\x1b[2J", "\ud800", "\u202e", "ü" * 255])
def test_any_name_is_kept_in_a_line_that_can_be_read_back(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as operations:
        operations.begin(START, name=name)
    (found,) = after_restart(tmp_path)
    assert found.name == printable(name, 255)


@pytest.mark.parametrize("name", ["n" * 256, "a\nb", "\x1b", 7, None])
def test_a_record_whose_name_is_none_is_damage(name: object) -> None:
    record = {**record_of(intent("019a00000001", START, 1.0)), "name": name}
    assert problem_of(record).startswith("its name is not to be understood: ")


def test_a_secret_never_reaches_the_disk(tmp_path: Path) -> None:
    action = SetConfig(101, Kind.QEMU, (Change("cipassword", "old-one", "hunter2", secret=True),))
    with opened(tmp_path) as operations:
        operations.begin(action)
    content = (tmp_path / "journal.jsonl").read_text()
    assert "cipassword" in content
    assert "hunter2" not in content
    assert "old-one" not in content


def test_ids_sort_by_time_and_are_unique_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    with opened(tmp_path, now=2000.0) as operations:
        ids = [operations.begin(START).op_id for _ in range(3)]
    with opened(tmp_path, now=1000.0) as operations:
        ids.append(operations.begin(START).op_id)
    with opened(tmp_path, now=3000.0) as operations:
        ids.append(operations.begin(START).op_id)
    assert ids == sorted(set(ids))


def test_reconcile_operations_are_never_suppressed_by_an_earlier_success(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.succeeded(operations.begin(START))
        assert not operations.already_applied("")
        assert operations.begin(START).in_flight


def test_records_of_others_and_of_unknown_operations_are_left_out() -> None:
    assert replay([{"note": "x"}, {"op": "1", "state": "succeeded"}]) == []


UNTIL = 1_800_000_100.0


def test_a_one_shot_job_that_succeeded_is_applied_for_good(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        job = operations.begin(START, key="job-1")
        assert not operations.already_applied("job-1")
        operations.succeeded(job)
        assert operations.already_applied("job-1")
    with opened(tmp_path) as operations:
        assert operations.already_applied("job-1")


def test_a_job_that_failed_or_is_unknown_is_not_applied(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.failed(operations.begin(START, key="failed"), "")
        operations.unknown(operations.begin(START, key="unknown"), "")
        assert not operations.already_applied("failed")
        assert not operations.already_applied("unknown")


@pytest.mark.parametrize("end", ["in flight", "task", "succeeded", "failed", "unknown"])
def test_a_job_that_may_have_had_an_effect_is_never_begun_again(tmp_path: Path, end: str) -> None:
    with opened(tmp_path) as operations:
        job = operations.begin(START, key="job")
        match end:
            case "task":
                operations.task(job, UPID)
            case "succeeded":
                operations.succeeded(job)
            case "failed":
                operations.failed(job, "the task ran, and failed")
            case "unknown":
                operations.unknown(job, "no trace")
        with pytest.raises(JobRefused, match="begun before"):
            operations.begin(START, key="job")
    with opened(tmp_path) as operations, pytest.raises(JobRefused, match="begun before"):
        operations.begin(START, key="job")


def test_a_job_of_which_pve_surely_did_nothing_may_be_begun_again(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.failed(operations.begin(START, key="job"), "locked", untouched=True)
    with opened(tmp_path) as operations:
        operations.succeeded(operations.begin(START, key="job"))
        assert operations.already_applied("job")
        with pytest.raises(JobRefused):
            operations.begin(START, key="job")


def test_a_job_is_begun_once_however_many_hand_it_in_at_the_same_time(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        begun: list[object] = []
        gate = threading.Barrier(8)

        def hand_in() -> None:
            gate.wait(10)
            try:
                begun.append(operations.begin(START, key="job"))
            except JobRefused:
                begun.append(None)

        threads = [threading.Thread(target=hand_in) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(begun) == 8
        assert sum(job is not None for job in begun) == 1


def test_an_expired_job_is_not_begun(tmp_path: Path) -> None:
    with opened(tmp_path, now=UNTIL) as operations:
        with pytest.raises(JobRefused, match="has expired"):
            operations.begin(START, key="job", expires=UNTIL)
        operations.begin(START, key="job", expires=UNTIL + 1)


def test_a_clock_that_goes_back_brings_no_forgotten_job_back(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.succeeded(operations.begin(START, key="job", expires=UNTIL))
    for days in (80, 160):
        with opened(tmp_path, now=UNTIL + days * DAY) as operations:
            operations.succeeded(operations.begin(START))
    with opened(tmp_path) as operations:
        assert operations.job("job") is None, "it is past its time, and let go"
        with pytest.raises(JobRefused, match="has expired"):
            operations.begin(START, key="job", expires=UNTIL)


def test_a_job_that_lost_its_first_line_to_a_repair_is_still_known(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.task(operations.begin(START, key="job", expires=UNTIL), UPID)
    path = tmp_path / NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"intent", b"indent") + lines[2])
    repair(tmp_path, "now")
    with opened(tmp_path) as operations, pytest.raises(JobRefused):
        operations.begin(START, key="job", expires=UNTIL)


def test_tidying_waits_until_the_journal_has_outgrown_its_size_and_doubled(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock, limits=Limits(90.0, 4000)) as operations:
        for _ in range(200):
            operations.succeeded(operations.task(operations.begin(START), UPID))
            clock.now += 600
            operations.compact()
            assert (tmp_path / NAME).stat().st_size < 10_000
        assert len(_operations(tmp_path)) < 30
    assert _operations(tmp_path)[-1].state is State.SUCCEEDED


def test_what_was_begun_keeps_its_place_while_the_journal_is_tidied(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock, limits=Limits(90.0, 2000)) as operations:
        job = operations.begin(START, key="job")
        pending = operations.begin(Start(102, Kind.QEMU))
        tidied = 0
        for _ in range(100):
            operations.succeeded(operations.begin(START))
            clock.now += 3600
            tidied += operations.compact()
        assert tidied
        assert operations.in_flight() == (job, pending)
        operations.succeeded(operations.task(pending, UPID))
    with opened(tmp_path, clock=clock) as operations:
        assert [o.key for o in operations.in_flight()] == ["job"]


def test_tidying_by_age_comes_once_a_day(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock) as operations:
        operations.succeeded(operations.begin(START))
        clock.now += DAY - 1
        assert not operations.compact()
        clock.now += 2
        assert operations.compact()
        clock.now += 60 * DAY
        assert not operations.compact(), "nothing was added"
        operations.succeeded(operations.begin(START))
        clock.now += 60 * DAY
        assert operations.compact()
        assert not operations.compact()
    assert len(_operations(tmp_path)) == 1


def test_tasks_of_operations_that_were_let_go_are_forgotten_and_others_not(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock) as operations:
        operations.succeeded(operations.task(operations.begin(START), UPID + "old"))
        clock.now += 60 * DAY
        operations.succeeded(operations.task(operations.begin(START), UPID + "new"))
        clock.now += 60 * DAY
        assert operations.compact()
        assert not operations.owns(UPID + "old")
        assert operations.owns(UPID + "new")


def test_a_journal_that_cannot_be_made_smaller_grows_on_and_is_not_tried_at_once(
    tmp_path: Path,
) -> None:
    clock, disk = Clock(), WatchedDisk()
    with opened(tmp_path, clock=clock, limits=Limits(90.0, 1000), disk=disk) as operations:
        for _ in range(20):
            operations.succeeded(operations.begin(START))
        disk.before = failing("create", errno.ENOSPC)
        with pytest.raises(JournalError, match="No space left"):
            operations.compact()
        assert not operations.compact()
        operations.succeeded(operations.begin(START))
    assert len(_operations(tmp_path)) == 21


def _records(directory: Path) -> list[Record]:
    return read(directory / NAME)


def _operations(directory: Path) -> list[Operation]:
    return replay(_records(directory))
