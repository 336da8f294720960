"""What `felhom-agent status` prints and how it exits, beside agents of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.cli.codes import DIFFERS, ERROR, OK, TEMPFAIL, USAGE
from felhom_agent.cli.status import drawn
from felhom_agent.daemon.controls import Controls
from felhom_agent.journal.content import NAME
from felhom_agent.service.control import ControlServer
from tests.cli.agents import OnTerminal, answering, http, sending
from tests.cli.test_statustext import guest, pause, status
from tests.commands import SCHEMAS, Felhom, Start, valid
from tests.conftest import Site
from tests.process import wait_until

DECLARED = '[guest.100]\nstate = "running"\n'


@pytest.fixture
def socket_path(site: Site) -> Path:
    return site.directory / "control.sock"


@pytest.fixture
def on_terminal(site: Site) -> Iterator[Callable[..., OnTerminal]]:
    with ExitStack() as stack:

        def run(*words: str, **size: int) -> OnTerminal:
            made = OnTerminal(site.directory / "agent.toml", *words, **size)
            stack.callback(made.close)
            return made

        yield run


class TestRunningAgent:
    def test_all_as_declared_is_a_line_and_code_0(
        self, site: Site, felhom: Felhom, start: Start, socket_path: Path
    ) -> None:
        site.declare(DECLARED)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: felhom("status")[0] == OK)
        code, out, err = felhom("status")
        first, rest = out.splitlines()
        assert (code, err) == (OK, "")
        assert first.startswith("felhom-agent 0.1.0  pve1  up ")
        assert first.endswith("  files: ok  frozen: no")
        assert rest == "  1 as declared; 1 guest of the node is not declared (--all)"
        code, out, _ = felhom("status", "--all")
        assert code == OK
        assert [line.split()[:4] for line in out.splitlines()[2:]] == [
            ["100", "web", "running", "as"], ["200", "dns", "stopped", "not"]
        ]  # fmt: skip
        assert felhom("status", "100")[0] == OK
        assert felhom("status", "200")[1].splitlines()[-1].split()[:2] == ["200", "dns"]
        assert agent.end() == 0

    def test_what_differs_and_what_is_wrong_with_the_files_is_code_3(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED + "[guest.300]\n")
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: "1 more as declared" in felhom("status")[1])
        code, out, _ = felhom("status")
        assert code == DIFFERS
        assert "300" in out
        assert "waits" in out
        assert felhom("status", "100")[0] == OK
        assert felhom("status", "300", "100")[0] == DIFFERS
        site.declare(DECLARED + "corse = 4\n")
        wait_until(lambda: "ERROR" in felhom("status")[1])
        code, out, _ = felhom("status")
        assert code == DIFFERS
        assert "guests.toml:3  " in out
        assert "last good declaration stays in force" in out
        assert agent.end() == 0

    def test_why_a_guest_waits_and_what_comes_then_is_told_in_the_words_of_plan(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare("[guest.100.config]\ncores = 2\n[guest.200.config]\ncores = 3\n")
        site.world.lock(100, "backup")
        site.world.lock(200, "snapshot")
        agent = start()
        why = "locked (backup); then cores 1 -> 2"
        agent.wait_for(f"guest 100 web: waits: {why}")
        wait_until(lambda: why in felhom("status")[1])
        assert f"  ! waits: {why}\n" in felhom("plan")[1]
        wait_until(lambda: f"  waits: {why}\n" in felhom("events", "100")[1])
        # What comes then is another change now; that it waits is no news.
        site.declare("[guest.100.config]\ncores = 4\n[guest.200.config]\ncores = 3\n")
        agent.send(signal.SIGHUP)
        wait_until(lambda: "locked (backup); then cores 1 -> 4" in felhom("status")[1])
        wait_until(lambda: "reloaded" in felhom("events")[1])
        assert felhom("events", "100")[1].count("waits: ") == 1
        assert agent.end() == 0

    def test_json_is_as_its_schema_says_and_can_be_of_some_guests(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED + "[guest.300]\ncorse = 1\n")
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: len(json.loads(felhom("status", "--json")[1])["guests"]) == 2)
        code, out, err = felhom("status", "--json")
        found = json.loads(out)
        valid("status", found)
        assert (code, err, next(iter(found)), found["schema"]) == (DIFFERS, "", "schema", 1)
        assert [each["vmid"] for each in found["guests"]] == [100, 300]
        few = json.loads(felhom("status", "--json", "100", "200")[1])
        valid("status", few)
        assert [each["vmid"] for each in few["guests"] + few["others"]] == [100, 200]
        assert agent.end() == 0

    def test_a_guest_that_nobody_knows_is_told_of(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        code, out, err = felhom("status", "100", "998", "999")
        assert (code, "100" in out) == (ERROR, True)
        assert err.endswith("neither declared nor known to be on this node: 998, 999\n")
        assert agent.end() == 0

    def test_names_for_a_shell_are_numbers_tabs_and_names(
        self, site: Site, felhom: Felhom, start: Start
    ) -> None:
        site.declare(DECLARED)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: felhom("status", "--names")[1] != "")
        assert felhom("status", "--names") == (OK, "100\tweb\n200\tdns\n", "")
        assert agent.end() == 0


class TestNoAgent:
    def test_that_is_said_with_what_to_do_and_what_is_known(
        self, site: Site, felhom: Felhom
    ) -> None:
        code, out, err = felhom("status")
        assert (code, out) == (ERROR, "")
        plan, none = err.splitlines()
        assert "felhom-agent plan" in plan
        assert "systemctl start felhom-agent" in none
        journal = site.directory / "journal"
        journal.mkdir(exist_ok=True)
        (journal / NAME).write_text("")
        os.utime(journal / NAME, (0, time.time() - 7500))
        err = felhom("status")[2]
        assert err.startswith("felhom-agent: the agent last wrote its journal 2 h ago (")
        assert len(err.splitlines()) == 3

    def test_a_socket_that_a_killed_agent_left_is_no_agent(
        self, site: Site, felhom: Felhom, start: Start, socket_path: Path
    ) -> None:
        agent = start()
        wait_until(socket_path.exists)
        agent.end(signal.SIGKILL)
        code, out, err = felhom("status")
        assert (code, out, "no agent runs here" in err) == (ERROR, "", True)

    def test_json_of_none_is_no_json(self, felhom: Felhom) -> None:
        code, out, err = felhom("status", "--json")
        assert (code, out, "no agent runs here" in err) == (ERROR, "", True)

    def test_a_shell_that_asks_for_names_hears_nothing(self, site: Site, felhom: Felhom) -> None:
        assert felhom("status", "--names") == (OK, "", "")
        (site.directory / "agent.toml").write_text("broken")
        assert felhom("status", "--names") == (OK, "", "")

    def test_one_that_cannot_answer_yet_is_asked_again_later(
        self, felhom: Felhom, socket_path: Path
    ) -> None:
        server = ControlServer(socket_path, Controls().routes())
        server.start()
        try:
            code, out, err = felhom("status")
            assert (code, out, "cannot open its journal" in err) == (TEMPFAIL, "", True)
            assert felhom("status", "--names") == (OK, "", "")
        finally:
            server.close()

    def test_before_the_first_pass_nothing_can_be_said_of_guests(
        self, felhom: Felhom, socket_path: Path
    ) -> None:
        with answering(socket_path, status=status(last_pass=None, others=None)):
            code, out, _ = felhom("status")
        assert (code, "no pass yet" in out) == (TEMPFAIL, True)


class TestOddAnswers:
    @pytest.mark.parametrize(
        "data",
        [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"220 mail.example ESMTP\r\n", b"\x16\x03\x01",
         b"\xff" * 500,
         http([]), http(None), http("x"), http({}), http({"version": 5, "guests": []}),
         http({"version": "1", "guests": {}}), http({"guests": []}), http(status())[:-40],
         b"HTTP/1.1 500 X\r\n\r\n{}", b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n{}"],
        ids=lambda data: repr(data[:40]),
    )  # fmt: skip
    def test_another_program_and_an_answer_that_is_cut_off_are_told_in_a_line(
        self, felhom: Felhom, socket_path: Path, data: bytes
    ) -> None:
        with sending(socket_path, data):
            code, out, err = felhom("status")
            assert (code, out, err.count("\n")) == (ERROR, "", 1)
            assert err.startswith("felhom-agent: ")
            assert "internal error" not in err
            assert felhom("status", "--names") == (OK, "", "")

    def test_nothing_that_a_name_holds_reaches_the_terminal_or_makes_a_line(
        self, felhom: Felhom, socket_path: Path
    ) -> None:
        name = "\x1b[2J\nevil\u202e\t\ud800"
        found = status(guest(101, "blocked", name=name, why=name, plan=[name]))
        with answering(socket_path, status=found):
            for words in ("status",), ("status", "--all"), ("status", "--names"):
                code, out, _ = felhom(*words)
                assert code in (OK, DIFFERS)
                assert all(c.isprintable() or c in "\n\t" for c in out)
                assert not any(line.startswith("evil") for line in out.splitlines())
            assert felhom("status", "--names")[1].count("\n") == 1

    def test_a_thousand_guests_stand_in_columns(self, felhom: Felhom, socket_path: Path) -> None:
        many = [
            guest(100 + n, "blocked", name="n" * (n % 60), why="w" * (n % 900)) for n in range(1000)
        ]
        with answering(socket_path, status=status(*many)):
            _, out, _ = felhom("status")
        lines = out.splitlines()[1:]
        assert len(lines) == 1001
        at = lines[0].index("AS DECLARED")
        assert {line[at : at + 7] for line in lines[1:]} == {"waits  "}
        assert max(map(len, lines)) < 450


class TestTerminal:
    @pytest.mark.parametrize("columns", [40, 60, 100])
    def test_no_line_is_wider_than_the_terminal(
        self,
        socket_path: Path,
        felhom: Felhom,
        on_terminal: Callable[..., OnTerminal],
        columns: int,
    ) -> None:
        found = status(
            guest(101, "blocked", why="needs a restart: memory 2048 -> 3072; " * 3),
            guest(105),
            suspensions=[pause(105, left=3600)],
            problems=[
                {"file": "/etc/felhom/dns.toml", "line": 5, "text": "no " * 40, "follows": False}
            ],
        )  # fmt: skip
        with answering(socket_path, status=found):
            shown = on_terminal("status", columns=columns)
            code = shown.end()
            text = shown.wait_for(lambda seen: "no no\r\n" in seen)
        assert code == DIFFERS
        assert max(len(line) for line in text.splitlines()) <= columns
        for word in ("101", "waits", "3072", "105", "paused", "dns.toml"):
            assert word in text.replace("\r\n", "")

    def test_watch_draws_over_what_was_there_until_it_is_interrupted(
        self, felhom: Felhom, socket_path: Path, on_terminal: Callable[..., OnTerminal]
    ) -> None:
        frames: list[int] = []

        def made() -> dict[str, Any]:
            frames.append(1)
            return status(guest(101, "blocked", why=f"frame {len(frames)}"))

        with answering(socket_path, status=made):
            shown = on_terminal("status", "--watch", lines=20)
            text = shown.wait_for(lambda seen: "frame 2" in seen and seen.endswith("\x1b[J\r\n"))
            assert shown.interrupt() == 130
        text = shown.wait_for(lambda seen: seen.rstrip().endswith("\x1b[?25h"))
        assert text.count("\x1b[2J") == 1
        assert text.count("\x1b[H") >= 2
        first, second, *_ = text.split("\x1b[H")[1:]
        assert [frame.count("\x1b[K") for frame in (first, second)] == [4, 4]
        assert [frame.count("\n") for frame in (first, second.partition("\x1b[?")[0])] == [4, 4]

    def test_watch_goes_on_while_no_agent_runs(
        self, felhom: Felhom, socket_path: Path, on_terminal: Callable[..., OnTerminal]
    ) -> None:
        shown = on_terminal("status", "--watch")
        shown.wait_for(lambda seen: "no agent runs here" in seen.replace("\x1b[K\r\n", " "))
        with answering(socket_path, status=status(guest(101, "blocked", why="it is back"))):
            shown.wait_for(lambda seen: "it is back" in seen)
            assert shown.interrupt() == 130

    def test_watch_needs_a_terminal(self, felhom: Felhom) -> None:
        code, out, err = felhom("status", "--watch")
        assert (code, out, "needs a terminal" in err) == (USAGE, "", True)
        code, out, err = felhom("status", "--watch", "--json")
        assert (code, out, "do not go together" in err) == (USAGE, "", True)

    @pytest.mark.parametrize("count", [1, 9, 10, 11, 500])
    def test_a_frame_is_cut_to_the_screen_and_leaves_nothing_of_the_one_before(
        self, count: int
    ) -> None:
        made = drawn([f"line {n}" for n in range(count)], 11)
        assert made.startswith("\x1b[H")
        assert made.endswith("\x1b[J")
        lines = made.removeprefix("\x1b[H").removesuffix("\x1b[J").splitlines()
        assert len(lines) == min(count, 10)
        assert all(line.endswith("\x1b[K") for line in lines)
        if count > 10:
            assert lines[-1] == f"... {count - 9} more lines\x1b[K"


def test_neither_command_loads_what_speaks_to_pve() -> None:
    words = (
        "import sys; import felhom_agent.cli.status, felhom_agent.cli.events; "
        "print(sorted({'requests', 'proxmoxer', 'rich', 'felhom_agent.daemon'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_the_schema_of_the_command_is_that_of_the_socket() -> None:
    for name in ("status", "events"):
        theirs = json.loads((SCHEMAS.parent / "control" / f"{name}.json").read_text())
        ours = json.loads((SCHEMAS / f"{name}.json").read_text())
        ours = ours["anyOf"][0] if "anyOf" in ours else ours
        assert ours["properties"] == theirs["properties"]
        assert ours["required"] == theirs["required"]
