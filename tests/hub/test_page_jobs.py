"""What a person sees of signed jobs and signers: on the page of a host, and in the list."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from felhom_agent.devhub import DevHub, Store
from tests.conftest import Clock
from tests.hub.client import API, NASTY, Client, pending, request, signed

ENDS = 1_800_086_400
ENDS_TEXT = "2027-01-16 08:00:00 UTC"
SIGNERS = {"version": 4, "by": "rotation", "since": "2026-12-01T09:00:00Z",
           "expires": "2027-12-01T10:00:00+01:00", "operational": 3, "recovery": 1}  # fmt: skip


@pytest.fixture
def hub(clock: Clock) -> Iterator[DevHub]:
    with DevHub(Store(), clock=clock) as hub:
        yield hub


def rows(page: str, table: str = "joblist") -> dict[str, list[str]]:
    """Return the cells of a table of the page as a person reads them, by the first of each row."""
    found = re.search(rf'<table id="{table}">(.*?)</table>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", found[1] if found else "", re.DOTALL)
    cells = [[words(cell) for cell in re.split(r"</t[dh]>", row)[:-1]] for row in rows]
    return {each[0]: each[1:] for each in cells}


def words(markup: str) -> str:
    spaced = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())
    return re.sub(r" ([;:,])", r"\1", spaced)


class TestTheStateOfAJob:
    def test_a_request_is_asked_for_until_the_host_has_composed_it(
        self, hub: DevHub, host: Client, operator: Client, clock: Clock
    ) -> None:
        hub.store.enqueue("pve1", request(stop=True), clock.now)
        clock.pass_by(5)
        what, state, said, buttons = rows(operator.page())["r1"]
        assert what == "guest_destroy 101 purge=False stop"
        assert (state, said, buttons) == ("asked for; put in 5 s ago", "", "Drop")
        host.fetches()
        host.reports(pending=[pending("r1", expires=ENDS)])
        _, state, *_ = rows(operator.page())["r1"]
        assert state == (
            f"waiting for a signature until {ENDS_TEXT}: download the request; "
            "put in 5 s ago; fetched 0 s ago"
        )
        assert '<a href="/hosts/pve1/requests/r1">download the request</a>' in operator.page()

    def test_a_request_that_nobody_signed_in_time_waits_no_more(
        self, hub: DevHub, host: Client, operator: Client, clock: Clock
    ) -> None:
        hub.store.enqueue("pve1", request())
        clock.now = ENDS
        host.reports(pending=[pending("r1", expires=ENDS)])
        assert rows(operator.page())["r1"][1] == f"nobody signed it before it ended on {ENDS_TEXT}"
        assert "for a signature" not in operator("GET", "/").text

    def test_a_signed_job_is_held_delivered_fetched_and_acknowledged(
        self, hub: DevHub, host: Client, operator: Client, clock: Clock
    ) -> None:
        hub.store.enqueue("pve1", signed(), clock.now, held=True)
        assert rows(operator.page())["j1"] == [
            "force_stop 101 web; 1 signature", "held; put in 0 s ago", "", "Deliver Drop"
        ]  # fmt: skip
        operator("POST", "/hosts/pve1/jobs/deliver", data={"job_id": "j1"})
        _, *state = rows(operator.page())["j1"]
        assert state == ["to be delivered; put in 0 s ago", "", "Hold Drop"]
        host.fetches()
        host.reports(jobs={"recent": [{"job_id": "j1", "state": "refused", "why": "too late"}]})
        clock.pass_by(7)
        _, *state = rows(operator.page())["j1"]
        assert state == [
            "to be delivered; put in 7 s ago; fetched 7 s ago", "refused: too late", "Hold Drop"
        ]  # fmt: skip
        host("DELETE", f"{API}/hosts/pve1/jobs/j1")
        _, *state = rows(operator.page())["j1"]
        assert state == ["acknowledged 0 s ago", "refused: too late", ""]

    @pytest.mark.parametrize(
        ("state", "css"),
        [("pending", ""), ("running", ""), ("done", "good"), ("failed", "bad"), ("unknown", "bad"),
         ("refused", "bad"), ("expired", "bad"), ("parked", "")],
    )  # fmt: skip
    def test_what_the_host_says_of_it_is_shown(
        self, hub: DevHub, host: Client, operator: Client, state: str, css: str
    ) -> None:
        hub.store.enqueue("pve1", signed())
        host.reports(jobs={"recent": [{"job_id": "j1", "state": state, "why": "because"}]})
        assert f'<span class="{css}">{state}</span>: because' in operator.page()

    def test_one_that_the_host_never_tells_of_is_marked_after_more_than_two_reports(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enqueue("pve1", signed())
        host.fetches()
        for _ in range(2):
            host.reports()
            assert rows(operator.page())["j1"][2] == ""
        host.reports()
        assert rows(operator.page())["j1"][2] == "the host has not told of it"
        host("DELETE", f"{API}/hosts/pve1/jobs/j1")
        assert rows(operator.page())["j1"][2] == ""

    def test_a_request_that_the_hub_does_not_ask_for_is_told_apart_and_does_not_mark_the_host(
        self, host: Client, operator: Client
    ) -> None:
        host.reports(pending=[pending("odd")])
        assert rows(operator.page())["odd"][1] == (
            "not asked for, or answered or dropped since; "
            f"waiting for a signature until {ENDS_TEXT}: download the request"
        )
        assert "for a signature" not in operator("GET", "/").text

    def test_open_ones_come_first_as_they_were_put_in_then_the_latest_that_ended(
        self, hub: DevHub, host: Client, operator: Client, clock: Clock
    ) -> None:
        for name in ("d", "c", "b", "a"):
            hub.store.enqueue("pve1", signed(name))
        host.fetches()
        for name in ("c", "b"):
            host("DELETE", f"{API}/hosts/pve1/jobs/{name}")
            clock.pass_by(1)
        assert list(rows(operator.page())) == ["Job", "d", "a", "b", "c"]

    def test_without_any_it_says_so(self, host: Client, operator: Client) -> None:
        assert "None was put in." in operator.page()


class TestWhatTheHostSaysOfItself:
    def facts(self, operator: Client) -> dict[str, str]:
        return {name: cells[0] for name, cells in rows(operator.page(), "signing").items()}

    def test_it_is_shown(self, host: Client, operator: Client) -> None:
        host.reports(
            jobs={"accepted": 7, "last_nonce": "ab" * 16}, challenge="cd" * 16,
            audit_head="e" * 64, frozen=False, signers=SIGNERS,
        )  # fmt: skip
        assert self.facts(operator) == {
            "Signers": "version 4, by a rotation, since 2026-12-01 09:00:00 UTC, they expire on "
            "2027-12-01 09:00:00 UTC, 3 operational, 1 recovery",
            "Jobs accepted": "7",
            "Last nonce": "ab" * 16,
            "Challenge": "cd" * 16,
            "Head of the audit log": "e" * 64,
            "Frozen": "no",
        }

    def test_a_frozen_host_and_signers_that_expired_are_seen(
        self, host: Client, operator: Client
    ) -> None:
        host.reports(frozen=True, signers={**SIGNERS, "expires": "2026-12-31T00:00:00Z"})
        assert '<span class="bad">yes</span>' in operator.page()
        assert '<span class="bad">expired on 2026-12-31 00:00:00 UTC</span>' in operator.page()

    @pytest.mark.parametrize(
        "agent",
        [
            {},
            dict.fromkeys(("jobs", "challenge", "audit_head", "frozen", "signers", "pending")),
            {"jobs": [1], "challenge": 7, "audit_head": 7, "frozen": 1, "signers": "x"},
            {"jobs": {"accepted": True, "last_nonce": [1], "recent": {}}, "challenge": {},
             "audit_head": "E" * 64, "frozen": "no", "signers": []},
            {"jobs": {"accepted": -1, "last_nonce": {}, "recent": [[], 7, None]},
             "audit_head": "e" * 65, "frozen": None, "signers": {}},
            {"jobs": {"accepted": 1.5}, "audit_head": "e" * 63 + "\n", "signers": {"version": 5}},
            {"jobs": {"accepted": 2**60}, "signers": {"version": "5", "by": "root"}},
            {"signers": {**SIGNERS, "version": True}}, {"signers": {**SIGNERS, "version": -1}},
            {"signers": {**SIGNERS, "by": NASTY}}, {"signers": {**SIGNERS, "by": ["root"]}},
        ],
    )  # fmt: skip
    def test_what_is_not_of_the_contract_is_not_told(
        self, host: Client, operator: Client, agent: dict[str, object]
    ) -> None:
        host.reports(**agent)
        assert set(self.facts(operator).values()) == {"not told"}

    @pytest.mark.parametrize(
        "moment", [None, 7, "", "soon", NASTY, "2027-12-01", "2027-12-01T10:00:00", "9" * 300,
                   "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T00:00:00Z"]
    )  # fmt: skip
    def test_what_is_wrong_with_one_of_its_words_costs_that_word(
        self, host: Client, operator: Client, moment: object
    ) -> None:
        host.reports(
            challenge=7, frozen=False,
            signers={**SIGNERS, "since": moment, "expires": moment, "operational": "3"},
        )  # fmt: skip
        assert self.facts(operator)["Signers"] == (
            "version 4, by a rotation, without an end that the host tells, 1 recovery"
        )
        assert self.facts(operator)["Frozen"] == "no"

    def test_texts_are_cut_and_printable(self, host: Client, operator: Client) -> None:
        host.reports(challenge="x" * 100_000, jobs={"last_nonce": "a\x1b[2J\n\u202eb"})
        assert self.facts(operator)["Challenge"] == "x" * 197 + "..."
        assert self.facts(operator)["Last nonce"] == "a?[2J??b"


class TestTheListOfHosts:
    def test_a_host_with_a_request_to_sign_is_marked_until_it_is_answered(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        for name in ("r1", "r2"):
            hub.store.enqueue("pve1", request(name))
        assert "for a signature" not in operator("GET", "/").text
        host.reports(pending=[pending("r1"), pending("r2")])
        mark = '<a class="bad" href="/hosts/pve1#jobs">{} for a signature</a>'
        assert mark.format("2 requests wait") in operator("GET", "/").text
        hub.store.enqueue("pve1", signed(), answers="r1")
        assert mark.format("1 request waits") in operator("GET", "/").text
        operator("POST", "/hosts/pve1/jobs/drop", data={"job_id": "r2"})
        assert "for a signature" not in operator("GET", "/").text

    def test_what_was_acknowledged_or_is_a_signed_job_does_not_mark_it(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enqueue("pve1", request("r1"))
        hub.store.enqueue("pve1", signed("j1"))
        host.fetches()
        host("DELETE", f"{API}/hosts/pve1/jobs/r1")
        host.reports(pending=[pending("r1"), pending("j1")])
        assert "for a signature" not in operator("GET", "/").text

    def test_another_hosts_request_does_not_mark_it(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enroll("pve2")
        hub.store.enqueue("pve2", request("r1"))
        host.reports(pending=[pending("r1")])
        assert "for a signature" not in operator("GET", "/").text


class TestSignersThatRootProvided:
    WORDS = "signers: version {}, provisioned by root"

    def shown(self, operator: Client) -> set[str]:
        """Return which versions are marked, the same in the list and on the host's page."""
        found = [
            set(re.findall(r"signers: version (\d+), provisioned by root", page))
            for page in (operator("GET", "/").text, operator.page())
        ]
        assert found[0] == found[1]
        return found[0]

    def reports(self, host: Client, version: int, by: str = "root") -> None:
        host.reports(signers={**SIGNERS, "version": version, "by": by})

    def test_the_first_that_is_known_of_a_host_is_no_news(
        self, host: Client, operator: Client
    ) -> None:
        host.reports(signers=None)
        for _ in range(2):
            self.reports(host, 4)
        assert self.shown(operator) == set()

    def test_a_rotation_is_no_news(self, host: Client, operator: Client) -> None:
        for version in (4, 5):
            self.reports(host, version, "rotation")
        assert self.shown(operator) == set()

    @pytest.mark.parametrize("version", [5, 3], ids=["newer", "older"])
    def test_another_version_is_marked_until_a_person_has_seen_it(
        self, host: Client, operator: Client, version: int
    ) -> None:
        self.reports(host, 4, "rotation")
        self.reports(host, version)
        host.reports(signers=None)
        host.reports()
        self.reports(host, version)
        assert self.shown(operator) == {str(version)}
        answer = operator("POST", "/hosts/pve1/signers/seen", data={"version": str(version)})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/hosts/pve1#jobs")
        self.reports(host, version)
        assert self.shown(operator) == set()

    def test_the_same_version_by_root_in_the_place_of_a_rotation_is_marked(
        self, host: Client, operator: Client
    ) -> None:
        self.reports(host, 4, "rotation")
        self.reports(host, 4)
        assert self.shown(operator) == {"4"}

    def test_a_rotation_after_it_does_not_hide_it(self, host: Client, operator: Client) -> None:
        self.reports(host, 4, "rotation")
        self.reports(host, 5)
        self.reports(host, 6, "rotation")
        assert self.shown(operator) == {"5"}

    @pytest.mark.parametrize("version", ["5", "9" * 16])
    def test_one_that_came_while_a_person_looked_at_another_stays_marked(
        self, host: Client, operator: Client, version: str
    ) -> None:
        for number in (4, 5, 6):
            self.reports(host, number)
        operator("POST", "/hosts/pve1/signers/seen", data={"version": version})
        assert self.shown(operator) == {"6"}

    @pytest.mark.parametrize("version", ["", "x", "-1", "9" * 17, "9" * 10_000, "\u0665"])
    def test_what_is_no_version_is_refused(
        self, host: Client, operator: Client, version: str
    ) -> None:
        for number in (4, 5):
            self.reports(host, number)
        answer = operator("POST", "/hosts/pve1/signers/seen", data={"version": version})
        assert (answer.status_code, answer.json()["error"]) == (
            400, "version must be a whole number"
        )  # fmt: skip
        assert self.shown(operator) == {"5"}


class TestHostileHosts:
    def test_nothing_that_it_says_runs_in_a_page(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        quotes = f"\"'>{NASTY}"
        hub.store.enqueue("pve1", request(quotes))
        host.fetches()
        host.reports(
            pending=[pending(quotes), pending(f"{quotes}2")],
            jobs={"recent": [{"job_id": quotes, "state": NASTY[:40], "why": quotes}],
                  "last_nonce": quotes},
            challenge=quotes,
        )  # fmt: skip
        page = operator.page() + operator("GET", "/").text
        assert "<script" not in page
        assert "\"'>" not in page
        link = "/hosts/pve1/requests/%22%27%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"
        assert f'<a href="{link}">' in page
        assert operator("GET", link).status_code == 200

    def test_nothing_that_an_operator_puts_in_runs_in_a_page(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enqueue("pve1", signed(NASTY, op_blob_b64=NASTY, sigs_armored=NASTY))
        hub.store.enqueue("pve1", {"job_id": "r", "request": {"act": NASTY, "params": {NASTY: 1}}})
        hub.store.enqueue("pve1", {"job_id": "odd", "request": [NASTY]})
        assert "<script" not in operator.page()
        assert rows(operator.page())[NASTY][0] == "unknown; 0 signatures"

    def test_a_report_full_of_them_makes_a_page_of_bounded_size(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        for number in range(50):
            hub.store.enqueue("pve1", signed(f"j{number}"))
        recent = [{"job_id": f"j{number % 60}", "state": "s" * 1000, "why": "w" * 20_000}
                  for number in range(100)]  # fmt: skip
        host.reports(jobs={"recent": recent}, pending=[pending("p" * 200)] * 1000)
        page = operator.page()
        assert len(page) < 100_000
        assert rows(page)["j49"][2].endswith("w...")

    @pytest.mark.parametrize(
        "word",
        [None, 7, [], {}, {"job_id": "j1"}, {"job_id": 7, "state": "done", "why": ""},
         {"job_id": "j1", "state": 7, "why": ""}, {"job_id": "j1", "state": "", "why": ""},
         {"job_id": "j\n1", "state": "done", "why": ""}, {"job_id": ["j1"], "state": "done"}],
    )  # fmt: skip
    def test_what_is_no_word_on_a_job_spoils_no_other(
        self, hub: DevHub, host: Client, operator: Client, word: object
    ) -> None:
        for name in ("j1", "j2"):
            hub.store.enqueue("pve1", signed(name))
        good = {"job_id": "j2", "state": "done", "why": None}
        host.reports(jobs={"recent": [word, good, {**good, "state": "failed"}]})
        found = rows(operator.page())
        assert (found["j1"][2], found["j2"][2]) == ("", "done")

    def test_control_characters_in_why_are_shown_as_none(
        self, hub: DevHub, host: Client, operator: Client
    ) -> None:
        hub.store.enqueue("pve1", signed())
        host.reports(
            jobs={"recent": [{"job_id": "j1", "state": "x\x00", "why": "a\x1b\r\n\u202e"}]}
        )
        assert rows(operator.page())["j1"][2] == "x?: a????"
