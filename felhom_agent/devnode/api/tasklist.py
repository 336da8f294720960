"""What the API tells of tasks: the list with its filters, a task's state, its log.

recorded: 01-reads/027-028, 40-tasks-qemu/045-048, 120-133, 42-warnings/003-005,
calls-9.2/203-task-list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from felhom_agent.devnode.world.access import Caller
from felhom_agent.devnode.world.refusal import bad
from felhom_agent.devnode.world.tasks import Row, Task, TaskBook, owner
from felhom_agent.devnode.world.worker import KILLED

_DEFAULT_LIMIT = 50
_CLUSTER_LIMIT = 25


@dataclass(frozen=True)
class Page:
    """A part of a longer list; `total` is the length of the whole."""

    rows: list[Row]
    total: int


def permit(caller: Caller, upid: str, node: str) -> None:
    """Raise `Refusal` unless the UPID is well formed (400) and the caller may see it (403).

    Another token of the same user is somebody else. recorded: 40-tasks-qemu/120-128.
    """
    started_by = owner(upid)
    if not started_by:
        raise bad({"upid": "unable to parse worker upid"})
    if started_by != caller.name:
        caller.need(f"/nodes/{node}", "Sys.Audit")


def status(book: TaskBook, upid: str) -> Row:
    """Given a UPID, return its task's state. Raise `Refusal` (400) if there is none."""
    task = book.find(upid)
    if task is None:
        raise bad({"upid": "no such task"})
    return task.status_row()


def log(book: TaskBook, upid: str, params: Mapping[str, str]) -> Page:
    """Given a UPID, return the wanted lines of its log; there is always at least one."""
    task = book.find(upid)
    missing = ["unable to open file - No such file or directory"]
    lines = missing if task is None else task.log or ["no content"]
    first, limit = _window(params)
    numbered = [{"n": n, "t": text} for n, text in enumerate(lines, start=1)]
    rows: list[Row] = [dict(row) for row in numbered[first : first + limit]]
    return Page(rows, len(lines))


def page(book: TaskBook, caller: Caller, node: str, params: Mapping[str, str]) -> Page:
    """Given the parameters of a list, return that part of it that the caller may see."""
    source = params.get("source", "archive")
    active = book.active() if source in ("active", "all") else iter(())
    archive = book.archive() if source in ("archive", "all") else iter(())
    rows = [t.active_row() for t in active if _visible(t, caller, node) and _matches(t, params)]
    rows += [
        t.archive_row()
        for t in archive
        if _visible(t, caller, node) and _matches(t, params, archived=True)
    ]
    first, limit = _window(params)
    return Page(rows[first : first + limit], len(rows))


def cluster(book: TaskBook, caller: Caller, node: str) -> list[Row]:
    """Return what GET /cluster/tasks answers: what runs, then what ended last."""
    running = [t.cluster_row() for t in book.running() if _visible(t, caller, node)]
    ended = [t.cluster_row() for t in book.ended() if _visible(t, caller, node)]
    return running + ended[:_CLUSTER_LIMIT]


def _window(params: Mapping[str, str]) -> tuple[int, int]:
    return int(params.get("start", 0)), int(params.get("limit", _DEFAULT_LIMIT))


def _visible(task: Task, caller: Caller, node: str) -> bool:
    return task.user == caller.name or caller.may(f"/nodes/{node}", "Sys.Audit")


def _matches(task: Task, params: Mapping[str, str], *, archived: bool = False) -> bool:
    # recorded: calls-9.2/203-task-list/031-035, 093; the archive's rows name no token.
    user = task.user.partition("!")[0] if archived else task.user
    wanted = (
        params.get("vmid", task.id) == task.id,
        params.get("typefilter", task.type) == task.type,
        params.get("userfilter", "").lower() in user.lower(),
        int(params.get("since", task.starttime)) <= task.starttime,
        int(params.get("until", task.starttime)) >= task.starttime,
        _result(task, archived=archived) in _results(params),
    )
    return all(wanted)


def _results(params: Mapping[str, str]) -> list[str]:
    if params.get("errors") == "1":
        # recorded: 42-warnings/005, calls-9.2/203-task-list/024-025; warnings count as errors
        # here, and so does what runs.
        return ["warning", "error", "unknown"]
    chosen = re.split(r"[,; ]+", params.get("statusfilter", ""))
    return chosen if any(chosen) else ["ok", "warning", "error", "unknown"]


def _result(task: Task, *, archived: bool) -> str:
    if not archived or task.exitstatus in (None, KILLED):
        return "unknown"
    if str(task.exitstatus).startswith("WARNINGS: "):
        return "warning"
    return "ok" if task.exitstatus == "OK" else "error"
