"""A site for an agent on a node: its CA, a token, and an agent.toml."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from felhom_agent.devnode.demo.world import TOKEN
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

[control]
socket = "{directory}/control.sock"
"""


def write_site(
    node: DevNode,
    directory: Path,
    extra: str = "",
    write: Callable[[Path, str], object] = Path.write_text,
) -> Path:
    """Given a node, write its CA, a new token and an agent.toml, which ends with `extra`; return
    the agent.toml's path. `write` writes what a person may edit.
    """
    directory = directory.resolve()
    for needed in (directory, directory / "guests.d", directory / "journal"):
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(node.ca_file, directory / "ca.pem")
    token_file = directory / "token"
    token_file.touch(mode=0o600)
    token_file.chmod(0o600)
    token_file.write_text(node.world.token(TOKEN) + "\n")
    agent_toml = directory / "agent.toml"
    text = _AGENT_TOML.format(
        endpoint=node.endpoint, node=node.world.node, token=TOKEN, directory=directory
    )
    write(agent_toml, text + extra)
    return agent_toml
