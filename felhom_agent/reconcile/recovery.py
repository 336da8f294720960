"""What became of an operation that has no outcome yet.

After a crash, or after an answer that never came, the journal holds operations in flight. Before a
guest is touched again each of its operations is settled by looking, never by repeating:

* a known UPID is waited for, and its exit status is the outcome;
* a configuration change is read back: PVE has it or it has not. A task proves nothing, since an
  earlier change that ended at once has left one whose name nobody was told; but every task that may
  be this change is waited for before that is said;
* any other intent without a UPID is searched in PVE's task list (guest, type, our token, start
  time, and no other operation's task);
* what is still not seen may be on its way: PVE works on a request for as long as its caller would
  have waited. Until then the guest stays closed;
* after that it is recorded as unknown. A reconcile pass will look at the world and plan anew; a
  one-shot job with an unknown outcome is never run again by itself.

While PVE cannot be asked, nothing is settled and the guest stays closed.
"""

from __future__ import annotations

import contextlib
import logging

from felhom_agent.errors import Denied, Missing, StillRunning, TaskFailed
from felhom_agent.journal.operation import ABSENT_MARK, Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.model import ABSENT
from felhom_agent.proxmox.guests import TASK_TYPES
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.normalize import is_written
from felhom_agent.service.events import FOUND_OUT
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

# A task's start has whole seconds, and PVE's clock and ours may differ a little.
_CLOCK_SLACK = 5.0


class Recovery:
    """Settles operations; called on the lane of the operation's guest."""

    def __init__(self, node: Node, operations: Operations) -> None:
        self._node = node
        self._operations = operations

    def settle(self, operation: Operation, timeout: float) -> Operation:
        """Given an operation in flight, return it with its outcome recorded.

        Raise StillRunning if its task goes on after `timeout` seconds, Interrupted when told to
        stop, Unchanged if PVE cannot be asked: then it stays in flight.
        """
        settled = self._settle(operation, timeout)
        level = logging.WARNING if settled.state is State.UNKNOWN else logging.INFO
        _log.log(
            level,
            "guest %d: found out: %s: %s%s",
            settled.vmid,
            settled.text,
            settled.state,
            f" ({settled.why})" if settled.why else "",
            extra=fields(FOUND_OUT, vmid=settled.vmid, op=settled.op_id, upid=settled.upid),
        )
        return settled

    def _settle(self, operation: Operation, timeout: float) -> Operation:
        if not operation.upid and operation.wanted:
            return self._settle_change(operation, timeout)
        if not operation.upid and (found := self._find_tasks(operation)):
            # The oldest that nobody owns is the first that our call can have made.
            operation = self._operations.task(operation, found[0])
        if not operation.upid:
            self._wait_for_stragglers(operation)
            return self._settle_by_looking(operation, "PVE knows no task of it")
        try:
            self._node.tasks.wait(operation.upid, timeout)
        except TaskFailed as error:
            return self._operations.failed(operation, error.text)
        except Missing:
            return self._settle_by_looking(operation, "PVE no longer knows its task")
        except Denied:
            # Begun under another token (recorded: 40-tasks-qemu/120).
            return self._settle_by_looking(operation, "its task is hidden from this token")
        return self._operations.succeeded(operation)

    def _settle_change(self, operation: Operation, timeout: float) -> Operation:
        """Settle a configuration change of which no task is known."""
        if not self._is_written(operation):
            for upid in self._find_tasks(operation):
                with contextlib.suppress(TaskFailed, Missing):
                    self._node.tasks.wait(upid, timeout)
        if not self._is_written(operation):
            self._wait_for_stragglers(operation)
        return self._settle_by_looking(operation, "PVE was asked to change it")

    def _wait_for_stragglers(self, operation: Operation) -> None:
        """Raise StillRunning while PVE may yet work on a request that was cut off."""
        waited = self._operations.now() - operation.begun
        left = self._node.client.config.write_timeout + _CLOCK_SLACK - waited
        if left > 0:
            raise StillRunning(f"PVE may yet begin {operation.text}", retry_after=left)

    def _find_tasks(self, operation: Operation) -> list[str]:
        """Return the tasks that an operation's call may have made, oldest first."""
        task_type = TASK_TYPES.get((operation.action, operation.kind))
        if task_type is None:
            return []
        since = operation.begun - _CLOCK_SLACK
        found = self._node.tasks.find(operation.vmid, task_type, since)
        return [u.text for u in reversed(found) if not self._operations.owns(u.text)]

    def _settle_by_looking(self, operation: Operation, why: str) -> Operation:
        if operation.wanted and self._is_written(operation):
            return self._operations.succeeded(operation)
        return self._operations.unknown(operation, f"{why}; it does not show")

    def _is_written(self, operation: Operation) -> bool:
        try:
            config = self._node.guests.config(operation.kind, operation.vmid)
        except Missing:
            return False
        for key, wanted in operation.wanted.items():
            present = config.get(key, ABSENT)
            if wanted is ABSENT_MARK:
                if present is not ABSENT:
                    return False
            elif not is_written(operation.kind, key, wanted, present):
                return False
        return True
