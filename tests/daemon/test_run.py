"""The daemon as a process of its own: signals, stops, restarts, and what it says."""

from __future__ import annotations

import logging
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import RELOAD, STOP, Daemon
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import replay
from felhom_agent.model import Blocked, Mode, Retry
from felhom_agent.service.events import GUEST_DIFFERS
from tests.commands import QUICK, Start
from tests.conftest import Site
from tests.process import SOON, Process, wait_until

RUNNING = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'


def test_it_converges_heals_and_stops_cleanly(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    agent = start()
    agent.wait_for("guest 100 web: done: start")
    site.world.stop(100)
    agent.wait_for("guest 100 web: done: start", times=2)
    assert agent.end() == 0
    assert any(line.endswith("stopped; nothing is in flight") for line in agent.lines)


def test_it_says_whom_it_keeps_and_what_a_reload_found(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    agent = start()
    agent.wait_for(
        f"keeps 1 guest of node pve1 ({site.devnode.endpoint}), every 1 s",
    )
    agent.wait_for("guest 100 web: done: start")
    site.declare(RUNNING.replace("cores = 2", "cores = 3"))
    site.declare('[guest.200]\nstate = "running"\n', "dns.toml")
    agent.send(signal.SIGHUP)
    agent.wait_for("reloaded: 2 guests declared")
    agent.wait_for("guest 200 dns: done: start")
    (site.guests_directory / "dns.toml").unlink()
    agent.wait_for("reloaded: 1 guest declared; no longer declared, left as they are: 200")
    agent.wait_for("no longer declared, and not managed any more: guest 200 dns")
    assert agent.end() == 0


def test_what_a_reload_brings_is_named_once_the_files_are_believed(site: Site) -> None:
    site.declare(RUNNING)
    path = site.write_config(QUICK)
    path.write_text(path.read_text().replace("settle = 0", "settle = 1"))
    agent = Process(path)
    try:
        agent.wait_for("guest 100 web: done: start")
        site.declare('[guest.200]\nstate = "running"\n', "dns.toml")
        agent.send(signal.SIGHUP)
        agent.wait_for("written just now, read in 1 s: dns.toml")
        agent.wait_for("reloaded: 2 guests declared; new: 200")
        assert agent.end() == 0
        assert agent.count("reloaded: ") == 2
    finally:
        if not agent.is_over():
            agent.end(signal.SIGKILL)


def test_a_reload_names_what_it_found_that_was_not_in_force(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.declare(RUNNING)
    config = load(site.write_config(QUICK))
    with assembled(config) as parts:
        daemon = Daemon(config, parts)
        daemon.begin()
        assert daemon.run_pass()
        site.declare(RUNNING.replace("cores = 2", "cores = 3"))
        site.declare("[guest.200.config]\ncores = 1\n", "dns.toml")
        daemon._reload()
        assert caplog.messages[-1] == "reloaded: 2 guests declared; new: 200; changed: 100"
        daemon.run_pass()
        site.declare("", "guests.toml")
        site.declare("[guest.200.config]\ncorse = 1\n", "dns.toml")
        daemon._reload()
        assert caplog.messages[-1].startswith("reloaded: 2 guests declared; ")
        assert "files: " in daemon._sentence()
        path = site.directory / "agent.toml"
        path.write_text(path.read_text() + "[nonsense]\n")
        daemon._reload()
        assert caplog.messages[-1].startswith("agent.toml has errors, and the one in force stays")
        assert "agent.toml:" in daemon._sentence()
        site.write_config(QUICK)
        daemon._reload()
        assert "agent.toml:" not in daemon._sentence()


def test_what_differs_under_observe_mode_is_told_and_warned_of_nowhere(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.declare(RUNNING + '[guest.200]\nmode = "observe"\nstate = "running"\n')
    config = site.config(mode=Mode.OBSERVE)
    with assembled(config) as parts:
        daemon = Daemon(config, parts)
        daemon.begin()
        assert not daemon.run_pass()
        told = {r.__dict__["fields"]["vmid"]: r for r in caplog.records if "vmid" in fields_of(r)}
        assert told.keys() == {100, 200}
        for record in told.values():
            assert record.__dict__["event"] is GUEST_DIFFERS
            assert record.levelno == logging.INFO
            assert ": differs: " in record.getMessage()
        assert daemon._sentence().startswith(
            "nothing is changed in observe mode; 2 only observed: 100 web: "
        )
    assert "watches 2 guests of node pve1" in caplog.text
    assert ", changes nothing" in caplog.text


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.__dict__.get("fields", {})
    return found


def test_a_start_that_fails_is_told_with_its_words_and_where_its_log_is(
    site: Site, start: Start
) -> None:
    site.world.behave(100, Behaviour(start_error="start failed: QEMU exited with code 1"))
    site.declare(RUNNING)
    agent = start()
    agent.wait_for("guest 100 web: start failed: ")
    assert agent.end() == 0
    (line,) = [line for line in agent.lines if "start failed" in line]
    assert re.search(r"; again in \d+ s\. Log: pvenode task log UPID:pve1:\S+:qmstart:100:", line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_stops_it(site: Site, start: Start, number: signal.Signals) -> None:
    agent = start()
    agent.wait_for("felhom-agent 0")
    site.declare(RUNNING)
    agent.wait_for("done: start")
    assert agent.end(number) == 0


def test_a_hangup_reads_guests_and_settings_anew_at_once(site: Site, start: Start) -> None:
    agent = start(settings="[reconcile]\ninterval = 86400\n")
    agent.wait_for("felhom-agent 0")
    site.declare(RUNNING)
    site.write_config("[reconcile]\ninterval = 50000\nparallel = 1\n")
    agent.send(signal.SIGHUP)
    agent.wait_for("reloaded")
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0


def test_a_stop_is_not_kept_waiting_by_the_hangups_that_came_before_it(site: Site) -> None:
    site.declare(RUNNING)
    site.write_config(QUICK)
    with assembled(site.config()) as parts:
        daemon = Daemon(site.config(), parts)
        for word in (*[RELOAD] * 50, STOP):
            daemon.send(word)
        parts.node.shutting_down.set()  # as the signal's handler does
        assert daemon.run()
    assert sum(request.path.endswith("/lxc") for request in site.devnode.requests) <= 1


def test_a_stop_is_heard_while_the_task_list_is_asked_for(site: Site) -> None:
    config = site.config()
    config = replace(config, proxmox=replace(config.proxmox, read_timeout=2 * SOON))
    site.declare(RUNNING)
    site.devnode.faults.add(Fault("GET", "access/permissions", "hang"))
    with assembled(config) as parts:
        daemon = Daemon(config, parts)
        running = threading.Thread(target=daemon.run)
        running.start()
        wait_until(lambda: any(r.path == "/access/permissions" for r in site.devnode.requests))
        parts.node.shutting_down.set()
        running.join(SOON)
        try:
            assert not running.is_alive()
        finally:
            parts.node.cancel_waits.set()
            running.join(SOON)


def test_a_hangup_with_a_broken_configuration_keeps_the_one_in_force(
    site: Site, start: Start
) -> None:
    site.declare(RUNNING)
    agent = start()
    agent.wait_for("done: start")
    (site.directory / "agent.toml").write_text("[proxmox]\nendpont = 1\n")
    agent.send(signal.SIGHUP)
    agent.wait_for("did you mean 'endpoint'?")
    agent.wait_for("the one in force stays")
    site.world.stop(100)
    agent.wait_for("done: start", times=2)
    assert agent.end() == 0


def test_a_hangup_that_moves_the_guest_files_looks_there(site: Site, start: Start) -> None:
    agent = start()
    agent.wait_for("felhom-agent 0")
    (site.directory / "other.d").mkdir()
    (site.directory / "other.d" / "a.toml").write_text(RUNNING)
    path = site.directory / "agent.toml"
    path.write_text(path.read_text().replace("guests.d", "other.d").replace('"pve1"', '"pve9"'))
    agent.send(signal.SIGHUP)
    agent.wait_for("takes effect at a restart (systemctl restart felhom-agent): [proxmox] node")
    agent.wait_for("guest 100 web: done: start")
    assert agent.end() == 0


def is_waited_for(site: Site) -> bool:
    """Return whether the node was asked how a start gets on."""
    paths = [request.path for request in site.devnode.requests]
    begun = [number for number, path in enumerate(paths) if path.endswith("/status/start")]
    return bool(begun) and any(path.endswith("/tasks") for path in paths[begun[0] :])


def test_killed_in_the_middle_of_a_task_and_started_again_it_does_nothing_twice(
    site: Site, start: Start
) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    site.declare(RUNNING)
    agent = start()
    agent.wait_for("done: set cores")
    wait_until(lambda: is_waited_for(site))
    assert agent.end(signal.SIGKILL) == -signal.SIGKILL
    site.clock.pass_by(2000)
    again = start()
    again.wait_for("guest 100: found in flight: start")
    again.wait_for("found out: start: succeeded")
    assert again.end() == 0
    asked = [r.path.rpartition("/")[2] for r in site.devnode.mutations]
    assert asked == ["config", "start"]
    operations = replay(read(site.directory / "journal" / NAME))
    assert [o.state for o in operations] == ["succeeded", "succeeded"]


def test_a_stop_during_a_task_leaves_it_in_the_journal(site: Site, start: Start) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    site.declare(RUNNING)
    agent = start(settings=QUICK.replace("drain_timeout = 1", "drain_timeout = 0"))
    wait_until(lambda: is_waited_for(site))
    assert agent.end() == 0
    agent.wait_for("guest 100 web: left in flight: start")


def test_a_node_that_goes_away_is_told_once_and_once_when_it_is_back(
    site: Site, start: Start
) -> None:
    site.declare(RUNNING)
    site.devnode.faults.add(Fault("GET", "cluster/resources", "status:595", times=3))
    agent = start()
    agent.wait_for("the node answers again")
    agent.wait_for("done: start")
    assert agent.end() == 0
    assert sum("cannot be observed" in line for line in agent.lines) == 1


def test_a_converged_pass_is_silent(site: Site, start: Start) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = start()
    wait_until(lambda: sum("resources" in r.path for r in site.devnode.requests) >= 3)
    assert agent.end() == 0
    told = [line for line in agent.lines if line != "(end)"]
    assert len(told) == 2, "a greeting and a farewell"


def test_without_a_directory_it_runs_and_touches_nothing(site: Site, start: Start) -> None:
    path = site.write_config(QUICK)
    text = path.read_text().replace('[desired]\ndirectory = "guests.d"\nsettle = 0\n', "")
    path.write_text(text)
    agent = Process(path)
    agent.wait_for("no [desired] directory is configured; nothing will be done")
    assert agent.end() == 0
    assert site.devnode.mutations == ()


def test_a_dry_run_plans_and_changes_nothing(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    agent = start("--dry-run")
    agent.wait_for("nothing is changed in observe mode; would set cores: 1 -> 2, start")
    agent.send(signal.SIGHUP)
    agent.wait_for("reloaded")
    assert agent.end() == 0
    assert site.devnode.mutations == ()


def test_once_does_what_is_needed_and_tells_by_its_exit_code(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    assert start("--once").end(None) == 0
    assert site.world.running(100)
    site.world.lock(100, "backup")
    assert start("--once").end(None) == 2


def test_a_second_agent_is_refused_politely(site: Site, start: Start) -> None:
    first = start()
    first.wait_for("felhom-agent 0")
    second = start()
    assert second.end(None) == 75
    assert any(f"another felhom-agent (pid {first.pid})" in line for line in second.lines)
    assert first.end() == 0


def test_a_damaged_journal_stops_the_start_with_file_and_line(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    assert start("--once").end(None) == 0
    path = site.directory / "journal" / NAME
    path.write_bytes(b"garbage\n" + path.read_bytes())
    agent = start()
    assert agent.end(None) == 65
    assert any(f"{path}:1: the line is damaged" in line for line in agent.lines)
    assert not any("Traceback" in line for line in agent.lines)


def test_the_secret_is_in_no_line_and_no_argument(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    agent = start("--verbose")
    agent.wait_for("done: start")
    arguments = Path(f"/proc/{agent.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{agent.pid}/environ").read_bytes()
    assert agent.end() == 0
    shown = "\n".join(agent.lines).encode() + arguments + environment
    assert site.secret.encode() not in shown


def test_insecure_is_told_at_every_start(site: Site) -> None:
    path = site.write_config(QUICK)
    path.write_text(
        "".join(
            "insecure = true\n" if line.startswith("ca_file") else line
            for line in path.read_text().splitlines(keepends=True)
        )
    )
    agent = Process(path)
    agent.wait_for("insecure = true: whoever answers in the node's place gets the token")
    assert agent.end() == 0


def test_under_systemd_lines_carry_their_priority(site: Site) -> None:
    """And fields behind the sentence, where journald's own protocol cannot be spoken."""
    announce = 'export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); exec "$@"'
    agent = Process(site.write_config(QUICK), within=["sh", "-c", announce, "sh"])
    agent.wait_for("<6>felhom-agent 0")
    assert agent.end() == 0
    (site.directory / "agent.toml").write_text("[nonsense]\n")
    wrong = Process(site.directory / "agent.toml", within=["sh", "-c", announce, "sh"])
    assert wrong.end(None) == 78
    assert wrong.count("<3>felhom-agent: ") >= 1


def test_a_lost_answer_is_settled_even_if_the_guest_is_as_declared_by_then(
    site: Site, start: Start
) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    site.devnode.faults.add(Fault("POST", "start$", "reset-after"))
    agent = start(settings=QUICK.replace("backoff_first = 0.1", "backoff_first = 3"))
    agent.wait_for("found out: start: succeeded")
    assert agent.end() == 0
    assert len(site.devnode.mutations) == 1


def test_once_does_not_call_it_good_if_a_guest_file_cannot_be_read(
    site: Site, start: Start
) -> None:
    site.declare("[guest.100\n")
    assert start("--once").end(None) == 2
    site.guests_directory.rename(site.directory / "away")
    assert start("--once").end(None) == 2


def test_a_file_that_is_absurd_stops_neither_the_start_nor_the_others(
    site: Site, start: Start
) -> None:
    site.declare(RUNNING)
    site.declare("x = " + "9" * 5000, name="number.toml")
    site.declare("x = " + "[" * 5000 + "]" * 5000, name="nested.toml")
    agent = start()
    agent.wait_for("guest 100 web: done: start")
    path = site.directory / "agent.toml"
    path.write_text(path.read_text().replace("interval = 1", f"interval = {'9' * 400}"))
    agent.send(signal.SIGHUP)
    agent.wait_for("the one in force stays")
    assert agent.end() == 0
    assert not any("internal error" in line for line in agent.lines)


def test_observe_mode_that_a_reload_asks_for_takes_effect_and_is_taken_back(
    site: Site, start: Start
) -> None:
    site.declare(RUNNING)
    agent = start()
    agent.wait_for("done: start")
    site.write_config(QUICK + 'mode = "observe"\n')
    agent.send(signal.SIGHUP)
    agent.wait_for("reloaded")
    site.world.stop(100)
    agent.wait_for("guest 100 web: differs: nothing is changed in observe mode; would start")
    assert not site.world.running(100)
    site.write_config(QUICK)
    agent.send(signal.SIGHUP)
    agent.wait_for("done: start", times=2)
    assert agent.end() == 0


def test_a_dry_run_of_the_command_line_outlives_every_reload(site: Site, start: Start) -> None:
    site.declare(RUNNING)
    agent = start("--dry-run")
    agent.wait_for("guest 100 web: differs: nothing is changed in observe mode")
    agent.send(signal.SIGHUP)
    agent.wait_for("reloaded")
    site.world.edit(100, {"cores": 3})
    agent.wait_for("would set cores: 3 -> 2")
    assert site.devnode.mutations == ()
    assert agent.end() == 0


def test_a_reload_names_each_setting_that_waits_for_a_restart(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """And no other: whatever is not named has taken effect."""
    path = site.write_config(QUICK)
    with assembled(load(path)) as parts:
        daemon = Daemon(load(path), parts)
        text = (
            path.read_text().replace('"journal"', '"other"').replace("interval = 1", "interval = 7")
        )
        path.write_text(text.replace("[proxmox]\n", "[proxmox]\nread_timeout = 9\n"))
        caplog.clear()
        daemon._reload()
        (said,) = [r.getMessage() for r in caplog.records if "takes effect" in r.getMessage()]
        assert said.endswith("[proxmox] read_timeout, [journal] directory")
        assert daemon.config.reconcile.interval == 7
        assert daemon.config.proxmox.read_timeout != 9


def test_trouble_with_a_pass_is_said_once_and_shown_in_the_status(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    with assembled(site.config()) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon._pass()
        good, daemon._intent.provider = daemon._intent.provider, None  # type: ignore[assignment]
        caplog.clear()
        for _ in range(3):
            assert not daemon._pass()
        assert len(caplog.records) == 1
        assert "internal error in a pass: AttributeError" in daemon._sentence()
        assert "felhom_agent/desired/watched.py" in daemon._sentence()
        daemon._intent.provider = good
        assert daemon._pass()
        assert "internal error" not in daemon._sentence()


def test_guests_that_cannot_be_read_in_time_are_retried_and_the_node_is_named_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    vmids = range(300, 320)
    for vmid in vmids:
        site.world.add("qemu", vmid, {"cores": 1})
    site.declare("".join(f"[guest.{v}.config]\ncores = 1\n" for v in vmids))
    site.proxmox = replace(site.proxmox, read_timeout=0.3)
    with assembled(site.config()) as parts:
        daemon = Daemon(site.config(), parts)
        assert daemon.run_pass()
        site.devnode.faults.add(Fault("GET", "pending$", "hang", times=8))
        caplog.clear()
        assert not daemon.run_pass()
        unread = [
            s.outcome for s in daemon._scheduler.statuses.values() if isinstance(s.outcome, Retry)
        ]
        assert unread
        assert not any(isinstance(s.outcome, Blocked) for s in daemon._scheduler.statuses.values())
        assert any("in time" in outcome.why for outcome in unread)
        said = [r for r in caplog.records if "does not answer all questions" in r.getMessage()]
        assert len(said) == 1
        assert "does not answer all questions in time" in daemon._sentence()
        site.devnode.faults.clear()
        assert daemon.run_pass()
