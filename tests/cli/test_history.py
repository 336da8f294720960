"""`felhom-agent history`: what was done, as a person and as a script reads it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.durable.line import Record, encode_file
from felhom_agent.journal.content import NAME
from felhom_agent.model import Change, Kind, SetConfig
from tests.cli.pty_of import on_terminal, plain
from tests.commands import Felhom, typed, valid
from tests.conftest import Clock
from tests.journal.books import HARD, MORE, START, STOP, UPID, Book, book, damage
from tests.process import SOON

DAY = 86400.0
OLD: Record = {
    "op": "019a00000001", "state": "intent", "begun": "2026-11-20T08:00:00.000+00:00",
    "vmid": 103, "kind": "qemu", "action": "Stop", "text": "Stop(vmid=103, policy=power-off)",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        '[proxmox]\ntoken_id = "agent@pve!agent"\ntoken_file = "token"\n'
        '[journal]\ndirectory = "journal"\n'
    )
    return path


@pytest.fixture
def journal(config: Path) -> Path:
    return config.with_name("journal") / NAME


@pytest.fixture
def felhom(config: Path, capsys: pytest.CaptureFixture[str]) -> Felhom:
    return typed(config, capsys, "history")


def noon() -> float:
    """Return this day's noon, so that no test sees two days where it means one."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0).timestamp()


@pytest.fixture
def it(journal: Path) -> Iterator[Book]:
    with book(journal.parent, Clock(noon())) as found:
        yield found


def answer(felhom: Felhom, *words: str) -> dict[str, Any]:
    _, out, _ = felhom(*words, "--json")
    found: dict[str, Any] = json.loads(out)
    valid("history", found)
    assert next(iter(found)) == "schema"
    return found


def test_operations_are_told_by_day_newest_last_in_the_words_of_plan(
    it: Book, felhom: Felhom
) -> None:
    it.clock.now -= 5 * DAY
    first = f"{datetime.fromtimestamp(it.clock.now, UTC):%a %Y-%m-%d}"
    it.start(101, "web", 3.1)
    it.clock.now = noon() - DAY
    operations = it.operations
    operations.failed(operations.begin(MORE, name="db"), "no")
    stop = operations.task(operations.begin(HARD, name="legacy"), UPID)
    it.clock.pass_by(3600)
    operations.unknown(stop, "no trace")
    it.clock.now = noon()
    operations.failed(operations.task(operations.begin(START, name="web"), UPID), "start failed")
    operations.task(operations.begin(STOP), UPID)
    assert felhom() == (
        0,
        f"""\
{first}
  12:00:00  101 web     start                          succeeded     3.1 s

yesterday
  12:00:00  201 db      set memory: 2048 -> 3072       failed        0.0 s   no
  12:00:00  103 legacy  shut down (power-off allowed)  unknown    3600.0 s   no trace   {UPID}

today
  12:00:00  101 web     start                          failed        0.0 s   start failed   {UPID}
  12:00:00  103         shut down                      in flight         -   {UPID}
""",
        "",
    )  # fmt: skip


def on_a_terminal(config: Path, columns: int) -> list[str]:
    command = [sys.executable, "-m", "felhom_agent", "--config", str(config), "history"]
    code, lines = on_terminal(command, columns)
    assert code == 0
    return [plain(line) for line in lines]


def fill(it: Book) -> None:
    """Write down short and long changes, and a failure."""
    it.start(101, "web", 3.1)
    changes = tuple(Change(key, "2048", "3072") for key in ("memory", "balloon", "cores"))
    it.operations.succeeded(it.operations.begin(SetConfig(201, Kind.LXC, changes), name="db-1"))
    it.operations.failed(it.operations.task(it.operations.begin(START, name="web"), UPID), "no")


def test_a_terminal_of_80_columns_gets_a_line_for_each_and_columns_for_all(
    it: Book, config: Path
) -> None:
    fill(it)
    lines = on_a_terminal(config, 80)
    assert lines[:6] == [
        "today",
        "  12:00:00  101 web   start                                     succeeded  3.1 s",
        "  12:00:03  201 db-1  set memory: 2048 -> 3072, balloon: 2048   succeeded  0.0 s",
        "                      -> 3072, cores: 2048 -> 3072",
        "  12:00:03  101 web   start                                     failed     0.0 s",
        "            no",
    ]
    assert "".join(lines[6:]).replace(" ", "") == UPID


@pytest.mark.parametrize("columns", [20, 30, 40, 50, 60, 80, 132])
def test_a_terminal_of_any_width_gets_all_words_in_lines_that_fit(
    it: Book, config: Path, columns: int
) -> None:
    fill(it)
    it.start(102, "a-very-long-name-of-a-guest-that-takes-much-room")
    lines = on_a_terminal(config, columns)
    assert max(map(len, lines)) <= columns
    told = "".join("".join(lines).split())
    for word in ("101web", "succeeded3.1s", "set", "balloon", "failed", UPID):
        assert word in told, word
    assert all(line.startswith(("  12:00:", " " * 10, "today")) for line in lines)


@pytest.mark.parametrize(
    ("action", "text", "words"),
    [
        ("Stop", "Stop(vmid=103, policy=power-off)", "shut down (power-off allowed)"),
        ("Stop", "Stop(vmid=103, restart, policy=graceful)", "shut down to restart"),
        ("Start", "Start(vmid=103)", "start"),
        ("SetConfig", "SetConfig(vmid=103, a: 1 -> 2; b: c -> d)", "set a: 1 -> 2; b: c -> d"),
        ("Start", "begin it (somehow)", "begin it (somehow)"),
        ("Start", "Start(vmid=1034)", "Start(vmid=1034)"),
    ],
)  # fmt: skip
def test_records_of_earlier_versions_are_told_in_the_same_words(
    action: str, text: str, words: str, journal: Path, felhom: Felhom
) -> None:
    journal.parent.mkdir()
    journal.write_bytes(encode_file([{**OLD, "action": action, "text": text}]))
    assert f"  08:00:00  103  {words}  " in felhom()[1]
    assert answer(felhom)["operations"][0]["text"] == words


def test_the_last_20_are_told_or_as_many_as_are_asked_for(it: Book, felhom: Felhom) -> None:
    for number in range(25):
        it.start(100 + number)

    def vmids(*words: str) -> list[int]:
        return [o["vmid"] for o in answer(felhom, *words)["operations"]]

    assert vmids() == list(range(105, 125))
    assert vmids("-n", "2") == [123, 124]
    assert vmids("-n0") == list(range(100, 125))
    assert vmids("101", "103", "-n", "1") == [103]


def test_what_failed_or_is_unknown_can_be_asked_for(it: Book, felhom: Felhom) -> None:
    it.start()
    operations = it.operations
    operations.failed(operations.begin(STOP), "no")
    operations.unknown(operations.begin(MORE), "who knows")
    operations.begin(START)
    found = answer(felhom, "--failed")["operations"]
    assert [(o["vmid"], o["state"], o["why"]) for o in found] == [
        (103, "failed", "no"),
        (201, "unknown", "who knows"),
    ]


def test_a_span_of_time_can_be_asked_for(it: Book, felhom: Felhom) -> None:
    for days in (3, 2, 1, 0):
        it.clock.now = noon() - days * DAY
        it.start(100 + days)
    day = f"{datetime.fromtimestamp(noon() - 2 * DAY, UTC):%Y-%m-%d}"

    def vmids(*words: str) -> list[int]:
        return [o["vmid"] for o in answer(felhom, *words)["operations"]]

    assert vmids("--since", "yesterday") == [101, 100]
    assert vmids("--since", day, "--until", day) == [102]
    assert vmids("--until", f"{day}T12:00") == [103, 102]
    assert vmids("--until", f"{day}T11:59:59") == [103]
    assert vmids("--since", "12:00:00") == [100]


def test_json_has_all_of_an_operation(it: Book, felhom: Felhom, journal: Path) -> None:
    it.clock.now -= 1
    operation = it.operations.task(it.operations.begin(HARD, name="old"), UPID)
    it.clock.pass_by(1.5)
    it.operations.failed(operation, "VM quit/powerdown failed")
    begun = f"{datetime.fromtimestamp(noon() - 1, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
    ended = f"{datetime.fromtimestamp(noon(), UTC):%Y-%m-%dT%H:%M:%S}.500Z"
    assert answer(felhom) == {
        "schema": 1,
        "journal": str(journal),
        "operations": [
            {"op": operation.op_id, "vmid": 103, "name": "old", "kind": "qemu", "action": "Stop",
             "text": "shut down (power-off allowed)", "state": "failed", "begun": begun,
             "ended": ended, "seconds": 1.5, "why": "VM quit/powerdown failed", "upid": UPID}
        ],
        "damage": [],
        "lost": 0,
    }  # fmt: skip


def test_before_the_first_run_there_is_nothing_yet(felhom: Felhom, journal: Path) -> None:
    code, out, err = felhom()
    assert (code, err) == (0, "")
    assert out == (
        f"Nothing yet: the agent has not run here, it would keep its journal in {journal}.\n"
    )
    assert answer(felhom)["operations"] == []


def test_an_agent_that_did_nothing_and_filters_that_fit_nothing_are_told_apart(
    it: Book, felhom: Felhom
) -> None:
    assert felhom()[1].startswith("Nothing yet: the agent has changed no guest so far")
    it.start()
    assert felhom("--failed")[:2] == (
        0,
        "Nothing matches: the journal has other operations; leave out what narrows it down.\n",
    )


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_of_a_damaged_journal_the_intact_part_is_told(
    it: Book, felhom: Felhom, journal: Path, line: int
) -> None:
    it.start(101)
    it.start(102)
    damage(journal, line)
    before = journal.read_bytes()
    code, out, err = felhom()
    assert code == 65
    assert f"  {101 if line > 3 else 102} web  start" in out
    assert err.startswith(f"felhom-agent: {journal}:{line}: the line is damaged (its checksum ")
    assert "`felhom-agent journal repair` keeps a copy and cuts it out" in err
    assert ("not shown, since the line that says what they are is lost: 1" in err) == (
        line in (1, 4)
    )
    found = answer(felhom)
    assert [d["line"] for d in found["damage"]] == [line]
    assert found["lost"] == (line in (1, 4))
    assert journal.read_bytes() == before


def test_many_damaged_lines_are_told_in_a_few(it: Book, felhom: Felhom, journal: Path) -> None:
    it.start()
    journal.write_bytes(journal.read_bytes() + b"x\n" * 1000)
    _, _, err = felhom()
    assert err.count("\n") == 11
    assert err.endswith(f"{journal}: and 990 more lines\n")


def test_a_newer_versions_lines_are_told_as_such(it: Book, felhom: Felhom, journal: Path) -> None:
    it.start()
    journal.write_bytes(journal.read_bytes() + b'{"v":2,"n":4}\n')
    code, out, err = felhom()
    assert (code, "101 web" in out) == (65, True)
    assert "written by a newer felhom-agent; install that version again" in err


@pytest.mark.parametrize("tail", [b'{"v":1,"n":4', b"\0" * 100, b"x" * 3_000_000])
def test_a_torn_tail_is_no_damage(it: Book, felhom: Felhom, journal: Path, tail: bytes) -> None:
    it.start()
    journal.write_bytes(journal.read_bytes() + tail)
    code, out, err = felhom()
    assert (code, "101 web" in out, err) == (0, True, "")


def test_names_and_words_cannot_act_on_a_terminal(it: Book, felhom: Felhom) -> None:
    name, value = "we\x1b[2Jb\u202e", "x\x1b]0;y\x07"
    change = SetConfig(101, Kind.QEMU, (Change("description", "a", value),))
    it.operations.failed(it.operations.begin(change, name=name), "no\nroom\x1b[0m")
    for words in ((), ("--json",)):
        _, out, _ = felhom(*words)
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert "  101 we\\x1b[2Jb\\u202e  " in felhom()[1]
    assert answer(felhom)["operations"][0]["why"] == "no\\nroom\\x1b[0m"


def test_what_is_huge_is_cut(it: Book, felhom: Felhom) -> None:
    change = SetConfig(
        101, Kind.QEMU, tuple(Change(f"k{n}", "a" * 50, "é" * 50) for n in range(2000))
    )
    it.operations.failed(it.operations.begin(change, name="n" * 10_000), "w" * 100_000)
    (found,) = answer(felhom)["operations"]
    assert (len(found["name"]), len(found["text"]), len(found["why"])) == (255, 4096, 4096)
    assert max(map(len, felhom()[1].splitlines())) < 9000


def test_a_clock_that_was_put_back_leaves_the_order_and_no_seconds(
    it: Book, felhom: Felhom
) -> None:
    it.start(101)
    it.clock.now -= DAY
    it.start(102)
    it.start(103, seconds=-60.0)
    _, out, _ = felhom()
    assert [line[:16].strip() for line in out.splitlines() if not line.startswith(" ")] == [
        "today", "", "yesterday",
    ]  # fmt: skip
    assert out.index("101 web") < out.index("102 web") < out.index("103 web")
    assert answer(felhom, "103")["operations"][0]["seconds"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-n", "-5"), "'-5' is no whole number from 0"),
        (("-n", "many"), "'many' is no whole number from 0"),
        (("--since", "nonsense"), "'nonsense' is no time; write 2d or 90m (so long ago)"),
        (("--since", "1h", "--until", "2h"), "--since is after --until"),
        (("--follow", "--until", "2h"), "--follow goes on from now, so it takes no --until"),
        (("99",), "99"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_read(
    words: tuple[str, ...], told: str, felhom: Felhom
) -> None:
    code, out, err = felhom(*words)
    assert code == 64
    assert out == ""
    assert told in err


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
@pytest.mark.parametrize("words", [(), ("--follow",), ("--json",)], ids=str)
def test_what_is_no_journal_is_told_and_not_waited_for(
    make: Callable[[Path], None], words: tuple[str, ...], journal: Path, felhom: Felhom
) -> None:
    journal.parent.mkdir()
    make(journal)
    code, out, err = felhom(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"felhom-agent: {journal}: cannot be read: ")
    assert err.count("\n") == 1


def test_it_needs_neither_pves_client_nor_the_network(config: Path) -> None:
    code = (
        "import sys; from felhom_agent.cli.main import main; "
        f"main(['--config', {str(config)!r}, 'history']); "
        "print(sorted({'requests', 'proxmoxer', 'ssl', 'http', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SOON, check=True
    )
    assert found.stdout.endswith("\n[]\n")


class Following:
    """`history --follow` as a process.

    Threads: one reads its stdout; `_news` guards `lines`. It ends when the process does.
    """

    def __init__(self, config: Path, *words: str) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "--config", config, "history", "--follow",
             *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    def wait_for(self, *words: str) -> str:
        """Return the first line that has all these words."""

        def found() -> list[str]:
            return [line for line in self.lines if all(word in line for word in words)]

        with self._news:
            assert self._news.wait_for(found, SOON), f"{words} not in {self.lines}"
            return found()[0]

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(SOON)
        self._reader.join(SOON)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@contextmanager
def following(config: Path, *words: str) -> Iterator[Following]:
    found = Following(config, *words)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait(SOON)
        for stream in (found.process.stdout, found.process.stderr):
            if stream is not None:
                stream.close()


def test_follow_tells_what_begins_and_ends_past_a_compaction_until_ctrl_c(
    it: Book, config: Path
) -> None:
    it.start(101)
    with following(config) as told:
        told.wait_for("101 web", "succeeded")
        operation = it.operations.begin(STOP, name="old")
        told.wait_for("103 old", "shut down", "in flight")
        it.log.compact(list)
        it.operations.failed(it.operations.task(operation, UPID), "it did not obey")
        told.wait_for("103 old", "failed", "it did not obey", UPID)
        assert told.end() == (130, "")
    assert len([line for line in told.lines if "103 old" in line]) == 2


def test_follow_as_json_is_an_object_a_line(it: Book, config: Path) -> None:
    with following(config, "--json", "--failed") as told:
        it.start(101)
        it.operations.failed(it.operations.begin(STOP, name="old"), "no")
        line = told.wait_for("failed")
        assert told.lines == [line]
        found = json.loads(line)
        valid("history", found)
        assert (found["schema"], found["vmid"], found["state"]) == (1, 103, "failed")
        told.end()


def test_follow_as_json_never_cuts_a_line(it: Book, config: Path) -> None:
    long = "\U0001f600" * 5000  # 12 characters each in ASCII
    it.operations.failed(it.operations.task(it.operations.begin(STOP, name="old"), long), long)
    with following(config, "--json") as told:
        found = json.loads(told.wait_for("failed"))
        valid("history", found)
        told.end()


def test_follow_begins_before_there_is_a_journal(config: Path, journal: Path) -> None:
    with following(config) as told:
        assert told.process.stderr is not None
        assert told.process.stderr.readline() == f"felhom-agent: nothing yet; waits for {journal}\n"
        with book(journal.parent, Clock(noon())) as it:
            it.start(101)
        told.wait_for("101 web", "succeeded")


def test_follow_ends_when_nobody_reads_it_any_more(it: Book, config: Path) -> None:
    it.start(101)
    process = subprocess.Popen(
        [sys.executable, "-m", "felhom_agent", "--config", config, "history", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "today\n"
    assert "101 web" in process.stdout.readline()
    process.stdout.close()
    # Nothing more is written to the journal: it must notice by itself.
    assert process.wait(SOON) == 1
    assert process.stderr.read() == ""
    process.stderr.close()
