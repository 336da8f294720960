"""The life of operations, as records and across restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operations import Operation, Operations, State, replay
from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Start

UPID = "UPID:pve1:00000001:00000002:6B04A81C:qmstart:101:felhom-agent@pve!agent:"
START = Start(101, Kind.QEMU)


@contextmanager
def opened(directory: Path, now: float = 1_800_000_000.0) -> Iterator[Operations]:
    log, records = JournalLog.open(directory)
    yield Operations(log, records, lambda: now)
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


def test_reconcile_operations_are_never_suppressed_by_an_earlier_success(tmp_path: Path) -> None:
    with opened(tmp_path) as operations:
        operations.succeeded(operations.begin(START))
        assert not operations.already_applied("")
        assert operations.begin(START).in_flight


def test_records_of_others_and_of_unknown_operations_are_left_out() -> None:
    assert replay([{"note": "x"}, {"op": "1", "state": "succeeded"}]) == []
