"""What was last good of the guest files stays in force across a restart."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.desired.claims import Claims
from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.goodcopy import MAX_VERSIONS
from felhom_agent.desired.lastgood import LastGood
from felhom_agent.desired.merged import MergedProvider
from felhom_agent.desired.provider import StaticProvider
from felhom_agent.desired.told import told
from felhom_agent.model import Desired, DesiredGuest, Source
from felhom_agent.printable import local_text
from tests.conftest import Clock
from tests.journal.disks import PowerLoss, WatchedDisk, failing

CALLS = ("make_directory", "create", "write", "sync", "rename", "sync_directory", "remove")


@dataclass
class Agents:
    """One agent after the other, on the same files and the same memory."""

    root: Path
    disk: WatchedDisk = field(default_factory=WatchedDisk)
    clock: Clock = field(default_factory=Clock)
    settle: float = 0.0

    def __post_init__(self) -> None:
        self.files.mkdir(parents=True)
        self.restart()

    @property
    def files(self) -> Path:
        return self.root / "guests.d"

    @property
    def store(self) -> Path:
        return self.root / "state" / "guest-files"

    def restart(self, *, keeps: bool = True) -> None:
        last_good = LastGood(
            self.store, self.files, self.disk, keeps=keeps, now=lambda: self.clock.now
        )
        self.provider = TomlDirectoryProvider(self.files, self.settle, last_good=last_good)

    def write(self, text: str, name: str = "a.toml") -> None:
        (self.files / name).write_text(text)

    def load(self) -> Desired:
        return self.provider.load()

    def copies(self) -> list[Path]:
        return sorted(self.store.iterdir()) if self.store.exists() else []


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    return Agents(tmp_path)


def cores(desired: Desired) -> dict[int, object]:
    return {vmid: guest.config.get("cores") for vmid, guest in sorted(desired.guests.items())}


def guest(vmid: int, cores: object) -> str:
    return f"[guest.{vmid}.config]\ncores = {cores}\n"


GOOD = guest(101, 2) + guest(102, 4)
WRONG = {
    "no TOML": "[guest.101\n",
    "an unknown option": guest(101, 2).replace("cores", "corse") + guest(102, 4),
    "empty": "",
    "cut off": GOOD[: len(GOOD) - 6],
    "no text": "\x00\x00",
    "a wrong table beside": GOOD.replace("[guest.102", "[gest.102").replace("101", "1x1"),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "in between"])
def test_a_file_that_is_wrong_at_the_start_keeps_its_last_good_version(
    agents: Agents, text: str, while_it_runs: bool
) -> None:
    agents.write(GOOD)
    before = agents.load()
    agents.write(text)
    if while_it_runs:
        assert agents.load().guests == before.guests
    for _ in range(2):
        agents.restart()
        for _ in range(2):
            desired = agents.load()
            assert desired.guests == before.guests
            assert desired.held == {}
            assert desired.problems
    agents.write(guest(102, 8))
    desired = agents.load()
    assert (cores(desired), desired.problems, dict(desired.kept)) == ({102: 8}, (), {})


def test_it_is_told_with_the_time_since_when_it_is_in_force(agents: Agents) -> None:
    since = agents.clock.now
    agents.write(GOOD)
    agents.load()
    agents.clock.now += 3600
    agents.write(guest(103, 1), "b.toml")
    agents.load()
    agents.write("[guest.101\n")
    for _ in range(2):
        agents.clock.now += 86400
        agents.restart()
        desired = agents.load()
        name = str(agents.files / "a.toml")
        assert dict(desired.kept) == {name: since}
        (first, *others) = told(desired, now=since)
        assert str(first).startswith(f"{name}:1: ")
        assert str(first).endswith(f"; its guests: last good version of {local_text(since)[11:]}")
        assert not any("version of" in str(each) for each in others), "once for each file"
        assert local_text(since) in str(told(desired, now=since + 3 * 86400)[0]), "with its day"
        assert [str(n) for n in desired.news] == [
            f"{name}: its guests are in force by its last good version, of {local_text(since)}"
        ]
        assert agents.load().news == (), "said once"


def test_each_guest_keeps_the_text_by_which_it_was_last_good(agents: Agents) -> None:
    agents.write(guest(101, 1) + guest(102, 1))
    agents.load()
    agents.clock.now += 60
    agents.write(guest(101, '"x"') + guest(102, 2) + guest(103, 3))
    agents.load()
    agents.clock.now += 60
    agents.write(guest(101, '"x"') + guest(102, '"y"') + guest(103, '"z"'))
    wanted = {101: 1, 102: 2, 103: 3}
    assert cores(agents.load()) == wanted
    for _ in range(2):
        agents.restart()
        desired = agents.load()
        assert cores(desired) == wanted
        assert desired.held == {}


def test_a_guest_that_came_with_a_text_that_was_not_good_as_a_whole_stays_too(
    agents: Agents,
) -> None:
    agents.write(guest(101, 1))
    agents.load()
    agents.write("[gest.101]\n" + guest(102, 2))
    assert cores(agents.load()) == {101: 1, 102: 2}
    agents.write("[")
    for _ in range(2):
        agents.restart()
        assert cores(agents.load()) == {101: 1, 102: 2}


def test_a_wrong_guest_of_a_text_that_was_not_good_as_a_whole_stays_held(agents: Agents) -> None:
    agents.write(guest(101, 1))
    agents.load()
    agents.write("[gest.101]\n" + guest(102, '"x"'))
    assert set(agents.load().held) == {102}
    agents.write("[")
    for _ in range(2):
        agents.restart()
        desired = agents.load()
        assert (cores(desired), set(desired.held)) == ({101: 1}, {102})


def test_what_came_into_force_while_its_file_was_wrong_stays_and_is_told(agents: Agents) -> None:
    agents.write(guest(101, 1))
    agents.write(guest(101, 2), "b.toml")
    assert set(agents.load().held) == {101}
    agents.write("[")
    (agents.files / "b.toml").unlink()
    for _ in range(3):
        desired = agents.load()
        assert (cores(desired), list(desired.kept)) == ({101: 1}, [str(agents.files / "a.toml")])
        agents.restart()
    agents.write(guest(101, '"x"'))
    assert cores(agents.load()) == {101: 1}


def test_a_copy_does_not_declare_a_guest_that_its_file_had_lost_already(agents: Agents) -> None:
    agents.write("[gest]\n" + guest(101, 1) + guest(102, 1))
    agents.load()
    agents.write(guest(102, '"x"'), "b.toml")
    agents.write(guest(101, 2))
    assert cores(agents.load()) == {101: 2, 102: 1}
    # Now b lets it go, too, while no agent runs, and a cannot be read when the next one starts.
    agents.write(guest(103, 3), "b.toml")
    (agents.files / "a.toml").unlink()
    os.mkfifo(agents.files / "a.toml")
    agents.restart()
    desired = agents.load()
    assert (cores(desired), dict(desired.held)) == ({101: 2, 103: 3}, {})


_TABLES = st.lists(
    st.tuples(st.sampled_from((101, 102, 103)), st.sampled_from((1, 2, 3, '"x"'))),
    max_size=3,
    unique_by=lambda table: table[0],
)
_TEXTS = st.builds(
    lambda tables, end: "".join(guest(*table) for table in tables) + end,
    _TABLES,
    st.sampled_from(("", "", "", "[gest]\n", "[")),
)
_CHANGES = st.tuples(st.sampled_from(("a.toml", "b.toml")), st.none() | _TEXTS | st.just(Ellipsis))


@given(st.lists(st.lists(_CHANGES, min_size=1, max_size=2), min_size=2, max_size=7))
def test_whatever_is_done_to_files_an_agent_that_starts_again_says_what_one_that_goes_on_says(
    passes: list[list[tuple[str, object]]],
) -> None:
    with tempfile.TemporaryDirectory() as root:
        agents = Agents(Path(root))
        goes_on = TomlDirectoryProvider(agents.files, last_good=LastGood(None, agents.files))
        for changes in passes:
            for name, text in changes:
                (agents.files / name).unlink(missing_ok=True)
                if isinstance(text, str):
                    agents.write(text, name)
                elif text is not None:  # it cannot be read
                    os.mkfifo(agents.files / name)
            wanted = goes_on.load()
            agents.restart()
            found = agents.load()
            assert cores(found) == cores(wanted)
            assert (dict(found.held).keys(), found.complete, found.kept.keys()) == (
                dict(wanted.held).keys(), wanted.complete, wanted.kept.keys(),
            )  # fmt: skip


def test_what_is_removed_after_a_restart_does_not_come_back(agents: Agents) -> None:
    agents.write(guest(101, 1))
    agents.load()
    agents.restart()
    agents.load()
    (agents.files / "a.toml").unlink()
    assert cores(agents.load()) == {}
    agents.write(guest(101, '"x"'))
    desired = agents.load()
    assert (cores(desired), set(desired.held)) == ({}, {101})
    (agents.files / "a.toml").unlink()
    assert agents.load().held == {}
    agents.write("[guest.101")
    desired = agents.load()
    assert (cores(desired), desired.complete) == ({}, False)


def test_a_guest_that_was_never_good_is_held_after_a_restart_as_before_it(agents: Agents) -> None:
    agents.write(guest(101, '"x"') + guest(102, 2))
    assert set(agents.load().held) == {101}
    agents.write("[guest")
    agents.restart()
    desired = agents.load()
    assert (cores(desired), set(desired.held), desired.complete) == ({102: 2}, {101}, True)


def test_an_agent_without_a_memory_of_a_wrong_file_says_that_nothing_is_in_force(
    agents: Agents,
) -> None:
    agents.write("[guest.101\n")
    desired = agents.load()
    assert (desired.guests, desired.complete, agents.copies()) == ({}, False, [])


def test_a_file_that_cannot_be_read_at_the_start_keeps_its_guests(agents: Agents) -> None:
    agents.write(GOOD)
    agents.load()
    (agents.files / "a.toml").unlink()
    (agents.files / "a.toml").mkdir()
    agents.restart()
    assert cores(agents.load()) == {101: 2, 102: 4}


def test_a_directory_that_cannot_be_listed_at_the_start_keeps_all(agents: Agents) -> None:
    agents.write(GOOD)
    agents.write(guest(103, 1), "b.toml")
    agents.load()
    aside = agents.files.rename(agents.root / "aside")
    agents.restart()
    for _ in range(2):
        desired = agents.load()
        assert cores(desired) == {101: 2, 102: 4, 103: 1}
        assert not desired.complete
        (problem,) = told(desired)
        assert "its guests: last good version of" in str(problem)
    aside.rename(agents.files)
    desired = agents.load()
    assert (cores(desired), desired.problems) == ({101: 2, 102: 4, 103: 1}, ())


@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "in between"])
def test_a_file_that_was_removed_takes_its_copy_along(agents: Agents, while_it_runs: bool) -> None:
    agents.write(GOOD)
    agents.write(guest(103, 1), "b.toml")
    agents.load()
    (copy,) = (path for path in agents.copies() if _is_of(path, "a.toml"))
    assert len(agents.copies()) == 2
    for left in (".new", ".damaged"):
        copy.with_name(copy.name + left).write_text("left by a crash")
    (agents.files / "a.toml").unlink()
    if not while_it_runs:
        agents.restart()
    desired = agents.load()
    assert cores(desired) == {103: 1}
    assert "guest 101, guest 102" in str(desired.news[0])
    assert len(agents.copies()) == 1
    agents.write("[guest.101\n")
    agents.restart()
    assert cores(agents.load()) == {103: 1}, "what was removed on purpose does not come back"


def test_a_file_that_is_away_for_a_moment_while_the_agent_starts_keeps_its_guests(
    tmp_path: Path,
) -> None:
    agents = Agents(tmp_path, settle=0.0)
    agents.write(GOOD)
    agents.load()
    aside = (agents.files / "a.toml").rename(agents.root / "a.toml")
    agents.settle = 600
    agents.restart()
    desired = agents.load()
    assert cores(desired) == {101: 2, 102: 4}
    assert desired.settles_in > 0
    aside.rename(agents.files / "a.toml")
    assert cores(agents.load()) == {101: 2, 102: 4}


def test_what_is_being_written_while_the_agent_starts_leaves_the_last_good_version(
    tmp_path: Path,
) -> None:
    agents = Agents(tmp_path)
    agents.write(GOOD)
    agents.load()
    agents.settle = 600
    agents.restart()
    agents.write(guest(101, 8))
    desired = agents.load()
    assert (cores(desired), dict(desired.kept)) == ({101: 2, 102: 4}, {})


def test_what_two_files_declare_stays_as_the_first_one_had_it_across_a_restart(
    agents: Agents,
) -> None:
    agents.write(guest(101, 2))
    agents.load()
    agents.write(guest(101, 8), "0.toml")
    for _ in range(2):
        agents.restart()
        desired = agents.load()
        assert cores(desired) == {101: 2}
        assert "declared twice" in str(desired.problems[0])


def test_a_guest_whose_file_went_and_that_another_one_declares_wrongly_stays(
    agents: Agents,
) -> None:
    agents.write(guest(101, 2))
    agents.load()
    (agents.files / "a.toml").unlink()
    agents.write(guest(101, '"x"'), "b.toml")
    assert cores(agents.load()) == {101: 2}
    for _ in range(2):
        agents.restart()
        assert cores(agents.load()) == {101: 2}


def test_the_copies_are_for_their_owner_alone_and_what_does_not_change_is_not_written(
    agents: Agents,
) -> None:
    agents.write(GOOD)
    agents.load()
    (copy,) = agents.copies()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(agents.store.stat().st_mode) == 0o700
    agents.disk.calls.clear()
    agents.load()
    agents.restart()
    agents.load()
    assert agents.disk.calls == []


def test_who_only_looks_sees_the_same_and_writes_nothing(agents: Agents) -> None:
    agents.write(GOOD)
    agents.load()
    agents.write("[guest.101\n")
    (agents.files / "b.toml").write_text(guest(103, 1))
    before = [(path, path.read_bytes()) for path in agents.copies()]
    agents.disk.calls.clear()
    agents.restart(keeps=False)
    assert cores(agents.load()) == {101: 2, 102: 4, 103: 1}
    assert agents.disk.calls == []
    assert [(path, path.read_bytes()) for path in agents.copies()] == before


def versions(agents: Agents) -> Iterator[str]:
    for number in range(1, 4):
        yield guest(101, number) + guest(102, number) * (number != 2)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", range(4))
def test_a_crash_at_any_call_leaves_the_old_version_or_the_new(
    tmp_path: Path, call: str, after: int
) -> None:
    agents = Agents(tmp_path)
    old, new = guest(101, 1) + guest(102, 1), guest(101, 2)
    agents.write(old)
    agents.load()
    agents.write(guest(103, 1), "b.toml")
    agents.load()
    agents.write(new)
    (agents.files / "b.toml").unlink()
    lost = failing(call, 0, after=after)

    def power(name: str) -> None:
        try:
            lost(name)
        except OSError:
            raise PowerLoss from None

    agents.disk.before = power
    with suppress(PowerLoss):
        agents.load()
    agents.disk.before = lambda _: None
    agents.write("[guest.101\n")
    agents.restart()
    desired = agents.load()
    assert cores(desired) in ({101: 1, 102: 1}, {101: 2})
    agents.restart()
    assert cores(agents.load()) == cores(desired)


def test_a_copy_that_is_cut_anywhere_costs_itself_alone_and_is_told(agents: Agents) -> None:
    agents.write(guest(101, 2))
    agents.write(guest(103, 1), "b.toml")
    agents.load()
    agents.write("[guest.101\n")
    agents.load()
    (copy,) = (path for path in agents.copies() if _is_of(path, "a.toml"))
    whole = copy.read_bytes()
    for length in range(len(whole) - 1):
        copy.write_bytes(whole[:length])
        agents.restart()
        desired = agents.load()
        assert cores(desired) == {103: 1}
        assert not desired.complete
        assert any(f"{copy}: is damaged; it is set aside as" in str(p) for p in desired.problems)
    agents.write(guest(101, 3))
    assert agents.load().problems == (), "mended with its file"


def test_any_changed_byte_of_a_copy_is_found(agents: Agents) -> None:
    agents.write(guest(101, 2))
    agents.load()
    (copy,) = agents.copies()
    whole = copy.read_bytes()
    agents.write("[guest.101\n")
    for index in range(0, len(whole) - 1, 3):
        copy.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        agents.restart(keeps=False)
        assert cores(agents.load()) in ({}, {101: 2})


def test_what_cannot_be_kept_is_told_and_tried_again(agents: Agents) -> None:
    agents.disk.before = failing("write", errno.ENOSPC)
    agents.write(GOOD)
    desired = agents.load()
    assert cores(desired) == {101: 2, 102: 4}, "it is in force all the same"
    (problem,) = desired.problems
    assert "a.toml: what is in force of it is not kept" in str(problem)
    assert "No space left" in str(problem)
    agents.disk.before = lambda _: None
    assert agents.load().problems == ()
    agents.write("[")
    agents.restart()
    assert cores(agents.load()) == {101: 2, 102: 4}


def test_copies_of_another_directory_are_no_longer_kept(agents: Agents) -> None:
    agents.write(GOOD)
    agents.load()
    agents.files.rename(agents.root / "elsewhere")
    agents.files.mkdir()
    other = LastGood(agents.store, agents.root / "elsewhere", agents.disk)
    assert cores(TomlDirectoryProvider(agents.root / "elsewhere", last_good=other).load())
    agents.restart()
    assert cores(agents.load()) == {}
    assert agents.copies() == []


def test_a_copy_has_a_bounded_number_of_versions(agents: Agents) -> None:
    many = range(101, 101 + 2 * MAX_VERSIONS)
    agents.write("".join(guest(vmid, 1) for vmid in many))
    agents.load()
    for last in many:
        agents.clock.now += 1
        agents.write("".join(guest(v, 2 if v > last else '"x"') for v in many))
        agents.load()
    (copy,) = agents.copies()
    assert copy.read_bytes().count(b'"since"') <= MAX_VERSIONS


def test_a_name_as_long_as_a_name_may_be_and_one_that_is_no_text_are_kept_too(
    agents: Agents,
) -> None:
    names = ("x" * 250 + ".toml", b"\xff.toml".decode("utf-8", "surrogateescape"), "ü %.toml")
    for vmid, name in enumerate(names, start=101):
        agents.write(guest(vmid, 1), name)
    before = agents.load()
    for name in names:
        agents.write("[", name)
    agents.restart()
    assert cores(agents.load()) == cores(before) == {101: 1, 102: 1, 103: 1}


def test_a_hub_never_gets_a_guest_of_a_file_that_is_wrong_at_the_start(agents: Agents) -> None:
    agents.write(guest(101, 2))
    agents.load()
    agents.write("[guest.101\n")
    agents.restart()
    hub = StaticProvider([DesiredGuest(101), DesiredGuest(102)])
    found = MergedProvider(agents.provider, hub, Claims(agents.root / "claims")).load()
    assert (cores(found)[101], found.guests[101].source) == (2, Source.FILE)


def test_a_repr_shows_no_text_of_a_file(agents: Agents) -> None:
    agents.write('[guest.101.config]\ncipassword = "hunter2hunter2"\n')
    agents.load()
    assert "hunter2" not in repr(vars(agents.provider)["_last_good"].__dict__)


def _is_of(copy: Path, name: str) -> bool:
    return name.encode() in copy.read_bytes()
