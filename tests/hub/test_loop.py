"""The loop to a hub: reports, follows, and goes on whatever comes."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import requests

from felhom_agent.desired.hub import HubState
from felhom_agent.devhub import DevHub
from felhom_agent.devnode import Fault
from felhom_agent.httpcall.wire import MAX_BODY_BYTES
from felhom_agent.hub.client import MAX_DEPTH
from felhom_agent.proxmox.nodereport import _Kept
from tests.conftest import Site
from tests.hub.conftest import KEY, MAX_AGE, STATE, Begin, Scripted, envelope, http
from tests.process import SOON, wait_until

FINE = envelope(poll_interval_seconds=60)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def refused(hub: DevHub) -> tuple[int, tuple[str, ...]] | None:
    """Return what the hub was told of a refused generation."""
    found = hub.store.hosts()[0].refused
    return None if found is None else (found.generation, found.problems)


class TestWithAHub:
    def test_a_report_reaches_the_hub_with_the_hosts_key(self, hub: DevHub, begin: Begin) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        assert round_.loop.round() == 60.0
        host = hub.store.host("pve1")
        assert host is not None
        assert host.report["host"]["node"] == "pve1"
        assert [guest["vmid"] for guest in host.report["guests"]] == [100, 200]

    def test_a_new_generation_is_fetched_kept_and_the_main_loop_woken(
        self, hub: DevHub, begin: Begin
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        hub.store.desire("pve1", STATE)
        round_.loop.round()
        assert set(round_.provider.load().guests) == {100}
        assert len(round_.woken) == 1
        round_.loop.round()
        assert len(round_.woken) == 1, "the same generation is not news"
        host = hub.store.host("pve1")
        assert host is not None
        assert host.report["agent"]["generation"] == 1

    def test_a_wrong_generation_is_refused_whole_and_told_once(
        self, hub: DevHub, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        hub.store.desire("pve1", STATE)
        round_.loop.round()
        hub.store.desire("pve1", {"guest": {"100": {"restart": "allowed"}}})
        round_.loop.round()
        round_.loop.round()
        assert round_.provider.kept.generation == 1
        told = said(caplog)
        assert told.count("generation 2 of the hub is refused whole") == 1
        assert sum("restart is for a file on the host" in line for line in told) == 1
        found = refused(hub)
        assert found is not None
        assert found[0] == 2
        assert any("restart is for a file on the host" in problem for problem in found[1])

    def test_a_refusal_is_reported_until_a_generation_is_in_force(
        self, hub: DevHub, begin: Begin
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        hub.store.desire("pve1", {"guest": {"100": {"restart": "allowed"}}})
        for _ in range(3):
            round_.loop.round()
            assert refused(hub) is None or refused(hub)[0] == 1  # type: ignore[index]
        assert refused(hub) is not None
        hub.store.desire("pve1", STATE)
        round_.loop.round()
        round_.loop.round()
        assert refused(hub) is None

    def test_a_generation_that_goes_back_or_too_far_or_is_no_state_is_reported_with_the_reason(
        self, begin: Begin, scripted: Scripted
    ) -> None:
        round_ = begin(scripted.url)
        round_.provider.accept(5, STATE)
        state = {"host_id": "pve1", "generation": 6, "desired_state": ["no", "object"]}
        far = 2_000_000
        for script, generation, why in (
            ([envelope(desired_generation=3)], 3, "goes back to generation 3; 5 stays in force"),
            ([envelope(desired_generation=far)], far, "more than 1000000 ahead of 5"),
            ([envelope(desired_generation=6), http("200 OK", state)], 6, "is no object"),
        ):
            scripted.answers(*script)
            round_.loop.round()
            scripted.answers(envelope(desired_generation=5))
            round_.loop.round()
            said = json.loads(scripted.heard[-1].rpartition(b"\n")[2])["agent"]["refused"]
            assert said["generation"] == generation
            assert why in said["problems"][0]
        round_.loop.round()
        assert json.loads(scripted.heard[-1].rpartition(b"\n")[2])["agent"]["refused"] is None

    def test_a_block_lasts_until_the_hub_lifts_it(self, hub: DevHub, begin: Begin) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        hub.store.block("pve1", blocked=True)
        round_.loop.round()
        assert round_.provider.kept == HubState(blocked=True)
        hub.store.block("pve1", blocked=False)
        round_.loop.round()
        assert round_.provider.kept == HubState()
        assert len(round_.woken) == 2

    def test_without_the_nodes_status_nothing_is_reported(
        self, hub: DevHub, begin: Begin, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        site.devnode.faults.add(Fault("GET", "nodes/pve1/status", "status:595", times=2))
        for _ in range(2):
            round_.observe()
            round_.loop.round()
        host = hub.store.host("pve1")
        assert host is not None
        assert host.seen == 0
        assert sum("no report to the hub" in line for line in said(caplog)) == 1

    def test_a_report_asks_the_node_nothing_and_tells_when_the_node_was_observed(
        self, hub: DevHub, begin: Begin, site: Site
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        then, asked = site.clock.now, len(site.devnode.requests)
        site.clock.pass_by(100.0)
        round_.loop.round()
        host = hub.store.host("pve1")
        assert host is not None
        assert datetime.fromisoformat(host.report["at"]).timestamp() == then
        assert len(site.devnode.requests) == asked

    def test_a_node_that_was_observed_too_long_ago_is_not_reported_and_said_once(
        self, hub: DevHub, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        round_.monotonic.pass_by(MAX_AGE)
        round_.loop.round()
        seen = hub.store.hosts()[0].seen
        assert seen > 0
        assert said(caplog) == []
        for _ in range(2):
            round_.monotonic.pass_by(1.0)
            assert round_.loop.round() == 60.0, "the hub's interval is kept"
        assert said(caplog) == [
            "no report to the hub: the node was last observed more than 180 s ago"
        ]
        assert hub.store.hosts()[0].seen == seen
        round_.observe()
        round_.loop.round()
        assert said(caplog)[1:] == ["the hub has the report again"]

    @pytest.mark.parametrize("broken", [False, True], ids=["not observed yet", "no figures"])
    def test_an_owed_report_is_sent_as_soon_as_the_node_was_observed(
        self, scripted: Scripted, begin: Begin, site: Site, broken: bool
    ) -> None:
        round_ = begin(scripted.url)
        scripted.answers(FINE)
        reporter = round_.loop._reporter
        if broken:
            site.devnode.faults.add(Fault("GET", "nodes/pve1/status", "status:595"))
            round_.observe()
        else:
            reporter._kept = _Kept(None)
        assert round_.loop.round() == 900.0
        round_.loop.start()
        wait_until(lambda: not reporter._news.is_set())
        assert scripted.heard == []
        round_.observe()
        wait_until(lambda: len(scripted.heard) == 1)
        round_.loop.close(10.0)
        assert not round_.loop._thread.is_alive()

    def test_a_loop_that_waits_for_a_node_ends_when_told(
        self, scripted: Scripted, begin: Begin
    ) -> None:
        round_ = begin(scripted.url)
        round_.loop._reporter.withdraw("no figures")
        round_.loop.start()
        wait_until(lambda: not round_.loop._reporter._news.is_set())
        round_.loop.close(10.0)
        assert not round_.loop._thread.is_alive()
        assert scripted.heard == []

    def test_a_stop_that_comes_just_before_a_round_is_not_slept_through(
        self, scripted: Scripted, begin: Begin
    ) -> None:
        """The round clears what wakes it."""
        loop = begin(scripted.url).loop
        loop._reporter.withdraw("no figures")
        loop.close(1.0)
        loop.round()
        resting = threading.Thread(target=loop._rest, args=(3600.0,), daemon=True)
        resting.start()
        resting.join(SOON)
        assert not resting.is_alive()

    def test_it_reports_at_once_and_ends_when_told(self, hub: DevHub, begin: Begin) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        round_.loop.start()
        wait_until(lambda: bool(hub.store.hosts()[0].seen))
        round_.loop.close(10.0)
        assert not round_.loop._thread.is_alive()


class TestHostile:
    """Whatever answers, the agent keeps what it had, asks PVE for no change, and goes on."""

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (http("200 OK", raw=b"x" * (MAX_BODY_BYTES + 1)), "longer than"),
            (http("200 OK", raw=b"[" * (MAX_DEPTH + 1)), "nested deeper"),
            (http("200 OK", raw=b"[" * 200_000), "nested deeper"),
            (http("200 OK", raw=b"<html>"), "not JSON"),
            (http("200 OK", raw=b"\xff\xfe"), "not JSON"),
            (http("302 Found", {}, "Location: http://127.0.0.1:1/"), "redirect"),
            (http("301 Moved", {}, "Location: file:///etc/passwd"), "redirect"),
            (http("500 Oops", {}), "status 500"),
            (http("404 Not Found", {}), "there is no hub"),
            (http("413 Too Large", {}), "too large for it"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "broke the connection"),
            (b"not http at all\r\n\r\n", "broke the connection"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "broke the connection",
            ),
            (b"", "broke the connection"),
        ],
        ids=str,
    )
    def test_an_answer_that_is_none_is_told_in_words(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture, answer: bytes,
        words: str, site: Site,
    ) -> None:  # fmt: skip
        round_ = begin(scripted.url)
        round_.provider.accept(3, STATE)
        scripted.answers(answer)
        pause = round_.loop.round()
        assert 60.0 <= pause <= 3600.0
        assert words in said(caplog)[-1]
        assert KEY not in caplog.text
        assert "internal error" not in caplog.text
        assert round_.provider.kept.generation == 3
        assert site.devnode.mutations == ()
        scripted.answers(FINE)
        assert round_.loop.round() == 60.0, "and the next round is as good as any"

    @pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
    def test_a_wrong_key_is_told_once_and_tried_once_an_hour(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture, status: str
    ) -> None:
        caplog.set_level(logging.INFO)
        scripted.answers(http(status, {}))
        loop = begin(scripted.url).loop
        assert [loop.round(), loop.round()] == [3600.0, 3600.0]
        assert len(said(caplog)) == 1
        scripted.answers(FINE)
        assert loop.round() == 60.0
        assert said(caplog)[-1] == "the hub has the report again"

    @pytest.mark.parametrize(
        ("header", "pause"),
        [("Retry-After: 120", 120.0), ("Retry-After: 5", 60.0), ("Retry-After: 99999", 3600.0),
         ("Retry-After: soon", 900.0), ("X: y", 900.0), ("Retry-After: -5", 900.0)],
    )  # fmt: skip
    @pytest.mark.parametrize("status", ["429 Too Many", "503 Unavailable"])
    def test_patience_is_kept_within_bounds(
        self, scripted: Scripted, begin: Begin, status: str, header: str, pause: float
    ) -> None:
        scripted.answers(http(status, {}, header))
        assert begin(scripted.url).loop.round() == pause

    def test_an_invalid_envelope_is_adopted_in_no_part(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(scripted.url)
        scripted.answers(envelope(poll_interval_seconds=60, blocked="yes", desired_generation=9))
        assert round_.loop.round() == 900.0
        assert not round_.provider.kept.blocked
        assert len(scripted.heard) == 1
        assert "blocked is not true or false" in said(caplog)[-1]

    def test_a_generation_that_goes_back_is_not_fetched_and_told_once(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(scripted.url)
        round_.provider.accept(5, STATE)
        scripted.answers(envelope(desired_generation=4))
        round_.loop.round()
        round_.loop.round()
        assert len(scripted.heard) == 2, "two reports, and no question for a state"
        assert said(caplog) == ["the hub goes back to generation 4; 5 stays in force"]

    @pytest.mark.parametrize(
        "body",
        [
            {"generation": 3, "desired_state": STATE},
            {"generation": 5, "desired_state": {"guest": {}}},
            {"generation": "9", "desired_state": STATE},
            {"generation": True, "desired_state": STATE},
            {"desired_state": STATE},
            {"generation": 9},
            {"generation": 9, "desired_state": []},
            {"generation": 9, "desired_state": {"guest": {"100": {"config": {"cores": "x"}}}}},
            [],
        ],
        ids=str,
    )
    def test_a_state_that_is_not_what_was_announced_changes_nothing(
        self, scripted: Scripted, begin: Begin, body: object, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(scripted.url)
        round_.provider.accept(5, STATE)
        scripted.answers(envelope(desired_generation=9), http("200 OK", body))
        round_.loop.round()
        assert round_.provider.kept.generation == 5
        assert round_.woken == []
        assert "internal error" not in caplog.text

    @pytest.mark.parametrize("jump", [400 * 86400.0, -400 * 86400.0, -1_800_000_000.0])
    def test_a_clock_that_jumps_changes_nothing_but_what_the_report_says_of_the_time(
        self, hub: DevHub, begin: Begin, site: Site, jump: float
    ) -> None:
        round_ = begin(hub.url, hub.store.enroll("pve1"))
        hub.store.desire("pve1", STATE)
        assert round_.loop.round() == 60.0
        site.clock.pass_by(jump)
        round_.observe()
        assert round_.loop.round() == 60.0
        assert round_.provider.kept.generation == 1
        assert set(round_.provider.load().guests) == {100}
        host = hub.store.host("pve1")
        assert host is not None
        at = datetime.fromisoformat(host.report["at"]).timestamp()
        assert at == pytest.approx(site.clock.now, abs=1.0)

    def test_what_is_said_twice_is_heard_once(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        round_ = begin(scripted.url)
        caplog.set_level(logging.INFO)
        state = http("200 OK", {"host_id": "pve1", "generation": 9, "desired_state": STATE})
        again = envelope(desired_generation=9)
        scripted.answers(again, state, again)
        for _ in range(3):
            round_.loop.round()
        assert len(round_.woken) == 1
        assert said(caplog) == ["generation 9 of the hub is in force"]

    def test_a_hub_that_never_answers_is_given_up(
        self, scripted: Scripted, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        over = threading.Event()

        def hang(_: Callable[[bytes], None]) -> None:
            over.wait(10.0)

        scripted.answers(hang)
        begin(scripted.url, read_timeout=0.2).loop.round()
        over.set()
        assert "no answer in time" in said(caplog)[-1]

    def test_a_certificate_that_is_not_trusted_gets_no_key(
        self, begin: Begin, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = len(site.devnode.requests)
        loop = begin(site.devnode.endpoint).loop
        loop.round()
        assert "its certificate is not trusted" in said(caplog)[-1]
        reports = [r for r in site.devnode.requests[asked:] if "host-report" in r.path]
        assert reports == []

    def test_the_configured_ca_is_the_one_that_counts(
        self, begin: Begin, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        begin(site.devnode.endpoint, ca_file=site.devnode.ca_file).loop.round()
        assert "certificate" not in said(caplog)[-1], "it was asked, and is no hub"

    def test_proxies_of_the_environment_have_no_say(
        self, scripted: Scripted, begin: Begin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        scripted.answers(FINE)
        assert begin(scripted.url).loop.round() == 60.0

    def test_a_state_for_another_host_cannot_be_had(self, hub: DevHub, tmp_path: Path) -> None:
        mine, _ = hub.store.enroll("pve1"), hub.store.enroll("pve2")
        hub.store.desire("pve2", STATE)
        url = f"{hub.url}/api/v1/hosts/pve2/desired-state"
        answer = requests.get(url, headers={"Authorization": f"Bearer {mine}"}, timeout=10)
        assert answer.status_code == 403
