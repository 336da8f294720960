"""What all lanes share.

Each part has its own rules for threads; this holds them together, and is never changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from felhom_agent.errors import OutcomeUnknown, Unchanged
from felhom_agent.journal.operations import Operations
from felhom_agent.model import Actual, DesiredGuest
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.bulk import BulkTasks
from felhom_agent.reconcile.executor import Executor
from felhom_agent.reconcile.planner import Planner
from felhom_agent.reconcile.quorum import Quorum
from felhom_agent.reconcile.recovery import Recovery
from felhom_agent.service.names import Names


@dataclass(frozen=True)
class Means:
    """What all lanes share; each part has its own rules for threads."""

    node: Node
    operations: Operations
    planner: Planner
    quorum: Quorum
    bulk: BulkTasks
    executor: Executor
    recovery: Recovery
    names: Names
    clock: Callable[[], float]
    declared: Callable[[int], DesiredGuest | None]
    """Given a vmid, returns its declaration as it is at this moment."""
    knows_declared: Callable[[int], bool]
    """Given a vmid, returns whether that is known: not while a file cannot be read, or is not
    believed yet.
    """

    def observe(self, vmid: int) -> Actual:
        """Return a guest as it is now. Raise Unchanged if PVE cannot be asked."""
        actual = self.node.observer.observe_guest(vmid)
        self.names.add({vmid: guest.name for vmid, guest in actual.guests.items()})
        return actual

    def settle(self, vmid: int) -> bool:
        """Find out what became of what is in flight; return whether anything was.

        Raise what stands in the way of that.
        """
        found = self.operations.in_flight(vmid)
        for operation in found:
            self.recovery.settle(operation, self.executor.timeout(operation.action))
        return bool(found)

    def settle_ended(self, vmid: int, error: OutcomeUnknown) -> None:
        """Given why nobody knows what became of a change, find out at once if PVE is done with it.

        What cannot be found out now stays in flight.
        """
        if not error.ended:
            return
        with contextlib.suppress(Unchanged):
            for operation in self.operations.in_flight(vmid):
                self.recovery.settle_ended(operation, error.text)
