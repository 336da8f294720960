"""The journal's log keeps what it was given, and says so when it cannot."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from felhom_agent.durable.line import Record, encode_file
from felhom_agent.errors import JournalClosed, JournalDamaged, JournalError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import APPENDS, FSYNC, REPAIRS
from tests.journal.disks import WatchedDisk, failing
from tests.process import wait_until

RECORDS: list[Record] = [{"note": "1", "state": "intent"}, {"note": "1"}, {"note": "2"}]
SOON = 10.0


def write(directory: Path, records: list[Record]) -> Path:
    log, _ = JournalLog.open(directory)
    for record in records:
        log.append(record)
    log.close()
    return directory / NAME


def reopen(directory: Path) -> list[Record]:
    log, records = JournalLog.open(directory)
    log.close()
    return records


def test_records_come_back_in_the_order_they_were_appended(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    assert reopen(tmp_path) == RECORDS
    write(tmp_path, [{"note": "3"}])
    assert reopen(tmp_path) == [*RECORDS, {"note": "3"}]


def test_a_new_journal_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = write(tmp_path / "deep" / "journal", RECORDS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_journal_that_others_could_read_is_for_its_owner_only_from_the_next_start(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, RECORDS)
    path.chmod(0o644)
    reopen(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_tail_is_kept_aside_cut_off_and_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert reopen(tmp_path) == RECORDS[:-1]
    torn = content[:-5].rpartition(b"\n")[2]
    broken = path.with_name(NAME + ".broken")
    assert broken.read_bytes() == torn + b"\n"
    assert stat.S_IMODE(broken.stat().st_mode) == 0o600
    write(tmp_path, [{"note": "3"}])
    assert reopen(tmp_path) == [*RECORDS[:-1], {"note": "3"}]


def test_wherever_the_file_is_cut_the_log_opens_and_goes_on(tmp_path: Path) -> None:
    content = write(tmp_path, RECORDS).read_bytes()
    for length in range(len(content) + 1):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / NAME).write_bytes(content[:length])
        log, found = JournalLog.open(directory)
        assert found == RECORDS[: len(found)]
        log.append({"note": "next"})
        log.close()
        assert reopen(directory) == [*found, {"note": "next"}]


def test_damage_names_file_line_and_remedy_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    damaged = path.read_bytes().replace(b"intent", b"indent")
    path.write_bytes(damaged)
    with pytest.raises(JournalDamaged, match=rf"{path}:1: .*checksum.*journal repair"):
        JournalLog.open(tmp_path)
    with pytest.raises(JournalDamaged, match=rf"{path}:1: "):
        read(path)
    assert path.read_bytes() == damaged
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_a_line_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    path.write_bytes(path.read_bytes() + b'{"v":2,"another":"form"}\n')
    with pytest.raises(JournalDamaged, match=r"newer felhom-agent; .*install that version again"):
        JournalLog.open(tmp_path)


def test_append_returns_only_after_a_sync_of_its_line(tmp_path: Path) -> None:
    disk = WatchedDisk()
    log, _ = JournalLog.open(tmp_path, disk=disk)
    disk.calls.clear()
    log.append(RECORDS[0])
    assert disk.calls == ["write", "sync"]
    log.append(RECORDS[1], RECORDS[2])
    assert disk.calls == ["write", "sync"] * 2, "records handed in together share a sync"
    log.close()


def test_opening_syncs_the_file_and_its_directory_before_anybody_relies_on_it(
    tmp_path: Path,
) -> None:
    disk = WatchedDisk()
    log, _ = JournalLog.open(tmp_path, disk=disk)
    assert disk.calls == ["read", "create", "write", "sync", "rename", "sync_directory"]
    log.close()


def test_a_directory_that_is_made_is_synced_into_its_parent(tmp_path: Path) -> None:
    disk = WatchedDisk()
    log, _ = JournalLog.open(tmp_path / "a" / "b", disk=disk)
    made = ["make_directory", "sync_directory"]
    assert disk.calls[:5] == [*made, *made, "read"]
    log.close()


def test_appenders_that_come_during_a_sync_share_the_next_one(tmp_path: Path) -> None:
    others = 20
    blocked, released = threading.Event(), threading.Event()
    syncs = 0

    def before(call: str) -> None:
        nonlocal syncs
        if call == "sync":
            syncs += 1
            if syncs == 2:  # the first was of opening
                blocked.set()
                assert released.wait(SOON)

    log, _ = JournalLog.open(tmp_path, disk=WatchedDisk(before))
    threads = [threading.Thread(target=log.append, args=({"n": n},)) for n in range(others + 1)]
    threads[0].start()
    assert blocked.wait(SOON)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(log._waiting) == others)
    released.set()
    for thread in threads:
        thread.join(SOON)
    assert syncs == 3
    log.close()
    assert len(reopen(tmp_path)) == others + 1


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_after_a_failed_write_or_sync_nothing_is_taken_any_more(
    tmp_path: Path, call: str, error: int
) -> None:
    disk = WatchedDisk(failing(call, error, after=1))
    log, _ = JournalLog.open(tmp_path, disk=disk)
    with pytest.raises(JournalClosed, match=os.strerror(error)):
        log.append(RECORDS[0])
    calls = len(disk.calls)
    with pytest.raises(JournalClosed, match=os.strerror(error)):
        log.append(RECORDS[1])
    with pytest.raises(JournalClosed, match=os.strerror(error)):
        log.check()
    assert len(disk.calls) == calls, "a failed sync is never tried again"
    log.close()


def test_whoever_waits_for_a_sync_that_fails_hears_of_it(tmp_path: Path) -> None:
    blocked, released = threading.Event(), threading.Event()

    def before(call: str) -> None:
        if call == "sync" and blocking.is_set():
            blocked.set()
            assert released.wait(SOON)
            raise OSError(errno.EIO, "Input/output error")

    blocking = threading.Event()
    log, _ = JournalLog.open(tmp_path, disk=WatchedDisk(before))
    blocking.set()
    errors: list[JournalClosed] = []

    def append() -> None:
        with pytest.raises(JournalClosed) as caught:
            log.append({"n": 1})
        errors.append(caught.value)

    threads = [threading.Thread(target=append) for _ in range(3)]
    threads[0].start()
    assert blocked.wait(SOON)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(log._waiting) == 2)
    released.set()
    for thread in threads:
        thread.join(SOON)
    assert len(errors) == 3
    log.close()


def test_a_write_that_dies_of_something_else_closes_the_log_too(tmp_path: Path) -> None:
    def before(call: str) -> None:
        if call == "sync" and armed.is_set():
            raise MemoryError

    armed = threading.Event()
    log, _ = JournalLog.open(tmp_path, disk=WatchedDisk(before))
    armed.set()
    with pytest.raises(MemoryError):
        log.append(RECORDS[0])
    with pytest.raises(JournalClosed, match="cut short"):
        log.append(RECORDS[1])
    log.close()


def test_a_closed_log_takes_nothing_and_closes_again(tmp_path: Path) -> None:
    log, _ = JournalLog.open(tmp_path)
    log.close()
    log.close()
    with pytest.raises(JournalClosed, match="it was closed"):
        log.append(RECORDS[0])
    with pytest.raises(JournalClosed, match="it was closed"):
        log.compact(list)


def test_a_directory_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalClosed, match=r"cannot be opened: .*"):
        JournalLog.open(tmp_path / "file" / "journal")
    with pytest.raises(JournalClosed, match="cannot be read"):
        read(tmp_path / "absent.jsonl")
    assert read(tmp_path / "absent.jsonl", absent_ok=True) == []


@pytest.mark.parametrize(
    ("call", "after"), [("create", 0), ("write", 0), ("sync", 0), ("rename", 0)]
)
def test_a_log_that_cannot_be_opened_keeps_its_file_as_it_was(
    tmp_path: Path, call: str, after: int
) -> None:
    path = write(tmp_path, RECORDS)
    before = path.read_bytes()
    disk = WatchedDisk(failing(call, errno.ENOSPC, after=after))
    with pytest.raises(JournalClosed, match="cannot be opened: No space left on device"):
        JournalLog.open(tmp_path, disk=disk)
    assert path.read_bytes() == before
    assert reopen(tmp_path) == RECORDS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused_before_anything_is_left_in_it(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "journal"
    directory.mkdir(mode=0o700)
    os.chown(directory, 65534, 65534)
    with pytest.raises(JournalClosed, match=r"belongs to user nobody, .*user root; run as its"):
        JournalLog.open(directory)
    assert list(directory.iterdir()) == []


def test_a_journal_behind_a_symbolic_link_is_not_written_through_it(tmp_path: Path) -> None:
    """The rename would replace the link, and the file that it names would stay as it was."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(encode_file(RECORDS))
    (tmp_path / NAME).symlink_to(elsewhere)
    with pytest.raises(JournalClosed, match="symbolic link"):
        JournalLog.open(tmp_path)


class TestCompaction:
    """`compact` replaces the file by a smaller one while appenders go on."""

    def test_what_is_kept_and_what_came_meanwhile_is_there_afterwards(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        log.append(*RECORDS)

        def keep(records: list[Record]) -> list[Record]:
            log.append({"note": "late"})
            return records[2:]

        log.compact(keep)
        log.append({"note": "after"})
        log.close()
        assert reopen(tmp_path) == [RECORDS[2], {"note": "late"}, {"note": "after"}]

    def test_appenders_on_other_threads_lose_nothing(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        count, rounds = 4, 50

        def append(who: int) -> None:
            for number in range(rounds):
                log.append({"who": who, "n": number})

        threads = [threading.Thread(target=append, args=(who,)) for who in range(count)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            log.compact(list)
        log.close()
        found = reopen(tmp_path)
        for who in range(count):
            assert [r["n"] for r in found if r["who"] == who] == list(range(rounds))

    def test_appends_wait_only_for_its_last_step(self, tmp_path: Path) -> None:
        """While the kept records are chosen, and their file is written, others go on."""
        log, _ = JournalLog.open(tmp_path)
        done = threading.Event()

        def keep(records: list[Record]) -> list[Record]:
            def append() -> None:
                log.append({"note": "x"})
                done.set()

            thread = threading.Thread(target=append)
            thread.start()
            assert done.wait(SOON)
            thread.join(SOON)
            return records

        log.compact(keep)
        log.close()

    def test_a_reader_that_has_the_old_file_open_still_has_it_whole(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        log.append(*RECORDS)
        with (tmp_path / NAME).open("rb") as old:
            log.compact(lambda records: [])
            assert old.read() == encode_file(RECORDS)
        assert read(tmp_path / NAME) == []
        log.close()

    @pytest.mark.parametrize(
        ("call", "after"), [("read", 1), ("create", 1), ("write", 2), ("sync", 2), ("write", 3),
                            ("sync", 3)],
    )  # fmt: skip
    def test_one_that_fails_leaves_the_log_as_it_was(
        self, tmp_path: Path, call: str, after: int
    ) -> None:
        disk = WatchedDisk(failing(call, errno.ENOSPC, after=after))
        log, _ = JournalLog.open(tmp_path, disk=disk)
        log.append(*RECORDS)
        with pytest.raises(JournalError, match=r"grows on: No space left") as caught:
            log.compact(lambda records: [])
        assert not isinstance(caught.value, JournalClosed)
        disk.before = lambda name: None
        log.append({"note": "after"})
        log.close()
        assert [p.name for p in tmp_path.iterdir()] == [NAME]
        assert reopen(tmp_path) == [*RECORDS, {"note": "after"}]

    @pytest.mark.parametrize("call", ["rename", "sync_directory"])
    def test_one_that_fails_while_the_name_changes_closes_the_log(
        self, tmp_path: Path, call: str
    ) -> None:
        """Nobody knows then which file the name will lead to after a crash."""
        log, _ = JournalLog.open(tmp_path, disk=WatchedDisk(failing(call, errno.EIO, after=1)))
        log.append(*RECORDS)
        with pytest.raises(JournalClosed, match="Input/output error"):
            log.compact(list)
        with pytest.raises(JournalClosed):
            log.append({"note": "after"})
        log.close()
        assert reopen(tmp_path) == RECORDS

    def test_a_second_one_at_the_same_time_is_refused(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)

        def keep(records: list[Record]) -> list[Record]:
            with pytest.raises(JournalError, match="already"):
                log.compact(list)
            return records

        log.compact(keep)
        log.close()

    def test_damage_found_by_it_is_told_and_the_file_is_left_alone(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        log.append(*RECORDS)
        path = tmp_path / NAME
        damaged = path.read_bytes().replace(b"intent", b"indent")
        with path.open("r+b") as file:
            file.write(damaged)
        with pytest.raises(JournalDamaged, match=f"{path}:1: "):
            log.compact(list)
        log.append({"note": "after"})
        assert path.read_bytes().startswith(damaged)
        log.close()

    def test_descriptors_are_given_back(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(5):
            log.append(*RECORDS)
            log.compact(list)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        log.close()


def test_what_is_written_and_what_was_torn_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    path.write_bytes(path.read_bytes() + b'{"torn')
    counters = Counters()
    log, _ = JournalLog.open(tmp_path, counters=counters)
    log.append({"note": "3"}, {"note": "4"})
    log.close()
    found = counters.snapshot()
    assert found.counters[REPAIRS] == {(): 1}
    assert found.counters[APPENDS] == {(): 2}
    assert sum(found.distributions[FSYNC][()].counts) == 1
