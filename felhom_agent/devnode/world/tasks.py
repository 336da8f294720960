"""The tasks of the node: their UPIDs, their logs, and the two lists PVE keeps of them.

A running task has no exit status and is not in the archive, which is what a plain GET of the list
reads. recorded: 40-tasks-qemu/045-048.

A task's state tells its end at once. The list may go on for `lag` seconds to name it as running,
and only then has it in the archive; but not one that was killed. PVE's lag is up to 0.1 s.
recorded: calls-9.2/203-task-list/081, 103.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from felhom_agent.devnode.world.worker import KILLED, EventQueue, Steps, Worker

Row = dict[str, object]

_UPID = re.compile(
    r"UPID:(?P<node>[^:]+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:[^:]+:[^:]*:(?P<user>[^:]+):"
)


@dataclass
class Task:
    """One task; `user` names the token too ("felhom-agent@pve!agent")."""

    node: str
    pid: int
    pstart: int
    starttime: int
    type: str
    id: str
    user: str
    log: list[str] = field(default_factory=list)
    warnings: int = 0
    exitstatus: str | None = None
    endtime: int = 0
    ended: float = 0.0
    worker: Worker | None = field(default=None, repr=False)
    hidden_looks: int = 0

    @property
    def upid(self) -> str:
        """The task's name."""
        return (
            f"UPID:{self.node}:{self.pid:08X}:{self.pstart:08X}:{self.starttime:08X}"
            f":{self.type}:{self.id}:{self.user}:"
        )

    def warn(self, text: str) -> None:
        """Log a warning; a task that ends well then ends with `WARNINGS: n`."""
        self.warnings += 1
        self.log.append(f"WARN: {text}")

    def end(self, status: str, moment: float) -> None:
        """Given a worker's last words or OK, close the task."""
        warned = status == "OK" and self.warnings
        self.exitstatus = f"WARNINGS: {self.warnings}" if warned else status
        self.endtime, self.ended = int(moment), moment
        if status != KILLED:  # recorded: 40-tasks-qemu/112; nobody was left to write it.
            self.log.append(_last_line(self.exitstatus))

    def _identity(self) -> Row:
        user, _, token = self.user.partition("!")
        row: Row = {
            "upid": self.upid,
            "node": self.node,
            "starttime": self.starttime,
            "type": self.type,
            "id": self.id,
            "user": user,
        }
        return {**row, "tokenid": token} if token else row

    def status_row(self) -> Row:
        """Return what GET tasks/UPID/status answers."""
        row = {**self._identity(), "pid": self.pid, "pstart": self.pstart}
        if self.exitstatus is None:
            return {**row, "status": "running"}
        return {**row, "status": "stopped", "exitstatus": self.exitstatus}

    def archive_row(self) -> Row:
        """Return the row of an ended task in the node's list."""
        times = {"pid": self.pid, "pstart": self.pstart, "endtime": self.endtime}
        return {**self._identity(), **times, "status": self.exitstatus}

    def active_row(self) -> Row:
        """Return the row of a running task in the node's list. recorded: 40-tasks-qemu/046."""
        row = self._identity()
        row.pop("tokenid", None)
        times = {"pid": self.pid, "pstart": self.pstart, "saved": "0"}
        return {**row, **times, "user": self.user, "status": "RUNNING"}

    def cluster_row(self) -> Row:
        """Return the row of GET /cluster/tasks. recorded: 40-tasks-qemu/048."""
        if self.exitstatus is None:
            return {**self._identity(), "pid": self.pid}
        ended = {"endtime": self.endtime, "status": self.exitstatus, "saved": "1"}
        return {**self._identity(), **ended}


class TaskBook:
    """All tasks of one node, in the order of their start.

    A task started while `hidden_looks` is set is not found that many times.
    """

    def __init__(self, node: str, events: EventQueue, lag: float = 0.0) -> None:
        self.lag = lag
        self._node = node
        self._agenda = events
        self._boot = events.moment - 1000.0
        self._tasks: dict[str, Task] = {}
        self._numbers = count()
        self.hidden_looks = 0

    def start(self, kind: str, vmid: int | str, user: str, work: Callable[[Task], Steps]) -> Task:
        """Given what a task shall do, start it and return it; it may have ended already. `vmid` is
        the guest that it is about; empty: none.
        """
        moment = self._agenda.moment
        task = Task(
            node=self._node,
            pid=0x1000 + next(self._numbers),
            pstart=int((moment - self._boot) * 100),
            starttime=int(moment),
            type=kind,
            id=str(vmid),
            user=user,
            hidden_looks=self.hidden_looks,
        )
        self._tasks[task.upid] = task
        task.worker = Worker(
            self._agenda,
            work(task),
            ended=lambda status: task.end(status, self._agenda.moment),
            log=task.log.append,
        )
        task.worker.proceed()
        self._agenda.advance(moment)
        return task

    def find(self, upid: str) -> Task | None:
        """Given a UPID, return its task if this node has it."""
        task = self._tasks.get(upid)
        if task is None or not task.hidden_looks:
            return task
        task.hidden_looks -= 1
        return None

    def forget(self) -> None:
        """Lose all tasks that have ended."""
        self._tasks = {u: task for u, task in self._tasks.items() if task.exitstatus is None}

    def running(self) -> Iterator[Task]:
        """Yield the tasks that have not ended, newest first."""
        return (t for t in reversed(self._tasks.values()) if t.exitstatus is None)

    def ended(self) -> Iterator[Task]:
        """Yield the tasks that have ended, newest first."""
        return (t for t in reversed(self._tasks.values()) if t.exitstatus is not None)

    def active(self) -> Iterator[Task]:
        """Yield what the list names as running, oldest first."""
        return (t for t in self._tasks.values() if t.exitstatus is None or self._lags(t))

    def archive(self) -> Iterator[Task]:
        """Yield what the list names as ended, newest first."""
        return (t for t in self.ended() if not self._lags(t))

    def _lags(self, task: Task) -> bool:
        return task.exitstatus != KILLED and self._agenda.moment < task.ended + self.lag


def owner(upid: str) -> str:
    """Given a UPID, return the user (with token) who started the task; "" if it is malformed."""
    match = _UPID.fullmatch(upid)
    return match["user"] if match else ""


def _last_line(status: str) -> str:
    if status == "OK":
        return "TASK OK"
    kind = "" if status.startswith("WARNINGS: ") else "ERROR: "
    return f"TASK {kind}{status}"
