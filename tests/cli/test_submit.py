"""`felhom-agent submit` hands a signed job over, and follows it to its end."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.service.request import ControlError
from tests.authz.desk import needs_ssh_keygen, signed
from tests.cli.agents import OnTerminal, sending
from tests.cli.signedagent import SignedAgent
from tests.cli.test_jobfiles import REQUEST
from tests.commands import Felhom, typed
from tests.conftest import Site

pytestmark = needs_ssh_keygen


@pytest.fixture
def agent(site: Site) -> Iterator[SignedAgent]:
    agent = SignedAgent()
    with agent.serving(site.directory / "control.sock"):
        yield agent


@pytest.fixture
def config(site: Site) -> Path:
    return site.write_config('[control]\nsocket = "control.sock"\n')


@pytest.fixture
def felhom(config: Path, capfd: pytest.CaptureFixture[str]) -> Felhom:
    # Not capsys: it has no descriptor, whose other end is watched.
    return typed(config, capfd, "submit")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    made = signed(REQUEST.operation)
    path = tmp_path / "web.job"
    path.write_bytes(made.blob)
    path.with_name("web.job.sig").write_bytes(made.signatures[0])
    return path


def pending(**given: Any) -> dict[str, Any]:
    return {"state": "pending", **given}


def test_a_job_is_handed_over_whole_and_followed_until_it_is_done(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    agent.states = [
        pending(), pending(stage="time", why="the clock is not known to be right"),
        pending(stage="time", why="the clock is not known to be right"),
        {"state": "running", "upid": "UPID:pve1:1"}, {"state": "done", "upid": "UPID:pve1:1"},
    ]  # fmt: skip
    code, out, err = felhom(str(job), f"{job}.sig")
    assert (code, err) == (0, "")
    given = agent.asked["/v1/submit"]
    assert base64.b64decode(given["job"]) == job.read_bytes()
    assert [base64.b64decode(each) for each in given["signatures"]] == [
        Path(f"{job}.sig").read_bytes()
    ]
    assert out.splitlines()[0] == f"guest_destroy 101 web job {agent.name[:12]}"
    assert [line.split()[1] for line in out.splitlines()[1:]] == [
        "pending", "pending", "running", "done",
    ]  # fmt: skip
    assert "time: the clock is not known to be right" in out
    assert "UPID:pve1:1" in out


@pytest.mark.parametrize("state", ["failed", "unknown", "refused", "expired"])
@pytest.mark.parametrize("first", [True, False])
def test_every_other_end_is_told_with_why_and_ends_in_1(
    agent: SignedAgent, felhom: Felhom, job: Path, state: str, first: bool
) -> None:
    end = {"state": state, "stage": "state", "why": "one more snapshot than signed\x1b[31m"}
    agent.states = [end] if first else [pending(), end]
    code, out, _ = felhom(str(job))
    assert code == 1
    assert any(f"  {state}" in line for line in out.splitlines())
    assert "state: one more snapshot than signed" in out
    assert "\x1b" not in out


def test_a_job_that_was_done_before_is_not_said_to_be_done_now(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    code, out, _ = felhom(str(job))
    assert code == 0
    assert "brought before; nothing is done twice" in out
    agent.states = [pending(), {"state": "done"}]
    assert "brought before" not in felhom(str(job))[1]


def test_without_waiting_it_is_left_to_the_agent(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    agent.states = [pending()]
    code, out, _ = felhom(str(job), "--no-wait")
    assert code == 0
    assert "`felhom-agent jobs` tells" in out
    assert "/v1/job" not in agent.asked
    agent.states = [{"state": "refused"}]
    assert felhom(str(job), "--no-wait")[0] == 1


def test_an_interrupt_leaves_the_job_to_the_agent_and_says_so(
    agent: SignedAgent, config: Path, job: Path
) -> None:
    agent.states = [pending()]
    terminal = OnTerminal(config, "submit", str(job))
    try:
        agent.wait_for_a_look()
        assert terminal.interrupt() == 130
        seen = terminal.wait_for(lambda seen: "felhom-agent jobs" in seen)
    finally:
        terminal.close()
    assert "The job is left to the agent" in seen


def test_an_agent_that_is_busy_for_a_moment_is_asked_again(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    agent.states = [pending(), {"state": "done"}]

    class Once(dict[str, ControlError]):
        def __getitem__(self, key: str) -> ControlError:
            return self.pop(key)

    agent.refusals = Once({"/v1/job": ControlError(503, "not at present")})
    assert felhom(str(job))[0] == 0


def test_a_job_that_the_agent_does_not_know_any_more_is_told(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    agent.states = [pending()]
    agent.refusals["/v1/job"] = ControlError(404, "there is no such job")
    code, _, err = felhom(str(job))
    assert code == 1
    assert "what came of the job is not known here: there is no such job" in err
    assert agent.calls == ["/v1/submit", "/v1/job"], "it is not asked again"
    assert "`felhom-agent jobs` tells" in err


def test_a_refusal_to_take_it_is_told(agent: SignedAgent, felhom: Felhom, job: Path) -> None:
    agent.refusals["/v1/submit"] = ControlError(403, "this is for root alone")
    code, out, err = felhom(str(job))
    assert (code, out) == (1, "")
    assert "this is for root alone" in err


def test_what_answers_and_is_no_agent_is_told(site: Site, felhom: Felhom, job: Path) -> None:
    with sending(site.directory / "control.sock", b"HTTP/1.1 200 OK\r\n\r\n[]"):
        code, _, err = felhom(str(job))
    assert (code, err.count("\n")) == (1, 1)
    assert "makes no sense" in err


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        (("web.job.sig", "web.job"), "is a signature; the job goes first"),
        (("web.request", "web.job.sig"), "is a request, which nobody has signed yet"),
        (("web.job", "web.job"), "is given twice"),
        (("none", "web.job.sig"), "none: cannot be read: No such file"),
        (("web.job", "none"), "none: cannot be read: No such file"),
        (("empty", "web.job.sig"), "empty: it is empty"),
        (("web.job", "empty"), "empty: the signature is empty"),
        (("big", "web.job.sig"), "big: it has 70000 bytes"),
        (("web.job", "big"), "big: the signature has 70000 bytes"),
        ((".", "web.job.sig"), "is not read: it is a directory"),
    ],
)
def test_files_that_cannot_be_these_are_told_and_the_agent_is_not_asked(
    agent: SignedAgent, felhom: Felhom, job: Path, swap: tuple[str, str], said: str
) -> None:
    directory = job.parent
    (directory / "web.request").write_bytes(REQUEST.encode())
    (directory / "empty").touch()
    (directory / "big").write_bytes(b"x" * 70_000)
    code, out, err = felhom(*(str(directory / name) for name in swap))
    assert (code, out, err.count("\n"), agent.asked) == (1, "", 1, {})
    assert said in err


def test_the_signature_is_looked_for_beside_the_job(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    assert felhom(str(job))[0] == 0
    assert base64.b64decode(agent.asked["/v1/submit"]["signatures"][0]).startswith(b"-----BEGIN")


def test_all_signatures_beside_a_job_are_handed_over(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    job.with_name("web.job.2.sig").write_bytes(b"of another")
    assert felhom(str(job))[0] == 0
    given = [base64.b64decode(each) for each in agent.asked["/v1/submit"]["signatures"]]
    assert given == [Path(f"{job}.sig").read_bytes(), b"of another"]


def test_an_envelope_is_what_a_hub_takes_and_no_agent_is_asked(
    agent: SignedAgent, felhom: Felhom, job: Path
) -> None:
    code, out, _ = felhom(str(job), "--envelope", "web-1")
    found = json.loads(out)
    assert (code, agent.asked, found["job_id"]) == (0, {}, "web-1")
    assert base64.b64decode(found["op_blob_b64"]) == job.read_bytes()
    assert found["sigs_armored"] == [Path(f"{job}.sig").read_text()]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_an_envelopes_name_is_one_that_a_hub_takes(felhom: Felhom, job: Path, name: str) -> None:
    assert felhom(str(job), "--envelope", name)[0] == 64
