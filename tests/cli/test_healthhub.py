"""`check` tells how the hub is, by asking it with this host's key; what it desires is not used."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent import __version__
from felhom_agent.cli import answers
from felhom_agent.cli.healthagent import agent_of
from felhom_agent.cli.main import main
from felhom_agent.config.agentfile import load
from felhom_agent.desired.hub import HubProvider
from felhom_agent.devhub import DevHub, Store
from felhom_agent.printable import moment_text
from tests.cli.agents import answering
from tests.conftest import Site
from tests.process import Process, wait_until


@pytest.fixture
def hub() -> Iterator[DevHub]:
    with DevHub(Store()) as hub:
        yield hub


@pytest.fixture
def path(site: Site, hub: DevHub) -> Path:
    site.declare("[guest.100.config]\ncores = 1\n")
    key = site.directory / "hub-key"
    key.write_text(hub.store.enroll("pve1"))
    key.chmod(0o600)
    return site.write_config(
        f'[hub]\nurl = "{hub.url}"\nkey_file = "hub-key"\nguests = ["100-199"]\n'
    )


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = main(["--config", str(path), "check"])
    lines = capsys.readouterr().out.splitlines()
    return code, [line for line in lines if re.search(r"\bhub\b", line)]


def test_a_hub_that_takes_the_key_is_fine(
    path: Path, hub: DevHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(path, capsys) == (0, [f"ok    hub {hub.url} answers, and takes the key of pve1"])
    hub.store.desire("pve1", {"guest": {"100": {"state": "running"}}})
    assert check(path, capsys)[0] == 0
    assert HubProvider(load(path).journal.directory, load(path).hub, keeps=False).kept.state is None


def test_a_hub_that_does_not_take_the_key_is_a_fault(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "hub-key").write_text("another-key")
    code, (fault,) = check(path, capsys)
    assert code == 1
    assert fault.startswith("FAIL  hub ")
    assert "another-key" not in fault


def test_a_hub_that_is_away_is_a_fault_and_no_node_that_is_away(
    path: Path, hub: DevHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.close()
    code, (fault,) = check(path, capsys)
    assert code == 1
    assert "it cannot be reached" in fault


def test_a_key_that_cannot_be_read_is_a_fault(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "hub-key").unlink()
    code, (fault,) = check(path, capsys)
    assert code == 1
    assert "hub-key: the hub key's file cannot be read: No such file or directory" in fault


def test_a_hub_that_blocks_this_host_is_noted(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    HubProvider(load(path).journal.directory, load(path).hub).block(blocked=True)
    code, lines = check(path, capsys)
    assert code == 0
    assert lines[1].startswith("note  the hub blocks this host: ")
    assert lines[2].strip() == "felhom-agent hub unblock"


def test_a_hub_that_may_speak_for_no_guest_is_noted(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(path.read_text().replace('guests = ["100-199"]\n', ""))
    _, lines = check(path, capsys)
    assert "note  the hub may speak for no guest: [hub] guests in agent.toml is empty" in lines


def test_where_no_hub_is_configured_nothing_is_said(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.declare("")
    assert check(site.write_config(), capsys) == (0, [])


STATUS = {"schema": 1, "version": __version__, "node": "pve1", "guests": []}


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (600.0, "ok    the hub took the last report 10 m ago"),
        (None, "note  the hub has taken no report since the agent began, "),
    ],
)
def test_the_last_report_is_told(
    path: Path, capsys: pytest.CaptureFixture[str], ago: float | None, words: str
) -> None:
    told = {"reported": None if ago is None else moment_text(time.time() - ago)}
    status = {**STATUS, "last_pass": {"at": moment_text(time.time())}, "hub": told}
    with answering(path.parent / "control.sock", status=status):
        code, lines = check(path, capsys)
    assert code == 0
    assert any(line.startswith(words) for line in lines), lines


def test_a_running_agent_tells_of_its_last_report(path: Path, site: Site) -> None:
    agent = Process(path)
    try:
        wait_until(lambda: bool(answers.table(agent_of(load(path)).status, "hub").get("reported")))
    finally:
        assert agent.end() == 0
