"""Doing: brings one guest at a time in line with what is desired.

A lane is never given an order, only a guest to look at. Its turn goes: settle what is in flight;
look; plan; do the plan's first action; look again; and so on until the plan is empty or something
stands in the way. So every act rests on a look that is milliseconds old, and its success is read
back from PVE, not believed.

Looks at a guest that wait already are not queued twice.

The exception is a one-shot job (`run_once`): an order, with a key, begun at most once however often
it is handed in. It passes through the same lane, the same settling and the same reading back.

Threads: `_lock` guards `_waiting` and `_standing`. An entry of `_fruitless` (the declaration under
which a restart was in vain) belongs to its guest's lane. `_desired` and `_settings` are replaced
as a whole by the main loop and read as a whole by lanes; a turn uses the declaration it found when
it began. A turn ends by itself (every wait in it has a deadline) or when `close` interrupts it.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import replace

from felhom_agent.config import ReconcileConfig
from felhom_agent.errors import FelhomError, Interrupted, Stale, Withheld
from felhom_agent.journal.identities import Identities
from felhom_agent.journal.operation import Operation, State
from felhom_agent.journal.operations import Operations
from felhom_agent.model import (
    Action,
    Blocked,
    Converged,
    Desired,
    DesiredGuest,
    GuestPlan,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Start,
    Stop,
)
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile import outcomes
from felhom_agent.reconcile.actions import as_wish, describe
from felhom_agent.reconcile.backoff import Backoff
from felhom_agent.reconcile.dispatch import Dispatcher, NoEffect
from felhom_agent.reconcile.identity import changes_identity, identity_of
from felhom_agent.reconcile.plan import plan_guest
from felhom_agent.reconcile.queue import LaneQueue
from felhom_agent.reconcile.recovery import Recovery
from felhom_agent.reconcile.slots import Slots
from felhom_agent.reconcile.standing import Standing
from felhom_agent.service.events import (
    GUEST_BLOCKED,
    GUEST_CONVERGED,
    GUEST_REFUSED,
    GUEST_RETRY,
    INTERNAL_ERROR,
)
from felhom_agent.service.logging import fields, within

_log = logging.getLogger(__name__)

# A turn has at most three kinds of actions to do; more rounds mean that somebody works against us.
_MOST_ROUNDS = 6
# Seconds for lanes to notice that nobody waits for tasks any more.
_LAST_CALL = 5.0
LOOKS = 8
"""How many lanes may look at their guests at the same time; PVE's proxy has three workers."""
_EVENTS = {
    "converged": GUEST_CONVERGED,
    "retry": GUEST_RETRY,
    "blocked": GUEST_BLOCKED,
    "refused": GUEST_REFUSED,
}


class Engine:
    """Turns plans into operations, one lane per guest."""

    def __init__(
        self,
        node: Node,
        operations: Operations,
        identities: Identities,
        queue: LaneQueue,
        settings: ReconcileConfig,
        backoff: Backoff,
    ) -> None:
        self._node = node
        self._operations = operations
        self._identities = identities
        self._queue = queue
        self._settings = settings
        self._backoff = backoff
        self._slots = Slots(settings.parallel)
        self._restarts = Slots(1)
        # Never closed: a look that confirms what was done must not be sent away.
        self._looks = Slots(LOOKS)
        self._dispatcher = Dispatcher(node, operations, settings)
        self._recovery = Recovery(node, operations)
        self._desired = Desired()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._standing: dict[int, Standing] = {}
        self._fruitless: dict[int, str] = {}

    def desire(self, desired: Desired) -> None:
        """Take what is desired from now on; turns that have begun go on with what they had."""
        self._desired = desired

    def adopt(self, settings: ReconcileConfig) -> None:
        """Take timeouts and limits from now on."""
        self._settings = settings
        self._dispatcher.settings = settings
        self._slots.resize(settings.parallel)
        self._backoff.adopt(settings.backoff_first, settings.backoff_cap, settings.jitter)

    def look_at(self, vmid: int, number: int = 0) -> Future[Outcome]:
        """Given a guest and the number of the pass that asks for it, return the future of its next
        turn. Raise QueueClosed when closing.
        """

        def turn() -> Outcome:
            with within(**{"pass": number}):
                return self._turn(vmid)

        with self._lock:
            waiting = self._waiting.get(vmid)
            if waiting is None:
                waiting = self._queue.submit(vmid, turn)
                self._waiting[vmid] = waiting
            return waiting

    def run_once(self, key: str, action: Action, expires: float | None = None) -> Future[Operation]:
        """Given a one-shot job's key and action, return the future of its operation.

        `expires` is when the job ends to be good, in seconds since the epoch (None: never). A job
        that has succeeded gives its first operation again, and nothing is done. The future raises
        JobRefused if the job was begun before and may have had an effect, or has expired;
        Withheld if the guest is not to be touched now; else what stood in the way. Raise
        QueueClosed when closing.
        """
        return self._queue.submit(action.vmid, lambda: self._once(key, action, expires))

    def note(self, vmid: int, outcome: Outcome) -> None:
        """Given how a guest stands, log it if that is news."""
        with self._lock:
            standing = self._standing.get(vmid)
            before = standing.outcome if standing else None
            if standing is None or _is_news(before, outcome) or type(before) is not type(outcome):
                standing = Standing(outcome, self._operations.now())
            self._standing[vmid] = replace(standing, outcome=outcome)
        if isinstance(outcome, Converged):
            self._backoff.succeeded(vmid)
        if _is_news(before, outcome):
            level = logging.INFO if isinstance(outcome, Converged) else logging.WARNING
            name = type(outcome).__name__.lower()
            extra = fields(_EVENTS[name], vmid=vmid, outcome=name)
            _log.log(level, "guest %d: %s", vmid, outcome, extra=extra)

    def outcomes(self) -> dict[int, Outcome]:
        """Return how each guest stood when it was last looked at."""
        return {vmid: standing.outcome for vmid, standing in self.standing().items()}

    def standing(self) -> dict[int, Standing]:
        """Return how each guest stood when it was last looked at, and since when."""
        with self._lock:
            return dict(self._standing)

    def forget(self, vmids: set[int]) -> None:
        """Forget how guests stood that are no longer declared."""
        with self._lock:
            for vmid in vmids & self._standing.keys():
                del self._standing[vmid]

    def close(self) -> bool:
        """Begin nothing new, and give what runs `drain_timeout`; return whether all ended.

        What did not end by then is no longer waited for; it stays in flight in the journal.
        """
        self._closing.set()
        self._slots.close()
        self._queue.close(drain=False)
        if self._queue.join(self._settings.drain_timeout):
            return True
        self._node.stop.set()
        return self._queue.join(_LAST_CALL)

    def _turn(self, vmid: int) -> Outcome:
        with self._lock:
            self._waiting.pop(vmid, None)
        guest = self._desired.guests.get(vmid)
        try:
            self._settle(vmid)
            outcome = self._bring_in_line(guest) if guest is not None else Converged()
        except Interrupted:
            raise
        except FelhomError as error:
            outcome = self._of_error(vmid, guest, error)
        except Exception as error:  # a bug of ours must not take the daemon along
            _log.exception(
                "guest %d: internal error; please report it",
                vmid,
                extra=fields(INTERNAL_ERROR, vmid=vmid),
            )
            outcome = Retry(self._delay(vmid, guest), f"internal error: {type(error).__name__}")
        if guest is not None:
            self.note(vmid, outcome)
        return outcome

    def _once(self, key: str, action: Action, expires: float | None) -> Operation:
        self._settle(action.vmid)
        job = self._operations.job(key)
        if job is not None and job.state is State.SUCCEEDED:
            return job
        if self._settings.dry_run:
            raise Withheld(f"dry run; would {describe(action)}")
        with self._slots.taken():
            wish = as_wish(action)
            if why := self._plan(wish).withheld:
                raise Withheld(why)
            operation = self._dispatcher.begin(action, key=key, expires=expires)
            return self._dispatcher.confirm(operation, action, self._plan(wish, after=action))

    def _settle(self, vmid: int) -> None:
        """Find out what became of what is in flight. Raise what stands in the way of that."""
        for operation in self._operations.in_flight(vmid):
            self._recovery.settle(operation, self._dispatcher.timeout(operation.action))

    def _bring_in_line(self, guest: DesiredGuest) -> Outcome:
        plan = self._plan(guest)
        if not plan.actions:
            return outcomes.of_plan(plan)
        if self._settings.dry_run:
            return Blocked(f"dry run; would {', '.join(describe(a) for a in plan.actions)}")
        with self._slots.taken():
            return self._work_off(guest)

    def _work_off(self, guest: DesiredGuest, *, restarted: bool = False) -> Outcome:
        plan = self._plan(guest)
        for _ in range(_MOST_ROUNDS):
            if not plan.actions:
                return outcomes.of_plan(plan)
            action = plan.actions[0]
            if self._closing.is_set() and not (restarted and isinstance(action, Start)):
                raise Interrupted("the agent is stopping")
            if isinstance(action, Stop) and action.restart:
                return self._restart(guest, action, again=restarted)
            try:
                operation = self._dispatcher.begin(action)
            except Interrupted:
                raise
            except Stale:
                plan = self._plan(guest)
                continue
            except FelhomError as error:
                return self._of_error(guest.vmid, guest, error, stopping=isinstance(action, Stop))
            plan = self._plan(guest, after=action)
            self._dispatcher.confirm(operation, action, plan)
        raise NoEffect("somebody else keeps changing this guest")

    def _restart(self, guest: DesiredGuest, stop: Stop, *, again: bool) -> Outcome:
        """Stop a guest and bring it in line again, unless another one is being restarted."""
        if again:
            self._fruitless[guest.vmid] = repr(guest)
        if self._fruitless.get(guest.vmid) == repr(guest):
            # Else it would be restarted over and over for what no restart mends.
            return Refused("it was restarted, and what waits for a restart still does")
        with self._restarts.taken_if_free() as free:
            if not free:
                return Retry(self._settings.backoff_first, "another guest is being restarted")
            try:
                operation = self._dispatcher.begin(stop)
            except Interrupted:
                raise
            except FelhomError as error:
                return self._of_error(guest.vmid, guest, error, stopping=True)
            self._dispatcher.confirm(operation, stop, self._plan(guest))
            return self._work_off(guest, restarted=True)

    def _plan(self, guest: DesiredGuest, after: Action | None = None) -> GuestPlan:
        """Look at a guest and plan; `after` is the action that was just done to it."""
        with self._looks.taken():
            actual = self._node.observer.look(guest.vmid)
        present = actual.guests.get(guest.vmid)
        if present is not None and isinstance(after, SetConfig) and changes_identity(after):
            self._identities.remember({guest.vmid: identity_of(present)})
        plan = plan_guest(guest, actual, self._identities.of(guest.vmid))
        if present is not None and plan.actions:
            self._identities.remember({guest.vmid: identity_of(present)})
        return plan

    def _of_error(
        self, vmid: int, guest: DesiredGuest | None, error: FelhomError, *, stopping: bool = False
    ) -> Outcome:
        return outcomes.of_error(error, lambda: self._delay(vmid, guest), stopping=stopping)

    def _delay(self, vmid: int, guest: DesiredGuest | None) -> float:
        return self._backoff.failed(vmid, repr(guest))


def _is_news(before: Outcome | None, now: Outcome) -> bool:
    if isinstance(now, Converged):
        return before is not None and not isinstance(before, Converged)
    if isinstance(before, Retry) and isinstance(now, Retry):
        return before.why != now.why
    return before != now
