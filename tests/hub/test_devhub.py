"""The reference hub: the contract's wire, and a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from felhom_agent.devhub import DevHub, Store
from tests.conftest import Clock
from tests.hub.client import API, NASTY, Client
from tests.hub.conftest import STATE


@pytest.fixture
def hub(clock: Clock) -> Iterator[DevHub]:
    with DevHub(Store(), clock=clock) as hub:
        yield hub


def test_a_report_is_answered_with_the_envelope(host: Client, hub: DevHub) -> None:
    answer = host("POST", f"{API}/host-report", json={"host_id": "pve1", "schema": 1})
    assert answer.json() == {
        "poll_interval_seconds": 60,
        "blocked": False,
        "desired_generation": 0,
        "has_signed_ops": False,
    }


def test_generations_grow_and_an_etag_saves_the_state(host: Client, operator: Client) -> None:
    path = f"{API}/hosts/pve1/desired-state"
    assert host("GET", path).status_code == 404
    admin = f"{API}/admin/hosts/pve1/desired-state"
    assert [operator("PUT", admin, json=STATE).json()["generation"] for _ in range(2)] == [1, 2]
    answer = host("GET", path)
    assert answer.json() == {"host_id": "pve1", "generation": 2, "desired_state": STATE}
    again = host("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_job_waits_until_it_is_acknowledged_and_that_may_be_said_twice(
    host: Client, operator: Client
) -> None:
    job = {"job_id": "j1", "op_blob_b64": "eA==", "sigs_armored": ["s"]}
    assert operator("POST", f"{API}/admin/hosts/pve1/jobs", json=job).status_code == 201
    assert host("GET", f"{API}/hosts/pve1/jobs").json() == {"jobs": [job]}
    for _ in range(2):
        assert host("DELETE", f"{API}/hosts/pve1/jobs/j1").status_code == 200
    assert host("GET", f"{API}/hosts/pve1/jobs").json() == {"jobs": []}


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        ("nobody", "POST", f"{API}/host-report", 401),
        ("host", "POST", f"{API}/host-report", 403),
        ("host", "GET", f"{API}/hosts/pve2/desired-state", 403),
        ("host", "GET", f"{API}/hosts/pve2/jobs", 403),
        ("host", "GET", f"{API}/admin/hosts", 401),
        ("host", "PUT", f"{API}/admin/hosts/pve1/desired-state", 401),
        ("host", "GET", "/", 401),
        ("host", "POST", "/hosts/pve1/desired-state", 401),
        ("operator", "POST", f"{API}/host-report", 401),
        ("operator", "PUT", f"{API}/admin/hosts/nobody/desired-state", 404),
        ("operator", "GET", "/hosts/nobody", 404),
        ("operator", "GET", "/nonsense", 404),
    ],
)
def test_each_key_opens_its_own_doors_only(
    hub: DevHub, who: str, method: str, path: str, status: int
) -> None:
    keys = {"host": hub.store.enroll("pve1"), "operator": hub.operator_key, "nobody": "x"}
    hub.store.enroll("pve2")
    assert Client(hub, keys[who])(method, path, json={"host_id": "pve2"}).status_code == status


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b"x" * 5_000_000, 413)])
def test_a_body_that_is_none_is_refused(host: Client, body: bytes, status: int) -> None:
    try:
        assert host("POST", f"{API}/host-report", data=body).status_code == status
    except requests.ConnectionError:
        assert status == 413, "it does not wait for what it does not want"


def test_what_it_knows_survives_in_its_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "hub.sqlite"))
    key = store.enroll("pve1")
    store.desire("pve1", STATE)
    store.close()
    again = Store(str(tmp_path / "hub.sqlite"))
    assert again.owner(key) == "pve1"
    assert again.hosts()[0].state == STATE
    with pytest.raises(ValueError, match="already"):
        again.enroll("pve1")
    again.close()


def test_the_page_shows_hosts_and_nothing_that_a_host_says_runs_in_it(
    hub: DevHub, host: Client, operator: Client, clock: Clock
) -> None:
    report = {
        "host_id": "pve1",
        "agent": {"mode": NASTY, "generation": NASTY, "outcomes": {NASTY: 3}},
        "host": {"pve_version": NASTY},
        "guests": [{"vmid": NASTY, "name": NASTY, "outcome": {"state": NASTY, "why": NASTY}}, 7],
    }
    host("POST", f"{API}/host-report", json=report)
    hub.store.desire("pve1", {"guest": {"100": {"config": {"description": f"</textarea>{NASTY}"}}}})
    clock.pass_by(42)
    pages = operator("GET", "/").text + operator("GET", "/hosts/pve1").text
    assert "42 s ago" in pages
    assert "<script" not in pages
    assert "</textarea>&lt;" not in pages
    assert "&lt;/textarea&gt;&lt;script&gt;" in pages


def test_a_state_is_saved_on_the_page_and_a_wrong_one_is_shown_with_its_error(
    hub: DevHub, operator: Client
) -> None:
    hub.store.enroll("pve1")
    path = "/hosts/pve1/desired-state"
    saved = operator("POST", path, data={"state": '{"guest": {}}'})
    assert (saved.status_code, saved.headers["Location"]) == (303, "/hosts/pve1")
    wrong = operator("POST", path, data={"state": '{"guest": '})
    assert wrong.status_code == 400
    assert "This was not saved: " in wrong.text
    assert "{&quot;guest&quot;: </textarea>" in wrong.text, "what was typed is not lost"
    assert hub.store.hosts()[0].generation == 1


def test_a_form_of_another_site_is_refused(hub: DevHub, operator: Client) -> None:
    hub.store.enroll("pve1")
    sent = operator("POST", "/hosts/pve1/blocked", data={"blocked": "1"},
                    headers={"Origin": "https://elsewhere.example"})  # fmt: skip
    assert sent.status_code == 403
    assert not hub.store.hosts()[0].blocked


def test_a_host_that_was_never_seen_is_told_when_its_first_report_comes(
    hub: DevHub, operator: Client, clock: Clock
) -> None:
    key = hub.store.enroll("pve1")
    words = "no report yet: the first one comes after the agent's first pass"
    assert words in operator("GET", "/").text
    assert words in operator("GET", "/hosts/pve1").text
    Client(hub, key)("POST", f"{API}/host-report", json={"host_id": "pve1"})
    assert "no report yet" not in operator("GET", "/").text + operator("GET", "/hosts/pve1").text


def refusing(host: Client, refused: object) -> None:
    """Report as a host that has generation 7 in force and refused something."""
    agent = {"generation": 7, "refused": refused}
    answer = host("POST", f"{API}/host-report", json={"host_id": "pve1", "agent": agent})
    assert answer.status_code == 200


def test_why_a_generation_was_refused_is_on_the_hosts_page_and_marked_in_the_list(
    hub: DevHub, host: Client, operator: Client
) -> None:
    for _ in range(8):
        hub.store.desire("pve1", STATE)
    refusing(host, {"generation": 8, "problems": [f"101: {NASTY}", "102: onboot is not allowed"]})
    page = operator("GET", "/hosts/pve1").text
    assert "The host refused generation 8 as a whole; generation 7 stays in force." in page
    assert "<li>101: &lt;script&gt;alert(1)&lt;/script&gt;</li>" in page
    assert "<li>102: onboot is not allowed</li>" in page
    assert "generation 8 was refused</a>" in operator("GET", "/").text
    hub.store.desire("pve1", STATE)
    assert "It has not reported on generation 9 yet." in operator("GET", "/hosts/pve1").text
    refusing(host, None)
    assert "refused" not in operator("GET", "/hosts/pve1").text + operator("GET", "/").text


def test_of_what_a_host_says_of_a_refused_generation_only_so_much_is_shown_in_printable_lines(
    hub: DevHub, host: Client, operator: Client
) -> None:
    problems = ["x" * 100_000, "a\x1b[2J\nb", 7, None, ["y"], *(f"p{n}" for n in range(1000))]
    refusing(host, {"generation": 8, "problems": problems})
    found = hub.store.hosts()[0].refused
    assert found is not None
    assert found.problems[:3] == ("x" * 1021 + "...", "a?[2J?b", "p0")
    assert len(found.problems) == 20
    page = operator("GET", "/hosts/pve1").text
    assert page.count("<li>") == 20
    assert len(page) < 10_000


@pytest.mark.parametrize(
    "refused",
    [None, 7, [], "x", {}, {"generation": 8}, {"problems": ["x"]}, {"generation": True,
     "problems": []}, {"generation": "8", "problems": []}, {"generation": -1, "problems": []},
     {"generation": 2**53, "problems": []}, {"generation": 8, "problems": "x"},
     {"generation": 8.5, "problems": []}],
)  # fmt: skip
def test_what_is_no_refusal_by_the_contract_is_none(
    host: Client, operator: Client, refused: object
) -> None:
    refusing(host, refused)
    assert "refused" not in operator("GET", "/hosts/pve1").text + operator("GET", "/").text


def test_a_refusal_without_a_reason_and_with_nothing_in_force_is_said_so(
    host: Client, operator: Client
) -> None:
    agent = {"generation": 0, "refused": {"generation": 1, "problems": []}}
    host("POST", f"{API}/host-report", json={"host_id": "pve1", "agent": agent})
    page = operator("GET", "/hosts/pve1").text
    assert "nothing that this hub desires is in force" in page
    assert "It gave no reason." in page


def nested(levels: int) -> str:
    """Return a JSON object that is nested so deep, itself counted."""
    return '{"x":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "agent", [nested(31), nested(1000), nested(100_000), "NaN", "-Infinity", "1e999", "9" * 5000]
)
def test_a_report_that_could_not_be_kept_and_shown_is_refused(
    host: Client, operator: Client, agent: str
) -> None:
    body = f'{{"host_id": "pve1", "agent": {{"x": {agent}}}}}'
    answer = host("POST", f"{API}/host-report", data=body)
    assert answer.status_code == 400
    assert re.fullmatch(r"not JSON|nested more than 32 deep", answer.json()["error"])
    assert operator("GET", "/").status_code == 200
    assert operator("GET", f"{API}/admin/hosts").json()["hosts"][0]["last_seen"] is None


def test_a_report_as_deep_as_may_be_is_kept_and_shown(host: Client, operator: Client) -> None:
    body = f'{{"host_id": "pve1", "agent": {nested(31)}}}'
    assert host("POST", f"{API}/host-report", data=body).status_code == 200
    assert operator("GET", "/hosts/pve1").status_code == 200


def test_half_a_surrogate_pair_and_huge_texts_spoil_no_page(host: Client, operator: Client) -> None:
    half = "\ud800"
    host("POST", f"{API}/host-report", json={
        "host_id": "pve1",
        "agent": {"mode": half + "m" * 100_000, "generation": "9" * 4000,
                  "outcomes": {f"o{n}" * 1000: "1" for n in range(100)}},
        "host": {"pve_version": [half]},
        "guests": [{"vmid": {"x": 1}, "name": half, "kind": [1], "status": "x" * 100_000}],
    })  # fmt: skip
    for path in ("/", "/hosts/pve1"):
        page = operator("GET", path)
        assert page.status_code == 200
        assert len(page.text) < 20_000


def test_a_key_that_is_no_ascii_is_nobodys(hub: DevHub, host: Client) -> None:
    stranger = Client(hub, "kl\xfccht")
    for method, path in (("POST", f"{API}/host-report"), ("GET", "/")):
        assert stranger(method, path, json={"host_id": "pve1"}).status_code == 401


def test_a_path_that_is_none_is_refused(hub: DevHub) -> None:
    connection = HTTPConnection(urlsplit(hub.url).netloc, timeout=10)
    connection.putrequest("GET", "http://[", skip_host=True)
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_a_page_may_run_nothing_and_load_nothing(host: Client, operator: Client) -> None:
    for path in ("/", "/hosts/pve1"):
        policy = operator("GET", path).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; ")
