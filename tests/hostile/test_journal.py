"""The journal's own ground: what a person, a disk or a crash may do to it, in real processes."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from felhom_agent.cli.codes import TEMPFAIL
from felhom_agent.durable.line import Record, encode_file
from felhom_agent.errors import FelhomError, JournalClosed, JournalDamaged
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.lock import AlreadyRunning, held
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import replay
from felhom_agent.journal.repair import repair
from tests.conftest import Site
from tests.journal.disks import WatchedDisk, failing
from tests.process import Process, wait_until

SETTINGS = "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\nbackoff_cap = 1\n"
OBSERVED = "from now on guests are only observed"
RECORD: Record = {"note": "x"}
TIME = "2026-11-25T12:00:00.000+00:00"
INTENT: Record = {
    "op": "019a00000001", "state": "intent", "begun": TIME, "vmid": 101, "kind": "qemu",
    "action": "Start", "text": "Start(vmid=101)",
}  # fmt: skip


class TestTheFileInItsPlace:
    """What is written is what the path leads to, or nothing is."""

    def test_a_journal_that_was_removed_takes_no_record_and_comes_back_by_hand_alone(
        self, tmp_path: Path
    ) -> None:
        log, _ = JournalLog.open(tmp_path)
        log.append(RECORD)
        (tmp_path / NAME).rename(tmp_path / "away")
        with pytest.raises(JournalClosed, match=r"it is gone: .*put it back, or restart the agent"):
            log.append(RECORD)
        assert not log.reopens()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["away"]
        (tmp_path / "away").rename(tmp_path / NAME)
        assert log.reopens()
        assert read(tmp_path / NAME) == [RECORD]
        log.close()

    def test_a_journal_that_was_replaced_is_left_to_whoever_replaced_it(
        self, tmp_path: Path
    ) -> None:
        log, _ = JournalLog.open(tmp_path)
        other, _ = JournalLog.open(tmp_path)
        other.append(RECORD)
        for act in (log.check, lambda: log.append({"note": "y"}), lambda: log.compact(list)):
            with pytest.raises(JournalClosed, match="it is another file now"):
                act()
        assert not log.reopens()
        other.check()
        other.append(RECORD)
        assert read(tmp_path / NAME) == [RECORD, RECORD]
        log.close()
        other.close()

    def test_the_journals_own_compaction_is_no_stranger(self, tmp_path: Path) -> None:
        log, _ = JournalLog.open(tmp_path)
        for _ in range(3):
            log.append(RECORD)
            log.compact(list)
            log.check()
        log.close()

    @pytest.mark.parametrize("call", ["rename", "sync_directory"])
    def test_after_a_rename_that_failed_it_can_be_opened_again(
        self, tmp_path: Path, call: str
    ) -> None:
        """Whichever of the two files the name leads to by then, both are the log's."""
        disk = WatchedDisk(failing(call, errno.EIO, after=1))
        log, _ = JournalLog.open(tmp_path, disk=disk)
        log.append(RECORD)
        with pytest.raises(JournalClosed):
            log.compact(list)
        disk.before = failing("sync_directory", errno.EIO)
        assert not log.reopens()
        disk.before = lambda call: None
        assert log.reopens()
        log.close()
        assert read(tmp_path / NAME) == [RECORD]

    def test_a_moved_directory_is_noticed_before_the_next_write(self, tmp_path: Path) -> None:
        directory = tmp_path / "journal"
        log, _ = JournalLog.open(directory)
        directory.rename(tmp_path / "moved")
        other, _ = JournalLog.open(directory)
        with pytest.raises(JournalClosed):
            log.append(RECORD)
        other.append(RECORD)
        assert read(tmp_path / "moved" / NAME) == []
        log.close()
        other.close()


def test_an_agent_whose_journal_is_removed_observes_only_until_it_is_back(site: Site) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = Process(site.write_config(SETTINGS))
    agent.wait_for("felhom-agent 0")
    path = site.directory / "journal" / NAME
    wait_until(path.exists)
    path.rename(site.directory / "away")
    site.world.edit(100, {"cores": "4"})
    agent.wait_for("would set cores: 4 -> 1")
    assert site.devnode.mutations == ()
    (site.directory / "away").rename(path)
    agent.wait_for("done: set cores")
    assert agent.end() == 0
    (said,) = (line for line in agent.lines if OBSERVED in line)
    assert "put it back, or restart the agent to begin with what is there" in said
    assert not agent.count("Traceback")


def test_without_its_lock_file_a_second_agent_is_refused_all_the_same(site: Site) -> None:
    site.declare("")
    path = site.write_config(SETTINGS)
    first = Process(path)
    first.wait_for("felhom-agent 0")
    (site.directory / "journal" / "lock").unlink()
    second = Process(path)
    assert second.end(None) == TEMPFAIL
    assert second.count("another felhom-agent (pid unknown) works with") == 1
    assert first.end() == 0


def test_of_two_agents_with_a_directory_that_was_moved_one_alone_changes_guests(
    site: Site,
) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    path = site.write_config(SETTINGS)
    first = Process(path)
    first.wait_for("felhom-agent 0")
    wait_until((site.directory / "journal" / NAME).exists)
    (site.directory / "journal").rename(site.directory / "moved")
    second = Process(path)
    first.wait_for(OBSERVED)
    second.wait_for("felhom-agent 0")
    site.world.edit(100, {"cores": "4"})
    second.wait_for("done: set cores: 4 -> 1")
    assert first.end() == second.end() == 0
    assert not first.count("done:")
    assert len(site.devnode.mutations) == 1


@pytest.mark.parametrize("name", [NAME, f"{NAME}.new", "lock"])
def test_a_fifo_in_place_of_a_file_is_told_and_keeps_nobody_waiting(site: Site, name: str) -> None:
    path = site.write_config(SETTINGS)
    (site.directory / "journal").mkdir(mode=0o700)
    os.mkfifo(site.directory / "journal" / name)
    agent = Process(path, "--once")
    assert agent.end(None) == 1
    (said,) = (line for line in agent.lines if line != "(end)")
    assert f"cannot be opened: {name} is a FIFO" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
@pytest.mark.parametrize("name", [NAME, "lock"])
def test_a_device_in_place_of_a_file_is_told(tmp_path: Path, name: str) -> None:
    os.mknod(tmp_path / name, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    with pytest.raises(FelhomError, match="is a device and no regular file; move it away"):  # noqa: SIM117
        with held(tmp_path):
            JournalLog.open(tmp_path)


def test_a_file_too_large_for_a_journal_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(JournalClosed, match="more than .* are not read; move it away"):
        JournalLog.open(tmp_path)


@pytest.mark.parametrize(
    "odd",
    [
        {**INTENT, "state": "pondered"},
        {**INTENT, "action": "Explode"},
        {**INTENT, "vmid": "101"},
        {**INTENT, "op": "xyz"},
        {**INTENT, "op": "ffffffffffff"},
        {**INTENT, "begun": "yesterday"},
        {**INTENT, "wanted": {"cores": 2}},
        {"op": "019a00000001", "state": "succeeded"},
        {"guest": 7, "identity": "x"},
        {"mark": "0", "forgotten": "x"},
        {"op": "019a00000001", "identity": "x"},
    ],
    ids=lambda odd: str(sorted(odd.items()))[:60],
)
def test_odd_content_with_a_good_checksum_is_damage_with_its_line(
    tmp_path: Path, odd: Record
) -> None:
    before = encode_file([RECORD, INTENT, odd])
    (tmp_path / NAME).write_bytes(before)
    with pytest.raises(JournalDamaged, match=rf"{NAME}:3: the line is intact, and is no record"):
        JournalLog.open(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before
    done = repair(tmp_path, "now")
    assert done is not None
    assert read(tmp_path / NAME) == [RECORD, INTENT]


@pytest.mark.parametrize(
    "content", [encode_file([{**INTENT, "state": "pondered"}]), bytes(4096)], ids=["state", "zeros"]
)
def test_a_start_on_damage_ends_with_its_own_code_and_one_line(site: Site, content: bytes) -> None:
    path = site.write_config(SETTINGS)
    (site.directory / "journal").mkdir(mode=0o700)
    journal = site.directory / "journal" / NAME
    journal.write_bytes(content)
    agent = Process(path)
    assert agent.end(None) == 65
    said = [line for line in agent.lines if line != "(end)"]
    assert len(said) == 1
    assert f"{journal}:1: " in said[0]
    assert "journal repair" in said[0]
    assert journal.read_bytes() == content


def test_the_same_torn_tail_is_set_aside_once_however_often_the_disk_fails(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(encode_file([RECORD]) + b'{"torn')
    disk = WatchedDisk(failing("create", errno.ENOSPC))
    for _ in range(5):
        disk.before = failing("create", errno.ENOSPC)
        with pytest.raises(JournalClosed):
            JournalLog.open(tmp_path, disk=disk)
    assert (tmp_path / f"{NAME}.broken").read_bytes() == b'{"torn\n'
    log, records = JournalLog.open(tmp_path)
    log.close()
    assert records == [RECORD]


def test_a_close_that_fails_loses_nothing_and_is_no_error(tmp_path: Path) -> None:
    class Grumbling(WatchedDisk):
        def close(self, descriptor: int) -> None:
            super().close(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / NAME).write_bytes(encode_file([RECORD]) + b'{"torn')
    log, _ = JournalLog.open(tmp_path, disk=Grumbling())
    log.append(RECORD)
    log.compact(list)
    log.append(RECORD)
    log.close()
    assert read(tmp_path / NAME) == [RECORD] * 3


def test_a_lock_on_a_disk_that_takes_nothing_may_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(JournalClosed, match="Read-only file system"), held(tmp_path / "journal"):
        pass


def _may_mount() -> bool:
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="a file system of its own needs root")
def test_a_service_on_a_read_only_disk_waits_until_it_can_be_written(site: Site) -> None:
    site.declare("[guest.100.config]\ncores = 2\n")
    journal = site.directory / "journal"
    journal.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o ro,size=64k,mode=700 none "$1"; shift; exec "$@"'
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    agent = Process(site.write_config(SETTINGS), within=[*within, str(journal)])
    agent.wait_for("cannot be opened: Read-only file system; trying on, and nothing is done")
    enter = ["nsenter", "--mount", f"--target={agent.pid}", "mount", "-o", "remount,rw"]
    subprocess.run([*enter, str(journal)], check=True)
    agent.wait_for("done: set cores")
    assert agent.end() == 0


def test_a_second_holder_is_refused_whatever_the_lock_file_says(tmp_path: Path) -> None:
    with held(tmp_path):
        for text in (b"", b"\x1b[31m\n", b"9" * 100):
            (tmp_path / "lock").unlink(missing_ok=True)
            (tmp_path / "lock").write_bytes(text)
            with pytest.raises(AlreadyRunning, match=r"\(pid [0-9a-z]+\)"), held(tmp_path):
                pass


STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]


def _may_trace() -> bool:
    return shutil.which("strace") is not None and subprocess.run([*STRACE, "true"]).returncode == 0


# An interpreter's start writes and renames nothing, so the numbers are those of the agent.
FAULTS = [f"fsync:error={error}:when={n}+" for error in ("EIO", "ENOSPC") for n in (1, 2, 4, 5)]
FAULTS += ["rename:error=EIO:when=1+", "rename:error=EROFS:when=1"]


@pytest.mark.skipif(not _may_trace(), reason="strace is not there, or may not trace")
@pytest.mark.parametrize("fault", FAULTS)
def test_whichever_call_of_the_journal_fails_nothing_is_lost_and_nothing_done_twice(
    site: Site, fault: str
) -> None:
    site.declare('[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n')
    path = site.write_config(SETTINGS)
    calls = fault.partition(":")[0]
    # What measures coverage writes and renames files of its own, and is no part of the agent.
    alone = ["env", "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START"]
    trace = [*alone, *STRACE, "-e", f"trace={calls}", "-e", f"inject={fault}"]
    agent = Process(path, "--once", within=trace)
    code = agent.end(None)
    assert code in (0, 1, 2), agent.lines
    assert not agent.count("Traceback")
    assert not agent.count("internal error")
    journal = site.directory / "journal" / NAME
    written = replay(read(journal, absent_ok=True))
    asked = len(site.devnode.mutations)
    assert asked <= len(written), "nothing is asked of PVE that was not written down"
    again = Process(path, "--once")
    assert again.end(None) == 0, again.lines
    assert [r.path.rpartition("/")[2] for r in site.devnode.mutations] == ["config", "start"]
    assert not [o for o in replay(read(journal)) if o.in_flight]
