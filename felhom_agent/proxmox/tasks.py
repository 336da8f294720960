"""PVE's tasks: what a UPID says, waiting for an end, and what the end means.

Only `OK` and `WARNINGS: n` are success (PVE: pve-common Tools.pm upid_status_is_error). A running
task has no exit status at all. Waiting has a deadline; when it passes, PVE goes on without us and
StillRunning says so. A look that fails is only repeated, never the dispatch.

All tasks that are waited for are watched by one listing per look (`watch`). A task is asked for by
itself only where the listing does not hold it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from felhom_agent.errors import (
    Denied,
    Missing,
    TaskFailed,
    Unchanged,
)
from felhom_agent.proxmox.answers import odd_answer
from felhom_agent.proxmox.cancel import Cancellation
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.upid import Upid
from felhom_agent.proxmox.watch import TaskWatch, Waiter

_RUNNING = "RUNNING"  # recorded: 40-tasks-qemu/046
_SUCCESS = re.compile(r"OK|WARNINGS: \d+")
_NO_UPID = "what PVE named is no task"
_LOG_TAIL = 5
# The most lines of a log that are read for that, and how long one may be.
_LOG_PAGE = 50
_MAX_WORDS = 500
# PVE may need a moment until a task that it has just named can be found.
_GRACE = 5.0


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
    """The tasks of PVE that this agent began. `stop` ends every wait early once it is set.

    May be shared by threads: all that they share is the watch's.
    """

    def __init__(
        self,
        client: Client,
        stop: Cancellation,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._watch = TaskWatch(client, stop, clock)

    def end(self, upid: str) -> TaskEnd | None:
        """Given a UPID, return how the task ended, or None while it runs.

        Raise Missing if PVE knows no such task (any more), or if it can know none by that name,
        Unchanged if it cannot be asked.
        """
        path = self._path(upid)
        status = self._client.get(*path, "status")
        if not isinstance(status, dict):
            raise odd_answer(f"GET /{'/'.join(path)}/status", self._client.config.endpoint)
        if status.get("status") != "stopped":
            return None
        return self._ended(upid, status.get("exitstatus"))

    def wait(self, upid: str, timeout: float) -> None:
        """Given a UPID and seconds, return when the task ended well.

        Raise TaskFailed if it ended otherwise, StillRunning after `timeout`, Missing if PVE does
        not know it, Denied if the token may not see it, Interrupted when told to stop.
        """
        try:
            watched = Upid.parse(upid)
        except ValueError:
            raise Missing(_NO_UPID) from None
        with self._watch.over(watched, timeout) as waiter:
            end = self._end_of(waiter)
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
        return self._ours(rows, task_type, running=True)

    def last_words(self, upid: str) -> str:
        """Given a UPID, return the last line of its task's log; empty if there is none, or it
        cannot be had. Raise Missing if it is none.
        """
        # A log without a line has one that says so (recorded: 40-tasks-qemu/112).
        lines = [line for line in self._log_tail(upid) if line != "no content"]
        return lines[-1] if lines else ""

    def _ours(self, rows: object, task_type: str, *, running: bool = False) -> list[Upid]:
        if not isinstance(rows, list):
            raise odd_answer("GET tasks", self._client.config.endpoint)
        listed = [row for row in rows if isinstance(row, dict)]
        if running:
            # What ended and is not yet in the archive is listed too, with its exit status.
            listed = [row for row in listed if row.get("status", _RUNNING) == _RUNNING]
        found = [upid for row in listed if (upid := _upid_of(row)) and upid.type == task_type]
        ours = [u for u in found if f"{u.user}!{u.token}" == self._client.token_id]
        return sorted(ours, key=lambda u: u.start, reverse=True)

    def _end_of(self, waiter: Waiter) -> TaskEnd:
        """Given a wait, return how its task ended; its errors are those of `wait`."""
        upid = waiter.upid.text
        while (said := self._watch.news(waiter)) is None:
            if (end := self._look(upid, waiter.waited)) is not None:
                return end
        return self._ended(upid, said)

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

    def _ended(self, upid: str, said: object) -> TaskEnd:
        """Given a task and its exit status, return its end; where it failed, with its log's."""
        end = TaskEnd(upid, _line(said) or "no exit status was recorded")
        return end if end.ok else TaskEnd(upid, end.exit_status, self._log_tail(upid))

    def _path(self, upid: str) -> tuple[str, ...]:
        """Return the path of a task. Raise Missing for what is no UPID: PVE can know no such."""
        try:
            return ("nodes", Upid.parse(upid).node, "tasks", upid)
        except ValueError:
            raise Missing(_NO_UPID) from None

    def _log_tail(self, upid: str) -> tuple[str, ...]:
        """Return the last lines of a task's log, or none if they cannot be had."""
        path = self._path(upid)
        try:
            rows, total = self._client.page(*path, "log", limit=_LOG_PAGE)
            if total > _LOG_PAGE:
                rows = self._client.get(*path, "log", start=total - _LOG_PAGE, limit=_LOG_PAGE)
        except Unchanged:
            return ()
        known = rows if isinstance(rows, list) else []
        lines = [_line(row.get("t")) for row in known if isinstance(row, dict)]
        return tuple(line for line in lines if line)[-_LOG_TAIL:]


def _upid_of(row: object) -> Upid | None:
    """Return the UPID of a row of the task list, or None if it has none."""
    try:
        return Upid.parse(str(row.get("upid"))) if isinstance(row, dict) else None
    except ValueError:
        return None


def _line(words: object) -> str:
    """Return PVE's words as one bounded line; empty if they are none."""
    if not isinstance(words, str):
        return ""
    line = words[: _MAX_WORDS + 1].encode("utf-8", "replace").decode()
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 3] + "..."
