"""What may stand in the directory of guest files: each thing costs itself, in one clear line."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent import regularfile
from felhom_agent.config import agentfile, secret, tomlfile
from felhom_agent.config import settings as config
from felhom_agent.desired import directory, guestfile, readfile
from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.errors import ConfigError
from felhom_agent.model import Desired
from tests.hostile.fuzz_files import one

GOOD = '[guest.101]\nstate = "running"\n[guest.102.config]\nmemory = 2048\n'


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name may have 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def make_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_tty(path: Path) -> None:
    path.symlink_to("/dev/tty")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100_000_000)


def make_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path.write_text(GOOD)
    path.chmod(0)


ADVICE = "; remove it or give it another name"
THINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (make_fifo, "is not read: it is a FIFO, not a file"),
    "socket": (make_socket, "is not read: it is a socket, not a file"),
    "device": (make_zero, "is not read: it is a device, not a file"),
    "terminal": (make_tty, "is not read: it is a device, not a file"),
    "directory": (make_directory, "is not read: it is a directory, not a file"),
    "100 MB": (make_sparse, "is not read: it has 100,000,000 bytes, 1,000,000 at most"),
    "dangling": (make_dangling, "cannot be read: No such file or directory"),
    "loop": (make_loop, "cannot be read: Too many levels of symbolic links"),
    "unreadable": (make_unreadable, "cannot be read: Permission denied; as root: chgrp "),
}


@pytest.mark.parametrize(("make", "words"), THINGS.values(), ids=THINGS.keys())
def test_what_is_no_file_costs_itself(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    make(tmp_path / "odd.toml")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert set(desired.guests) == {101, 102}
    (problem,) = desired.problems
    assert str(problem).startswith(f"{tmp_path}/odd.toml: {words}")
    assert str(problem).endswith(ADVICE) == words.endswith("not a file")
    assert not desired.complete


@pytest.mark.parametrize(("make", "words"), THINGS.values(), ids=THINGS.keys())
def test_what_took_a_files_place_leaves_its_last_good_version(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    provider = TomlDirectoryProvider(tmp_path)
    before = provider.load()
    path.unlink()
    make(path)
    for _ in range(2):
        desired = provider.load()
        assert desired.guests == before.guests
        assert desired.complete
        assert words in str(desired.problems[0])
        assert "last good version stays in force" in str(desired.problems[1])


@pytest.mark.parametrize(("make", "words"), THINGS.values(), ids=THINGS.keys())
def test_settings_and_secrets_are_read_as_guardedly(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "odd"
    make(path)
    with pytest.raises(ConfigError) as caught:
        agentfile.load(path)
    assert words in str(caught.value)
    assert ADVICE not in str(caught.value), "it may be a directory that somebody mistyped"
    with pytest.raises(ConfigError, match="the token's file") as caught:
        secret.read_secret(config.ProxmoxConfig(token_file=path))
    assert "\n" not in str(caught.value)
    assert ADVICE not in str(caught.value)


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(GOOD)
    (tmp_path / "a.toml").symlink_to("real")
    assert set(TomlDirectoryProvider(tmp_path).load().guests) == {101, 102}


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9.toml", b"\xff\xfe.toml", b"a\nb.toml", b"\x1b[2J.toml", "\u202e.toml".encode()],
)
def test_any_name_is_fine_and_shown_in_one_line(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:  # noqa: PTH123  (the name is bytes)
        file.write(b"[guest.101]\n[guest.102]\nstate = 1\n")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert set(desired.guests) == {101}
    for problem in desired.problems:
        assert str(problem).isprintable()
        assert "toml" in str(problem)
    assert desired.held[102].isprintable()


def test_too_many_files_are_one_line_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    provider = TomlDirectoryProvider(tmp_path)
    before = provider.load()
    for number in range(directory.MAX_FILES):
        os.link(tmp_path / "a.toml", tmp_path / f"x{number}.toml")
    desired = provider.load()
    assert desired.guests == before.guests
    (problem,) = desired.problems
    assert "holds more than 5,000 guest files; join some; what was last read stays" in str(problem)
    assert not desired.complete


def test_a_thousand_broken_files_are_told_within_bounds(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"x{number}.toml").write_text("[guest.101\n")
    problems = TomlDirectoryProvider(tmp_path).load().problems
    assert len(problems) == directory.MAX_PROBLEMS + 1
    assert "and 1500 more problems" in str(problems[-1])


def test_of_one_file_twenty_problems_are_told(tmp_path: Path) -> None:
    text = "[guest.101.config]\n" + "".join(f"coers{n} = 1\n" for n in range(5000))
    (tmp_path / "a.toml").write_text(text)
    problems = TomlDirectoryProvider(tmp_path).load().problems
    assert len(problems) == 22
    assert "and 4980 more problems" in str(problems[20])


BOMBS = {
    "parts": "a" + ".a" * 15_000 + " = 1\n",
    "header": "[a" + ".a" * 15_000 + "]\n",
    "lists": "a = " + "[" * 5000 + "]" * 5000 + "\n",
    "tables": "a = " + "{b = " * 5000 + "1" + "}" * 5000 + "\n",
    "elements": "a = [" + "1," * 400_000 + "]\n",
    "keys": "".join(f"k{n} = 1\n" for n in range(70_000)),
    "open lists": "[" * 900_000,
    "open tables": "a={" * 300_000,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_what_would_take_long_to_parse_is_refused_before(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text(text)
    desired = TomlDirectoryProvider(tmp_path).load()
    assert set(desired.guests) == {101, 102}
    words = str(desired.problems[0])
    assert any(w in words for w in ("more than 16 deep", "more than 16 parts", "more than 50,000"))


ODD_TEXTS = ['"""\\' * 250_000, '"' * 900_000, "'" * 900_000, '"""' + '\\"' * 400_000,
             "." * 900_000, "]" * 900_000, "\\" * 900_000, "#\n" * 400_000,
             "\n" * 900_000, "a " * 400_000,
             '"a"' * 300_000, "'''" + "x''" * 300_000, "\0" * 900_000]  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_a_megabyte_of_anything_is_done_with_at_once(text: str) -> None:
    # What walks such a text more than once does not come back from it today.
    one(text.encode())


def test_a_defect_of_ours_costs_the_file_and_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text("[guest.103]\n")
    provider = TomlDirectoryProvider(tmp_path)
    before = provider.load()
    real = guestfile.declarations_of

    def defective(file: tomlfile.TomlFile) -> object:
        return 1 // 0 if file.path.endswith("a.toml") else real(file)

    with monkeypatch.context() as patch:
        patch.setattr(readfile, "declarations_of", defective)
        (tmp_path / "a.toml").write_text("[guest.101]\n")
        (tmp_path / "b.toml").write_text("[guest.104]\n")
        desired = provider.load()
    assert set(desired.guests) == {101, 102, 104}
    assert desired.guests[101] == before.guests[101]
    assert "internal error while it was read (ZeroDivisionError at test_files.py:" in str(
        desired.problems[0]
    )
    assert set(provider.load().guests) == {101, 104}, "it is tried again"


@pytest.fixture
def provider(tmp_path: Path) -> TomlDirectoryProvider:
    (tmp_path / "a.toml").write_text(GOOD)
    provider = TomlDirectoryProvider(tmp_path)
    provider.load()
    return provider


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\ufeff", "\n"])
def test_an_emptied_file_keeps_its_last_good_version(
    tmp_path: Path, provider: TomlDirectoryProvider, text: str
) -> None:
    (tmp_path / "a.toml").write_text(text)
    for _ in range(2):
        desired = provider.load()
        assert set(desired.guests) == {101, 102}
        (problem,) = desired.problems
        assert "a.toml: is empty; its last good version stays in force; remove the" in str(problem)
    (tmp_path / "a.toml").unlink()
    assert provider.load().guests == {}


def test_a_file_that_was_always_empty_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a.toml").touch()
    desired = TomlDirectoryProvider(tmp_path).load()
    assert desired == Desired()


@pytest.mark.parametrize("length", range(1, len(GOOD)))
def test_a_file_that_was_cut_is_never_obeyed_without_a_word(
    tmp_path: Path, provider: TomlDirectoryProvider, length: int
) -> None:
    before = provider.load()
    (tmp_path / "a.toml").write_text(GOOD[:length])
    desired = provider.load()
    if GOOD[:length].rstrip() == GOOD.rstrip():
        assert desired == before
    elif GOOD[length - 1] == "\n" or GOOD[length] == "\n":
        assert desired.news, "it may be meant; it is said"
    else:
        assert desired.guests == before.guests
        assert desired.problems


def test_what_stands_outside_of_the_guests_loses_no_guest(
    tmp_path: Path, provider: TomlDirectoryProvider
) -> None:
    (tmp_path / "a.toml").write_text(GOOD.replace("[guest.101]", "[gest.101]"))
    desired = provider.load()
    assert set(desired.guests) == {101, 102}
    assert "the guests that it declared before stay as they were" in str(desired.problems[-1])
    assert not TomlDirectoryProvider(tmp_path).load().complete


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD, encoding="utf-8-sig")
    desired = TomlDirectoryProvider(tmp_path).load()
    assert (set(desired.guests), desired.problems) == ({101, 102}, ())


def test_between_two_files_the_caller_has_its_turn(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.toml").touch()
    calls: list[None] = []
    TomlDirectoryProvider(tmp_path, between=lambda: calls.append(None)).load()
    assert len(calls) == 3


@pytest.fixture
def writer() -> Iterator[Callable[[Path], None]]:
    threads: list[threading.Thread] = []
    stop = threading.Event()

    def begin(path: Path) -> None:
        def write() -> None:
            while not stop.is_set():
                for text in (GOOD, GOOD[:30], ""):
                    path.write_text(text)

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    yield begin
    stop.set()
    for thread in threads:
        thread.join(timeout=10)


def test_a_file_that_is_always_being_written_never_raises(
    tmp_path: Path, writer: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(GOOD)
    provider = TomlDirectoryProvider(tmp_path)
    provider.load()
    writer(path)
    for _ in range(50):
        assert provider.load().guests.keys() <= {101, 102}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.just(GOOD.encode()), max_size=5))
def test_any_succession_of_contents_is_told_within_bounds(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("any")
    provider = TomlDirectoryProvider(path)
    for content in contents:
        (path / "a.toml").write_bytes(content)
        desired = provider.load()
        assert len(desired.problems) <= 25
        assert not desired.guests.keys() & desired.held.keys()
        assert all(str(p).isprintable() for p in (*desired.problems, *desired.news))


def test_a_file_that_grows_while_it_is_read_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert len(regularfile.read(path, 100).data) == 100
    with pytest.raises(regularfile.FileUnreadable, match="it has 100 bytes, 99 at most"):
        regularfile.read(path, 99)
    with pytest.raises(regularfile.FileUnreadable, match="no file has such a name"):
        regularfile.read(Path("a\0b"))
    # /proc says 0 bytes of what has more.
    with pytest.raises(regularfile.FileUnreadable, match="more than 3 bytes"):
        regularfile.read(Path("/proc/self/status"), 3)
