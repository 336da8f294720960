"""`check` tells how the service is: by its own word where it runs, else by systemd's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent import __version__
from felhom_agent.cli.healthagent import Agent, agent_of, of_agent
from felhom_agent.cli.serviceuser import Service
from felhom_agent.config.settings import ControlConfig
from felhom_agent.model import Mode
from tests.cli.agents import answering, http, sending
from tests.conftest import Site
from tests.process import Process, wait_until

Told = Callable[..., list[tuple[str, str]]]
STATUS: dict[str, Any] = {
    "schema": 1, "version": __version__, "node": "pve1", "guests": [], "mode": "enforce",
    "last_pass": {"at": "2026-11-24T09:00:00Z", "seconds": 0.1, "ok": True, "why": ""},
}  # fmt: skip


@pytest.fixture
def told(site: Site) -> Told:
    """Return the findings on an agent that tells its status, and what is different in it."""

    def found(unit: dict[str, str] | None = None, **status: object) -> list[tuple[str, str]]:
        with answering(site.directory / "control.sock", status={**STATUS, **status}):
            agent = agent_of(site.config())
        assert agent.runs
        findings = of_agent(site.config(), Service(None, unit or {}), agent)
        return [(str(f.level), f.text) for f in findings]

    return found


def test_an_agent_that_is_fine_is_one_line(told: Told) -> None:
    ((level, text),) = told()
    assert level == "good"
    assert text.startswith("the agent runs, and looked at the guests ")


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        ({"version": "0.0.1"}, "note", f"that runs is 0.0.1, this command is {__version__}:"),
        ({"trouble": "no route"}, "bad", "the agent runs, and is in trouble: no route"),
        ({"last_pass": None}, "note", "has not looked at the guests yet"),
        ({"mode": "observe"}, "note", 'goes by mode = "observe", agent.toml says "enforce":'),
        ({"node": "pve9"}, "note", "keeps node pve9, agent.toml says pve1:"),
        (
            {"holds": [{"name": "freeze", "vmid": 0, "why": "frozen: the storage is moved"}]},
            "note", "nothing is changed: frozen: the storage is moved",
        ),
    ],
)  # fmt: skip
def test_what_is_not_as_usual_with_a_running_agent_is_told(
    told: Told, status: dict[str, object], level: str, words: str
) -> None:
    (found,) = (pair for pair in told(**status) if words in pair[1])
    assert found[0] == level


def test_a_pause_of_one_guest_is_not_the_hosts(told: Told) -> None:
    holds = [{"name": "pause", "vmid": 100, "why": "paused"}]
    assert len(told(holds=holds)) == 1


def test_a_service_that_does_not_start_at_boot_is_noted(told: Told) -> None:
    texts = [text for _, text in told({"UnitFileState": "disabled"})]
    assert "the agent runs, and is not started when the host boots:" in texts


UNITS = [
    ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}, "bad",
     "the service has failed (exit-code, exit code 78)"),
    ({"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "1"}, "bad",
     "the service ends and is started again (exit code 1)"),
    ({"ActiveState": "active"}, "bad", "the service is active, and does not answer"),
    ({"ActiveState": "inactive"}, "note", "no agent runs here"),
    ({}, "note", "no agent runs here"),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "level", "words"), UNITS)
def test_where_no_agent_runs_systemd_tells_why(
    site: Site, unit: dict[str, str], level: str, words: str
) -> None:
    agent = agent_of(site.config())
    assert agent.runs is False
    (finding,) = of_agent(site.config(), Service(None, unit), agent)
    assert (finding.level, finding.text.startswith(words)) == (level, True)


def test_what_answers_and_is_no_agent_is_a_fault(site: Site) -> None:
    with sending(site.directory / "control.sock", http({"x": 1})):
        agent = agent_of(site.config())
    (finding,) = of_agent(site.config(), Service(None), agent)
    assert finding.level == "bad"
    assert "what answers there is no felhom-agent" in finding.text


def test_an_agent_without_a_socket_cannot_be_asked_and_that_is_no_fault(site: Site) -> None:
    config = replace(site.config(), control=ControlConfig(None))
    (finding,) = of_agent(config, Service(None), agent_of(config))
    assert finding.level == "note"
    assert "it has no control socket" in finding.text


def test_a_real_agent_that_observes_is_told(site: Site) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = Process(site.write_config('[reconcile]\ninterval = 1\nmode = "observe"\n'))
    try:
        agent.wait_for("changes nothing")
        wait_until(lambda: bool(agent_of(site.config()).status))
        found = of_agent(site.config(mode=Mode.OBSERVE), Service(None), agent_of(site.config()))
        texts = [finding.text for finding in found]
    finally:
        assert agent.end() == 0
    assert 'the agent only observes: mode = "observe" in [reconcile] of agent.toml' in texts


def test_an_agent_that_nobody_could_ask_has_no_problems() -> None:
    assert Agent().problems == ()
