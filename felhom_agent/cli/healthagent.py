"""Findings on the service: does an agent run, as which version, and what does it do by itself?

It is asked once, at its control socket; where it cannot be, systemd is asked how its unit is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from felhom_agent import __version__
from felhom_agent.cli import answers
from felhom_agent.cli.answers import Answer
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.serviceuser import Service
from felhom_agent.cli.spans import span
from felhom_agent.cli.status import asked
from felhom_agent.config.settings import Config
from felhom_agent.errors import FelhomError
from felhom_agent.model import Mode, Place, Problem
from felhom_agent.printable import printable
from felhom_agent.service.controlclient import NoAgent

_MAX_TEXT = 400
_RESTART = "systemctl restart felhom-agent"
_START = "systemctl enable --now felhom-agent"
_LOG = "journalctl -u felhom-agent -n 20"


@dataclass(frozen=True)
class Agent:
    """The running agent: what it tells of itself (empty: nothing), whether it runs (None: that
    cannot be told), and why it could not be asked.
    """

    status: Answer = field(default_factory=lambda: MappingProxyType({}))
    runs: bool | None = None
    why: str = ""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What it finds wrong with the guest files."""
        return tuple(
            Problem(
                Place(answers.text(row, "file"), answers.whole(row, "line") or 0),
                printable(answers.text(row, "text"), 2 * _MAX_TEXT),
            )
            for row in answers.rows(self.status, "problems")
        )


def agent_of(config: Config) -> Agent:
    """Given the configuration, return what its agent tells."""
    if config.control.socket is None:
        return Agent(why="it has no control socket ([control] socket in agent.toml is empty)")
    try:
        return Agent(asked(config.control.socket), runs=True)
    except NoAgent as error:
        return Agent(runs=error.runs, why=str(error))
    except FelhomError as error:
        return Agent(runs=True, why=str(error))


def of_agent(config: Config, service: Service, agent: Agent) -> Iterator[Finding]:
    """Given the configuration, the unit and what the running agent tells, yield how they are."""
    unit = service.unit
    if unit.get("NeedDaemonReload") == "yes":
        yield note("the unit was changed, and systemd has not read it:", "systemctl daemon-reload")
    if not agent.status:
        yield _without_answer(agent, unit)
        return
    if agent.runs and unit.get("UnitFileState") == "disabled":
        yield note(
            "the agent runs, and is not started when the host boots:",
            "systemctl enable felhom-agent",
        )
    version = printable(answers.text(agent.status, "version"), 60)
    if version != __version__:
        yield note(f"the agent that runs is {version}, this command is {__version__}:", _RESTART)
    yield from _as_told(config, agent.status, time.time())


def _without_answer(agent: Agent, unit: Mapping[str, str]) -> Finding:
    """Return how the service is, by systemd, where the agent tells nothing."""
    state, result = unit.get("ActiveState", ""), unit.get("Result", "")
    status = unit.get("ExecMainStatus", "")
    if agent.runs:
        return bad(f"the agent runs, and cannot be asked: {agent.why}", _LOG)
    if state == "failed":
        ended = f"{result}, exit code {status}" if status not in ("", "0") else result
        return bad(f"the service has failed ({ended}); mend what its log tells, then start it:",
                   _LOG, "systemctl start felhom-agent")  # fmt: skip
    if unit.get("SubState") == "auto-restart":
        return bad(f"the service ends and is started again (exit code {status}); its log:", _LOG)
    if agent.runs is None:
        return note(f"the agent could not be asked: {agent.why}")
    if state == "active":
        return bad(f"the service is active, and does not answer: {agent.why}", _LOG)
    text = "no agent runs here, so nothing is kept as declared"
    return note(f"{text}:", _START) if unit else note(text)


def _as_told(config: Config, status: Answer, now: float) -> Iterator[Finding]:
    """Yield what a running agent does, and what keeps it from more."""
    passed = answers.table(status, "last_pass")
    at = answers.moment(passed, "at")
    if trouble := printable(answers.text(status, "trouble"), _MAX_TEXT):
        yield bad(f"the agent runs, and is in trouble: {trouble}", _LOG)
    elif at is None:
        yield note("the agent runs, and has not looked at the guests yet")
    else:
        yield good(f"the agent runs, and looked at the guests {span(now - at)} ago")
    node = printable(answers.text(status, "node"), 80)
    if node != config.proxmox.node:
        yield note(f"the running agent keeps node {node}, agent.toml says {config.proxmox.node}:",
                   _RESTART)  # fmt: skip
    yield from _holds(config, status)


def _holds(config: Config, status: Answer) -> Iterator[Finding]:
    mode = answers.text(status, "mode")
    if mode and mode != config.reconcile.mode:
        text = f'the running agent goes by mode = "{printable(mode, 20)}", agent.toml says'
        yield note(f'{text} "{config.reconcile.mode}":', _RESTART)
    elif config.reconcile.mode is Mode.OBSERVE:
        yield note('the agent only observes: mode = "observe" in [reconcile] of agent.toml')
    for hold in answers.rows(status, "holds"):
        if not answers.whole(hold, "vmid") and answers.text(hold, "name") not in (
            "mode",
            "journal",
        ):
            yield note(f"nothing is changed: {printable(answers.text(hold, 'why'), _MAX_TEXT)}")
