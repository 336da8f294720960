"""The journal's log keeps what it was given, and says so when it cannot."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.errors import JournalClosed, JournalDamaged
from felhom_agent.journal import log as log_module
from felhom_agent.journal.log import NAME, JournalLog, read

RECORDS = [{"op": "1", "state": "intent"}, {"op": "1", "state": "succeeded"}, {"op": "2"}]


def write(directory: Path, records: list[dict[str, str]]) -> Path:
    log, _ = JournalLog.open(directory)
    for record in records:
        log.append(record)
    log.close()
    return directory / NAME


def reopen(directory: Path) -> list[object]:
    log, records = JournalLog.open(directory)
    log.close()
    return list(records)


def test_records_come_back_in_the_order_they_were_appended(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    assert reopen(tmp_path) == RECORDS


@given(
    st.dictionaries(
        st.text(), st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists)
    )
)
def test_any_record_comes_back_as_it_was(record: dict[str, object]) -> None:
    line = log_module._encode(record)
    assert line.count(b"\n") == 1
    assert log_module._decode(line) == record


def test_a_new_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    path = write(tmp_path / "deep" / "journal", RECORDS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_torn_tail_is_kept_aside_cut_off_and_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert reopen(tmp_path) == RECORDS[:-1]
    torn = content[:-5].rpartition(b"\n")[2]
    assert path.with_name(NAME + ".broken").read_bytes() == torn + b"\n"
    write(tmp_path, [{"op": "3"}])
    assert reopen(tmp_path) == [*RECORDS[:-1], {"op": "3"}]


def test_wherever_the_file_is_cut_whole_records_come_back_and_nothing_else(
    tmp_path: Path,
) -> None:
    content = write(tmp_path, RECORDS).read_bytes()
    for length in range(len(content) + 1):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / NAME).write_bytes(content[:length])
        assert reopen(directory) == RECORDS[: content[:length].count(b"\n")]


def test_a_flipped_bit_anywhere_is_found_or_only_tears_the_tail(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        try:
            found = read(path)
        except JournalDamaged:
            continue
        assert found == RECORDS[: len(found)]
        assert position == len(content) - 1, "only the last newline may go unnoticed"


def test_damage_names_file_and_line_and_tells_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"succeeded", b"succumbed") + lines[2])
    with pytest.raises(JournalDamaged, match=rf"{path}:2: .*checksum.*remove that line"):
        JournalLog.open(tmp_path)
    assert path.read_bytes().count(b"\n") == 3, "a damaged journal must not be touched"


def test_a_line_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    path.write_bytes(path.read_bytes().replace(b'{"v":1', b'{"v":2', 1))
    with pytest.raises(JournalDamaged, match="newer felhom-agent"):
        JournalLog.open(tmp_path)


def test_append_returns_only_after_an_fsync_of_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = JournalLog.open(tmp_path)
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append((tmp_path / NAME).read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    log.append(RECORDS[0])
    assert len(synced) == 1
    assert b'"state":"intent"' in synced[0]
    log.close()


def test_appenders_that_come_during_an_fsync_share_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = JournalLog.open(tmp_path)
    real, count = os.fsync, 0
    others = 20
    blocked, released = threading.Event(), threading.Event()

    def fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == 1:
            blocked.set()
            assert released.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    threads = [threading.Thread(target=log.append, args=({"n": 0},))]
    threads[0].start()
    assert blocked.wait(10)
    for number in range(1, others + 1):
        threads.append(threading.Thread(target=log.append, args=({"n": number},)))
        threads[-1].start()
    tick = threading.Event()
    while len(log._buffer) < others:
        tick.wait(0.005)
    released.set()
    for thread in threads:
        thread.join(10)
    assert count == 2
    log.close()
    assert len(reopen(tmp_path)) == others + 1


def test_after_a_failed_fsync_nothing_is_taken_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = JournalLog.open(tmp_path)

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(JournalClosed, match="Input/output error"):
            log.append(RECORDS[0])
    with pytest.raises(JournalClosed):
        log.check()
    with pytest.raises(JournalClosed):
        log.append(RECORDS[1])
    log.close()


def test_a_full_disk_closes_the_log_with_its_reason() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    log = JournalLog(Path("/dev/full"), descriptor)
    with pytest.raises(JournalClosed, match="No space left on device"):
        log.append(RECORDS[0])
    log.close()


def test_a_closed_log_takes_nothing_and_closes_again(tmp_path: Path) -> None:
    log, _ = JournalLog.open(tmp_path)
    log.close()
    log.close()
    with pytest.raises(JournalClosed, match="it was closed"):
        log.append(RECORDS[0])


def test_a_directory_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalClosed, match=r"cannot be opened: .*"):
        JournalLog.open(tmp_path / "file" / "journal")
    with pytest.raises(JournalClosed, match="cannot be read"):
        read(tmp_path / "absent.jsonl")
