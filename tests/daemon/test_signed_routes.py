"""What the control socket answers about signed operations, and to nonsense."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.authz.check import STAGES, SignedJob
from felhom_agent.authz.request import parse_request
from felhom_agent.daemon.controls import Controls
from felhom_agent.service.control import ControlServer
from tests.authz.desk import needs_ssh_keygen
from tests.control import Reply, asked, valid
from tests.daemon.signing import DESTROY, SigningAgent, SigningHost

pytestmark = needs_ssh_keygen


@pytest.fixture
def agent(host: SigningHost) -> Iterator[SigningAgent]:
    with host.agent() as found:
        controls = Controls()
        server = ControlServer(path_of(found), controls.routes())
        server.start()
        try:
            with controls.attached(found.running.daemon.access()):
                yield found
        finally:
            server.close()


def path_of(agent: SigningAgent) -> Path:
    return agent.host.site.directory / "control.sock"


def ask(agent: SigningAgent, method: str, route: str, given: object = None) -> Reply:
    return asked(path_of(agent), method, route, given)


def body(job: SignedJob) -> dict[str, object]:
    return {
        "job": base64.b64encode(job.blob).decode(),
        "signatures": [base64.b64encode(each).decode() for each in job.signatures],
    }


def test_from_a_request_to_a_destroyed_guest(agent: SigningAgent) -> None:
    given = {"act": DESTROY, "vmid": 100, "params": {"purge": True}}
    made = ask(agent, "POST", "/v1/request", given)
    assert made.status == 200
    valid("request", made.body)
    request = parse_request(made.body["request"].encode())
    assert request.lines()[0] == "DESTROY VM 100 web"
    assert any("request ends at" in line for line in request.lines())

    job = agent.host.signed(request)
    found = ask(agent, "POST", "/v1/verify", body(job))
    valid("verify", found.body)
    assert [(s["stage"], s["passed"]) for s in found.body["stages"]] == [
        (stage.name, True) for stage in STAGES
    ]

    taken = ask(agent, "POST", "/v1/submit", body(job))
    valid("job", taken.body)
    assert (taken.status, taken.body["state"]) == (202, "pending")
    assert (taken.body["vmid"], taken.body["name"]) == (100, "web")
    agent.ended(job)
    then = ask(agent, "GET", f"/v1/job?job={job.hash}")
    valid("job", then.body)
    assert (then.body["state"], then.body["upid"][:5]) == ("done", "UPID:")

    after = ask(agent, "POST", "/v1/verify", body(job)).body["stages"]
    (refused,) = [s for s in after if s["passed"] is False]
    assert refused["stage"] == "host"
    assert after[-1]["passed"] is None


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"act": DESTROY, "vmid": 999, "params": {"purge": False}}, 404, "no guest 999"),
        ({"act": DESTROY, "vmid": 100}, 400, "needs the parameter 'purge'"),
        ({"act": DESTROY, "vmid": 100, "params": {"purge": "yes"}}, 400, "not as it must be"),
        ({"act": DESTROY, "vmid": 100, "params": {"purge": True, "x": "y"}}, 400, "no parameter"),
        ({"act": "storage_wipe", "vmid": 100}, 400, "not done by this version"),
        ({"act": "snapshot_rollback", "vmid": 100, "params": {"snapshot": "no"}}, 400, "no snap"),
        ({"act": "disk_detach", "vmid": 200, "params": {"key": "rootfs"}}, 400, "container"),
        ({"act": "force_stop", "vmid": 100, "stop": True}, 400, "has no stop before it"),
        ({"act": "force_stop", "vmid": True}, 400, "vmid"),
        ({"act": "force_stop", "vmid": "100"}, 400, "vmid"),
        ({"act": "force_stop", "vmid": 99}, 400, "vmid"),
        ({"act": "force_stop", "vmid": 10**9}, 400, "vmid"),
        ({"act": ["force_stop"], "vmid": 100}, 400, "act"),
        ({"act": "x" * 99, "vmid": 100}, 400, "act"),
        ({"act": "force_stop", "vmid": 100, "resume": 1}, 400, "resume"),
        ({"act": "force_stop", "vmid": 100, "params": []}, 400, "params"),
        ({"act": "force_stop", "vmid": 100, "params": {"a\nb": "x"}}, 400, "params"),
        ({"act": "force_stop", "vmid": 100, "params": {"a": "x\x1b[2J"}}, 400, "params"),
        ({"act": "force_stop", "vmid": 100, "params": {"a": {"b": 1}}}, 400, "params"),
        ({"act": "force_stop", "vmid": 100, "more": 1}, 400, "unknown: more"),
        ({"act": "force_stop"}, 400, "missing: vmid"),
    ],
)
def test_a_request_that_nobody_could_carry_out_is_refused_and_spends_no_challenge(
    agent: SigningAgent, given: object, status: int, words: str
) -> None:
    reply = ask(agent, "POST", "/v1/request", given)
    assert (reply.status, words in reply.body["error"]) == (status, True), reply.body
    assert "challenge" not in (agent.host.config.journal.directory / "journal.jsonl").read_text()


@pytest.mark.parametrize(
    "given",
    [
        {"job": "", "signatures": [""]},
        {"job": "e30=", "signatures": ["e30="]},
        {"job": base64.b64encode(b"x" * 70_000).decode(), "signatures": ["e30="]},
        {"job": base64.b64encode(b"\xff\xfe").decode(), "signatures": ["e30="]},
        {"job": base64.b64encode(b"[" * 60_000).decode(), "signatures": ["e30="]},
    ],
)
def test_nonsense_is_refused_by_the_first_stages_and_says_nothing_of_a_guest(
    agent: SigningAgent, given: dict[str, object]
) -> None:
    reply = ask(agent, "POST", "/v1/submit", given)
    valid("job", reply.body)
    assert reply.body["state"] == "refused"
    assert reply.body["stage"] in ("bounds", "armor")
    assert (reply.body["vmid"], reply.body["act"]) == (None, "")
    assert ask(agent, "GET", f"/v1/job?job={reply.body['job']}").body["state"] == "refused"


@pytest.mark.parametrize("value", ["e30", "e3 0=", 1, None, ["e30="], "\u00e9"])
def test_what_is_no_base64_is_a_bad_request(agent: SigningAgent, value: object) -> None:
    for given in ({"job": value, "signatures": ["e30="]}, {"job": "e30=", "signature": value}):
        for route in ("/v1/submit", "/v1/verify"):
            assert ask(agent, "POST", route, given).status == 400


def test_an_unknown_job_is_not_found(agent: SigningAgent) -> None:
    assert ask(agent, "GET", f"/v1/job?job={'0' * 64}").status == 404
    assert ask(agent, "GET", "/v1/job?job=x").status == 400
    assert ask(agent, "GET", "/v1/job").status == 400


def test_a_flood_is_asked_to_come_again_and_is_not_written_down(agent: SigningAgent) -> None:
    found = [
        ask(agent, "POST", "/v1/submit", body(SignedJob(json.dumps(n).encode(), (b"x",))))
        for n in range(25)
    ]
    late = [reply for reply in found if reply.status == 503]
    assert late
    assert "too many signed jobs at once; again in" in late[0].body["error"]
    assert len(agent.decisions()) == 25 - len(late)


def test_without_an_audit_log_the_reason_is_answered(host: SigningHost) -> None:
    directory = host.config.journal.directory
    directory.mkdir()
    (directory / "audit.jsonl").mkdir()
    with host.agent() as agent:
        controls = Controls()
        server = ControlServer(path_of(agent), controls.routes())
        server.start()
        try:
            with controls.attached(agent.running.daemon.access()):
                reply = ask(agent, "POST", "/v1/request", {"act": "force_stop", "vmid": 100})
        finally:
            server.close()
    assert reply.status == 503
    assert "no signed operation is done: " in reply.body["error"]
    assert "audit.jsonl" in reply.body["error"]
