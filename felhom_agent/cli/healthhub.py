"""Findings on the hub: is its key readable, does it answer, has it this host's reports, and does it
block this host?
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from felhom_agent.cli import answers
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.healthagent import Agent
from felhom_agent.cli.spans import span
from felhom_agent.config.secret import read_key
from felhom_agent.config.settings import Config
from felhom_agent.desired.hub import HubProvider
from felhom_agent.errors import HubError
from felhom_agent.hub.client import HubClient
from felhom_agent.printable import printable


def of_hub(config: Config, agent: Agent) -> Iterator[Finding]:
    """Given the configuration and what the running agent tells, yield how the hub is, if there is
    one. It is asked for what it desires, and that is not used.
    """
    hub = config.hub
    if not hub.url:
        return
    client = HubClient(hub, read_key(hub))
    where = printable(hub.url, 200)
    try:
        client.desired_state()
        yield good(f"hub {where} answers, and takes the key of {hub.host_id}")
        yield from _of_reports(agent, time.time())
    except HubError as error:
        advice = "see [hub] in agent.toml; the guests of this host's files are kept without it"
        yield bad(f"hub {where}: {error}; {advice}")
    finally:
        client.close()
    if _blocks(config, agent):
        yield note(
            "the hub blocks this host: the agent changes nothing; its provider can end that, and"
            " the host's owner:",
            "felhom-agent hub unblock",
        )
    if not hub.guests:
        yield note("the hub may speak for no guest: [hub] guests in agent.toml is empty")


def _of_reports(agent: Agent, now: float) -> Iterator[Finding]:
    """Yield when the running agent's last report was taken; an older agent does not tell."""
    told = answers.table(agent.status, "hub")
    if "reported" not in told:
        return
    at = answers.moment(told, "reported")
    if at is not None:
        yield good(f"the hub took the last report {span(now - at)} ago")
    elif answers.table(agent.status, "last_pass"):
        yield note(
            "the hub has taken no report since the agent began, and it answers this command; does"
            " the unit let the agent reach it (IPAddressAllow= in a drop-in)? Its log:",
            "journalctl -u felhom-agent -n 20",
        )


def _blocks(config: Config, agent: Agent) -> bool:
    if agent.status:
        return answers.table(agent.status, "hub").get("blocked") is True
    return HubProvider(config.journal.directory, config.hub, keeps=False).kept.blocked
