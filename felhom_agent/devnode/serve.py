"""A node for the hand: serves the demo's world until it is told to stop, with an agent.toml.

`python -m felhom_agent.devnode` and the agent's own command come here.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from felhom_agent.devnode.demo.world import TOKEN, demo_world
from felhom_agent.devnode.http.server import DevNode

_AGENT_TOML = """\
[proxmox]
endpoint = "{endpoint}"
node = "{node}"
token_id = "{token}"
token_file = "{directory}/token"
ca_file = "{directory}/ca.pem"

[desired]
directory = "{directory}/guests.d"

[journal]
directory = "{directory}/journal"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Given a parser, add what the command takes."""
    parser.add_argument("--port", type=int, default=8006, help="port on the loopback (0: any)")
    parser.add_argument("--guests", type=int, default=8, help="how many guests there shall be")
    parser.add_argument("--dir", type=Path, help="where the CA, token and agent.toml are written")


def equip(node: DevNode, directory: Path) -> Path:
    """Given a node, write its CA, a new token and an agent.toml; return the agent.toml's path."""
    directory = directory.resolve()
    for needed in (directory, directory / "guests.d", directory / "journal"):
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(node.ca_file, directory / "ca.pem")
    token_file = directory / "token"
    token_file.touch(mode=0o600)
    token_file.chmod(0o600)
    token_file.write_text(node.world.token(TOKEN) + "\n")
    agent_toml = directory / "agent.toml"
    agent_toml.write_text(
        _AGENT_TOML.format(
            endpoint=node.endpoint, node=node.world.node, token=TOKEN, directory=directory
        )
    )
    return agent_toml


def serve(
    *,
    port: int = 8006,
    guests: int = 8,
    directory: Path | None = None,
    say: Callable[[str], None],
    wait: Callable[[], object],
) -> None:
    """Serve the demo's world until `wait` returns; `say` hears where, line by line."""
    with DevNode(demo_world(guests=guests), port) as node:
        place = directory or Path(tempfile.mkdtemp(prefix="devnode-"))
        agent_toml = equip(node, place)
        say(node.endpoint)
        say(f"felhom-agent --config {agent_toml}")
        wait()


def main(arguments: Sequence[str], wait: Callable[[], object]) -> None:
    """Given the words of a command line, serve until `wait` returns."""
    parser = argparse.ArgumentParser(prog="python -m felhom_agent.devnode", description=__doc__)
    add_arguments(parser)
    given = parser.parse_args(arguments)
    serve(port=given.port, guests=given.guests, directory=given.dir, say=_say, wait=wait)


def _say(line: str) -> None:
    print(line, flush=True)
