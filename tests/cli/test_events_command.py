"""What `felhom-agent events` prints, and how it follows an agent that comes and goes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.cli.codes import ERROR, OK, USAGE
from felhom_agent.cli.events import EventSource, Page, follow
from felhom_agent.errors import FelhomError
from felhom_agent.service.control import ControlAnswer, ControlRoute, ControlServer
from tests.cli.agents import answering, http, sending
from tests.cli.test_status_command import DECLARED
from tests.cli.test_statustext import plain
from tests.commands import Felhom, Start, valid
from tests.conftest import Site
from tests.process import SOON, wait_until


@pytest.fixture
def socket_path(site: Site) -> Path:
    return site.directory / "control.sock"


class Following:
    """`events -f` as a process of its own; what it says is read as it comes."""

    def __init__(self, config: Path, *words: str) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "--config", str(config), "events", "-f", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self._process.stdout, self.out), (self._process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        lines.extend(iter(stream.readline, ""))

    def says(self, words: str) -> bool:
        return any(words in line for line in [*self.out, *self.err])

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(number)
        try:
            return self._process.wait(SOON)
        finally:
            self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(SOON)
        for reader in self._readers:
            reader.join(SOON)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def begin(site: Site) -> Iterator[Callable[..., Following]]:
    with ExitStack() as stack:

        def run(*words: str) -> Following:
            made = Following(site.directory / "agent.toml", *words)
            stack.callback(made.close)
            return made

        yield run


def event(number: int, vmid: int | None = None, **more: object) -> dict[str, Any]:
    return {
        "number": number, "at": "2026-11-26T19:30:00Z", "level": "info", "event": "guest-changed",
        "vmid": vmid, "name": "web" if vmid else "", "text": f"event {number}", "fields": {},
        **more,
    }  # fmt: skip


def told(*events: dict[str, Any], run: str = "a", **more: object) -> dict[str, Any]:
    numbers = [each["number"] for each in events]
    found = {
        "schema": 1, "run": run, "started": "2026-11-26T19:00:00Z",
        "oldest": min(numbers, default=0), "newest": max(numbers, default=0),
        "events": list(events), **more,
    }  # fmt: skip
    valid("events", found)
    return found


class TestOnce:
    def test_the_newest_are_shown_newest_last_with_level_guest_and_kind(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED + '[guest.300]\nstate = "running"\n')
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: "done: start" in felhom("events")[1])
        code, out, err = felhom("events")
        assert (code, err) == (OK, "")
        first = out.splitlines()[0]
        assert first.split()[3:4] == ["info"]
        assert "agent-started" in first
        (changed,) = [line for line in out.splitlines() if "done: start" in line]
        assert changed.split()[3:7] == ["info", "100", "web", "guest-changed"]
        assert "guest 100" not in changed
        assert felhom("events", "-n", "1")[1] == out.splitlines()[-1] + "\n"
        assert felhom("events", "-n", "0") == (OK, "", "")
        _, only, _ = felhom("events", "300")
        assert only
        assert all(" 300 " in line for line in only.splitlines())
        assert agent.end() == 0

    def test_json_is_one_object_as_its_schema_says(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: "done: start" in felhom("events")[1])
        code, out, err = felhom("events", "--json", "-n", "2")
        found = json.loads(out)
        valid("events", found)
        assert (code, err, next(iter(found)), len(found["events"])) == (OK, "", "schema", 2)
        found = json.loads(felhom("events", "--json", "100")[1])
        valid("events", found)
        assert {each["vmid"] for each in found["events"]} == {100}
        assert agent.end() == 0

    def test_where_no_agent_runs_that_is_said(self, felhom: Felhom) -> None:
        for words in (), ("-f",), ("--json",):
            code, out, err = felhom("events", *words)
            assert (code, out, "systemctl start felhom-agent" in err) == (ERROR, "", True)

    @pytest.mark.parametrize("count", ["-1", "1001", "x", "1.5", "", "9" * 30])
    def test_a_count_that_is_none_is_wrong_usage(self, felhom: Felhom, count: str) -> None:
        code, out, _ = felhom("events", f"-n{count}" if count == "-1" else "-n", count)
        assert (code, out) == (USAGE, "")

    def test_an_older_agent_is_told_of_with_what_shows_events_instead(
        self, felhom: Felhom, socket_path: Path
    ) -> None:
        with answering(socket_path, status={}):
            code, out, err = felhom("events")
        assert (code, out) == (ERROR, "")
        assert "is older than this command" in err
        assert "journalctl -u felhom-agent" in err

    @pytest.mark.parametrize(
        "data",
        [b"", b"\xff" * 100, http([]), http({}), http({"run": 5, "events": []}),
         http({"run": "x", "events": {}}), http(told(event(1)))[:-9]],
        ids=lambda data: repr(data[:40]),
    )  # fmt: skip
    def test_another_program_and_an_answer_that_is_cut_off_are_told_in_a_line(
        self, felhom: Felhom, socket_path: Path, data: bytes
    ) -> None:
        with sending(socket_path, data):
            code, out, err = felhom("events")
        assert (code, out, err.count("\n")) == (ERROR, "", 1)
        assert "internal error" not in err

    def test_odd_events_are_shown_as_far_as_they_make_sense(
        self, felhom: Felhom, socket_path: Path
    ) -> None:
        name = "\x1b[2J\nevil\u202e"
        odd = [
            {}, None, 5, {"number": True}, {"number": 2, "at": 5, "level": [], "vmid": "x"},
            event(3, 101, name=name, text=f"{name} happened", event=name * 50, level=name),
            event(4, 101, text="x\n" * 100_000, at="9999-12-31T23:59:59Z"),
            event(5, 10**30, at="0001-01-01T00:00:00+14:00"),
        ]  # fmt: skip
        with answering(
            socket_path, events={"run": "a", "events": odd, "newest": [], "oldest": "x"}
        ):
            code, out, _ = felhom("events")
            listed = felhom("events", "--json")[1]
        assert code == OK
        assert len(out.splitlines()) == 4
        assert all(line.isprintable() for line in out.splitlines())
        assert max(map(len, out.splitlines())) < 1200
        assert len(json.loads(listed)["events"]) == 4


class TestLines:
    def test_columns_get_wider_as_wider_events_come(self) -> None:
        page = Page()
        lines = [
            plain(line)
            for each in (
                event(1, text="a"), event(2, 101, text="guest 101: b"),
                event(3, 101, event="x", text="101 web: c"), event(4, level="error", text="d"),
            )
            for line in page.lines([each])
        ]  # fmt: skip
        shown = [line[15:] for line in lines]
        assert shown == [
            "  info     guest-changed  a",
            "  info     101 web  guest-changed  b",
            "  info     101 web  x              c",
            "  error             guest-changed  d",
        ]

    def test_events_that_are_known_together_stand_in_the_same_columns(self) -> None:
        events = [event(1, text="a"), event(2, 101, event="x", text="b"), event(3, 10100, text="c")]
        assert [plain(line)[15:] for line in Page().lines(events)] == [
            "  info                guest-changed  a",
            "  info     101 web    x              b",
            "  info     10100 web  guest-changed  c",
        ]

    @pytest.mark.parametrize(("columns", "aligned"), [(72, True), (71, False), (20, False)])
    def test_on_a_terminal_that_leaves_the_text_no_room_beside_columns_nothing_is_aligned(
        self, columns: int, aligned: bool
    ) -> None:
        events = [event(1, text="a"), event(2, 101, text="b" * 5), event(3, 10100, text="c")]
        starts = {plain(line).index("guest-changed") for line in Page().lines(events, columns)}
        assert (len(starts) == 1) == aligned

    def test_a_sentence_that_names_another_guest_keeps_it(self) -> None:
        (line,) = Page().lines([event(1, 101, text="guest 102: it holds the disk of guest 101: x")])
        made = plain(line)
        assert made.endswith("  guest 102: it holds the disk of guest 101: x")


class TestFollowing:
    def test_each_event_is_told_once_and_those_of_others_are_left_out(
        self, socket_path: Path
    ) -> None:
        answers: list[dict[str, Any]] = []
        with answering(socket_path, events=lambda: answers[0]):
            source = EventSource(socket_path, frozenset({101}))
            answers[:] = [told(event(1, 101), event(2, 102), event(3, 101))]
            assert [each["number"] for each in source.read()[0]] == [1, 3]
            # A patient server would leave out what is known; one that does not is no matter.
            assert source.read() == ([], "")
            answers[:] = [told(event(4, 101))]
            assert [each["number"] for each in source.read()[0]] == [4]

    def test_only_what_is_new_is_asked_for(self, socket_path: Path) -> None:
        asked: list[str | None] = []

        def handle(request: Any, caller: Any) -> ControlAnswer:
            asked.append(request.query)
            return ControlAnswer(200, told(event(7)))

        route = ControlRoute("GET", "/v1/events", handle, parameters=("after",))
        server = ControlServer(socket_path, [route])
        server.start()
        try:
            source = EventSource(socket_path, frozenset())
            source.read()
            source.read()
        finally:
            server.close()
        assert asked == [None, "after=7"]

    def test_a_process_that_was_started_again_is_noticed_though_its_numbers_are_higher(
        self, socket_path: Path
    ) -> None:
        answers = [told(event(1), event(2))]
        with answering(socket_path, events=lambda: answers[0]):
            source = EventSource(socket_path, frozenset())
            source.read()
            answers[:] = [told(*(event(n) for n in range(1, 10)), run="b")]
            new, word = source.read()
            assert [each["number"] for each in new] == list(range(1, 10))
            assert (word, source.run) == ("the agent was started again", "b")
            assert source.read() == ([], "")

    def test_events_that_were_gone_before_they_were_asked_for_are_counted(
        self, socket_path: Path
    ) -> None:
        answers = [told(event(5))]
        with answering(socket_path, events=lambda: answers[0]):
            source = EventSource(socket_path, frozenset())
            assert source.read()[1] == ""
            answers[:] = [told(event(20), event(21))]
            new, word = source.read()
        assert [each["number"] for each in new] == [20, 21]
        assert word == "14 events came too fast; journalctl -u felhom-agent has them"

    def test_what_cannot_be_read_changes_nothing_of_what_is_known(self, socket_path: Path) -> None:
        source = EventSource(socket_path, frozenset())
        with answering(socket_path, events=told(event(1))):
            source.read()
        with pytest.raises(FelhomError):
            source.read()
        with answering(socket_path, events=told(event(1), event(2))):
            assert [each["number"] for each in source.read()[0]] == [2]

    def test_an_agent_that_is_away_for_long_is_told_of_once_and_so_is_its_return(
        self, socket_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = EventSource(socket_path, frozenset())
        with answering(socket_path, events=told(event(1))):
            source.read()
        with ExitStack() as stack:
            there = answering(socket_path, events=told(event(2), run="b"))
            steps = iter([None, None, None, lambda: stack.enter_context(there), None, None])

            def wait(seconds: float) -> None:
                assert 0 < seconds <= 1
                try:
                    step = next(steps)
                except StopIteration:
                    raise KeyboardInterrupt from None
                if step is not None:
                    step()

            with pytest.raises(KeyboardInterrupt):
                follow(source, Page(), wait, as_json=False)
        out, err = capsys.readouterr()
        waiting, back, again = err.splitlines()
        assert waiting.startswith("felhom-agent: waiting for the agent: no agent runs here")
        assert back == "felhom-agent: the agent answers again"
        assert again == "felhom-agent: the agent was started again"
        assert (out.count("\n"), "event 2" in out) == (1, True)

    def test_it_goes_on_across_a_restart_of_the_agent_and_says_each_once(
        self, site: Site, felhom: Felhom, start: Start, begin: Callable[..., Following]
    ) -> None:
        agent = start()
        wait_until(lambda: "agent-started" in felhom("events")[1])
        following = begin("-n", "5")
        wait_until(lambda: following.says("agent-started"))
        site.declare(DECLARED)
        wait_until(lambda: following.says("done: start"))
        assert agent.end() == 0
        wait_until(lambda: following.says("waiting for the agent: no agent runs here"))
        again = start()
        again.wait_for("felhom-agent 0")
        wait_until(lambda: following.says("the agent was started again"))
        wait_until(lambda: sum("agent-started" in line for line in following.out) == 2)
        assert following.end() == 130
        for words in ("waiting for the agent", "the agent answers again", "was started again"):
            assert sum(words in line for line in following.err) == 1, following.err
        assert sum("done: start" in line for line in following.out) == 1
        assert again.end() == 0

    def test_json_is_an_object_per_line(
        self, site: Site, felhom: Felhom, start: Start, begin: Callable[..., Following]
    ) -> None:
        site.declare(DECLARED)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        following = begin("--json", "100")
        wait_until(lambda: following.says("done: start"))
        assert following.end() == 130
        for line in following.out:
            found = json.loads(line)
            valid("events", found)
            assert (next(iter(found)), found["vmid"]) == ("schema", 100)
        assert agent.end() == 0

    @pytest.mark.parametrize("happens", [True, False], ids=["it tells more", "nothing happens"])
    def test_it_ends_once_nobody_reads(
        self, site: Site, socket_path: Path, felhom: Felhom, happens: bool
    ) -> None:
        numbers = iter(range(1, 10**6) if happens else itertools.repeat(1))
        reading, writing = os.pipe()
        with answering(socket_path, events=lambda: told(event(next(numbers)))):
            words = ["--config", str(site.directory / "agent.toml"), "events", "-f"]
            process = subprocess.Popen(
                [sys.executable, "-m", "felhom_agent", *words], stdout=writing
            )
            os.close(writing)
            os.read(reading, 10)
            os.close(reading)
            try:
                assert process.wait(SOON) == ERROR
            finally:
                process.kill()
                process.wait(SOON)
