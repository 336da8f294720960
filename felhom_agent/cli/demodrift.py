"""How a person causes drift on an embedded node: command lines that work as they stand.

They take the site's CA and its token's file, so that nothing secret is printed, and can be pasted
into a shell that expands `!`, or whose environment names a proxy.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from felhom_agent.devnode import DevNode

_ODD = "'description=out of order'"


def drift_lines(node: DevNode, directory: Path, value_of: int, stop: int | None) -> list[str]:
    """Given a node, the directory of its site, and two guests, return a line that sets another
    value of the first one, and one that stops the second one, if there is one.
    """
    lines = [_curl(node, directory, value_of, "config", f"-X PUT --data-urlencode {_ODD}")]
    if stop is not None:
        lines.append(_curl(node, directory, stop, "status/stop", "-X POST"))
    return lines


def _curl(node: DevNode, directory: Path, vmid: int, call: str, words: str) -> str:
    from felhom_agent.devnode.demo.world import TOKEN

    directory = directory.resolve()
    guest = node.world.guests[vmid]
    url = f"{node.endpoint}/api2/json/nodes/{node.world.node}/{guest.kind}/{vmid}/{call}"
    # The token's id has a `!`, which an interactive shell takes for itself unless in '...'.
    header = f"'Authorization: PVEAPIToken={TOKEN}='$(cat {quote(str(directory / 'token'))})"
    return (
        f"curl -fsS --noproxy '*' --cacert {quote(str(directory / 'ca.pem'))} "
        f"-H {header} {words} {url}"
    )
