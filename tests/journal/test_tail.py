"""The last operations, read from the end, are those that a whole reading gives."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.durable.line import Record, body_of, encode, encode_file
from felhom_agent.errors import JournalClosed
from felhom_agent.journal import tail
from felhom_agent.journal.content import NAME, content_of
from felhom_agent.journal.operation import State, ended, intent, record_of
from felhom_agent.journal.tail import Wanted, latest, tail_of
from felhom_agent.model import Kind, Start
from tests.conftest import Clock
from tests.journal.books import STOP, UPID, book, damage

NOW = 1_800_000_000


LAST = Wanted(3)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A journal of 400 starts, of guests 100 to 109 in turn, a minute apart; the 200th failed, the
    205th is unknown.
    """
    clock = Clock(NOW)
    with book(tmp_path, clock) as it:
        for number in range(400):
            if number in (200, 205):
                failed = it.operations.begin(Start(100 + number % 10, Kind.QEMU))
                failed = it.operations.task(failed, UPID)
                clock.pass_by(1)
                end = it.operations.failed if number == 200 else it.operations.unknown
                end(failed, "why")
            else:
                it.start(100 + number % 10)
            clock.pass_by(59)
    return tmp_path / NAME


def whole(path: Path, wanted: Wanted) -> tail.Tail:
    return tail_of(content_of(path.read_bytes()), wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        LAST,
        Wanted(),
        Wanted(399),
        Wanted(1000),
        Wanted(5, vmids=frozenset({104})),
        Wanted(5, vmids=frozenset({999})),
        Wanted(0, NOW + 60 * 390),
        Wanted(20, until=NOW + 600),
        Wanted(7, NOW + 1e9),
        Wanted(5, failed=True),
        Wanted(2, NOW + 60 * 100, NOW + 60 * 300, frozenset({101, 104}), failed=True),
    ],
    ids=range(11),
)
def test_what_is_read_from_the_end_is_what_the_whole_file_says(many: Path, wanted: Wanted) -> None:
    assert latest(many, wanted) == whole(many, wanted)


def test_only_the_last_lines_are_parsed(many: Path) -> None:
    # A line that is what was written, and is no record of a journal: only who parses it can tell.
    odd = encode(1, body_of({"op": "odd"}))
    many.write_bytes(odd + many.read_bytes().partition(b"\n")[2])
    assert whole(many, LAST).damage
    assert latest(many, LAST).damage == ()
    assert latest(many, Wanted()) == whole(many, Wanted())


FILTERS = [Wanted(3, failed=True), Wanted(50, vmids=frozenset({104})), Wanted(3, until=NOW + 600)]


@pytest.mark.parametrize("wanted", FILTERS, ids=["failed", "guest", "until"])
@pytest.mark.parametrize("line", [1, 2, 600, 1190])
def test_with_a_filter_a_damaged_line_of_another_guest_is_told_too(
    many: Path, wanted: Wanted, line: int
) -> None:
    lines = many.read_bytes().splitlines(keepends=True)
    odd = encode(line, body_of({"op": "odd"}))
    many.write_bytes(b"".join([*lines[: line - 1], odd, *lines[line:]]))
    assert [d.line for d in latest(many, wanted).damage] == [line]
    many.write_bytes(
        b"".join([*lines[: line - 1], lines[line - 1].replace(b"o", b"0", 1), *lines[line:]])
    )
    assert [d.line for d in latest(many, wanted).damage] == [line]
    assert latest(many, wanted) == whole(many, wanted)


def test_steps_in_no_order_are_told_as_a_whole_reading_tells_them(many: Path) -> None:
    lines = [content_of(many.read_bytes()).records[at] for at in (*range(9), 12, 9, 10, 9, 13)]
    many.write_bytes(encode_file(lines))
    for wanted in (Wanted(), *FILTERS):
        assert latest(many, wanted) == whole(many, wanted)


def test_of_a_very_large_file_only_the_end_is_compared(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(many, 1)
    assert latest(many, LAST).damage
    monkeypatch.setattr(tail, "CHECKED", many.stat().st_size - 100)
    found = latest(many, LAST)
    assert (found.damage, len(found.operations)) == ((), 3)
    # Where that does not tell all, the file is read as a whole.
    assert latest(many, Wanted()).damage


@pytest.mark.parametrize("line", [1, 2, 600, 1199, 1200])
def test_a_damaged_line_is_told_wherever_it_is_and_the_rest_is_told_too(
    many: Path, line: int
) -> None:
    damage(many, line)
    found = latest(many, LAST)
    assert [d.line for d in found.damage] == [line]
    assert found == whole(many, LAST)
    assert len(found.operations) == 3


def test_a_lost_line_and_a_doubled_one_are_told(many: Path) -> None:
    lines = many.read_bytes().splitlines(keepends=True)
    many.write_bytes(b"".join(lines[:700] + lines[701:]))
    assert "1 lines before it are missing" in latest(many, LAST).damage[0].text
    many.write_bytes(b"".join([*lines[:700], lines[699], *lines[700:]]))
    assert "wrong place" in latest(many, LAST).damage[0].text
    many.write_bytes(b"".join(lines[1:]))
    assert "1 lines before it are missing" in latest(many, LAST).damage[0].text


def test_a_journal_cut_at_any_byte_tells_what_is_whole(tmp_path: Path) -> None:
    with book(tmp_path, Clock(NOW)) as it:
        it.start()
        it.operations.begin(STOP, name="old")
    data = (tmp_path / NAME).read_bytes()
    path = tmp_path / "cut"
    for length in range(len(data) + 1):
        for more in (b"", b"\0" * 7):
            path.write_bytes(data[:length] + more)
            assert latest(path, LAST) == whole(path, LAST)


@given(st.binary())
def test_any_bytes_are_read_as_a_whole_reading_reads_them(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    assert latest(path, LAST) == whole(path, LAST)


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.sets(st.integers(0, 9)),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([frozenset[int](), frozenset({101}), frozenset({102})]),
    st.booleans(),
)
def test_steps_far_apart_and_lost_beginnings_are_told_as_a_whole_reading_tells_them(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    lost: set[int],
    limit: int,
    back: int,
    vmids: frozenset[int],
    failed: bool,
) -> None:
    records: list[Record] = []
    for at, number in enumerate(numbers):
        # Every other one is a one-shot job, whose outcome tells what it is.
        key = "key" if number % 2 else ""
        begun = NOW + number
        operation = intent(f"{begun * 1000:012x}", Start(101 + number % 3, Kind.QEMU), begun, key)
        match numbers[:at].count(number):
            case 0 if number not in lost:
                records.append(record_of(operation))
            case 1:
                records.append(record_of(ended(operation, State.FAILED, begun + 9, "why")))
    path = tmp_path_factory.getbasetemp() / "steps"
    path.write_bytes(encode_file(records))
    wanted = Wanted(limit, NOW + back, NOW + 8, vmids, failed=failed)
    assert latest(path, wanted) == whole(path, wanted)


def test_an_outcome_whose_beginning_is_lost_is_counted(tmp_path: Path) -> None:
    operation = intent("019a00000001", STOP, NOW)
    records = [record_of(ended(operation, State.FAILED, NOW, "x"))]
    (tmp_path / NAME).write_bytes(encode_file(records))
    found = latest(tmp_path / NAME, LAST)
    assert (found.operations, found.lost, found.empty) == ((), 1, False)


def test_a_journal_without_an_operation_is_empty(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(encode_file([{"mark": "000000000000", "forgotten": 0.0}]))
    assert latest(tmp_path / NAME, LAST).empty
    (tmp_path / NAME).write_bytes(b"")
    assert latest(tmp_path / NAME, LAST).empty


def test_no_journal_is_another_thing_than_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        latest(tmp_path / NAME, LAST)
    (tmp_path / NAME).mkdir()
    with pytest.raises(JournalClosed, match="read: it is a directory and no regular file; move it"):
        latest(tmp_path / NAME, LAST)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(JournalClosed, match="is a FIFO and no regular file; move it away"):
        latest(tmp_path / "fifo", LAST)
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    with pytest.raises(JournalClosed, match="it is a symbolic link; put the file itself there"):
        latest(tmp_path / "link", LAST)


def test_who_may_read_it_is_told() -> None:
    text = tail.unreadable(Path("/nowhere/journal"), PermissionError(13, "Permission denied"))
    assert text == (
        "/nowhere/journal: cannot be read: Permission denied; root may read it "
        "(`sudo felhom-agent ...`)"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_stranger_is_told_that_the_agents_user_may_read_it() -> None:
    nobody, daemon = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal" / NAME
        with book(path.parent, Clock(NOW)):
            os.chown(directory, daemon.pw_uid, daemon.pw_gid)
            os.seteuid(nobody.pw_uid)
            try:
                with pytest.raises(JournalClosed, match="denied; root and .* user, daemon, may"):
                    latest(path, LAST)
            finally:
                os.seteuid(0)
