"""What can be asked of a running agent at its control socket, and by the commands that do."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.config.agentfile import load
from felhom_agent.daemon.controls import MAX_WHY, Controls
from felhom_agent.daemon.controlview import status_of
from felhom_agent.daemon.loop import Daemon
from felhom_agent.desired.hub import HubProvider
from felhom_agent.devnode import Behaviour
from felhom_agent.journal import suspensions as journaled
from felhom_agent.journal.content import NAME
from felhom_agent.journal.shape import MAX_SUSPENSION
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.model import Change, Kind, Mode, SetConfig
from felhom_agent.model import Start as StartGuest
from felhom_agent.planning.acts import prints_of
from felhom_agent.reconcile.brake import HeldPlan
from felhom_agent.service.control import Caller, ControlAnswer, ControlServer
from felhom_agent.service.controlclient import MAX_ANSWER, call
from felhom_agent.service.events import GUEST_CHANGED, Event
from felhom_agent.service.logging import fields
from felhom_agent.service.request import ControlError, ControlRequest
from felhom_agent.service.ring import Ring
from tests.commands import QUICK, Felhom, Start
from tests.conftest import Site
from tests.control import Reply, asked, connect, valid
from tests.daemon.running import Begin, Running
from tests.process import wait_until

SLOW = "[reconcile]\ninterval = 86400\njitter = 0\n"
RUNNING = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'
HUB = '[hub]\nurl = "http://127.0.0.1:1"\nkey_file = "token"\nguests = [100]\n'
ROOT = Caller("root", owner=True)
STATE = {"guest": {"100": {"state": "running"}}}


@pytest.fixture
def path(site: Site) -> Path:
    return site.directory / "control.sock"


def status(path: Path) -> dict[str, Any]:
    reply = asked(path, "GET", "/v1/status")
    assert reply.status == 200
    valid("status", reply.body)
    return reply.body


def done(reply: Reply) -> tuple[bool, str]:
    """Return what was done, of an answer that says so."""
    assert reply.status in (200, 202), reply
    valid("done", reply.body)
    return reply.body["done"], reply.body["text"]


class TestStatus:
    def test_it_tells_of_the_last_pass_and_how_each_guest_is(
        self, site: Site, start: Start, path: Path
    ) -> None:
        site.declare(RUNNING + "[guest.200.config]\ncores = 1\n[guest.300]\n")
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: status(path)["counts"]["converged"] == 2)
        found = status(path)
        assert (found["node"], found["mode"], found["holds"]) == ("pve1", "enforce", [])
        assert found["last_pass"]["ok"]
        assert found["counts"]["declared"] == 3
        web, dns, missing = found["guests"]
        assert (web["vmid"], web["kind"], web["name"]) == (100, "qemu", "web")
        assert (web["outcome"], web["why"], web["activity"]) == ("converged", "", "idle")
        assert (dns["vmid"], dns["kind"], dns["outcome"]) == (200, "lxc", "converged")
        assert missing["outcome"] == "blocked"
        assert missing["why"]
        assert missing["plan"][0].startswith("withheld: ")
        assert agent.end() == 0

    def test_what_would_be_done_is_told_in_words_and_without_a_password(
        self, site: Site, start: Start, path: Path
    ) -> None:
        site.declare(
            RUNNING + '[guest.200]\nstate = "running"\n[guest.101.config]\n'
            'cipassword = "a-guests-password"\ncores = 2\n'
        )
        site.world.add("qemu", 101, {"cores": 1})
        start(settings=QUICK + 'mode = "observe"\n').wait_for("guest 200 dns: differs: ")
        wait_until(lambda: len(status(path)["guests"]) == 3)
        found = status(path)
        assert (found["mode"], [h["name"] for h in found["holds"]]) == ("observe", ["mode"])
        plans = {guest["vmid"]: guest["plan"] for guest in found["guests"]}
        assert plans[100] == ["set cores: 1 -> 2", "start"]
        assert plans[200] == ["start"]
        assert "set " in plans[101][0]
        assert "a-guests-password" not in str(found)

    def test_before_the_first_pass_there_is_none_to_tell_of(self, begin: Begin) -> None:
        found = status_of(begin().daemon.access())
        valid("status", found)
        assert (found["last_pass"], found["guests"]) == (None, [])

    def test_who_is_at_work_and_who_waits_for_a_place_is_told(
        self, site: Site, begin: Begin
    ) -> None:
        for vmid in (101, 102):
            site.world.add("qemu", vmid, {}, behaviour=Behaviour(start_seconds=1000.0))
        site.declare("".join(f'[guest.{v}]\nstate = "running"\n' for v in (101, 102)))
        agent = begin(parallel=1)
        agent.run_pass()
        agent.scheduler.publish()
        found = status_of(agent.daemon.access())
        valid("status", found)
        assert [guest["activity"] for guest in found["guests"]] == ["running", "queued"]
        assert (found["counts"]["running"], found["counts"]["queued"]) == (1, 1)
        agent.pace = 1000.0
        agent.finish()
        found = status_of(agent.daemon.access())
        assert [guest["activity"] for guest in found["guests"]] == ["idle", "idle"]

    def test_a_node_that_is_away_leaves_the_last_plans_and_says_so(
        self, site: Site, begin: Begin
    ) -> None:
        site.declare(RUNNING)
        agent = begin(mode=Mode.OBSERVE)
        assert not agent.look()
        site.devnode.close()
        assert not agent.look()
        found = status_of(agent.daemon.access())
        valid("status", found)
        assert not found["last_pass"]["ok"]
        assert found["guests"][0]["plan"] == ["set cores: 1 -> 2", "start"]


class TestWhatAPersonAsks:
    """What the status tells beside the outcome of each guest."""

    def test_whether_each_guest_runs_and_which_are_not_declared(
        self, site: Site, begin: Begin
    ) -> None:
        site.world.add("lxc", 300, {"hostname": "old"}, running=True)
        site.declare(RUNNING + '[guest.101]\nmode = "observe"\n')
        agent = begin()
        agent.run_pass()
        first = seen_by(agent)
        assert first["guests"][0]["state"] == "stopped"
        agent.finish()
        site.clock.pass_by(60)
        web, missing = seen_by(agent)["guests"]
        assert (web["vmid"], web["name"], web["state"]) == (100, "web", "running")
        assert (web["outcome"], web["mode"], web["next"]) == ("converged", "enforce", None)
        assert (missing["state"], missing["mode"]) == (None, "observe")
        assert [(o["vmid"], o["kind"], o["name"], o["state"]) for o in first["others"]] == [
            (200, "lxc", "dns", "stopped"), (300, "lxc", "old", "running")
        ]  # fmt: skip

    def test_without_a_declaration_nobody_has_looked_who_is_there(self, begin: Begin) -> None:
        agent = begin()
        agent.look()
        found = seen_by(agent)
        assert (found["others"], found["guests"], found["problems"]) == (None, [], [])

    def test_when_a_guest_is_tried_again(self, site: Site, begin: Begin) -> None:
        site.world.add("qemu", 101, {}, behaviour=Behaviour(start_error="no"))
        site.declare('[guest.101]\nstate = "running"\n')
        agent = begin(backoff_first=40.0, backoff_cap=40.0)
        agent.look()
        before = site.clock()
        (guest,) = seen_by(agent)["guests"]
        assert (guest["outcome"], guest["activity"]) == ("retry", "idle")
        moment = datetime.fromisoformat(guest["next"]).timestamp()
        assert 0 < moment - before <= 60
        agent.monotonic.pass_by(100)
        agent.scheduler.retry()
        agent.scheduler.publish()
        assert seen_by(agent)["guests"][0]["next"] is None
        agent.finish()

    def test_who_waits_for_no_time_is_tried_at_no_time(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING + "[guest.300]\n")
        agent = begin(mode=Mode.OBSERVE)
        agent.look()
        found = [(each["outcome"], each["next"]) for each in seen_by(agent)["guests"]]
        assert found == [("blocked", None), ("blocked", None)]

    def test_what_is_wrong_with_the_files_and_where(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING)
        agent = begin()
        agent.look()
        site.declare(RUNNING + "corse = 4\n")
        agent.look()
        found = seen_by(agent)["problems"]
        assert found[0]["file"].endswith("guests.toml")
        assert (found[0]["line"], "corse" in found[0]["text"]) == (5, True)
        assert any("last good declaration stays in force" in each["text"] for each in found)
        site.declare(RUNNING)
        agent.look()
        assert seen_by(agent)["problems"] == []

    def test_why_the_last_pass_failed(self, site: Site, begin: Begin) -> None:
        site.declare(RUNNING)
        agent = begin(mode=Mode.OBSERVE)
        agent.look()
        found = seen_by(agent)
        assert (found["last_pass"]["why"], found["trouble"]) == ("", "")
        site.devnode.close()
        agent.look()
        found = seen_by(agent)
        assert found["last_pass"]["why"].startswith("the node cannot be observed: ")
        assert found["trouble"] == found["last_pass"]["why"]
        assert found["guests"][0]["state"] == "stopped"

    def test_what_is_held_and_waits_for_an_approval(self, site: Site, begin: Begin) -> None:
        daemon = begin().daemon
        held = HeldPlan("3f9c2a71", frozenset({"x"}), frozenset({102, 101}), 9)
        found = status_of(replace(daemon.access(), held=lambda: held))
        valid("status", found)
        assert found["held"] == {"plan": "3f9c2a71", "vmids": [101, 102]}
        assert status_of(daemon.access())["held"] is None

    def test_when_the_node_is_looked_at_next(self, site: Site, begin: Begin) -> None:
        agent = begin(interval=60.0)
        begun = datetime.fromisoformat(seen_by(agent)["next_pass"]).timestamp()
        assert begun == pytest.approx(site.clock(), abs=1.0)
        agent.daemon._next_pass = agent.monotonic() + 60.0
        due = datetime.fromisoformat(seen_by(agent)["next_pass"]).timestamp()
        assert due == pytest.approx(site.clock() + 60.0, abs=1.0)

    def test_how_it_is_with_the_hub(self, site: Site, begin: Begin) -> None:
        config = load(site.write_config(QUICK + HUB))
        hub = HubProvider(config.journal.directory, config.hub, keeps=False)
        daemon = begin().daemon
        assert status_of(daemon.access())["hub"] is None
        found = status_of(replace(daemon.access(), hub=hub))
        valid("status", found)
        assert found["hub"] == {"generation": 0, "blocked": False, "reported": None}


def seen_by(agent: Running) -> dict[str, Any]:
    agent.scheduler.publish()
    found = status_of(agent.daemon.access())
    valid("status", found)
    return found


class TestEvents:
    def test_they_are_told_with_the_guests_names_and_from_a_number_on(
        self, site: Site, start: Start, path: Path
    ) -> None:
        site.declare(RUNNING)
        agent = start()
        agent.wait_for("guest 100 web: done: start")
        wait_until(lambda: events(path)["newest"] >= 3)
        found = events(path)
        kinds = [(each["event"], each["vmid"], each["name"]) for each in found["events"]]
        assert kinds[0] == ("agent-started", None, "")
        assert ("guest-changed", 100, "web") in kinds
        assert [each["number"] for each in found["events"]] == list(range(1, found["newest"] + 1))
        later = events(path, f"?after={found['newest'] - 1}&vmid=100")
        assert later["run"] == found["run"]
        assert all(e["number"] >= found["newest"] and e["vmid"] == 100 for e in later["events"])
        assert {e["vmid"] for e in events(path, "?vmid=100")["events"]} == {100}
        assert events(path, "?vmid=999")["events"] == []
        assert agent.end() == 0

    def test_they_outlive_the_agent_of_the_moment(self, begin: Begin) -> None:
        ring = Ring()
        controls = Controls(ring)
        ring.emit(made(GUEST_CHANGED))
        alone = ask(controls, "/v1/events").body
        with controls.attached(begin().daemon.access()):
            assert ask(controls, "/v1/events").body == alone
        assert ask(controls, "/v1/events").body == alone
        valid("events", alone)
        assert len(alone["events"]) == 1

    @pytest.mark.parametrize(
        "query",
        ["after=-1", "after=x", "after=1.0", "after=1_0", "after=1e3", "after=9999999999999999",
         "vmid=0", "vmid=99", "vmid=all", "vmid=1000000000", "vmid=101-102", "n=1", "after"],
    )  # fmt: skip
    def test_what_is_no_number_in_its_bounds_is_refused(
        self, begin: Begin, path: Path, query: str
    ) -> None:
        server = ControlServer(path, Controls().routes())
        server.start()
        try:
            assert asked(path, "GET", f"/v1/events?{query}").status == 400
            assert asked(path, "GET", "/v1/events", {"after": 1}).status == 400
            assert asked(path, "POST", "/v1/events?after=1").status == 405
        finally:
            server.close()

    def test_a_full_ring_of_the_longest_events_is_an_answer_that_is_bounded(
        self, begin: Begin, path: Path
    ) -> None:
        ring = Ring()
        longest = {f"name{n}": "\u00e9" * 1000 for n in range(64)}
        for _ in range(1000):
            ring.emit(made(GUEST_CHANGED, "\u00e9" * 10_000, **longest))
        server = ControlServer(path, Controls(ring).routes())
        server.start()
        try:
            found = call(path, "GET", "/v1/events")
        finally:
            server.close()
        assert len(found["events"]) == 1000
        assert len(json.dumps(found)) < MAX_ANSWER


def events(path: Path, query: str = "") -> dict[str, Any]:
    reply = asked(path, "GET", "/v1/events" + query)
    assert reply.status == 200
    valid("events", reply.body)
    return reply.body


def made(event: Event, text: str = "x", **values: str) -> logging.LogRecord:
    record = logging.LogRecord("felhom_agent.x", logging.INFO, "x.py", 1, text, (), None)
    record.__dict__.update(fields(event, **values))
    return record


class TestReconcile:
    def test_the_node_is_looked_at_at_once(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        agent = start(settings=SLOW)
        wait_until(path.exists)
        wait_until(lambda: status(path)["last_pass"] is not None)
        site.declare(RUNNING)
        code, out, err = felhom("reconcile")
        assert (code, out, err) == (0, "Every guest is looked at now.\n", "")
        wait_until(lambda: agent.count("guest 100 web: done: start") == 1)
        assert agent.count("every guest is looked at now, by the word of") == 1
        site.world.stop(100)
        assert done(asked(path, "POST", "/v1/reconcile")) == (True, "Every guest is looked at now.")
        agent.wait_for("guest 100 web: done: start", times=2)
        assert agent.end() == 0

    def test_who_asks_a_thousand_times_is_answered_by_one_look(self, begin: Begin) -> None:
        daemon = begin().daemon
        controls = Controls()
        with controls.attached(daemon.access()):
            for _ in range(1000):
                assert ask(controls, "/v1/reconcile").status == 202
            assert daemon._inbox.qsize() == 1
            daemon._inbox.get_nowait()
            daemon.run_pass()
            ask(controls, "/v1/reconcile")
            assert daemon._inbox.qsize() == 1


def ask(controls: Controls, path: str, body: str = "") -> ControlAnswer:
    """Ask without a socket."""
    route = next(route for route in controls.routes() if route.path == path)
    headers = {"content-type": "application/json"}
    return route.handle(ControlRequest(route.method, path, headers, body.encode()), ROOT)


@pytest.fixture
def daemon(begin: Begin) -> Daemon:
    return begin().daemon


@pytest.fixture
def suspensions(daemon: Daemon) -> Suspensions:
    return daemon.access().suspensions


@pytest.fixture
def controls(daemon: Daemon) -> Iterator[Controls]:
    """The routes, attached to an agent."""
    controls = Controls()
    with controls.attached(daemon.access()):
        yield controls


class TestFields:
    @pytest.mark.parametrize(
        ("path", "body", "words"),
        [
            ("/v1/pause", "", "missing: vmid"),
            ("/v1/pause", "{}", "missing: vmid"),
            ("/v1/pause", '{"vmid": 100, "vmids": 1, "force": 1}', "unknown: force, vmids"),
            ("/v1/pause", '{"vmid": 99}', "vmid: "),
            ("/v1/pause", '{"vmid": 1000000000}', "vmid: "),
            ("/v1/pause", '{"vmid": -1}', "vmid: "),
            ("/v1/pause", '{"vmid": true}', "vmid: "),
            ("/v1/pause", '{"vmid": false}', "vmid: "),
            ("/v1/pause", '{"vmid": 101.0}', "vmid: "),
            ("/v1/pause", '{"vmid": 0.0}', "vmid: "),
            ("/v1/pause", '{"vmid": "101"}', "vmid: "),
            ("/v1/pause", '{"vmid": "ALL"}', "vmid: "),
            ("/v1/pause", '{"vmid": null}', "vmid: "),
            ("/v1/pause", '{"vmid": [101]}', "vmid: "),
            ("/v1/pause", '{"vmid": 101, "seconds": "2h"}', "seconds: "),
            ("/v1/pause", '{"vmid": 101, "seconds": true}', "seconds: "),
            ("/v1/pause", '{"vmid": 101, "seconds": 0}', "seconds: "),
            ("/v1/pause", '{"vmid": 101, "seconds": -5}', "seconds: "),
            ("/v1/pause", '{"vmid": 101, "seconds": 1e400}', "seconds: "),
            ("/v1/pause", f'{{"vmid": 101, "seconds": {MAX_SUSPENSION + 1}}}', "seconds: "),
            ("/v1/pause", '{"vmid": 101, "why": 1}', "why: "),
            ("/v1/pause", '{"vmid": 101, "why": "a\\nb"}', "why: "),
            ("/v1/pause", '{"vmid": 101, "why": "\\u001b[2J"}', "why: "),
            ("/v1/pause", '{"vmid": 101, "why": "\\u202e"}', "why: "),
            ("/v1/pause", '{"vmid": 101, "why": "\\ud800"}', "why: "),
            ("/v1/pause", f'{{"vmid": 101, "why": "{"x" * (MAX_WHY + 1)}"}}', "why: "),
            ("/v1/resume", '{"vmid": 101, "why": "x"}', "unknown: why"),
            ("/v1/freeze", '{"seconds": 5}', "missing: why"),
            ("/v1/freeze", '{"why": ""}', "why: "),
            ("/v1/freeze", '{"why": "  "}', "why: "),
            ("/v1/thaw", '{"why": "x"}', "unknown: why"),
            ("/v1/approve", '{"plan": 5}', "plan: "),
            ("/v1/approve", '{"plan": "../x"}', "plan: "),
            ("/v1/reconcile", '{"vmid": 101}', "unknown: vmid"),
            ("/v1/status", '{"vmid": 101}', "unknown: vmid"),
        ],
    )
    def test_what_is_not_as_it_must_be_is_named_and_nothing_is_done(
        self, controls: Controls, suspensions: Suspensions, path: str, body: str, words: str
    ) -> None:
        with pytest.raises(ControlError, match=f"^{words}") as caught:
            ask(controls, path, body)
        assert caught.value.status == 400
        assert suspensions.all() == ()

    def test_a_pause_takes_a_guest_or_all_for_a_time_or_for_good(
        self, controls: Controls, suspensions: Suspensions
    ) -> None:
        ask(controls, "/v1/pause", '{"vmid": 101, "seconds": 7200, "why": " disk swap "}')
        ask(controls, "/v1/pause", '{"vmid": 102}')
        ask(controls, "/v1/pause", '{"vmid": "all", "seconds": null, "why": ""}')
        everybody, first, second = suspensions.all()
        assert first.left is not None
        assert 7000 < first.left <= 7200
        assert (first.vmid, first.why, first.by) == (101, "disk swap", "root")
        assert (second.vmid, second.left, second.why) == (102, None, "")
        assert (everybody.vmid, everybody.freeze, everybody.left) == (0, False, None)
        ask(controls, "/v1/resume", '{"vmid": 0}')
        assert [each.vmid for each in suspensions.all()] == [101, 102]
        ask(controls, "/v1/freeze", '{"seconds": 60, "why": "moving"}')
        assert suspensions.frozen().startswith("frozen until ")

    def test_an_answer_is_a_sentence_that_says_what_holds(self, controls: Controls) -> None:
        def said(path: str, body: str = "") -> tuple[bool, str]:
            answer = ask(controls, path, body)
            valid("done", answer.body)
            return answer.body["done"], answer.body["text"]

        assert said("/v1/pause", '{"vmid": 101, "why": "swap"}') == (
            True, "Guest 101 is left alone until a person ends it (swap).",
        )  # fmt: skip
        done, text = said("/v1/pause", '{"vmid": 0, "seconds": 90000}')
        assert (done, text[:29]) == (True, "All guests are left alone unt")
        done, text = said("/v1/resume", '{"vmid": 101}')
        assert (done, text[:73]) == (
            True, "Guest 101 is paused no more. Nothing is changed all the same: all guests ",
        )  # fmt: skip
        assert said("/v1/resume", '{"vmid": 0}') == (True, "The pause of all guests has ended.")
        assert said("/v1/resume", '{"vmid": 101}') == (False, "Guest 101 was not paused.")
        assert said("/v1/resume", '{"vmid": 0}') == (False, "There was no pause of all guests.")
        assert said("/v1/freeze", '{"why": "moving"}') == (
            True, "Nothing of this host is changed until a person ends it (moving).",
        )  # fmt: skip
        assert said("/v1/thaw") == (True, "The freeze has ended.")
        assert said("/v1/thaw") == (False, "There was no freeze.")

    def test_who_resumes_hears_what_holds_all_the_same(self, begin: Begin) -> None:
        controls = Controls()
        with controls.attached(begin(mode=Mode.OBSERVE).daemon.access()):
            for path, body in (("/v1/resume", '{"vmid": 101}'), ("/v1/thaw", "")):
                text = ask(controls, path, body).body["text"]
                assert text.endswith(
                    " Nothing is changed all the same: nothing is changed in observe mode."
                )

    def test_more_pauses_than_anybody_needs_are_refused(
        self, controls: Controls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journaled, "MAX_PAUSED", 1)
        ask(controls, "/v1/pause", '{"vmid": 101}')
        with pytest.raises(ControlError, match="pause all instead") as caught:
            ask(controls, "/v1/pause", '{"vmid": 102}')
        assert caught.value.status == 409


class TestSuspensions:
    """On a running agent, by the commands."""

    def test_a_paused_guest_is_left_alone_until_it_is_resumed(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        agent = start(settings=SLOW)
        wait_until(path.exists)
        code, out, err = felhom("pause", "100", "--for", "2h", "--why", "disk swap")
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        assert first.startswith("Guest 100 is left alone until ")
        assert first.endswith(" (disk swap).")
        assert second == "`felhom-agent resume 100` ends it."
        site.declare(RUNNING + '[guest.200]\nstate = "running"\n')
        assert felhom("reconcile")[0] == 0
        agent.wait_for("guest 200 dns: done: start")
        agent.wait_for("guest 100 web: waits: paused until ")
        found = status(path)
        assert [(h["name"], h["vmid"]) for h in found["holds"]] == [("pause", 100)]
        (paused,) = found["suspensions"]
        assert (paused["vmid"], paused["why"], paused["freeze"]) == (100, "disk swap", False)
        assert 7000 < paused["left"] <= 7200
        assert site.world.config(100)["cores"] == 1
        code, out, _ = felhom("resume", "100")
        assert (code, out) == (0, "Guest 100 web is paused no more.\n")
        agent.wait_for("guest 100 web: done: start")
        assert felhom("resume", "100")[1] == "Guest 100 web was not paused.\n"
        assert agent.end() == 0

    def test_all_can_be_paused_and_each_guest_by_itself(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        agent = start(settings=SLOW)
        wait_until(path.exists)
        code, out, _ = felhom("pause", "100", "200", "100")
        assert (code, out.splitlines()[-1]) == (0, "`felhom-agent resume 100 200` ends it.")
        assert felhom("pause", "--all")[1].splitlines()[-1] == (
            "`felhom-agent resume --all` ends it."
        )
        assert [s["vmid"] for s in status(path)["suspensions"]] == [0, 100, 200]
        assert status(path)["mode"] == "observe"
        assert felhom("resume", "--all")[1] == "The pause of all guests has ended.\n"
        assert felhom("resume", "100", "200")[0] == 0
        assert status(path)["suspensions"] == []
        assert agent.end() == 0

    def test_a_frozen_host_is_not_changed_until_it_is_thawed_and_a_restart_is_no_thaw(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        agent = start(settings=SLOW)
        wait_until(path.exists)
        code, out, err = felhom("freeze", "--ttl", "1d", "--why", "moving the storage")
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        assert first.startswith("Nothing of this host is changed until ")
        assert second == "`felhom-agent thaw` ends it."
        assert agent.end() == 0
        site.declare(RUNNING)
        again = start(settings=SLOW)
        again.wait_for("guest 100 web: waits: frozen until ")
        found = status(path)
        assert (found["mode"], [h["name"] for h in found["holds"]]) == ("observe", ["freeze"])
        assert site.devnode.mutations == ()
        assert felhom("thaw")[:2] == (0, "The freeze has ended.\n")
        again.wait_for("guest 100 web: done: start")
        assert again.end() == 0

    def test_who_said_it_is_logged(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        agent = start(settings=SLOW)
        wait_until(path.exists)
        felhom("freeze", "--why", "moving")
        me = "root" if os.geteuid() == 0 else "the agent's own user"
        agent.wait_for(f"frozen by {me}: moving")
        assert agent.end() == 0

    def test_what_cannot_be_kept_is_not_said_to_be_done(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        start(settings=SLOW)
        wait_until(lambda: path.exists() and status(path)["last_pass"] is not None)
        # A journal that is not in its place any more takes nothing.
        (site.directory / "journal" / NAME).rename(site.directory / "elsewhere")
        code, out, err = felhom("freeze", "--why", "moving")
        assert (code, out) == (75, "")
        assert err.startswith("felhom-agent: ")


class TestApprove:
    def test_a_plan_that_is_held_is_let_pass_and_looked_at_at_once(self, begin: Begin) -> None:
        approved: list[str] = []

        def approve(plan: str) -> int:
            approved.append(plan)
            return 7 if plan == "3f9c2a71" else 0

        daemon = begin().daemon
        controls = Controls()
        with controls.attached(replace(daemon.access(), approve=approve)):
            answer = ask(controls, "/v1/approve", '{"plan": "3f9c2a71"}')
            text = "Plan 3f9c2a71 is approved; it lets 7 guests pass for an hour."
            assert answer.body == {"done": True, "text": text}
            assert daemon._inbox.qsize() == 1
            with pytest.raises(ControlError, match="no plan 0000 is held") as caught:
                ask(controls, "/v1/approve", '{"plan": "0000"}')
        assert caught.value.status == 404
        assert approved == ["3f9c2a71", "0000"]


class TestHub:
    def test_a_running_agents_block_is_ended_and_what_it_desired_forgotten(
        self, site: Site, start: Start, felhom: Felhom, path: Path
    ) -> None:
        config = load(site.write_config(QUICK + HUB))
        before = HubProvider(config.journal.directory, config.hub)
        before.accept(7, STATE)
        before.block(blocked=True)
        agent = start(settings=QUICK + HUB)
        agent.wait_for("nothing is changed while the hub blocks this host; would start")
        code, out, err = felhom("hub", "unblock", "--yes")
        assert (code, err) == (0, "")
        assert out.startswith("The hub no longer blocks this host")
        agent.wait_for("guest 100 web: done: start")
        assert felhom("hub", "unblock", "--yes")[0] == 0
        code, out, err = felhom("hub", "forget", "--yes")
        assert (code, err) == (0, "")
        assert out == "Forgotten. The hub is asked again with the next report.\n"
        wait_until(lambda: status(path)["guests"] == [])
        assert felhom("hub", "forget", "--yes")[1] == "It is so already; nothing was changed.\n"
        assert done(asked(path, "POST", "/v1/hub-forget"))[0] is False
        assert agent.count("what the hub desired is forgotten, by the word of") == 1
        kept = HubProvider(config.journal.directory, config.hub, keeps=False).kept
        assert (kept.generation, kept.blocked, kept.may_block) == (0, False, False)
        assert agent.end() == 0

    def test_without_a_hub_there_is_nothing_to_end(self, controls: Controls) -> None:
        for path in ("/v1/hub-unblock", "/v1/hub-forget"):
            with pytest.raises(ControlError, match="no hub is configured") as caught:
                ask(controls, path)
            assert caught.value.status == 409


class TestRights:
    def test_what_stops_everything_is_kept_for_root(self) -> None:
        for_root = {(r.method, r.path) for r in Controls().routes() if r.owner_only}
        for_members = {(r.method, r.path) for r in Controls().routes() if not r.owner_only}
        assert for_root == {
            ("POST", "/v1/freeze"),
            ("POST", "/v1/thaw"),
            ("POST", "/v1/approve"),
            ("POST", "/v1/apply"),
            ("POST", "/v1/withdraw"),
            ("POST", "/v1/notify-test"),
            ("POST", "/v1/hub-unblock"),
            ("POST", "/v1/hub-forget"),
            ("POST", "/v1/request"),
            ("POST", "/v1/submit"),
            ("GET", "/v1/job"),
            ("POST", "/v1/verify"),
        }
        assert for_members == {
            ("GET", "/v1/status"),
            ("GET", "/v1/events"),
            ("GET", "/v1/apply"),
            ("GET", "/v1/metrics"),
            ("POST", "/v1/reconcile"),
            ("POST", "/v1/pause"),
            ("POST", "/v1/resume"),
        }


class TestProcess:
    def test_between_two_agents_the_socket_says_so(self, begin: Begin, path: Path) -> None:
        controls = Controls()
        server = ControlServer(path, controls.routes())
        server.start()
        try:
            reply = asked(path, "GET", "/v1/status")
            assert (reply.status, "cannot open its journal" in reply.body["error"]) == (503, True)
            with controls.attached(begin().daemon.access()):
                assert status(path)["node"] == "pve1"
            assert asked(path, "POST", "/v1/reconcile").status == 503
        finally:
            server.close()

    def test_a_killed_agents_socket_is_replaced_and_a_stopped_one_leaves_none(
        self, site: Site, start: Start, path: Path
    ) -> None:
        first = start()
        wait_until(path.exists)
        status(path)
        first.end(signal.SIGKILL)
        assert path.exists()
        second = start()
        second.wait_for("felhom-agent 0")
        wait_until(lambda: (path.parent / "journal" / "lock").exists())
        second.send(signal.SIGHUP)
        second.wait_for("reloaded")
        status(path)
        assert second.end() == 0
        assert not path.exists()
        assert second.count("no control socket") == 0

    def test_a_second_agent_takes_nothing_from_the_first(
        self, site: Site, start: Start, path: Path
    ) -> None:
        start()
        wait_until(path.exists)
        second = start()
        second.wait_for("works with")
        assert second.end(None) == 75
        assert second.count("control socket") == 0
        status(path)

    def test_a_socket_that_cannot_be_made_is_one_line_and_the_agent_works(
        self, site: Site, start: Start
    ) -> None:
        site.declare(RUNNING)
        agent = start(settings=QUICK + '[control]\nsocket = "missing/control.sock"\n')
        agent.wait_for("guest 100 web: done: start")
        assert agent.end() == 0
        assert agent.count("there is no control socket: ") == 1

    def test_an_empty_path_means_no_socket(
        self, site: Site, start: Start, path: Path, felhom: Felhom
    ) -> None:
        site.declare(RUNNING)
        agent = start(settings=QUICK + '[control]\nsocket = ""\n')
        agent.wait_for("guest 100 web: done: start")
        assert not path.exists()
        code, _, err = felhom("reconcile")
        assert (code, "has no control socket" in err) == (1, True)
        assert agent.end() == 0
        assert agent.count("control socket") == 0

    def test_clients_that_send_nothing_do_not_hold_up_a_stop(
        self, site: Site, start: Start, path: Path
    ) -> None:
        agent = start()
        wait_until(path.exists)
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(connect(path))
            assert agent.end() == 0
        assert agent.count("internal error") == 0


class TestApply:
    def test_what_was_agreed_to_is_carried_out_and_told_step_by_step(
        self, site: Site, start: Start, path: Path
    ) -> None:
        site.declare(RUNNING)
        agent = start(settings=QUICK + 'mode = "observe"\n')
        agent.wait_for("guest 100 web: differs")
        acts = prints_of(
            [SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),)), StartGuest(100, Kind.QEMU)]
        )
        reply = asked(path, "POST", "/v1/apply", {"guests": {"100": sorted(acts)}})
        assert reply.status == 202
        valid("apply", reply.body)
        assert reply.body["open"]

        def progress() -> dict[str, Any]:
            found = asked(path, "GET", f"/v1/apply?apply={reply.body['apply']}")
            assert found.status == 200
            valid("apply", found.body)
            return found.body

        wait_until(lambda: not progress()["open"])
        (guest,) = progress()["guests"]
        assert (guest["vmid"], guest["outcome"], guest["why"]) == (100, "converged", "")
        assert [step["state"] for step in guest["steps"]] == ["succeeded", "succeeded"]
        assert all(step["ended"] for step in guest["steps"])
        assert guest["steps"][1]["upid"].startswith("UPID:pve1:")
        assert agent.count("1 guest is applied: 100, by the word of root") == 1
        assert agent.end() == 0

    def test_what_has_not_begun_is_withdrawn_and_an_unknown_one_is_told(self, begin: Begin) -> None:
        controls = Controls()
        with controls.attached(begin().daemon.access()):
            name = ask(controls, "/v1/apply", '{"guests": {"100": []}}').body["apply"]
            body = f'{{"apply": "{name}"}}'
            assert ask(controls, "/v1/withdraw", body).body["done"] is True
            assert ask(controls, "/v1/withdraw", body).body["done"] is False
            with pytest.raises(ControlError, match="no such apply"):
                ask(controls, "/v1/withdraw", '{"apply": "x"}')

    def test_a_guest_that_is_being_applied_is_not_applied_again(self, begin: Begin) -> None:
        controls = Controls()
        with controls.attached(begin().daemon.access()):
            ask(controls, "/v1/apply", '{"guests": {"100": []}}')
            with pytest.raises(ControlError, match="guest 100 is being applied") as caught:
                ask(controls, "/v1/apply", '{"guests": {"100": []}}')
            assert caught.value.status == 409

    @pytest.mark.parametrize(
        "guests",
        ["[]", "{}", "null", '{"99": []}', '{"x": []}', '{"1e3": []}', '{"\\u0661\\u0660": []}',
         '{"100": null}', '{"100": [1]}', '{"100": ["x"]}', '{"1000000000": []}',
         '{"100": ["' + "A" * 32 + '"]}', '{"100": ["' + "a" * 33 + '"]}'],
    )  # fmt: skip
    def test_what_is_no_list_of_guests_and_acts_is_refused(self, begin: Begin, guests: str) -> None:
        controls = Controls()
        with controls.attached(begin().daemon.access()):
            with pytest.raises(ControlError) as caught:
                ask(controls, "/v1/apply", f'{{"guests": {guests}}}')
            assert caught.value.status == 400
