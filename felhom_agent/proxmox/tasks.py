"""PVE's tasks: what a UPID says, waiting for an end, and what the end means.

Only `OK` and `WARNINGS: n` are success (PVE: pve-common Tools.pm upid_status_is_error). A running
task has no exit status at all. Waiting has a deadline; when it passes, PVE goes on without us and
StillRunning says so. A wait that fails is only a failed look: it is repeated, never the dispatch.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from felhom_agent.errors import Denied, Interrupted, Missing, StillRunning, TaskFailed, Unchanged
from felhom_agent.proxmox.client import Client

_UPID = re.compile(
    r"UPID:(?P<node>[^:]+):(?P<pid>[0-9A-F]{8}):(?P<pstart>[0-9A-F]{8,9}):(?P<start>[0-9A-F]{8}):"
    r"(?P<type>[^:]+):(?P<id>[^:]*):(?P<user>[^:!]+)(?:!(?P<token>[^:]+))?:"
)
_RUNNING = "RUNNING"  # recorded: 40-tasks-qemu/046
_SUCCESS = re.compile(r"OK|WARNINGS: \d+")
_LOG_TAIL = 5
_FIRST_POLL, _LONGEST_POLL = 0.1, 2.0
# PVE may need a moment until a task that it has just named can be found.
_GRACE = 5.0


@dataclass(frozen=True)
class Upid:
    """A task's name, taken apart. `start` is in seconds since the epoch."""

    text: str
    node: str
    start: int
    type: str
    id: str
    user: str
    token: str

    @classmethod
    def parse(cls, text: str) -> Upid:
        """Given a UPID, return its parts. Raise ValueError if it is none."""
        found = _UPID.fullmatch(text)
        if not found:
            raise ValueError(f"not a UPID: {text!r}")
        start = int(found["start"], 16)
        return cls(
            text, found["node"], start, found["type"], found["id"], found["user"],
            found["token"] or "",
        )  # fmt: skip


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended: its exit status, and the end of its log where it failed."""

    upid: str
    exit_status: str
    log: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(_SUCCESS.fullmatch(self.exit_status))


class Tasks:
    """The tasks of PVE that this agent began. `stop` ends every wait early once it is set."""

    def __init__(
        self,
        client: Client,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._stop = stop
        self._clock = clock

    def end(self, upid: str) -> TaskEnd | None:
        """Given a UPID, return how the task ended, or None while it runs.

        Raise Missing if PVE knows no such task (any more), Unchanged if it cannot be asked.
        """
        status = self._client.get("nodes", Upid.parse(upid).node, "tasks", upid, "status")
        if status.get("status") != "stopped":
            return None
        exit_status = str(status.get("exitstatus", "no exit status was recorded"))
        end = TaskEnd(upid, exit_status)
        return end if end.ok else TaskEnd(upid, exit_status, self._log_tail(upid))

    def wait(self, upid: str, timeout: float) -> None:
        """Given a UPID and seconds, return when the task ended well.

        Raise TaskFailed if it ended otherwise, StillRunning after `timeout`, Missing if PVE does
        not know it, Denied if the token may not see it, Interrupted when told to stop.
        """
        begun = self._clock()
        pause = _FIRST_POLL
        while (end := self._look(upid, self._clock() - begun)) is None:
            left = begun + timeout - self._clock()
            if left <= 0:
                raise StillRunning(f"task {upid} still runs after {timeout:.0f} s; PVE goes on")
            if self._stop.wait(min(pause, left)):
                raise Interrupted(f"stopped waiting for {upid}")
            pause = min(pause * 1.5, _LONGEST_POLL)
        if not end.ok:
            raise TaskFailed(end.exit_status, upid=upid, log=end.log)

    def find(self, vmid: int, task_type: str, since: float) -> list[Upid]:
        """Given a guest, a task's type and a time, return our tasks since then, newest first.

        Raise Unchanged if PVE cannot be asked.
        """
        rows = self._client.get(
            "nodes", self._client.config.node, "tasks",
            vmid=vmid, source="all", since=int(since), limit=50,
        )  # fmt: skip
        return self._ours(rows, task_type)

    def running(self, vmid: int, task_type: str) -> list[Upid]:
        """Given a guest and a task's type, return our tasks that run, newest first.

        Raise Unchanged if PVE cannot be asked.
        """
        rows = self._client.get(
            "nodes", self._client.config.node, "tasks", vmid=vmid, source="active", limit=50
        )
        # What ended and is not yet in the archive is listed too, with its exit status.
        return self._ours((r for r in rows if r.get("status", _RUNNING) == _RUNNING), task_type)

    def _ours(self, rows: Iterable[Mapping[str, Any]], task_type: str) -> list[Upid]:
        found = [Upid.parse(row["upid"]) for row in rows if _mentions(row, task_type)]
        ours = [u for u in found if f"{u.user}!{u.token}" == self._client.token_id]
        return sorted(ours, key=lambda u: u.start, reverse=True)

    def _look(self, upid: str, waited: float) -> TaskEnd | None:
        """Return the task's end, or None if it runs or cannot be seen at this moment."""
        try:
            return self.end(upid)
        except Missing:
            if waited > _GRACE:
                raise
        except Denied:
            raise
        except Unchanged:
            pass
        return None

    def _log_tail(self, upid: str) -> tuple[str, ...]:
        try:
            rows = self._client.get("nodes", Upid.parse(upid).node, "tasks", upid, "log", limit=500)
        except Unchanged:
            return ()
        lines = [str(row.get("t", "")) for row in rows]
        return tuple(line for line in lines if line)[-_LOG_TAIL:]


def _mentions(row: Mapping[str, Any], task_type: str) -> bool:
    return row.get("type") == task_type and bool(_UPID.fullmatch(str(row.get("upid"))))
