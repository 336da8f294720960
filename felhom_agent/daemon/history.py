"""Which guests were created, restored or destroyed, by the node's task list.

The first pass asks once per type of task, for all that PVE has; each later one asks once for what
was begun since, by PVE's own clock. PVE filters by when a task began, and a task counts only once
it has ended: so what still runs is asked for again. A token without Sys.Audit on the node sees only
its own tasks and no error (PVE: API2/Tasks.pm), so the list counts as unreadable without that
privilege.

Belongs to the main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from felhom_agent.errors import Unchanged
from felhom_agent.model import UNREADABLE, History
from felhom_agent.proxmox.births import MAX_ROWS, RUNNING, TYPES, may_read, went_well
from felhom_agent.proxmox.client import Client

_log = logging.getLogger(__name__)

# Seconds for which a task that has begun may not be listed yet.
_LATE = 30


class HistoryReader:
    """Keeps the history of the client's node up to date."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._node = client.config.node
        self._latest: dict[int, int] = {}
        self._since = 0
        self._complete = False

    def read(self) -> History:
        """Return the history as of now; an unreadable one if PVE does not tell."""
        try:
            if not may_read(self._client):
                return UNREADABLE
            if self._complete:
                self._complete = self._read_since()
            if not self._complete:
                self._take([row for name in TYPES for row in self._tasks(typefilter=name)])
                self._complete = True
        except Unchanged as error:
            _log.debug("the task list cannot be read: %s", error)
            return UNREADABLE
        return History(MappingProxyType(dict(self._latest)), readable=True)

    def _read_since(self) -> bool:
        """Take what was begun since; return whether the answer holds all of it."""
        rows = self._tasks(since=self._since)
        self._take(rows)
        return len(rows) < MAX_ROWS

    def _tasks(self, **params: str | int) -> list[Any]:
        rows = self._client.get(
            "nodes", self._node, "tasks", source="all", limit=MAX_ROWS, **params
        )
        return rows if isinstance(rows, list) else []

    def _take(self, rows: Iterable[Any]) -> None:
        running, newest = [], self._since
        for row in rows:
            if not isinstance(row, Mapping):
                continue
            begun, vmid = row.get("starttime"), str(row.get("id", ""))
            if not isinstance(begun, int) or not vmid.isdecimal() or len(vmid) > 9:
                continue
            newest = max(newest, begun - _LATE)
            if row.get("type") not in TYPES:
                continue
            status = str(row.get("status") or RUNNING)
            if status == RUNNING:
                running.append(begun)
            elif went_well(status):
                self._latest[int(vmid)] = max(self._latest.get(int(vmid), 0), begun)
        self._since = min([newest, *running])
