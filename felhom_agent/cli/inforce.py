"""What is declared, as the agent has it in force: for whoever shows it, whatever he may read.

Root reads everything; the agent's user does not, and of a file that it cannot read its last good
version stays in force. So what the service's user may not read counts as unreadable here, too, and
so does what a running agent tells that it could not read, as long as nobody has touched it since.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from felhom_agent.cli import answers
from felhom_agent.cli.access import READ, obstacle
from felhom_agent.cli.healthagent import Agent, agent_of
from felhom_agent.cli.hiding import hidden
from felhom_agent.cli.serviceuser import Service, service_of
from felhom_agent.config import tomlfile
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import desired_now
from felhom_agent.model import Desired

_REFUSED: Final = ("cannot be read: ", "cannot be listed: ")
"""How an agent's words on a path begin that it could not read."""


def desired_in_force(
    config: Config, service: Service | None = None, agent: Agent | None = None
) -> Desired:
    """Given the configuration, and as whom its agent runs and what that tells, if they are known
    already, return what is desired as the agent reads it. Raise FelhomError if what was kept of
    the hub cannot be read.
    """
    if config.desired.directory is None:
        return desired_now(config)
    seen_by = service or service_of(config)
    refused = _refused(agent or agent_of(config))
    return desired_now(config, partial(_why_not, seen_by, refused))


def _why_not(service: Service, refused: dict[str, float], path: Path) -> str:
    """Return why the agent does not read a path that this process may; empty if it does."""
    if service.is_other and service.user is not None:
        if why := hidden(path, service.unit):
            return f"it {why}"
        if found := obstacle(path, service.user, READ):
            remedy = f"; as root: {'; '.join(found.remedy)}" if found.remedy else ""
            return f"{found.text}{remedy}"
    looked = refused.get(tomlfile.name_of(path))
    if looked is None or _changed(path) > looked:
        return ""
    return "so the running agent, as it last looked; `felhom-agent check` tells more"


def _refused(agent: Agent) -> dict[str, float]:
    """Return what a running agent could not read, with when it looked."""
    at = answers.moment(answers.table(agent.status, "last_pass"), "at")
    if at is None:
        return {}
    return {
        problem.place.file: at
        for problem in agent.problems
        if not problem.place.line and problem.text.startswith(_REFUSED)
    }


def _changed(path: Path) -> float:
    """Return when something of a path was changed last, its mode and its owner too."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0
