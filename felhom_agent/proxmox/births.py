"""When a guest's number was last given to a guest, by the node's task list: one guest, now.

What a pass knows of all guests (`daemon/history.py`) may be a minute old. Whoever is about to do
what cannot be undone asks again. A task that has not ended counts, too: what it makes may be there
by the time that somebody acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from felhom_agent.errors import Denied
from felhom_agent.model import UNREADABLE, History
from felhom_agent.proxmox.client import Client

TYPES: Final = ("vzcreate", "vzrestore", "vzdestroy", "qmcreate", "qmrestore", "qmdestroy")
"""The types of the tasks after which a vmid is another guest's, or nobody's."""
RUNNING: Final = "RUNNING"
MAX_ROWS: Final = 500
"""How many tasks are asked for at once."""
_MAX_DIGITS: Final = 9


def births_of(client: Client, vmid: int) -> History:
    """Given a guest, return when it was created, restored or destroyed last; an unreadable history
    if the token may not see the tasks of others. Raise Unchanged if PVE cannot be asked.
    """
    try:
        if not may_read(client):
            return UNREADABLE
        found = [row for name in TYPES for row in _tasks(client, vmid, name)]
    except Denied:
        return UNREADABLE
    times = [born for row in found if (born := _born(row)) is not None]
    return History(MappingProxyType({vmid: max(times)} if times else {}), readable=True)


def may_read(client: Client) -> bool:
    """Return whether the token sees the tasks of others: without Sys.Audit on the node it sees its
    own and no error (PVE: API2/Tasks.pm).
    """
    held = client.get("access", "permissions", path=f"/nodes/{client.config.node}")
    rights = held.values() if isinstance(held, dict) else ()
    return any(isinstance(r, dict) and "Sys.Audit" in r for r in rights)


def busy_guests(client: Client) -> frozenset[int]:
    """Return the guests that a task of the node is at work on now, as far as the token may see.
    Raise Unchanged if PVE cannot be asked.
    """
    rows = client.get("nodes", client.config.node, "tasks", source="active", limit=MAX_ROWS)
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    ids = [
        str(row.get("id", ""))
        for row in found
        if row.get("status", RUNNING) == RUNNING and "endtime" not in row
    ]
    return frozenset(int(text) for text in ids if text.isdecimal() and len(text) <= _MAX_DIGITS)


def went_well(status: str) -> bool:
    """Given how a task ended, return whether it did what it was to do."""
    return status == "OK" or status.startswith("WARNINGS")


def _tasks(client: Client, vmid: int, name: str) -> Iterable[Any]:
    rows = client.get(
        "nodes", client.config.node, "tasks", source="all", limit=MAX_ROWS, vmid=vmid,
        typefilter=name,
    )  # fmt: skip
    return rows if isinstance(rows, list) else []


def _born(row: Any) -> int | None:
    """Return when a task began that ended well, or may yet; None if it counts for nothing."""
    if not isinstance(row, Mapping) or type(row.get("starttime")) is not int:
        return None
    status = str(row.get("status") or RUNNING)
    counts = status == RUNNING or went_well(status)
    return int(row["starttime"]) if counts else None
