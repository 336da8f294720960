"""Which guests the host tells of: real files, real directories, the kernel's own inotify."""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from felhom_agent.hintshelper import Copier
from felhom_agent.proxmox import inotify
from felhom_agent.proxmox.cgroups import RETRY_SECONDS
from felhom_agent.proxmox.hintfiles import STALE_SECONDS, vmid_of
from felhom_agent.proxmox.hints import Heard, Hints
from tests.pmxcfs import Pmxcfs

QUIET = Heard(working=True)
REAL = next(
    (p for p in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if p.is_dir()),
    Path("/none"),
)


class Place:
    """A host: pmxcfs, the helper, guests' cgroups, and who listens; the clock is turned by hand."""

    def __init__(self, path: Path) -> None:
        self.now = 1000.0
        self.pve = Pmxcfs(path / "pve")
        for vmid in (100, 101):
            self.pve.create(vmid)
        self.pve.create(300, node="pve2")
        self.copies = path / "copies"
        self.copies.mkdir(parents=True, mode=0o750)
        self.copier = Copier(self.pve.directory, self.copies, lambda: self.now)
        self.cgroups = path / "cgroup"
        self.cgroups.mkdir()
        (self.cgroups / "cgroup.controllers").touch()
        self.copier.poll()
        self.hints = Hints(self.copies, "pve1", self.cgroups, lambda: self.now)

    def look(self) -> Heard:
        """One second passes: the helper polls, the agent looks."""
        self.now += 1
        self.copier.poll()
        return self.hints.look()

    def start(self, vmid: int) -> Path:
        directory = self.cgroups / "qemu.slice" / f"{vmid}.scope"
        directory.mkdir(parents=True)
        return directory


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.hints.close()


@pytest.fixture
def quiet(place: Place) -> Place:
    """One that has been looked at."""
    assert place.look() == Heard(everything="the first look", working=True)
    assert place.look() == QUIET
    return place


class TestFiles:
    def test_who_was_written_is_told_once(self, quiet: Place) -> None:
        quiet.pve.write(100, times=2)
        assert quiet.look() == Heard(frozenset({100}), working=True)
        assert quiet.look() == QUIET

    def test_counters_that_move_by_themselves_tell_nothing(self, quiet: Place) -> None:
        for _ in range(20):
            quiet.pve.tick()
            assert quiet.look() == QUIET

    def test_guests_of_other_nodes_do_not_count_but_those_that_come_or_leave_do(
        self, quiet: Place
    ) -> None:
        quiet.pve.write(300)
        assert quiet.look() == QUIET
        quiet.pve.create(301, node="pve2")
        assert quiet.look() == QUIET
        quiet.pve.move(300, "pve1")
        assert quiet.look().written == {300}
        quiet.pve.move(300, "pve2")
        assert quiet.look().written == {300}
        quiet.pve.move(300, "pve3")
        assert quiet.look() == QUIET

    def test_a_guest_that_was_made_or_destroyed_is_told(self, quiet: Place) -> None:
        quiet.pve.create(102)
        quiet.pve.remove(101)
        assert quiet.look().written == {101, 102}
        quiet.pve.remove(102)
        quiet.pve.create(102)
        assert quiet.look().written == {102}

    def test_a_pmxcfs_that_began_anew_means_everything(self, quiet: Place) -> None:
        quiet.pve.begin_again()
        quiet.pve.write(100, times=90)
        heard = quiet.look()
        assert (heard.everything, heard.working) == ("pmxcfs began anew", True)
        assert quiet.look() == QUIET

    def test_versions_that_go_down_mean_everything(self, quiet: Place) -> None:
        quiet.pve.begin_again(later=0)
        heard = quiet.look()
        assert (heard.everything, heard.working) == ("the versions of pmxcfs went down", True)
        assert quiet.look() == QUIET

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (".vmlist", None),
            (".version", None),
            (".vmlist", ""),
            (".version", "garbage"),
            (".vmlist", '{"version": 9, "ids": {"100": {"node": "pve1", "type": "qemu"'),
            (".vmlist", '{"version": 9, "ids": []}'),
            (".vmlist", '{"version": 9, "ids": {"100": {"node": "pve1", "version": true}}}'),
            (".vmlist", '{"version": 9, "ids": {"0100": {"node": "pve1", "version": 1}}}'),
            (".vmlist", '{"version": 9, "ids": {"100": {"node": null, "version": 1}}}'),
            (".vmlist", '{"version": 9, "ids": {"100": null}}'),
            (".vmlist", "[" * 100_000),
            (".version", '{"starttime": "now", "vmlist": 3}'),
            (".version", '{"starttime": 1795638320}'),
            (".version", '{"starttime": 1795638320, "vmlist": 99999}'),
            (".version", " " * 1_100_000),
        ],
    )
    def test_a_copy_that_cannot_be_used_is_lost_once_and_everything_once_it_is_back(
        self, quiet: Place, name: str, text: str | None
    ) -> None:
        if text is None:
            (quiet.copies / name).unlink()
        else:
            (quiet.copies / name).write_text(text)
        lost = quiet.hints.look()
        assert lost.everything.startswith("hints were lost: ")
        assert lost.everything.isprintable()
        assert not lost.working
        assert quiet.hints.look() == Heard()
        for path in quiet.copies.iterdir():
            path.unlink()
        quiet.now += 10
        quiet.pve.write(100)
        assert quiet.look() == Heard(everything="hints are back", working=True)
        assert quiet.look() == QUIET

    def test_a_link_a_directory_or_a_fifo_is_lost(self, quiet: Place, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_text(quiet.pve.version)
        path = quiet.copies / ".version"
        makes: list[Callable[[], None]] = [
            lambda: path.symlink_to(target),
            lambda: path.mkdir(),
            lambda: os.mkfifo(path),
        ]
        for make in makes:
            path.unlink()
            make()
            assert not quiet.hints.look().working
            path.rmdir() if path.is_dir() else path.unlink()
            path.write_text(quiet.pve.version)
            assert quiet.hints.look().working

    def test_a_helper_that_shows_no_life_is_lost(self, quiet: Place) -> None:
        for _ in range(int(STALE_SECONDS) - 2):
            quiet.now += 1
            assert quiet.hints.look() == QUIET
        quiet.now += 3
        assert quiet.hints.look().everything.startswith("hints were lost: ")
        old = quiet.copies / ".version"
        os.utime(old, ns=(1, old.stat().st_mtime_ns - 10**11))
        assert quiet.hints.look() == Heard()
        assert quiet.look() == Heard(everything="hints are back", working=True)

    def test_copies_that_were_old_already_at_the_first_look_do_not_work(self, place: Place) -> None:
        os.utime(place.copies / ".version", (1_000_000, 1_000_000))
        assert place.hints.look() == Heard(everything="the first look")
        assert place.hints.look() == Heard()

    def test_a_copy_that_is_older_than_the_last_is_lost(self, quiet: Place) -> None:
        path = quiet.copies / ".version"
        os.utime(path, ns=(1, path.stat().st_mtime_ns - 10**9))
        assert "older" in quiet.hints.look().everything
        assert quiet.hints.look() == Heard(everything="hints are back", working=True)

    def test_without_the_helper_guests_that_come_and_go_are_told_all_the_same(
        self, tmp_path: Path
    ) -> None:
        cgroups = tmp_path / "cgroup"
        (cgroups / "lxc").mkdir(parents=True)
        hints = Hints(tmp_path / "none", "pve1", cgroups)
        assert hints.look() == Heard(everything="the first look")
        (cgroups / "lxc" / "200").mkdir()
        assert hints.look() == Heard(power=frozenset({200}))
        assert hints.look() == Heard()
        hints.close()


class TestCgroups:
    def test_who_came_and_who_went_is_told_once(self, quiet: Place) -> None:
        scope = quiet.start(100)
        assert quiet.look() == Heard(power=frozenset({100}), working=True)
        assert quiet.look() == QUIET
        quiet.start(101)
        scope.rmdir()
        assert quiet.look() == Heard(power=frozenset({100, 101}), working=True)
        assert quiet.look() == QUIET

    def test_who_went_and_came_again_within_a_second_is_told(self, quiet: Place) -> None:
        scope = quiet.start(100)
        quiet.look()
        scope.rmdir()
        scope.mkdir()
        assert quiet.look().power == {100}
        scope.rmdir()
        scope.parent.rmdir()
        quiet.start(100)
        assert quiet.look().power == {100}
        assert quiet.look() == QUIET

    def test_a_directory_that_was_exchanged_unseen_is_found_by_its_inode(
        self, quiet: Place
    ) -> None:
        slice_ = quiet.start(100).parent
        quiet.look()
        other = quiet.cgroups.parent / "other"
        (other / "101.scope").mkdir(parents=True)
        slice_.rename(quiet.cgroups.parent / "old")
        other.rename(slice_)
        assert quiet.look().power == {100, 101}
        quiet.start(102)
        assert quiet.look().power == {102}

    def test_a_directory_that_came_and_went_between_two_looks_means_everything(
        self, quiet: Place
    ) -> None:
        scope = quiet.start(100)
        scope.rmdir()
        scope.parent.rmdir()
        heard = quiet.look()
        assert (heard.everything, heard.working) == ("qemu.slice came and went unseen", True)
        assert quiet.look() == QUIET

    @pytest.mark.parametrize(
        "name",
        ["abc.scope", "0100.scope", "100.service", "100", "\u0661.scope", "1" * 10, "\udcff"],
    )
    def test_names_that_are_no_guests_are_nothing(self, quiet: Place, name: str) -> None:
        quiet.start(100)
        quiet.look()
        (quiet.cgroups / "qemu.slice" / name).mkdir()
        assert quiet.look() == QUIET
        (quiet.cgroups / "lxc").mkdir()
        (quiet.cgroups / "lxc" / f"x{name}").mkdir()
        assert quiet.look() == QUIET

    def test_with_v1_each_controllers_directory_is_watched(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        (place.cgroups / "cgroup.controllers").unlink()
        for name in ("systemd", "memory", "pids", "own"):
            (place.cgroups / name / "lxc").mkdir(parents=True)
        place.look()
        (place.cgroups / "systemd" / "qemu.slice" / "100.scope").mkdir(parents=True)
        (place.cgroups / "memory" / "lxc" / "200").mkdir()
        (place.cgroups / "pids" / "lxc" / "200").mkdir()
        (place.cgroups / "own" / "lxc" / "300").mkdir()
        assert place.look() == Heard(power=frozenset({100, 200}), working=True)
        place.hints.close()

    def test_thousands_at_once_are_told(self, quiet: Place) -> None:
        quiet.start(100)
        quiet.look()
        for vmid in range(1000, 4000):
            quiet.start(vmid)
        assert quiet.look().power == set(range(1000, 4000))
        assert quiet.look() == QUIET

    def test_more_than_the_kernel_keeps_means_everything_and_it_goes_on(self, quiet: Place) -> None:
        scope = quiet.start(100)
        quiet.look()
        most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        # Equal events one after the other are one: two names by turns.
        other = scope.parent / "101.scope"
        for _ in range(most // 4 + 2):
            other.mkdir()
            scope.rmdir()
            scope.mkdir()
            other.rmdir()
        quiet.start(102)
        heard = quiet.look()
        assert (heard.everything, heard.working) == (
            "the kernel told more than it could keep",
            True,
        )
        assert 102 in heard.power
        assert quiet.look() == QUIET
        (scope.parent / "102.scope").rmdir()
        assert quiet.look().power == {102}

    def test_no_watch_left_is_no_hint_and_it_is_tried_again(
        self, quiet: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Full:
            def __getattr__(self, name: str) -> Callable[..., int]:
                def fail(*_: object) -> int:
                    ctypes.set_errno(errno.ENOSPC)
                    return -1

                return fail

        with monkeypatch.context() as kernel:
            kernel.setattr(inotify, "_LIBC", Full())
            quiet.start(100)
            lost = quiet.look()
            assert lost.everything == "cgroups cannot be watched: No space left on device"
            assert not lost.working
            for _ in range(30):
                assert quiet.look() == Heard()
        quiet.now += RETRY_SECONDS
        assert quiet.look() == Heard(everything="cgroups are watched again", working=True)
        assert quiet.look() == QUIET

    def test_without_cgroups_writes_are_told_all_the_same(self, tmp_path: Path) -> None:
        place = Place(tmp_path)
        place.cgroups.rename(tmp_path / "away")
        assert place.look() == Heard(everything="the first look")
        place.pve.write(100)
        assert place.look() == Heard(frozenset({100}))
        (tmp_path / "away").rename(place.cgroups)
        place.now += RETRY_SECONDS
        assert place.look() == Heard(everything="cgroups are watched again", working=True)
        place.hints.close()

    def test_the_root_that_goes_is_a_loss(self, quiet: Place) -> None:
        quiet.cgroups.rename(quiet.cgroups.parent / "away")
        lost = quiet.look()
        assert lost.everything.startswith("cgroups cannot be watched: ")
        assert not lost.working

    @pytest.mark.skipif(not os.access(REAL, os.W_OK), reason="no cgroups can be made here")
    def test_the_kernels_own_cgroups_tell_of_themselves(self, tmp_path: Path) -> None:
        root = REAL / f"felhom-hints-{os.getpid()}"
        scope = root / "qemu.slice" / "100.scope"
        root.mkdir()
        hints = Hints(tmp_path, "pve1", root)
        try:
            hints.look()
            for _ in range(3):
                scope.mkdir(parents=True)
                assert hints.look() == Heard(power=frozenset({100}))
                scope.rmdir()
                scope.parent.rmdir()
                assert hints.look() == Heard(power=frozenset({100}))
            scope.mkdir(parents=True)
            hints.look()
            scope.rmdir()
            scope.parent.rmdir()
            scope.mkdir(parents=True)
            assert hints.look() == Heard(power=frozenset({100}))
            assert hints.look() == Heard()
        finally:
            hints.close()
            for path in (scope, scope.parent, root):
                if path.is_dir():
                    path.rmdir()

    def test_in_the_end_no_descriptor_is_left(self, tmp_path: Path) -> None:
        def descriptors() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        before = descriptors()
        for number in range(20):
            place = Place(tmp_path / str(number))
            place.look()
            place.hints.close()
            place.hints.close()
        assert descriptors() == before


@pytest.mark.parametrize(
    ("name", "vmid"),
    [("100", 100), ("999999999", 999_999_999), ("1000000000", None), ("", None), ("+1", None),
     ("1_0", None), ("0", None), ("07", None), ("²", None)],
)  # fmt: skip
def test_a_number_is_a_guests_only_as_pve_writes_it(name: str, vmid: int | None) -> None:
    assert vmid_of(name) == vmid


VMIDS = st.sampled_from([100, 101, 102])


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens, in whatever order: what changed since the last look is told, or all is."""

    @initialize()
    def begin(self) -> None:
        self.keep = tempfile.TemporaryDirectory()
        self.place = Place(Path(self.keep.name))
        self.written: set[int] = set()
        self.power: set[int] = set()
        self.lost = False
        assert self.place.look().everything
        self.here = self._here()

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.place.hints.close()
            self.keep.cleanup()

    def _pve(self) -> Pmxcfs:
        return self.place.pve

    def _here(self) -> set[int]:
        return {vmid for vmid, row in self._pve().guests.items() if row["node"] == "pve1"}

    @rule(vmid=VMIDS, times=st.integers(1, 3))
    def write(self, vmid: int, times: int) -> None:
        self._pve().write(vmid, times)
        if self._pve().guests[vmid]["node"] == "pve1":
            self.written.add(vmid)

    @rule(vmid=VMIDS, node=st.sampled_from(["pve1", "pve2"]))
    def move(self, vmid: int, node: str) -> None:
        if vmid in self._pve().guests:
            old = self._pve().guests[vmid]["node"]
            self._pve().move(vmid, node)
            if "pve1" in (old, node) and old != node:
                self.written.add(vmid)

    @rule(vmid=VMIDS)
    def remove(self, vmid: int) -> None:
        if vmid in self._pve().guests:
            if self._pve().guests[vmid]["node"] == "pve1":
                self.written.add(vmid)
            self._pve().remove(vmid)

    @rule(later=st.integers(0, 3))
    def pmxcfs_begins_again(self, later: int) -> None:
        # Two in one second: the helper saw that the files were away.
        if not later:
            self._pve().vanish()
            self.place.copier.poll()
        self._pve().begin_again(later)

    @rule()
    def pmxcfs_vanishes(self) -> None:
        if self._pve().directory.exists():
            self._pve().vanish()

    @rule()
    def tick(self) -> None:
        self._pve().tick()

    @rule(name=st.sampled_from([".vmlist", ".version"]), text=st.sampled_from(["", "{}", "\0x"]))
    def garbage(self, name: str, text: str) -> None:
        self._pve().directory.mkdir(exist_ok=True)
        self._pve().put(name, text)

    @rule(name=st.sampled_from([".vmlist", ".version"]), text=st.sampled_from(["", "[1]", None]))
    def copy_is_spoiled(self, name: str, text: str | None) -> None:
        path = self.place.copies / name
        if text is not None:
            path.write_text(text)
        elif path.exists():
            path.unlink()

    @rule(seconds=st.sampled_from([1, 20]))
    def time_passes_without_the_helper(self, seconds: int) -> None:
        self.place.now += seconds

    @rule(vmid=VMIDS)
    def power_on_or_off(self, vmid: int) -> None:
        path = self.place.cgroups / "qemu.slice" / f"{vmid}.scope"
        was = path.exists()
        if was:
            path.rmdir()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        else:
            self.place.start(vmid)
        self.power ^= {vmid}

    @rule()
    def helper_begins_again(self) -> None:
        place = self.place
        place.copier.withdraw()
        place.copier = Copier(place.pve.directory, place.copies, lambda: place.now)

    @rule(poll=st.booleans())
    @precondition(lambda self: hasattr(self, "place"))
    def look(self, poll: bool) -> None:
        current = poll and self.place.copier.poll()
        heard = self.place.hints.look()
        before = self.here
        if current:
            self.here = self._here()
        if heard.everything:
            self.written.clear()
            self.power.clear()
            return
        # Who came and went again between two looks was not here at either.
        if current:
            self.written &= before | self.here
        assert self.power <= heard.power or not heard.working
        if current and heard.working:
            # Where the copy was spoiled by a hand, the helper sees it at its next beat.
            assert self.written <= heard.written
        if heard.working:
            self.written -= heard.written
        self.power.clear()


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
