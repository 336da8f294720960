"""`felhom-agent demo`: the agent at work on an embedded node, from drift to healed, by itself.

It serves a node, shows the plan, runs the real daemon as a process of its own, changes guests by
hand while it runs, has a guest destroyed by a signature, and tells the journal's story. In the end
it asks the node, not the agent, whether all is as declared; the exit code is the answer.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from felhom_agent.cli import demopush, demosign
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.demostage import agent, command, serving, title, wait
from felhom_agent.cli.out import say
from felhom_agent.config.agentfile import load
from felhom_agent.config.secret import read_secret
from felhom_agent.config.settings import Config
from felhom_agent.errors import FelhomError
from felhom_agent.proxmox.client import Client

if TYPE_CHECKING:
    from felhom_agent.devnode import DevNode

_SETTINGS = "\n[reconcile]\ninterval = 1\nparallel = 3\nstop_timeout = 3\nbackoff_first = 1\n"


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "demo",
        run,
        summary="Show the agent at work on an embedded node; takes a quarter of a minute.",
        example="demo",
    )


def run(_arguments: argparse.Namespace) -> int:
    # Not at the top: the daemon must start without the devnode's own needs.
    from felhom_agent.devnode import DevNode
    from felhom_agent.devnode.demo.world import demo_world

    with (
        tempfile.TemporaryDirectory(prefix="felhom-demo-") as directory,
        serving(lambda: DevNode(demo_world())) as node,
    ):
        path = write_demo(node, Path(directory))
        config = load(path)
        client = Client(config.proxmox, read_secret(config.proxmox))
        try:
            healed = _show(node, config, client)
        finally:
            client.close()
        return 0 if demopush.show(node, path) and healed else 1


def write_demo(
    node: DevNode, directory: Path, write: Callable[[Path, str], object] = Path.write_text
) -> Path:
    """Given a node, write all an agent needs to work on it; return the path of agent.toml. `write`
    writes what a person may edit.
    """
    from felhom_agent.devnode.demo.guests import GUEST_FILE
    from felhom_agent.devnode.demo.site import write_site

    try:
        path = write_site(node, directory, _SETTINGS + demosign.SETTINGS, write)
        write(path.parent / "guests.d" / "guests.toml", GUEST_FILE)
    except OSError as error:
        raise FelhomError(f"{directory}: cannot be written: {error.strerror}") from None
    return path


def _show(node: DevNode, config: Config, client: Client) -> bool:
    title(f"A PVE node with 8 guests listens on {node.endpoint}. What differs:")
    command(config, "plan")
    title("A person has one guest changed, and nothing that was not shown:")
    command(config, "apply", "102", "--yes")
    title("The agent runs until all is as declared:")
    with agent(config) as lines:
        converged = wait(lambda: not differences(client))
        title("A person stops the DNS container and gives the web server other values by hand:")
        node.world.stop(200)
        node.world.edit(101, {"description": "out of order", "tags": "odd", "onboot": "0"})
        healed = wait(lambda: not differences(client))
        title("What a person asks it:")
        command(config, "status")
        signed = demosign.show(node, config, client)
    title("What was done, from the journal:")
    command(config, "history")
    left = differences(client)
    title("What the node answers now:")
    for line in left or [
        "every declared value is there; nothing else was touched without a signature"
    ]:
        say(f"  {line}")
    say(f"  {len(lines)} lines were logged, {len(node.mutations)} changes were asked for")
    return converged and healed and signed and not left


def differences(client: Client) -> list[str]:
    """Return where the node's answers are not what they must be in the end."""
    from felhom_agent.devnode.demo.guests import ANSWERS, RUNNING

    base = ("nodes", client.config.node)
    kinds = {int(row["vmid"]): k for k in ("qemu", "lxc") for row in client.get(*base, k)}
    found = []
    for vmid, wanted in ANSWERS.items():
        answer: dict[str, Any] = dict(client.get(*base, kinds[vmid], vmid, "config"))
        status = client.get(*base, kinds[vmid], vmid, "status", "current")["status"]
        answer[RUNNING] = status == "running"
        for key, value in wanted.items():
            if answer.get(key) != value:
                found.append(f"guest {vmid}: {key} is {answer.get(key)!r}, not {value!r}")
    return found
