"""What became of an operation that has no outcome yet.

After a crash, or after an answer that never came, the journal holds operations in flight. Before a
guest is touched again each of its operations is settled by looking, never by repeating. While PVE
cannot be asked, nothing is settled and the guest stays closed. Nothing is changed here.

What is waited for, in this order:

1. The operation's own task, if its UPID is known. Else a task of its kind that runs, ours by the
   token, and no other operation's: for a change every one of them. No clock is needed for that.
2. What PVE may yet begin: it works on a request for as long as its caller would have waited. That
   is counted by the monotonic clock, from the operation's beginning in this process, or from the
   start of the process that found it in its journal. It is spared where the request is known to
   have arrived: its UPID is known, its task is found, or the change is written.

Which task is an operation's, if nobody was told? One of our token, of that guest and that type,
that no operation owns. The times of tasks are PVE's, and those of the journal are ours; either may
have jumped. So three rules stand, and no clock decides about an act:

* one that runs is waited for, and taken for the operation's, whatever its time;
* one that ended is taken for the operation's at once if it began, by PVE's times, after the last
  one that an operation owns, and by our clock not before the operation did; and if it is the only
  one, or began no later than PVE works on a request. The oldest of them: the first is what our call
  made, and a later one may be of somebody else;
* else the wait of 2. is kept, and after it the order alone decides: the oldest after the last one
  that an operation owns. That only chooses the words of the outcome.

A configuration change may leave a task whose name nobody was told, since PVE answers without one
where the change ends soon. So its task proves nothing, and only what is written counts.

What is recorded:

* *failed* where its task failed;
* *succeeded* where its task ended well, and it shows now: the guest runs, is stopped, has each
  value that was set and none of the keys that were deleted. An exit status of OK alone is not
  enough, and neither is a run state without a task: anybody may have brought it about. What is
  written counts without a task, too, since it tells to the letter what was asked for. What PVE does
  not tell (a password) counts as written if it is there and the operation's own task was OK;
* *unknown* else. A reconcile pass observes the guest and plans again; a one-shot job with an
  unknown outcome is never run again by itself.
"""

from __future__ import annotations

import contextlib
import logging

from felhom_agent.errors import Denied, Missing, OutcomeUnknown, StillRunning, TaskFailed
from felhom_agent.journal.hiddenvalue import is_mark, stands_for
from felhom_agent.journal.operation import ABSENT_MARK, SNAPSHOT, Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.model import ABSENT, RunState
from felhom_agent.options import lookup
from felhom_agent.planning.compare import is_written
from felhom_agent.planning.context import Context
from felhom_agent.proxmox.answers import already_there, nothing_done
from felhom_agent.proxmox.guests import TASK_TYPES
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.upid import Upid
from felhom_agent.service.events import FOUND_OUT
from felhom_agent.service.logging import fields
from felhom_agent.service.names import Names

_log = logging.getLogger(__name__)

# A task's start has whole seconds, and PVE's clock and ours may differ a little.
_CLOCK_SLACK = 5.0
_STATES = {
    "Start": RunState.RUNNING,
    "Stop": RunState.STOPPED,
    "PullPlug": RunState.STOPPED,
}
_DOES_NOT_SHOW = "PVE said OK, but it does not show"


class Recovery:
    """Settles operations; called on the lane of the operation's guest."""

    def __init__(self, node: Node, operations: Operations, names: Names) -> None:
        """`names` are what guests are called in the log."""
        self._node = node
        self._operations = operations
        self._names = names

    def settle(self, operation: Operation, timeout: float) -> Operation:
        """Given an operation in flight, return it with its outcome recorded.

        Raise StillRunning if its task goes on after `timeout` seconds or PVE may yet begin it,
        Interrupted when told to stop, Unchanged if PVE cannot be asked: then it stays in flight.
        """
        settled = self._settle(operation, timeout)
        level = logging.WARNING if settled.state is State.UNKNOWN else logging.INFO
        _log.log(
            level,
            "%s: found out: %s: %s%s",
            self._names.guest(settled.vmid),
            settled.text,
            settled.state,
            f" ({settled.why})" if settled.why else "",
            extra=fields(FOUND_OUT, vmid=settled.vmid, op=settled.op_id, upid=settled.upid),
        )
        return settled

    def settle_ended(self, operation: Operation, words: str) -> Operation:
        """Given a change in flight of which PVE is done, and what it said, return it with its
        outcome recorded: what PVE may yet begin is not waited for. Raise Unchanged if PVE cannot be
        asked: then it stays in flight.
        """
        if self._shows(operation):
            return self._operations.succeeded(operation)
        return self._operations.failed(operation, words)

    def confirm(self, operation: Operation) -> Operation:
        """Given an operation whose task ended well, return it with its outcome recorded: whether it
        shows. Raise Unchanged if PVE cannot be asked: then it stays in flight.
        """
        if self._shows(operation, said_ok=True):
            return self._operations.succeeded(operation)
        return self._operations.unknown(operation, _DOES_NOT_SHOW)

    def _settle(self, operation: Operation, timeout: float) -> Operation:
        if _is_upid(operation.upid):
            return self._settle_task(operation, timeout)
        running = self._running(operation)
        if operation.action == "SetConfig":
            return self._settle_change(operation, running, timeout)
        if not (upid := _first(running) or self._task_by_clock(operation)):
            self._wait_for_stragglers(operation)
            # It may have come, and begun, since the last look.
            upid = _first(self._running(operation)) or self._task_by_clock(operation)
            upid = upid or self._task_by_order(operation)
        if upid:
            # Noted before it is waited for, so that it is known when it has ended, too.
            return self._settle_task(self._operations.task(operation, upid), timeout)
        return self._settle_by_looking(operation, "PVE knows no task of it")

    def _settle_task(self, operation: Operation, timeout: float) -> Operation:
        """Settle an operation whose task is known."""
        try:
            self._node.tasks.wait(operation.upid, timeout)
        except TaskFailed as error:
            if not already_there(error.text):
                untouched = operation.action == "SetConfig" and nothing_done(
                    operation.kind, len(operation.wanted), error.text
                )
                return self._operations.failed(operation, error.text, untouched=untouched)
        except (Missing, OutcomeUnknown):
            return self._settle_by_looking(operation, "PVE no longer knows its task")
        except Denied:
            # Begun under another token (recorded: 40-tasks-qemu/120).
            return self._settle_by_looking(operation, "its task is hidden from this token")
        return self.confirm(operation)

    def _settle_change(self, operation: Operation, running: list[str], timeout: float) -> Operation:
        """Settle a configuration change of which no task is known, once none of its kind runs."""
        for upid in running:
            with contextlib.suppress(TaskFailed, Missing):
                self._node.tasks.wait(upid, timeout)
        if not self._shows(operation):
            self._wait_for_stragglers(operation)
        return self._settle_by_looking(operation, "PVE was asked to change it")

    def _running(self, operation: Operation) -> list[str]:
        """Return the running tasks that may be the operation's, oldest first."""
        task_type = TASK_TYPES.get((operation.action, operation.kind))
        if task_type is None:
            return []
        running = self._node.tasks.running(operation.vmid, task_type)
        return [u.text for u in running[::-1] if not self._operations.owns(u.text)]

    def _wait_for_stragglers(self, operation: Operation) -> None:
        """Raise StillRunning while PVE may yet work on a request that was cut off."""
        left = self._window - self._operations.waited(operation)
        if left > 0:
            raise StillRunning(f"PVE may yet {operation.text}", retry_after=left)

    @property
    def _window(self) -> float:
        """The seconds from a request's sending to the last moment at which PVE may begin it."""
        return self._node.client.config.write_timeout + _CLOCK_SLACK

    def _task_by_clock(self, operation: Operation) -> str:
        """Return the task that began when the operation did; empty if that cannot be told."""
        found, _ = self._nobodys_tasks(operation)
        since, until = operation.begun - _CLOCK_SLACK, operation.begun + self._window
        later = [upid for upid in found if upid.start >= int(since)]
        sure = later if len(later) == 1 else [upid for upid in later if upid.start <= until]
        return sure[0].text if sure else ""

    def _task_by_order(self, operation: Operation) -> str:
        """Return the first task after the last that an operation owns; empty if none is owned."""
        found, any_owned = self._nobodys_tasks(operation)
        return found[0].text if found and any_owned else ""

    def _nobodys_tasks(self, operation: Operation) -> tuple[list[Upid], bool]:
        """Return the tasks of the operation's kind that nobody owns and that began after the last
        one that is owned, oldest first; and whether there is such a one.
        """
        task_type = TASK_TYPES[operation.action, operation.kind]
        tasks = self._node.tasks.find(operation.vmid, task_type, 0.0)
        owned = [upid.start for upid in tasks if self._operations.owns(upid.text)]
        last = max(owned, default=0)
        # PVE lists the newest first, which tells where two have the same moment.
        later = [upid for upid in reversed(tasks) if upid.start >= last]
        nobodys = [upid for upid in later if not self._operations.owns(upid.text)]
        return sorted(nobodys, key=_moment), bool(owned)

    def _settle_by_looking(self, operation: Operation, why: str) -> Operation:
        if not self._shows(operation):
            return self._operations.unknown(operation, f"{why}; it does not show")
        if operation.action != "SetConfig":
            why = f"{why}; it is so now, and nothing tells who did it"
            return self._operations.unknown(operation, why)
        return self._operations.succeeded(operation)

    def _shows(self, operation: Operation, *, said_ok: bool = False) -> bool:
        """Return whether PVE shows what an operation was to bring about.

        `said_ok` tells that its own task ended well. Raise Unchanged if PVE cannot be asked.
        """
        try:
            if state := _STATES.get(operation.action):
                status = self._node.guests.status(operation.kind, operation.vmid)
                return status.get("status") == state
            match operation.action:
                case "Destroy":
                    return self._is_gone(operation, said_ok=said_ok)
                case "Rollback":
                    # A rollback makes the snapshot the present state's parent (recorded:
                    # 100-snapshots-qemu, 101-snapshots-lxc).
                    config = self._node.guests.config(operation.kind, operation.vmid)
                    return config.get("parent") == operation.wanted[SNAPSHOT]
                case "DeleteSnapshot":
                    left, _ = self._node.guests.snapshots(operation.kind, operation.vmid)
                    return operation.wanted[SNAPSHOT] not in left
            return self._is_written(operation, said_ok=said_ok)
        except Missing:
            return False

    def _is_gone(self, operation: Operation, *, said_ok: bool) -> bool:
        """Return whether a guest is gone: not here, on no other node, and not hidden.

        PVE takes what the token was given on the guest along with it (recorded: 110-destroy-qemu/
        045-069), so after a destroy that ended well it may well be hidden.
        """
        vmid = operation.vmid
        try:
            actual = self._node.observer.observe_guest(vmid)
        except Denied:
            return said_ok
        hidden = vmid in actual.hidden and not said_ok
        return not (vmid in actual.guests or vmid in actual.elsewhere or hidden)

    def _is_written(self, operation: Operation, *, said_ok: bool) -> bool:
        config = self._node.guests.config(operation.kind, operation.vmid)
        facts = self._node.observer.facts
        context = Context(
            vmid=operation.vmid,
            config=config,
            case_sensitive_tags=facts.case_sensitive_tags,
            cgroup=facts.cgroup,
        )
        for key, wanted in operation.wanted.items():
            present = config.get(key, ABSENT)
            if wanted is ABSENT_MARK:
                if present is not ABSENT:
                    return False
            elif _is_masked(operation, key):
                # Its value is neither in the journal nor in PVE's answer.
                if not said_ok or present is ABSENT:
                    return False
            elif is_mark(wanted):
                if present is ABSENT or not stands_for(wanted, str(present)):
                    return False
            elif not is_written(operation.kind, key, wanted, present, context):
                return False
        return bool(operation.wanted)


def _first(upids: list[str]) -> str:
    return upids[0] if upids else ""


def _moment(upid: Upid) -> tuple[int, int]:
    # Within a second the worker's own start tells, in hundredths of a second since the boot.
    return upid.start, int(upid.text.split(":")[3], 16)


def _is_masked(operation: Operation, key: str) -> bool:
    option = lookup(operation.kind, key)
    return option is not None and option.secret


def _is_upid(text: str) -> bool:
    try:
        Upid.parse(text)
    except (ValueError, Missing, OutcomeUnknown):
        # What PVE named in a form that we do not know has no task that could be asked for.
        return False
    return True
