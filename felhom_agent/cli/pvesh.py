"""`pvesh`, Proxmox VE's own way to its API for root: which guests and pools there are.

A token without rights sees none, so what a person named is looked up here. PVE: pve-manager
CLI/pvesh.pm, API2/Cluster.pm resources, API2/Pool.pm index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from felhom_agent.cli import programs
from felhom_agent.cli.pveum import json_of
from felhom_agent.proxmox.rows import vmid_of

PROGRAM = "pvesh"


@dataclass(frozen=True)
class Found:
    """A guest of the cluster: its node, and its pool (empty: none)."""

    node: str
    pool: str


def is_here() -> bool:
    """Return whether this host has it."""
    return programs.is_here(PROGRAM)


def guests() -> dict[int, Found]:
    """Return all guests of the cluster. Raise FelhomError if they cannot be had."""
    rows = _rows("/cluster/resources", "--type", "vm")
    found = ((vmid_of(row.get("vmid")), row) for row in rows)
    return {
        vmid: Found(str(row.get("node") or ""), str(row.get("pool") or ""))
        for vmid, row in found
        if vmid
    }


def pools() -> list[str]:
    """Return the names of all pools. Raise FelhomError if they cannot be had."""
    return sorted(str(row["poolid"]) for row in _rows("/pools") if "poolid" in row)


def _rows(*words: str) -> Iterator[Mapping[str, Any]]:
    answer = json_of([PROGRAM, "get", *words, "--output-format", "json"])
    return (row for row in (answer if isinstance(answer, list) else []) if isinstance(row, Mapping))
