"""`apply`: shows the plan, asks, does exactly that, and tells what came of it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from felhom_agent.cli import progress
from felhom_agent.daemon.temporary import temporary_agent
from felhom_agent.devnode import Behaviour
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import State, replay
from felhom_agent.service.controlclient import NoAgent
from tests.commands import Felhom, typed, validated
from tests.conftest import Site
from tests.process import SOON, Process, wait_until

OBSERVE = '[reconcile]\nmode = "observe"\ninterval = 3600\njitter = 0\n'
DRIFTED = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    """Run a command; return exit code, stdout and stderr."""
    site.write_config(OBSERVE)

    return typed(site.directory / "agent.toml", capsys)


@pytest.fixture
def agent(site: Site) -> Iterator[Process]:
    process = Process(site.write_config(OBSERVE))
    wait_until((site.directory / "control.sock").exists)
    yield process
    if not process.is_over():
        process.end(signal.SIGKILL)


GOING_ON: dict[str, Any] = {
    "vmid": 100, "activity": "running", "outcome": None, "why": "", "steps": [],
}  # fmt: skip


class Terminal:
    """`apply` on a terminal."""

    def __init__(self, site: Site, *words: str) -> None:
        self._ours, its = pty.openpty()
        config = site.directory / "agent.toml"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "felhom_agent", "apply", "--config", str(config), *words],
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(its)
        self.shown = ""

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + SOON
        while words not in self.shown:
            assert time.monotonic() < until, self.shown
            if not self._read(until - time.monotonic()):
                break
        assert words in self.shown, self.shown

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._ours, 65536)
        except OSError:  # Linux says EIO where the other end was closed
            return False
        self.shown += piece.decode().replace("\r\n", "\n")
        return bool(piece)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        until = time.monotonic() + SOON
        while self._read(until - time.monotonic()):
            pass
        os.close(self._ours)
        return self._process.wait(SOON)


def test_without_a_terminal_it_refuses_unless_told_not_to_ask(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    code, out, err = felhom("apply")
    assert (code, out) == (64, "")
    assert "--yes" in err
    assert site.devnode.mutations == ()


def test_where_no_agent_runs_it_does_it_itself_and_leaves_a_journal(
    site: Site, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    code, out, err = felhom("apply", "--yes")
    assert code == 0
    assert "  ~ cores  1 -> 2" in out
    assert out.splitlines()[-1].split() == ["100", "web", "done"]
    assert err == "felhom-agent: no agent runs here: this command does it itself\n"
    assert site.world.running(100)
    operations = replay(read(site.directory / "journal" / NAME))
    assert [o.state for o in operations] == [State.SUCCEEDED, State.SUCCEEDED]
    assert felhom("plan")[0] == 0


def test_only_the_guests_that_are_named_are_changed(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED + "[guest.200.config]\ncores = 3\n")
    code, _, _ = felhom("apply", "200", "--yes")
    assert code == 0
    assert site.world.config(100)["cores"] == 1
    assert site.world.config(200)["cores"] == 3


def test_a_running_agent_in_observe_mode_does_it_for_the_person(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    code, out, err = felhom("apply", "--yes")
    assert (code, err) == (0, "")
    assert "done" in out
    assert agent.count("1 guest is applied: 100, by the word of root") == 1
    agent.wait_for("done: start")
    assert agent.end() == 0


def test_what_came_of_it_is_told_to_programs(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED)
    site.world.guests[100].behaviour = Behaviour(start_error="no such bridge")
    code, out, _ = felhom("apply", "--yes", "--json")
    answer = validated("apply", out)
    (guest,) = answer["guests"]
    assert (code, guest["outcome"]) == (1, "retry")
    assert "no such bridge" in guest["why"]
    assert [step["state"] for step in guest["steps"]] == ["succeeded", "failed"]
    assert "no such bridge" in guest["steps"][1]["why"]


def test_nothing_to_do_is_done_at_once(site: Site, felhom: Felhom) -> None:
    site.declare("[guest.200.config]\ncores = 1\n")
    code, out, _ = felhom("apply", "--yes")
    assert code == 0
    assert out.splitlines()[-1] == "Nothing is to be done."


def test_a_guest_that_waits_leaves_it_not_converged(site: Site, felhom: Felhom) -> None:
    site.declare(DRIFTED + "[guest.300]\n")
    code, _, _ = felhom("apply", "--yes")
    assert code == 3
    assert site.world.running(100)


def test_under_a_freeze_nothing_is_asked_and_nothing_done(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    assert felhom("freeze", "--why", "move of the rack")[0] == 0
    code, _, err = felhom("apply", "--yes")
    assert code == 3
    assert "nothing can be done now: frozen by root" in err
    assert site.devnode.mutations == ()
    assert agent.end() == 0


def test_a_paused_guest_is_told_as_what_stands_in_the_way(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    assert felhom("pause", "100", "--why", "disk swap")[0] == 0
    code, _, err = felhom("apply", "--yes")
    assert code == 3
    assert "disk swap" in err.splitlines()[-1]
    assert site.devnode.mutations == ()
    assert agent.end() == 0


@pytest.mark.parametrize(("answer", "code", "running"), [("y\n", 0, True), ("\n", 1, False)])
def test_on_a_terminal_it_asks_and_does_what_it_is_answered(
    site: Site, answer: str, code: int, running: bool
) -> None:
    site.write_config(OBSERVE)
    site.declare(DRIFTED)
    terminal = Terminal(site)
    terminal.wait_for("Do this? [y/N] ")
    assert "  ~ cores  1 -> 2" in terminal.shown
    assert site.devnode.mutations == ()
    terminal.type(answer)
    assert terminal.end() == code
    assert site.world.running(100) is running
    assert ("Nothing was changed." in terminal.shown) is not running


def test_what_pve_says_of_a_task_that_goes_on_is_shown(site: Site) -> None:
    site.write_config(OBSERVE)
    site.declare(DRIFTED)
    site.world.guests[100].behaviour = Behaviour(start_seconds=1e6)
    terminal = Terminal(site, "--yes")
    terminal.wait_for("... ")
    terminal.wait_for("UPID:pve1:")
    site.clock.pass_by(2e6)
    assert terminal.end() == 0
    assert "done" in terminal.shown


def test_an_interrupt_withdraws_what_has_not_begun_and_says_what_goes_on(site: Site) -> None:
    site.write_config(OBSERVE + "parallel = 1\n")
    for vmid in (101, 102):
        site.world.add("qemu", vmid, {}, behaviour=Behaviour(start_seconds=1e6))
    site.declare("".join(f'[guest.{v}]\nstate = "running"\n' for v in (101, 102)))
    agent = Process(site.directory / "agent.toml")
    wait_until((site.directory / "control.sock").exists)
    terminal = Terminal(site, "--yes")
    terminal.wait_for("UPID:pve1:")
    terminal.interrupt()
    assert terminal.end() == 1
    assert "What had not begun was withdrawn; what had begun goes on" in terminal.shown
    site.clock.pass_by(2e6)
    agent.wait_for("done: start")
    assert [m.path.split("/")[4] for m in site.devnode.mutations] == ["101"]
    assert agent.end() == 0


@pytest.fixture
def restarting(site: Site) -> Terminal:
    """`apply` without an agent, while the guest that it restarts is shut down."""
    site.write_config(OBSERVE + "drain_timeout = 0.1\n")
    slow = Behaviour(shutdown_seconds=100.0)
    site.world.add("qemu", 101, {"cores": 1}, running=True, behaviour=slow)
    site.declare(
        '[guest.101]\nstate = "running"\nrestart = "allowed"\nstop = "graceful"\n'
        "[guest.101.config]\ncores = 2\n"
    )
    terminal = Terminal(site, "--yes")
    terminal.wait_for("qmshutdown")
    return terminal


def test_an_interrupt_does_not_leave_a_guest_down_that_is_restarted(
    site: Site, restarting: Terminal
) -> None:
    restarting.interrupt()
    restarting.wait_for("what has begun is ended first (Ctrl-C: leave it)")
    site.clock.pass_by(150.0)
    assert restarting.end() == 1
    assert "What had not begun was withdrawn." in restarting.shown
    assert site.world.running(101)


def test_a_second_interrupt_leaves_it_and_says_what_that_means(
    site: Site, restarting: Terminal
) -> None:
    restarting.interrupt()
    restarting.wait_for("what has begun is ended first")
    restarting.interrupt()
    assert restarting.end() == 1
    assert "not ended" in restarting.shown
    assert "stays down until an agent runs, or you start it" in restarting.shown


def test_an_agent_that_begins_anew_knows_nothing_of_it_and_that_is_said(
    site: Site, agent: Process
) -> None:
    site.world.add("qemu", 101, {}, behaviour=Behaviour(start_seconds=1e6))
    site.declare('[guest.101]\nstate = "running"\n')
    terminal = Terminal(site, "--yes")
    terminal.wait_for("UPID:pve1:")
    agent.end(signal.SIGKILL)
    second = Process(site.directory / "agent.toml")
    try:
        terminal.wait_for("there is no such apply")
        assert terminal.end() == 1
        assert "not ended" in terminal.shown
        assert "felhom-agent history" in terminal.shown
    finally:
        second.end(signal.SIGKILL)


def test_an_agent_whose_journal_is_lost_is_told_as_ended(site: Site) -> None:
    with temporary_agent(site.config()) as ask:
        assert ask("GET", "/v1/status", None)["mode"] == "observe"
        with pytest.raises(FelhomError, match="not known"):
            ask("GET", "/nothing", None)
    with pytest.raises(FelhomError, match="has ended"):
        ask("GET", "/v1/status", None)


def test_a_second_agent_is_not_begun_beside_one_that_cannot_be_asked(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.declare(DRIFTED)
    (site.directory / "control.sock").unlink()
    code, _, err = felhom("apply", "--yes")
    assert code == 75
    assert "another felhom-agent" in err
    assert site.devnode.mutations == ()
    assert agent.end() == 0


def test_a_change_that_pve_cannot_plug_ends_with_the_restart_that_was_shown(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.world.edit(100, {"hotplug": "cpu"})
    site.world.start(100)
    site.declare(
        '[guest.100]\nstate = "running"\nrestart = "allowed"\n'
        "[guest.100.config]\ncores = 4\nvcpus = 3\n"
    )
    code, out, _ = felhom("apply", "--yes")
    assert "  > shut down, then start" in out
    assert (code, "failed" in out) == (0, False)
    assert not site.world.guests[100].conf.pending
    assert agent.end() == 0


def test_a_guest_that_is_applied_already_is_tried_again_later(
    site: Site, agent: Process, felhom: Felhom
) -> None:
    site.world.add("qemu", 101, {}, behaviour=Behaviour(start_seconds=1e6))
    site.declare('[guest.101]\nstate = "running"\n')
    terminal = Terminal(site, "--yes")
    terminal.wait_for("UPID:pve1:")
    code, _, err = felhom("apply", "--yes")
    assert (code, "is being applied already" in err) == (75, True)
    terminal.interrupt()
    terminal.end()
    agent.end(signal.SIGKILL)


def test_an_agent_that_stays_away_leaves_a_table_of_what_it_had_told(
    site: Site, agent: Process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "AWAY", 0.1)
    answers = iter([{"open": True, "guests": [GOING_ON]}])

    def ask(method: str, route: str, given: object) -> dict[str, object]:
        if (found := next(answers, None)) is None:
            raise NoAgent("no agent runs here", runs=False)
        return found

    node = site.connect()
    found = progress.follow(ask, "a", {100: "web"}, node, goes_on=True)
    assert (found.away, found.guests) == (True, [GOING_ON])
    told = capsys.readouterr()
    assert "no agent runs here" in told.err
