"""Reconciles guests: the lanes, and what they share.

A lane is given a vmid, not an order; what it then does is a `Reconciliation`. The exception is a
one-shot job (`run_once`): an order, with a key, begun at most once however often it is handed in.
It passes through the same lane, the same settling and the same reading back.

Threads: `desired` and the settings are replaced as a whole by the main thread and read as a whole
by lanes. A lane keeps nothing here: it returns a `Reconciled`. It ends by itself (every wait in it
has a deadline) or when `close` interrupts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.check import SignedJob
from felhom_agent.config.settings import ReconcileConfig
from felhom_agent.errors import Withheld
from felhom_agent.journal.operation import Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.model import Action, Desired
from felhom_agent.planning.actions import Need, as_desired, describe
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.brake import Brake
from felhom_agent.reconcile.bulk import BulkTasks
from felhom_agent.reconcile.executor import Executor
from felhom_agent.reconcile.gate import Gate, Proposal
from felhom_agent.reconcile.holds import Holds
from felhom_agent.reconcile.means import Means
from felhom_agent.reconcile.planner import Planner
from felhom_agent.reconcile.queue import LaneQueue
from felhom_agent.reconcile.quorum import Quorum
from felhom_agent.reconcile.reconciliation import Reconciled, Reconciliation, Seen
from felhom_agent.reconcile.recovery import Recovery
from felhom_agent.reconcile.signedwork import SignedEnd, SignedParts, SignedWork
from felhom_agent.service.counters import Counters
from felhom_agent.service.names import Names

# Seconds for lanes to notice that nobody waits for tasks any more.
_CANCEL_TIMEOUT = 5.0
NO_GUEST = 0
"""The lane of what belongs to no guest."""


T = TypeVar("T")


class Engine:
    """Reconciles guests, one lane per guest."""

    def __init__(
        self,
        node: Node,
        operations: Operations,
        planner: Planner,
        queue: LaneQueue,
        holds: Holds,
        brake: Brake,
        quorum: Quorum,
        bulk: BulkTasks,
        settings: ReconcileConfig,
        names: Names,
        clock: Callable[[], float] = time.monotonic,
        applies: Applies | None = None,
        counters: Counters | None = None,
    ) -> None:
        """`names` are what guests are called in the log; `clock` tells monotonic seconds; `applies`
        is what people have told the agent to do; `counters` count what the gate says.
        """
        self._node = node
        self._operations = operations
        self._queue = queue
        self._holds = holds
        self.settings = settings
        gate = Gate(holds, brake, applies, counters)
        self._executor = Executor(node, operations, gate, settings, names)
        self._means = Means(
            node=node,
            operations=operations,
            planner=planner,
            quorum=quorum,
            bulk=bulk,
            executor=self._executor,
            recovery=Recovery(node, operations, names),
            names=names,
            clock=clock,
            declared=lambda vmid: self.desired.guests.get(vmid),
            knows_declared=self._knows_declared,
        )
        # Nothing was read yet.
        self.desired = Desired(complete=False)

    def _knows_declared(self, vmid: int) -> bool:
        desired = self.desired
        told = desired.complete and not desired.unsettled and vmid not in desired.held
        return vmid in desired.guests or told

    def adopt(self, settings: ReconcileConfig) -> None:
        """Take timeouts from now on."""
        self.settings = settings
        self._executor.settings = settings

    def reconcile(
        self,
        vmid: int,
        number: int = 0,
        seen: Seen | None = None,
        *,
        granted: Need = Need.RESTART,
        release: Callable[[], None] = lambda: None,
        restart_in_vain: bool = False,
    ) -> Future[Reconciled]:
        """Given a guest, the number of the pass that asks, and perhaps what that pass saw, return
        the future of what comes of it.

        `granted` is what its place allows; `release` is called on its lane once it only needs one
        for changes. `restart_in_vain` tells that its last restart changed nothing. Raise
        QueueClosed when closing.
        """
        work = Reconciliation(
            self._means,
            vmid,
            seen,
            number=number,
            granted=granted,
            release=release,
            restart_in_vain=restart_in_vain,
        )
        return self._queue.submit(vmid, work.run)

    def run_once(self, key: str, action: Action, expires: float | None = None) -> Future[Operation]:
        """Given a one-shot job's key and action, return the future of its operation.

        `expires` is when the job ends to be good, in seconds since the epoch (None: never). A job
        that has succeeded gives its first operation again, and nothing is done. The future raises
        JobRefused if the job was begun before and may have had an effect, or has expired;
        Withheld or Held if the guest is not to be touched now, Unsigned if it cannot be undone;
        else what stood in the way. Raise QueueClosed when closing.
        """
        return self._queue.submit(action.vmid, lambda: self._once(key, action, expires))

    def run_signed(
        self, job: SignedJob, operation: SignedOperation, parts: SignedParts
    ) -> Future[SignedEnd]:
        """Given a signed job that was examined, and what it says, return the future of how it
        stands after a try, which raises nothing. Raise QueueClosed when closing.
        """
        work = SignedWork(self._means, parts)
        return self._queue.submit(operation.vmid, lambda: work.run(job, operation))

    def aside(self, callback: Callable[[], T]) -> Future[T]:
        """Given what belongs to no guest, and takes its time, return the future of it; all of that
        is on one lane of its own, one after the other. Raise QueueClosed when closing.
        """
        return self._queue.submit(NO_GUEST, callback)

    def close(self) -> bool:
        """Begin nothing new, and give what runs `drain_timeout`; return whether all ended.

        What did not end by then is no longer waited for; it stays in flight in the journal.
        """
        self._holds.close()
        self._queue.close(drain=False)
        if self._queue.join(self.settings.drain_timeout):
            return True
        self._node.cancel_waits.set()
        return self._queue.join(_CANCEL_TIMEOUT)

    def _once(self, key: str, action: Action, expires: float | None) -> Operation:
        means = self._means
        means.settle(action.vmid)
        job = self._operations.job(key)
        if job is not None and job.state is State.SUCCEEDED:
            return job
        wanted = as_desired(action)
        actual = means.observe(action.vmid)
        if why := means.planner.plan(wanted, actual).withheld:
            raise Withheld(why)
        guest = actual.guests.get(action.vmid)
        proposal = Proposal(
            action,
            describe(action),
            means.declared(action.vmid),
            actual.config_of(action.vmid),
            name=guest.name if guest else "",
        )
        operation = self._executor.begin(proposal, key=key, expires=expires)
        after = means.planner.plan_after(wanted, means.observe(action.vmid), action)
        return self._executor.confirm(operation, action, after)
