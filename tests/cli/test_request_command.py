"""`felhom-agent request` writes what is to be signed, as the agent made it, and shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.cli.jobfiles import read_request
from felhom_agent.service.request import ControlError
from tests.authz.desk import GUEST
from tests.cli.signedagent import SignedAgent
from tests.commands import Felhom, typed
from tests.conftest import Site


@pytest.fixture
def agent(site: Site) -> Iterator[SignedAgent]:
    agent = SignedAgent()
    with agent.serving(site.directory / "control.sock"):
        yield agent


@pytest.fixture
def felhom(site: Site, capsys: pytest.CaptureFixture[str]) -> Felhom:
    path = site.write_config('[control]\nsocket = "control.sock"\n')
    return typed(path, capsys, "request")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "web.request"


@pytest.mark.parametrize(
    ("words", "act", "params", "stop", "resume"),
    [
        (["destroy", "101"], "guest_destroy", {"purge": False}, False, False),
        (["destroy", "101", "--purge", "--stop"], "guest_destroy", {"purge": True}, True, False),
        (["guest_destroy", "101", "--stop"], "guest_destroy", {"purge": False}, True, False),
        (["rollback", "101", "weekly"], "snapshot_rollback", {"snapshot": "weekly"}, False, False),
        (
            ["snapshot_rollback", "101", "weekly", "--resume"],
            "snapshot_rollback", {"snapshot": "weekly"}, False, True,
        ),
        (
            ["delete-snapshot", "101", "before"],
            "snapshot_delete", {"snapshot": "before"}, False, False,
        ),
        (["force-stop", "101", "--resume"], "force_stop", {}, False, True),
        (["detach-disk", "101", "scsi1"], "disk_detach", {"key": "scsi1"}, False, False),
    ],
)  # fmt: skip
def test_each_act_is_asked_for_shown_and_written(
    agent: SignedAgent, felhom: Felhom, out: Path,
    words: list[str], act: str, params: dict[str, object], stop: bool, resume: bool,
) -> None:  # fmt: skip
    code, said, err = felhom(*words, "-o", str(out))
    assert (code, err) == (0, "")
    asked = {"act": act, "vmid": 101, "params": params, "stop": stop, "resume": resume}
    assert agent.asked["/v1/request"] == asked
    request = read_request(out)
    assert (request.operation.act, request.operation.params) == (act, params)
    for line in request.lines():
        assert f"{line}\n" in said
    assert f"Wrote {out}; nothing was done." in said
    assert "felhom-agent sign web.request\n" in said
    assert "felhom-agent submit web.job web.job.sig\n" in said
    assert "It is good until 2030-03-17T17:46:40Z" in said
    assert out.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_there_is_not_replaced_and_the_agent_is_not_asked(
    agent: SignedAgent, felhom: Felhom, out: Path
) -> None:
    out.write_text("mine")
    code, _, err = felhom("destroy", "101", "-o", str(out))
    assert (code, out.read_text(), agent.asked) == (1, "mine", {})
    assert "is there already" in err
    assert felhom("destroy", "101", "-o", str(out), "--force")[0] == 0
    assert read_request(out).operation.vmid == 101


def test_what_the_agent_refuses_is_told_and_nothing_is_written(
    agent: SignedAgent, felhom: Felhom, out: Path
) -> None:
    agent.refusals["/v1/request"] = ControlError(409, "101 web has no snapshot 'x'")
    code, said, err = felhom("rollback", "101", "x", "-o", str(out))
    assert (code, said, out.exists()) == (1, "", False)
    assert err == "felhom-agent: 101 web has no snapshot 'x'\n"


def test_a_request_for_something_else_than_was_asked_for_is_not_written(
    agent: SignedAgent, felhom: Felhom, out: Path
) -> None:
    code, said, err = felhom("destroy", "102", "-o", str(out))
    assert GUEST.vmid == 101
    assert (code, said, out.exists()) == (1, "", False)
    assert "for something else than was asked for" in err


def test_without_an_agent_that_is_told(felhom: Felhom, out: Path) -> None:
    code, _, err = felhom("destroy", "101", "-o", str(out))
    assert (code, out.exists()) == (1, False)
    assert "no agent runs here" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["destroy", "101"], "-o"),
        (["destroy", "-o", "x"], "needs the guest's VMID"),
        (["destroy", "101", "--signers", "f", "-o", "x"], "for what is done to the host"),
        (["thaw", "101", "-o", "x"], "leave out the VMID"),
        (["thaw", "--stop", "-o", "x"], "for what is done to a guest"),
        (["thaw", "--key", "k", "-o", "x"], "--key is of revoke-key"),
        (["revoke-key", "-o", "x"], "needs --key"),
        (["revoke-key", "--until", "20300101", "--key", "k", "-o", "x"], "of rotate-signers"),
        (["rotate-signers", "-o", "x"], "needs --signers"),
        (["destroy", "1", "-o", "x"], "not a vmid"),
        (["destroy", "101", "all", "-o", "x"], "takes nothing behind the VMID"),
        (["destroy", "101", "--resume", "-o", "x"], "nothing to go on with"),
        (["rollback", "101", "-o", "x"], "needs the snapshot's name"),
        (["rollback", "101", "current", "-o", "x"], "cannot be a snapshot's name"),
        (["delete-snapshot", "101", "a b", "-o", "x"], "cannot be a snapshot's name"),
        (["rollback", "101", "s", "--purge", "-o", "x"], "of destroy alone"),
        (["force-stop", "101", "--stop", "-o", "x"], "of destroy alone"),
        (["force-stop", "101", "hard", "-o", "x"], "takes nothing behind the VMID"),
        (["detach-disk", "101", "-o", "x"], "needs the disk's key"),
        (["storage_wipe", "101", "-o", "x"], "none of destroy"),
        (["destory", "101", "-o", "x"], "did you mean 'destroy'?"),
    ],
)
def test_words_that_do_not_fit_are_wrong_usage(
    agent: SignedAgent, felhom: Felhom, words: list[str], said: str
) -> None:
    code, _, err = felhom(*words)
    assert (code, agent.asked) == (64, {})
    assert said in err
