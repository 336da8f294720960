"""The root helper copies what it has understood, and nothing else, and lives through all of it."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from felhom_agent import hintshelper
from felhom_agent.hintshelper import BEAT_SECONDS, MAX_BYTES, TIME_ERROR, Copier, clock_state
from felhom_agent.proxmox.hintfiles import STALE_SECONDS
from tests.pmxcfs import Pmxcfs


class Desk:
    """A pmxcfs, a directory for the copies, and a helper whose clock is turned by hand."""

    def __init__(self, path: Path) -> None:
        self.pve = Pmxcfs(path / "pve")
        self.pve.create(100)
        self.target = path / "copies"
        self.target.mkdir(mode=0o750)
        self.now = 100.0
        self.said: list[str] = []
        self.kernel = 0
        self.copier = Copier(
            self.pve.directory, self.target, lambda: self.now, self.said.append, lambda: self.kernel
        )

    def poll(self) -> bool:
        self.now += 1
        return self.copier.poll()

    def copies(self) -> dict[str, str]:
        return {n: t for n, t in self.files().items() if n.startswith(".")}

    def files(self) -> dict[str, str]:
        return {p.name: p.read_text() for p in self.target.iterdir()}

    @property
    def session(self) -> str:
        return (self.target / "session").read_text()

    def originals(self) -> dict[str, str]:
        return {".vmlist": self.pve.vmlist, ".version": self.pve.version}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_both_files_are_copied_for_the_group_to_read(desk: Desk) -> None:
    assert desk.poll()
    assert desk.copies() == desk.originals()
    assert {path.stat().st_mode & 0o777 for path in desk.target.iterdir()} == {0o640}


def test_a_write_is_copied_at_the_next_poll(desk: Desk) -> None:
    desk.poll()
    desk.pve.write(100, times=2)
    desk.poll()
    assert desk.copies() == desk.originals()


def test_counters_that_move_by_themselves_are_not_written(desk: Desk) -> None:
    desk.poll()
    before = {p.name: p.stat().st_ino for p in desk.target.iterdir()}
    for _ in range(30):
        desk.pve.tick()
        assert desk.poll()
    assert {p.name: p.stat().st_ino for p in desk.target.iterdir()} == before


def test_the_time_of_version_shows_that_it_lives_and_seldom_moves(desk: Desk) -> None:
    desk.poll()
    moved = 0
    for _ in range(60):
        os.utime(desk.target / ".version", ns=(1, 1))
        desk.poll()
        moved += (desk.target / ".version").stat().st_mtime_ns != 1
    assert moved == 60 / BEAT_SECONDS
    assert 3 * BEAT_SECONDS <= STALE_SECONDS


def test_pmxcfs_begins_anew_and_both_copies_are_of_the_new_one(desk: Desk) -> None:
    desk.poll()
    desk.pve.begin_again()
    desk.poll()
    assert desk.copies() == desk.originals()


def gone(desk: Desk) -> None:
    desk.pve.vanish()


def half(desk: Desk) -> None:
    desk.pve.put(".vmlist", desk.pve.vmlist[:-9])


def no_json(desk: Desk) -> None:
    desk.pve.put(".version", "\x00" * 40)


def odd(desk: Desk) -> None:
    desk.pve.put(".version", '{"starttime": true, "vmlist": 3}')


def deep(desk: Desk) -> None:
    desk.pve.put(".vmlist", "[" * 200_000)


def odd_list(desk: Desk) -> None:
    desk.pve.put(".vmlist", '{"version": 3, "ids": {"100": 7}}')


def huge(desk: Desk) -> None:
    desk.pve.put(".vmlist", desk.pve.vmlist + " " * MAX_BYTES)


def symlink(desk: Desk) -> None:
    secret = desk.pve.directory / "pve-ssl.key"
    secret.write_text(desk.pve.vmlist)
    (desk.pve.directory / ".vmlist").unlink()
    (desk.pve.directory / ".vmlist").symlink_to(secret)


def fifo(desk: Desk) -> None:
    (desk.pve.directory / ".version").unlink()
    os.mkfifo(desk.pve.directory / ".version")


def directory(desk: Desk) -> None:
    (desk.pve.directory / ".version").unlink()
    (desk.pve.directory / ".version").mkdir()


FAULTS = [gone, half, no_json, odd, deep, odd_list, huge, symlink, fifo, directory]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_what_cannot_be_used_takes_the_copies_away_until_it_is_good_again(
    desk: Desk, fault: Callable[[Desk], None]
) -> None:
    desk.poll()
    fault(desk)
    desk.now += BEAT_SECONDS
    for _ in range(5):
        assert not desk.poll()
        assert desk.copies() == {}
    if (desk.pve.directory / ".version").is_dir():
        (desk.pve.directory / ".version").rmdir()
    desk.pve.write(100)
    assert desk.poll()
    assert desk.copies() == desk.originals()
    kinds = [line[:3] for line in desk.said]
    assert kinds == ["<6>", "<4>", "<6>"]
    assert all(line.isprintable() and len(line) < 300 for line in desk.said)


def test_copies_that_somebody_took_away_are_made_again(desk: Desk) -> None:
    desk.poll()
    for path in desk.target.iterdir():
        path.unlink()
    desk.now += BEAT_SECONDS
    desk.poll()
    assert desk.copies() == desk.originals()


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o777])
def test_nothing_is_written_where_others_may_write(desk: Desk, mode: int) -> None:
    desk.target.chmod(mode)
    assert not desk.poll()
    assert desk.copies() == {}
    assert "others may write there" in desk.said[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="a directory of another user needs root")
def test_nothing_is_written_into_a_directory_of_the_service(desk: Desk) -> None:
    os.chown(desk.target, 65534, 65534)
    assert not desk.poll()
    assert desk.copies() == {}


def test_nothing_is_written_through_a_symbolic_link(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o750)
    desk.target.rmdir()
    desk.target.symlink_to(tmp_path / "elsewhere")
    assert not desk.poll()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_where_the_copies_go_are_replaced_and_not_followed(
    desk: Desk, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    for name in (".vmlist", ".version", ".vmlist.new", ".version.new"):
        (desk.target / name).symlink_to(other)
    assert desk.poll()
    assert other.read_text() == "mine"
    assert desk.copies() == desk.originals()


def test_sigterm_ends_the_program_and_takes_the_copies_away(desk: Desk) -> None:
    program = [sys.executable, "-I", "-S", "-B", hintshelper.__file__]
    words = [*program, str(desk.pve.directory), str(desk.target)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        limit = threading.Timer(30, process.kill)
        limit.start()
        assert "copies of .vmlist and .version are kept here" in process.stderr.readline()
        assert desk.copies() == desk.originals()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        limit.cancel()
        assert process.stderr.read() == ""
    assert desk.copies() == {}


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(hintshelper.__file__).read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"__future__"}


def test_copies_that_come_back_are_of_another_session(desk: Desk) -> None:
    assert desk.poll()
    before = desk.session
    desk.pve.write(100)
    assert desk.poll()
    assert desk.session == before
    desk.pve.vanish()
    assert not desk.poll()
    assert "session" not in desk.files()
    desk.pve.begin_again(0)
    assert desk.poll()
    assert desk.session != before


@pytest.mark.parametrize(
    ("answer", "right"), [(0, True), (4, True), (TIME_ERROR, False), (-1, False)]
)
def test_the_kernels_word_on_its_clock_is_passed_on(desk: Desk, answer: int, right: bool) -> None:
    desk.kernel = answer
    desk.poll()
    assert json.loads(desk.files()["clock"]) == {"synchronised": right}


def test_it_is_passed_on_at_once_when_it_changes_and_again_and_again_in_its_time(
    desk: Desk,
) -> None:
    desk.poll()
    path = desk.target / "clock"
    inode = path.stat().st_ino
    desk.poll()
    assert path.stat().st_ino == inode
    desk.kernel = TIME_ERROR
    desk.poll()
    assert json.loads(path.read_text()) == {"synchronised": False}
    os.utime(path, (1, 1))
    for _ in range(int(BEAT_SECONDS)):
        desk.poll()
    assert path.stat().st_mtime > 1


def test_the_clock_is_told_without_a_pmxcfs_and_goes_with_the_helper(desk: Desk) -> None:
    desk.pve.vanish()
    assert not desk.poll()
    assert list(desk.files()) == ["clock"]
    desk.copier.close()
    assert desk.files() == {}


def test_the_kernel_is_asked_and_nothing_is_set() -> None:
    before = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert clock_state() in range(-1, TIME_ERROR + 1)
    after = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert abs(after - before) < 1
