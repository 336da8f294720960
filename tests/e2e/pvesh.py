"""Plays `pvesh`, as far as `init` asks root by it which guests and pools there are.

PVE: pve-manager CLI/pvesh.pm; the answers are those of the API for root@pam.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from felhom_agent.devnode import World

_GUESTS = ["get", "/cluster/resources", "--type", "vm", "--output-format", "json"]
_POOLS = ["get", "/pools", "--output-format", "json"]


def outcome(world: World, words: Sequence[str], pools: Sequence[str] = ()) -> tuple[int, str, str]:
    """Given a world, the words behind `pvesh` and pools without a guest, return exit code, stdout
    and stderr.
    """
    if list(words) == _GUESTS:
        return 0, json.dumps([_row(vmid, guest) for vmid, guest in world.guests.items()]), ""
    if list(words) == _POOLS:
        found = {guest.pool for guest in world.guests.values() if guest.pool} | set(pools)
        return 0, json.dumps([{"poolid": pool} for pool in sorted(found)]), ""
    return 255, "", f"pvesh {' '.join(words)}: is not played here\n"


def _row(vmid: int, guest: Any) -> dict[str, object]:
    pool = {"pool": guest.pool} if guest.pool else {}
    return {
        "id": f"{guest.kind}/{vmid}", "vmid": vmid, "node": guest.node, "type": guest.kind, **pool,
    }  # fmt: skip
