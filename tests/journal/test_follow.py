"""A journal as it grows: each beginning and each end is told once, whatever becomes of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.journal.content import NAME
from felhom_agent.journal.follow import Follower
from felhom_agent.journal.operation import State
from felhom_agent.journal.tail import Wanted
from tests.conftest import Clock
from tests.journal.books import START, STOP, UPID, Book, book

ALL = Wanted()
BEGUN, DONE = State.INTENT, State.SUCCEEDED


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Book]:
    with book(tmp_path, Clock()) as found:
        yield found


@pytest.fixture
def follower(it: Book) -> Iterator[Follower]:
    it.start()
    found = Follower(it.path)
    assert [o.state for o in found.start(ALL).operations] == [DONE]
    yield found
    found.close()


def news(follower: Follower) -> list[tuple[int, State]]:
    operations, damage = follower.news()
    assert damage == ()
    return [(o.vmid, o.state) for o in operations]


def test_what_begins_and_what_ends_is_told_once(it: Book, follower: Follower) -> None:
    assert news(follower) == []
    operation = it.operations.begin(START)
    assert news(follower) == [(101, BEGUN)]
    operation = it.operations.task(operation, UPID)
    assert news(follower) == []
    it.operations.failed(operation, "no")
    (told,) = follower.news()[0]
    assert (told.state, told.why, told.upid) == (State.FAILED, "no", UPID)
    assert news(follower) == []


def test_what_began_and_ended_between_two_looks_is_told_twice(it: Book, follower: Follower) -> None:
    it.start(102)
    assert news(follower) == [(102, BEGUN), (102, DONE)]


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "not seen before"])
def test_a_compaction_loses_nothing_and_tells_nothing_twice(
    it: Book, follower: Follower, seen: bool
) -> None:
    running = it.operations.begin(STOP)
    first = [(103, BEGUN)]
    if seen:
        assert news(follower) == first
    it.log.compact(list)
    it.operations.succeeded(running)
    it.start(104)
    after = [(103, DONE), (104, BEGUN), (104, DONE)]
    assert news(follower) == (after if seen else first + after)
    it.log.compact(list)
    assert news(follower) == []


def test_what_is_let_go_is_not_told_again(it: Book, follower: Follower) -> None:
    it.log.compact(lambda records: records[-1:])
    assert news(follower) == []
    it.start(105)
    assert news(follower) == [(105, BEGUN), (105, DONE)]


def test_a_line_that_is_not_whole_waits_for_its_end(it: Book, follower: Follower) -> None:
    before = it.path.stat().st_size
    it.operations.begin(STOP)
    data = it.path.read_bytes()
    for length in range(before, len(data)):
        it.path.write_bytes(data[:length])
        assert news(follower) == []
    it.path.write_bytes(data)
    assert news(follower) == [(103, BEGUN)]


def test_a_journal_that_goes_away_and_comes_back_is_read_on(
    it: Book, follower: Follower, tmp_path: Path
) -> None:
    it.path.rename(tmp_path / "away")
    assert news(follower) == []
    assert news(follower) == []
    (tmp_path / "away").rename(it.path)
    assert news(follower) == []
    it.start(106)
    assert news(follower) == [(106, BEGUN), (106, DONE)]


def test_a_journal_that_is_cut_and_written_anew_is_read_from_its_beginning(
    it: Book, follower: Follower
) -> None:
    data = it.path.read_bytes()
    it.path.write_bytes(b"")
    assert news(follower) == []
    it.path.write_bytes(data)
    assert news(follower) == []


def test_before_the_first_run_it_waits_for_the_journal(tmp_path: Path) -> None:
    follower = Follower(tmp_path / NAME)
    assert follower.start(ALL).empty
    assert news(follower) == []
    with book(tmp_path, Clock()) as it:
        it.start()
    assert news(follower) == [(101, BEGUN), (101, DONE)]
    follower.close()


def test_a_damaged_line_is_told_once_and_what_follows_is_told(it: Book, follower: Follower) -> None:
    with it.path.open("ab") as file:
        file.write(b"what is this\n")
    operations, damage = follower.news()
    assert (operations, [d.line for d in damage]) == ([], [4])
    assert news(follower) == []
