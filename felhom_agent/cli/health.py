"""What the agent needs, and whether it has it: the findings behind `check` and `selftest read`.

Each probe looks at one thing and changes nothing. A finding that is not good says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import desired_now
from felhom_agent.desired.told import told
from felhom_agent.errors import ConfigError, FelhomError, JournalError, PveError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import replay
from felhom_agent.proxmox.node import Node


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` are the commands that would mend it."""

    good: bool
    text: str
    remedy: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'}  {self.text}"


def of_files(config: Config) -> Iterator[Finding]:
    """Given a configuration, yield how its guest files are."""
    desired = desired_now(config)
    if config.desired.directory is None:
        yield Finding(True, "no [desired] directory is configured: nothing is desired")
    for problem in told(desired):
        yield Finding(False, str(problem))
    if not desired.problems:
        yield Finding(True, f"guest files declare {len(desired.guests)} guests")


def of_connection(config: Config) -> Iterator[Finding]:
    """Given a configuration, yield how the token, the connection and the node are."""
    pve = config.proxmox
    try:
        node = Node.connect(pve)
    except ConfigError as error:
        yield from (Finding(False, str(problem)) for problem in error.problems)
        return
    try:
        yield Finding(True, f"the token's secret is in {pve.token_file}")
        version = (node.client.get("version") or {}).get("version", "of unknown version")
        yield Finding(True, f"{pve.endpoint} answers and takes the token (PVE {version})")
        names = [str(row.get("node")) for row in node.client.get("nodes") or []]
        known = pve.node in names
        text = f"node {pve.node} is known" if known else (
            f'the cluster has no node "{pve.node}" (it has: {", ".join(names[:10])}); set node in'
            " [proxmox] of agent.toml"
        )  # fmt: skip
        yield Finding(known, text)
    except PveError as error:
        yield Finding(False, str(error))
    finally:
        node.client.close()


def of_needs(config: Config) -> Iterator[Finding]:
    """Given a configuration, yield whether all that a pass needs can be had."""
    yield _journal(config)
    try:
        node = Node.connect(config.proxmox)
    except ConfigError:
        return
    try:
        actual = node.observer.snapshot(())
        yield Finding(True, f"the node can be observed: {len(actual.guests)} guests are seen")
        node.client.get("nodes", config.proxmox.node, "tasks", limit=1)
        yield Finding(True, "tasks can be read")
    except FelhomError as error:
        yield Finding(False, str(error))
    finally:
        node.client.close()


def _journal(config: Config) -> Finding:
    path = config.journal.directory / NAME
    try:
        operations = replay(read(path, absent_ok=True))
    except JournalError as error:
        return Finding(False, str(error))
    parent = next(p for p in path.parents if os.access(p, os.F_OK))
    if not os.access(parent, os.W_OK):
        return Finding(False, f"{parent} cannot be written, and the journal belongs there")
    in_flight = sum(o.in_flight for o in operations)
    return Finding(True, f"the journal holds {len(operations)} operations, {in_flight} in flight")
