"""`felhom-agent verify` tells what each check finds, and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authz.desk import needs_ssh_keygen, signed
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
def verify(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Felhom:
    made = signed(REQUEST.operation)
    path = tmp_path / "web.job"
    path.write_bytes(made.blob)
    path.with_name("web.job.sig").write_bytes(made.signatures[0])
    run = typed(site.write_config('[control]\nsocket = "control.sock"\n'), capsys, "verify")
    return lambda *words: run(str(path), f"{path}.sig", *words)


def stage(name: str, passed: bool | None, text: str = "") -> dict[str, Any]:
    return {"stage": name, "attack": f"the attack on {name}", "passed": passed, "text": text}


def test_a_job_that_passes_all_checks_is_good(agent: SignedAgent, verify: Felhom) -> None:
    agent.stages = [stage("bounds", True), stage("armor", True, "one signature")]
    code, out, err = verify()
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["CHECK", "FOUND", "WHAT"],
        ["bounds", "good", "against", "the", "attack", "on", "bounds"],
        ["armor", "good", "one", "signature"],
        ["It", "would", "be", "taken", "now.", "Nothing", "was", "done."],
    ]
    assert set(agent.asked) == {"/v1/verify"}
    assert set(agent.asked["/v1/verify"]) == {"job", "signatures"}


def test_the_check_that_refuses_is_named_and_later_ones_are_not_looked_at(
    agent: SignedAgent, verify: Felhom
) -> None:
    agent.stages = [
        stage("bounds", True), stage("key", False, "not on the list\x1b"), stage("nonce", None),
    ]  # fmt: skip
    code, out, _ = verify()
    assert code == 1
    assert "It would not be done now: key." in out
    assert "refused" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("stages", [[], [{"stage": 1, "passed": "yes"}], [{}]])
def test_an_answer_that_tells_nothing_is_not_taken_for_good(
    agent: SignedAgent, verify: Felhom, stages: list[dict[str, Any]]
) -> None:
    agent.stages = stages
    assert verify()[0] == 1
