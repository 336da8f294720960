"""`felhom-agent trust`: trust the certificate that the node shows now, by its fingerprint."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from felhom_agent.cli import initservice
from felhom_agent.cli.codes import ERROR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.confirm import agreed
from felhom_agent.cli.healthagent import agent_of
from felhom_agent.cli.out import say
from felhom_agent.cli.serviceuser import UNIT, service_of
from felhom_agent.config import tomlfile
from felhom_agent.config.agentfile import load
from felhom_agent.config.edit import with_setting
from felhom_agent.config.settings import Config
from felhom_agent.durable.replacement import replace_whole
from felhom_agent.errors import FelhomError
from felhom_agent.printable import local_text
from felhom_agent.proxmox.certificate import Certificate, is_trusted, shown, where_on_this_host


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "trust",
        run,
        summary="Show the certificate of the node as it is now, ask, and write its fingerprint "
        "into agent.toml, which a running agent takes at once: after it was renewed, or where no "
        "CA is trusted. Nothing else of the file is changed.",
        example="trust",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before writing")


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    found = shown(config.proxmox)
    for line in lines(config, found, time.time()):
        say(line)
    if is_trusted(config.proxmox) and not config.proxmox.insecure:
        by = "fingerprint" if config.proxmox.fingerprint else "ca_file"
        say(f"The agent trusts it already, by {by} in {config.path}; nothing was written.")
        return OK
    if config.proxmox.insecure:
        raise FelhomError(f"{config.path}: insecure contradicts a fingerprint; remove it first")
    before = tomlfile.read_bytes(config.path)
    after = with_setting(before, config.path, "proxmox", "fingerprint", found.fingerprint)
    question = f"This writes the fingerprint into {config.path}: the agent trusts this one alone."
    if not (arguments.yes or agreed(question, "trust")):
        say("Nothing was written.")
        return ERROR
    replace_whole(config.path, before, after)
    say(f"Written. {_taken(config)}")
    return OK


def _taken(config: Config) -> str:
    """Have a running agent take the new fingerprint; return what came of it."""
    agent = agent_of(config)
    if agent.runs is False:
        return "No agent runs; it counts from its next start on."
    if service_of(config).unit.get("ActiveState") != "active":
        return "A running agent takes it at a reload (SIGHUP), or when it is started again."
    if initservice.reload():
        return "The running agent was told to take it: felhom-agent status tells how it gets on."
    return f"The running agent could not be told: systemctl restart {UNIT}"


def lines(config: Config, found: Certificate, now: float) -> Iterator[str]:
    """Given a certificate and the present time, yield what a person must know of it."""
    yield f"{config.proxmox.endpoint} shows this certificate:"
    yield f"  fingerprint  {found.fingerprint}"
    if config.proxmox.fingerprint:
        yield f"  configured   {config.proxmox.fingerprint.upper()}"
    if found.ends is None or found.begins is None:
        yield "  what else is in it cannot be told"
    else:
        late = "  EXPIRED" if found.ends < now else ""
        early = "  NOT YET VALID" if found.begins > now else ""
        yield f"  names        {', '.join(found.names) or 'none'}"
        yield f"  issuer       {found.issuer}"
        yield f"  valid        {local_text(found.begins)} to {local_text(found.ends)}{late}{early}"
    if place := where_on_this_host(found.fingerprint):
        yield f"It is the one in {place}, this host's own."
    else:
        yield "Compare it with what `pvenode cert info` shows on the node."
