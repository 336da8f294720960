"""Whether the node is busy with all its guests at once, by one of its own tasks.

A node that boots starts its guests in the order and with the delays that its owner gave them, one
that shuts down stops them, and both are done by a task of the node (`startall`, `stopall`). Whoever
starts or stops guests meanwhile breaks that order. So while such a task runs the agent changes
nothing; what PVE leaves undone is drift, as ever.

The node is asked only when something is to be started or stopped: by a pass that wants to, and once
more right before it is done. A token without Sys.Audit on the node sees only its own tasks and no
error (PVE: API2/Tasks.pm); then, as where the list cannot be read, nothing is held.

Threads: `_running` and `_asked` are plain attributes, set by lanes and by the main thread by what
PVE said last, and read by all. What is set too late is mended by PVE's next answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from felhom_agent.errors import PveError
from felhom_agent.model import Action, GuestPlan, Start, Stop
from felhom_agent.proxmox.client import Client

_log = logging.getLogger(__name__)

TYPES: Final = ("startall", "stopall", "suspendall", "migrateall")
MAX_AGE: Final = 1.0
"""Seconds for which PVE's last answer counts: many guests are started at a time."""
_RUNNING = "RUNNING"  # recorded: 40-tasks-qemu/046
_LIMIT = 500


class BulkTasks:
    """What is known of such tasks on the client's node; `clock` tells monotonic seconds."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._running = ""
        self._asked: float | None = None

    def reason(self) -> str:
        """Return why nothing may be changed; empty if nothing of this kind is known to run."""
        return _reason(self._running)

    def look_again(self, plans: Iterable[GuestPlan]) -> None:
        """Given what a pass wants, ask the node if that is to start or stop a guest, or something
        is held by now.
        """
        if self._running or any(wants_power(plan.actions) for plan in plans):
            self._ask()

    def why_not(self) -> str:
        """Ask the node; return why no guest may be started or stopped now; else empty."""
        if self._asked is None or self._clock() - self._asked > MAX_AGE:
            self._ask()
        return self.reason()

    def _ask(self) -> None:
        asked = self._clock()
        try:
            rows = self._client.get(
                "nodes", self._client.config.node, "tasks", source="active", limit=_LIMIT
            )
        except PveError as error:
            _log.debug("the node's tasks cannot be asked for: %s", error)
            rows = []
        found = next(_bulk(rows if isinstance(rows, list) else []), "")
        if found and not self._running:
            _log.info("the node's task %s runs; nothing is changed until it has ended", found)
        elif self._running and not found:
            _log.info("the node's task %s has ended", self._running)
        self._running, self._asked = found, asked


def wants_power(actions: Iterable[Action]) -> bool:
    """Given what is planned for a guest, return whether it is started or stopped by that."""
    return any(isinstance(action, Start | Stop) for action in actions)


def _reason(running: str) -> str:
    return f"nothing is changed while the node's task {running} runs" if running else ""


def _bulk(rows: Iterable[object]) -> Iterator[str]:
    """Yield the types of the tasks that run and are about all guests."""
    for row in rows:
        # What ended and is not yet in the archive is listed too, with its exit status.
        if isinstance(row, dict) and row.get("status", _RUNNING) == _RUNNING:
            kind = row.get("type")
            if kind in TYPES:
                yield str(kind)
