"""Under which name a request to PVE is counted: its path, without what names one thing of many.

A path has nodes, guests, tasks and snapshots in it. With these in a label, metrics would grow with
every task; so each is shown as what it is: `/nodes/{node}/qemu/{vmid}/config`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

_NAMES: Final = MappingProxyType(
    {
        "nodes": "{node}",
        "qemu": "{vmid}",
        "lxc": "{vmid}",
        "tasks": "{upid}",
        "snapshot": "{snapshot}",
        "storage": "{storage}",
    }
)


def endpoint_of(path: Sequence[str | int]) -> str:
    """Given a path's parts, return the path with a placeholder for each part that names a thing."""
    parts, before = [], ""
    for part in map(str, path):
        # A part that names a thing is none that another one follows by its name.
        name = _NAMES.get(before)
        parts.append(name or part)
        before = "" if name else part
    return "/" + "/".join(parts)
