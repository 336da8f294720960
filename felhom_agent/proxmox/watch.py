"""Watching all tasks that are waited for by one listing per look.

Many lanes wait for a task at once, and PVE tells of all of them in one answer. Nobody owns a thread
for that: whichever waiter wakes first when a look is due makes it, for all. So there is never more
than one listing under way, and nothing runs while nobody waits.

Threads: `_changed` guards everything here, above all `_waiters`, what is known of each, whether a
listing is under way (`_listing`), when the latest began and when the next may. No request is made
under it. A wait ends

* by news: who made a look writes down what it brought and wakes all;
* by its own deadline: it is never waited longer than that, whoever is looking. The one exception is
  the waiter that makes a look itself: the request has a deadline of its own;
* by `cancel`, which wakes all.

A waiter that leaves takes nothing with it: the others' next look is due when it was, and each of
them sleeps until then at most. A look that fails, in whatever way, is over for the others as any
other, and is repeated after a pause that grows up to `MAX_PAUSE`; nothing else is asked meanwhile.

PVE: what the listing tells (recorded: calls-9.2/203-task-list). A row is known by its UPID. One
without `endtime` runs, and may say so for 0.1 s after the task ended. Around that moment a task may
have two rows: PVE reads the running tasks first, and the archive then (pve-manager API2/Tasks.pm
node_tasks); an end counts. The exit text of a row is what tasks/UPID/status says: both come from
the log's last line (pve-common UPID.pm read_status). A task may have no row: it is another node's
or another token's, more than `_ROWS` are younger, or its line in the archive cannot be parsed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeGuard

from felhom_agent.errors import Interrupted, Rejected, StillRunning, Unchanged
from felhom_agent.proxmox.answers import odd_answer
from felhom_agent.proxmox.cancel import Cancellation
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.pace import FINE, Durations, next_look
from felhom_agent.proxmox.upid import Upid

MAX_PAUSE = 2.0
"""The most seconds between two looks while PVE cannot be asked."""
_FIRST_PAUSE = 0.1
_ROWS = 500
_RUNNING = "RUNNING"  # recorded: 40-tasks-qemu/046
# PVE's own times of a task are whole seconds.
_ROUNDING = 1.5


@dataclass(frozen=True)
class ListedEnd:
    """What the listing holds of an ended task: its exit text, and the seconds it took."""

    exit_status: str
    seconds: int


@dataclass(eq=False)
class Waiter:
    """One wait for one task; guarded by the watch's condition. Its own thread may read it without:
    `end` is set once, and `looked` is read whole.
    """

    upid: Upid
    begun: float
    deadline: float
    due: float
    looked: float = -math.inf
    """When the last look that told of it began."""
    news: bool = False
    end: ListedEnd | None = None

    @property
    def waited(self) -> float:
        """The seconds from the wait's beginning to the last look."""
        return max(0.0, self.looked - self.begun)


class TaskWatch:
    """The tasks of one node that somebody waits for."""

    def __init__(self, client: Client, cancel: Cancellation, clock: Callable[[], float]) -> None:
        self._client = client
        self._cancel = cancel
        self._clock = clock
        self._changed = threading.Condition()
        self._waiters: list[Waiter] = []
        self._durations = Durations()
        self._listing = False
        self._latest = -math.inf
        self._not_before = -math.inf
        self._pause = 0.0
        cancel.wakes(self._changed)

    @contextmanager
    def over(self, upid: Upid, timeout: float) -> Iterator[Waiter]:
        """Given a task and seconds, watch it for the length of a block."""
        with self._changed:
            now = self._clock()
            due = now + next_look(0.0, self._durations.of(upid.type))
            waiter = Waiter(upid, now, now + timeout, due)
            self._waiters.append(waiter)
        try:
            yield waiter
        finally:
            with self._changed:
                self._waiters.remove(waiter)

    def news(self, waiter: Waiter) -> str | None:
        """Given a wait, return the task's exit text once it ended, or None if the listing does not
        hold the task and it should be asked for by itself.

        Raise StillRunning at the wait's deadline, Interrupted when told to stop.
        """
        while (began := self._await_turn(waiter)) is not None:
            self._look(began)
        return waiter.end.exit_status if waiter.end else None

    def _await_turn(self, waiter: Waiter) -> float | None:
        """Return None once there is news of a task, or this moment if its waiter is to look now."""
        with self._changed:
            while not waiter.news:
                if self._cancel.is_set():
                    raise Interrupted(f"stopped waiting for {waiter.upid.text}")
                now = self._clock()
                if self._may_look(waiter, now):
                    if self._is_listed(waiter):
                        self._listing = True
                        return now
                    self._tell(waiter, now, None)
                elif now >= waiter.deadline:
                    left = waiter.deadline - waiter.begun
                    raise StillRunning(
                        f"task {waiter.upid.text} still runs after {left:.0f} s; PVE goes on"
                    )
                else:
                    self._changed.wait(max(0.0, self._wake(waiter) - now))
            waiter.news = False
            return None

    def _may_look(self, waiter: Waiter, now: float) -> bool:
        """Return whether a look is due that this waiter may make; a last one is at its deadline."""
        last = waiter.looked < waiter.deadline <= now
        if not self._is_listed(waiter):
            return last or now >= waiter.due
        if self._listing or now < self._not_before:
            return False
        return last or now >= self._due()

    def _wake(self, waiter: Waiter) -> float:
        """Return the moment at which a waiter has something to do, if nobody wakes it before."""
        if not self._is_listed(waiter):
            return min(waiter.due, waiter.deadline)
        if self._listing:
            return waiter.deadline
        return min(max(self._due(), self._not_before), waiter.deadline)

    def _due(self) -> float:
        """Return the earliest moment at which any task wants a look, but not too soon."""
        return max(min(w.due for w in self._waiters if self._is_listed(w)), self._latest + FINE)

    def _is_listed(self, waiter: Waiter) -> bool:
        """Return whether a task can be in the listing at all: this node's, and not ended."""
        return waiter.upid.node == self._client.config.node and waiter.end is None

    def _look(self, began: float) -> None:
        """Ask for the listing, tell the waiters, and wake them all; `_listing` was set for it."""
        with self._changed:
            self._latest = began
            listed = [w for w in self._waiters if self._is_listed(w)]
        ended: dict[str, ListedEnd | None] = {}
        failed = True
        try:
            ended = self._list(min(w.upid.start for w in listed))
            failed = False
        except Rejected:
            # PVE can be asked, and gives no list: each task is asked for by itself.
            failed = False
        except Unchanged:
            pass
        finally:
            with self._changed:
                self._listing = False
                self._rest(failed=failed)
                for waiter in listed if not failed else ():
                    self._heard(waiter, began, ended)
                self._changed.notify_all()

    def _rest(self, *, failed: bool) -> None:
        """After a look that failed, wait for some time; longer each time."""
        self._pause = min(self._pause * 2 or _FIRST_PAUSE, MAX_PAUSE) if failed else 0.0
        self._not_before = self._clock() + self._pause if failed else -math.inf

    def _heard(self, waiter: Waiter, began: float, rows: dict[str, ListedEnd | None]) -> None:
        """Note what a look that began then brought for one waiter."""
        if (upid := waiter.upid.text) not in rows:
            self._tell(waiter, began, None)
        elif row := rows[upid]:
            self._learn(waiter, began, row)
            self._tell(waiter, began, row)
        else:
            self._looked(waiter, began)

    def _tell(self, waiter: Waiter, began: float, row: ListedEnd | None) -> None:
        self._looked(waiter, began)
        waiter.end = row
        waiter.news = True

    def _looked(self, waiter: Waiter, began: float) -> None:
        """Note that a task was looked at, and when it is to be looked at next."""
        age = began - waiter.begun
        waiter.looked = began
        waiter.due = waiter.begun + next_look(age, self._durations.of(waiter.upid.type))

    def _learn(self, waiter: Waiter, began: float, row: ListedEnd) -> None:
        """Remember how long a task took, unless it was met when it had run for some time."""
        took = began - waiter.begun
        if row.seconds - took < _ROUNDING:
            self._durations.ended(waiter.upid.type, waiter.waited, took)

    def _list(self, since: int) -> dict[str, ListedEnd | None]:
        """Return the tasks that the listing holds: None for one that runs. Raise Unchanged."""
        rows = self._client.get(
            "nodes", self._client.config.node, "tasks", source="all", since=since, limit=_ROWS
        )
        if not isinstance(rows, list):
            raise odd_answer("GET tasks", self._client.config.endpoint)
        return ends_of(rows)


def ends_of(rows: list[object]) -> dict[str, ListedEnd | None]:
    """Given a listing, return the end of each task by UPID: None for one that runs."""
    found: dict[str, ListedEnd | None] = {}
    for row in rows:
        if isinstance(row, dict) and isinstance(upid := row.get("upid"), str):
            _note(found, upid, row)
    return found


def _note(found: dict[str, ListedEnd | None], upid: str, row: dict[str, object]) -> None:
    """Note what a row says; one that says nothing that we know is left out."""
    status, ended = row.get("status"), row.get("endtime")
    if _is_moment(ended) and isinstance(status, str) and status:
        begun = row.get("starttime")
        found[upid] = ListedEnd(status, ended - begun if _is_moment(begun) else 0)
    elif ended is None and status == _RUNNING:
        found.setdefault(upid, None)


def _is_moment(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**53
