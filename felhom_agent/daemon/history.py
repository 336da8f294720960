"""Which guests were created, restored or destroyed, by the node's task list.

The first pass asks once per type of task, for the whole archive; each later one asks once for what
was begun since, by PVE's own clock. A token without Sys.Audit on the node sees only its own tasks
and no error (PVE: API2/Tasks.pm), so the list counts as unreadable without that privilege.

Belongs to the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from felhom_agent.errors import Unchanged
from felhom_agent.model import UNREADABLE, History
from felhom_agent.proxmox.client import Client

_log = logging.getLogger(__name__)

TYPES = ("vzcreate", "vzrestore", "vzdestroy", "qmcreate", "qmrestore", "qmdestroy")
MAX_ROWS = 500


class HistoryReader:
    """Keeps the history of the client's node up to date."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._node = client.config.node
        self._latest: dict[int, int] = {}
        self._newest = 0
        self._complete = False

    def read(self) -> History:
        """Return the history as of now; an unreadable one if PVE does not tell."""
        try:
            if not self._may_read():
                return UNREADABLE
            if self._complete:
                self._complete = self._read_since(self._newest)
            if not self._complete:
                for task_type in TYPES:
                    self._take(self._tasks(typefilter=task_type))
                self._complete = True
        except Unchanged as error:
            _log.debug("the task list cannot be read: %s", error)
            return UNREADABLE
        return History(MappingProxyType(dict(self._latest)), readable=True)

    def _may_read(self) -> bool:
        held = self._client.get("access", "permissions", path=f"/nodes/{self._node}")
        rights = held.values() if isinstance(held, dict) else ()
        return any(isinstance(r, dict) and "Sys.Audit" in r for r in rights)

    def _read_since(self, newest: int) -> bool:
        """Take what was begun since; return whether the answer holds all of it."""
        rows = self._tasks(since=newest)
        self._take(rows)
        return len(rows) < MAX_ROWS

    def _tasks(self, **params: str | int) -> list[Any]:
        rows = self._client.get(
            "nodes", self._node, "tasks", source="archive", limit=MAX_ROWS, **params
        )
        return rows if isinstance(rows, list) else []

    def _take(self, rows: Iterable[Any]) -> None:
        for row in rows:
            if not isinstance(row, Mapping):
                continue
            begun, vmid = row.get("starttime"), str(row.get("id", ""))
            if not isinstance(begun, int) or not vmid.isdecimal() or len(vmid) > 9:
                continue
            self._newest = max(self._newest, begun)
            if row.get("type") in TYPES and _went_well(str(row.get("status", ""))):
                self._latest[int(vmid)] = max(self._latest.get(int(vmid), 0), begun)


def _went_well(status: str) -> bool:
    return status == "OK" or status.startswith("WARNINGS")
