"""Which guest is reconciled when: all guests, on the main thread.

A pass hands over its plans. A guest that differs, or that has an operation in flight, is enqueued
if it is due, and is submitted to its lane once a place is free for it (`places`), in the order of
the queue; so a guest that waits holds no thread, wakes nobody and asks nothing of PVE. One-shot
jobs wait in the same queue. When a lane has ended, its guest's record (`record`) says when it is
tried again:

* `Retry`: after its own delay, or after a back-off that grows with the failures in a row;
* `Blocked` by PVE: after the longest back-off, or once something changed;
* `Blocked` by a hold: at the next pass;
* `Refused`: only once something changed.

"Something changed" means the declaration or what would be done; for what was refused, the guest's
configuration in PVE, too.

A guest that turns out to need more than its place allows (to be started, to be restarted) keeps no
place: it is enqueued again, and waits for such a one. Guests that are to be started begin in PVE's
own order (`startorder`).

Threads: everything here belongs to the main thread. A lane tells by `report` that it needs its
place no more (`Released`) and that it has ended (`Ended`), which puts that into the main loop's
inbox; `statuses` and `activity` may be read from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.check import SignedJob
from felhom_agent.daemon.ended import Ended, Released, Report, result_of
from felhom_agent.daemon.jobs import Job, hand_over
from felhom_agent.daemon.places import Places, may_restart
from felhom_agent.daemon.record import GuestRecord, Run
from felhom_agent.daemon.startorder import StartOrder
from felhom_agent.daemon.statuses import announce, next_tries, snapshot
from felhom_agent.daemon.waiting import Activity, Entry, Waiting
from felhom_agent.errors import QueueClosed
from felhom_agent.journal.operation import Operation
from felhom_agent.journal.operations import Operations
from felhom_agent.model import (
    Action,
    Blocked,
    Converged,
    Desired,
    DesiredGuest,
    Facts,
    GuestPlan,
    GuestStatus,
    Outcome,
    Refused,
    Retry,
    Start,
    outcome_word,
)
from felhom_agent.planning.actions import Need, describe, need_of
from felhom_agent.planning.startup import startup_of
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.backoff import Backoff
from felhom_agent.reconcile.engine import Engine
from felhom_agent.reconcile.holds import Holds
from felhom_agent.reconcile.reconciliation import Reconciled, Seen
from felhom_agent.reconcile.signedwork import SignedEnd, SignedParts
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import (
    INTERNAL_ERRORS,
    QUEUE_ADDS,
    QUEUE_RETRIES,
    QUEUE_WAIT,
    RECONCILE,
    RECONCILE_SECONDS,
)
from felhom_agent.service.names import Names

_LINES = (Need.CHANGE, Need.POWER)
# Seconds by which what the host tells of our own act may come after it.
_ECHO = 3.0
UNDECLARED = "it is not declared in any guest file that is in force"


class Scheduler:
    """Keeps the records of all guests, and submits a guest when it is due and has a place.

    `number` is that of the latest pass, `max_workers` the datacenter's setting as that pass saw it.
    `ends` counts the lanes that have ended.
    """

    def __init__(
        self,
        engine: Engine,
        operations: Operations,
        holds: Holds,
        backoff: Backoff,
        report: Report,
        clock: Callable[[], float],
        now: Callable[[], float],
        names: Names,
        *,
        parallel: int,
        applies: Applies,
        quiet_until: Callable[[int], float],
        counters: Counters,
    ) -> None:
        """`clock` tells monotonic seconds, `now` those since the epoch; `names` are what guests are
        called in the log. At most `parallel` guests are started or stopped at a time (0: as many as
        the datacenter says, `max_workers`). `applies` hears what comes of the guests that a person
        has told the agent to apply; `quiet_until` returns until when a guest is left alone;
        `counters` count what waits and what comes of it.
        """
        self._names = names
        self._applies = applies
        self._quiet_until = quiet_until
        self._counters = counters
        self._engine = engine
        self._operations = operations
        self._holds = holds
        self._report = report
        self._clock = clock
        self._parallel = parallel
        self._start_order = StartOrder()
        self._turn: float | None = None  # what it says, until something begins
        self._runs: dict[int, Run] = {}
        self._waiting = Waiting()
        self._records: dict[int, GuestRecord] = {}
        self._retries: dict[int, float] = {}
        self._held: Mapping[int, str] = {}
        self._dispatched = -math.inf
        self._now = now
        self._changed = False
        self._statuses: Mapping[int, GuestStatus] = MappingProxyType({})
        self._due: Mapping[int, float] = MappingProxyType({})
        self._activity = Activity()
        self.backoff = backoff
        self.number = 0
        self.ends = 0
        self.max_workers = Facts().max_workers

    @property
    def statuses(self) -> Mapping[int, GuestStatus]:
        """The status of each declared guest that was observed, as an immutable snapshot."""
        return self._statuses

    @property
    def activity(self) -> Activity:
        """Who runs, who waits for a place and who for a time, as an immutable snapshot."""
        return self._activity

    @property
    def running(self) -> int:
        """How many guests are being reconciled."""
        return len(self._runs)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits for a place."""
        return not self._runs and not self._waiting

    @property
    def settled(self) -> bool:
        """Whether every guest is as declared, and nobody runs, waits or is applied."""
        return (
            self.idle
            and not self._applies.open_guests()
            and all(
                record.status is not None and isinstance(record.status.outcome, Converged)
                for record in self._records.values()
            )
        )

    def adopt(self, backoff: Backoff, parallel: int) -> None:
        """Take other settings from now on, and let every guest be due."""
        self.backoff = backoff
        self._parallel = parallel
        self._retries.clear()
        for record in self._records.values():
            record.reset()
        self._changed = True

    def declare(self, desired: Desired) -> None:
        """Take what is desired from now on, and forget the guests that are no longer declared."""
        self._engine.desired = desired
        self._held = desired.held
        # Of a guest that is held nothing is declared that could be carried out.
        held = {vmid: DesiredGuest(vmid) for vmid in desired.held}
        declared = {**held, **desired.guests}
        for vmid in self._records.keys() - declared.keys():
            self._withdraw(self._records[vmid])
        for vmid in self._applies.open_guests() - declared.keys():
            self._applies.settle(vmid, Blocked(UNDECLARED), math.inf)
        for vmid, guest in declared.items():
            record = self._record(vmid)
            if guest != record.declared:
                self._retries.pop(vmid, None)
                record.declare(guest)

    def consider(
        self,
        plans: Mapping[int, GuestPlan],
        seen: Mapping[int, Seen],
        busy: Collection[int],
        looked: float = math.inf,
    ) -> None:
        """Given a pass's plans, what it saw of each guest that differs, the guests that have
        operations in flight, and when the pass began, enqueue whoever is due; then submit whoever
        has a place.
        """
        for vmid, plan in plans.items():
            record = self._records[vmid]
            if vmid not in self._runs:
                self._consider(record, plan, seen.get(vmid), looked, in_flight=vmid in busy)
        self.dispatch()

    def look_at_applied(self, begun: float) -> None:
        """Given when a pass began that has ended, enqueue the guests that are being applied and of
        which that pass could say nothing, since their lanes ran.
        """
        for vmid in self._applies.open_guests() & self._records.keys():
            if vmid not in self._retries and not self._applies.awaits(vmid, begun):
                self._enqueue(self._records[vmid])
        self.dispatch()

    def failed_to_look(self, why: str, begun: float) -> None:
        """Given why a pass failed, and when it began, end what is applied and waits for it."""
        for vmid in self._applies.open_guests():
            if vmid not in self._runs:
                self._applies.settle(vmid, Retry(0.0, why), begun)

    def apply(self, vmids: Collection[int]) -> None:
        """Given the guests that a person has told the agent to apply, let them be due, whatever
        came of them before.
        """
        for vmid in vmids:
            if record := self._records.get(vmid):
                record.reset()
                record.restart_in_vain = False

    def settle_first(self, vmids: Collection[int]) -> None:
        """Given guests with operations in flight that no pass considers, enqueue them: those from
        an earlier process, and those of guests that are not declared any more.
        """
        for vmid in sorted(vmids):
            self._enqueue(self._record(vmid))
        self.dispatch()

    def run_once(self, key: str, action: Action, expires: float | None = None) -> Future[Operation]:
        """Given a one-shot job's key and action, return the future of its operation.

        `expires` is when the job ends to be good, in seconds since the epoch (None: never). See
        `Engine.run_once` for what the future raises.
        """
        begin = partial(self._engine.run_once, key, action, expires)
        return self._let_wait(action.vmid, need_of([action]), begin)

    def run_signed(
        self, job: SignedJob, operation: SignedOperation, parts: SignedParts
    ) -> Future[SignedEnd]:
        """Given a signed job that waits, and what it says, return the future of how it stands after
        a try.
        """
        begin = partial(self._engine.run_signed, job, operation, parts)
        return self._let_wait(operation.vmid, Need.POWER, begin)

    def _let_wait(self, vmid: int, need: Need, begin: Callable[[], Future[Any]]) -> Future[Any]:
        job = Job(vmid, need, begin, Future())
        self._waiting.add(job, need)
        self.dispatch()
        return job.future

    def retry(self) -> None:
        """Enqueue each guest whose wait is over, and submit whoever has a place."""
        now = self._clock()
        for vmid in [vmid for vmid, due in self._retries.items() if due <= now]:
            del self._retries[vmid]
            record = self._records[vmid]
            # Under a hold the next pass says what would be done.
            if not self._may_not(vmid):
                record.seen = None
                record.need = min(record.need, Need.POWER)
                self._enqueue(record)
        self.dispatch()

    def next_event(self) -> float:
        """Return when something is due here, by the monotonic clock; infinity if nothing is."""
        return min(self.next_place(), min(self._retries.values(), default=math.inf))

    def next_place(self) -> float:
        """Return when time alone gives a place to who waits, by the monotonic clock; infinity if
        it gives none, or nobody waits.
        """
        # As of when places were given: one that was given back since is due, not past.
        runs, then = self._runs.values(), self._dispatched
        moments = [
            self._places.next_free(need, runs, then) for need in _LINES if need in self._waiting
        ]
        if Need.POWER in self._waiting and self._start_order.rests_until > then:
            moments.append(self._start_order.rests_until)
        return min(moments, default=math.inf)

    def acted(self, vmid: int) -> float:
        """Given a guest, return when its lane last ended, by the clock; the past if none did."""
        record = self._records.get(vmid)
        return record.acted if record is not None else -math.inf

    def runs(self, vmid: int) -> bool:
        """Return whether a guest's lane is at work."""
        return vmid in self._runs

    def is_at_work(self, vmid: int) -> bool:
        """Return whether a guest's lane is at work, or was a moment ago: what is heard of the guest
        then is of our own doing.
        """
        return vmid in self._runs or self._clock() - self.acted(vmid) <= _ECHO

    def was_touched(self, vmid: int, since: int) -> bool:
        """Given a guest and what `ends` was at a moment, return whether its lane has run since."""
        record = self._records.get(vmid)
        return vmid in self._runs or (record is not None and record.end > since)

    def ended(self, end: Ended) -> None:
        """Note how a lane ended, and submit whoever now has a place."""
        if end.scheduler is not self:
            return
        self.ends += 1
        run = self._runs.pop(end.vmid, None)
        record = self._records.get(end.vmid)
        if record is not None:
            record.acted, record.end = self._clock(), self.ends
            if record.declared is None:
                self._withdraw(record)
            elif end.vmid in self._held:
                outcome = GuestPlan(end.vmid, withheld=self._held[end.vmid]).outcome
                self._keep(record, outcome)
                self._applies.settle(end.vmid, outcome, self._clock())
            elif end.result is not None and run is not None:
                moved = run.declared != record.declared
                if moved or self._applies.awaits(end.vmid, run.began):
                    # What came of it may speak of what was so before.
                    self._enqueue(record)
                else:
                    self._note(record, end.result, run.began)
        self.dispatch()

    def released(self, word: Released) -> None:
        """Note that a lane has started or stopped its guest, and submit whoever now has a place."""
        run = self._runs.get(word.vmid)
        if word.scheduler is not self or run is None:
            return
        self._start_order.started(run.startup, self._clock())
        self._runs[word.vmid] = replace(run, need=Need.CHANGE, startup=None)
        self.dispatch()

    def publish(self) -> None:
        """Let other threads see the statuses, and who runs and waits, as they are now."""
        if self._changed:
            self._changed = False
            self._statuses = snapshot(self._records)
            self._due = next_tries(self._records, self._now() - self._clock())
        began = min((run.began for run in self._runs.values()), default=None)
        since = None if began is None else self._now() - self._clock() + began
        self._activity = Activity(frozenset(self._runs), self._waiting.guests(), self._due, since)

    def may_try(self, plan: GuestPlan) -> bool:
        """Given a guest's plan, return whether it may be tried, at once or in time: no other hold
        than the brake stands in the way, and the same was not refused before.
        """
        record = self._records.get(plan.vmid)
        refused = record is not None and record.is_refused(plan.actions)
        return bool(plan.actions) and not refused and not self._may_not(plan.vmid)

    def dispatch(self) -> None:
        """Submit those that wait, in order, as long as there are places."""
        self._dispatched = now = self._clock()
        self._turn = None
        for need in _LINES:
            self._waiting.serve(
                need,
                lambda need=need: self._places.is_free(need, self._runs.values(), now),  # type: ignore[misc]
                self._begin,
            )

    def _consider(
        self,
        record: GuestRecord,
        plan: GuestPlan,
        seen: Seen | None,
        looked: float,
        *,
        in_flight: bool,
    ) -> None:
        record.seen = seen
        if not plan.actions and not in_flight:
            self._drop(record)
            outcome = self._outcome_of(plan)
            self._keep(record, outcome)
            self._applies.settle(record.vmid, outcome, looked)
            if isinstance(record.status and record.status.outcome, Converged):
                record.settle()
            else:
                record.reset()
            return
        if why := self._may_not(record.vmid):
            would = ["find out what became of what is in flight"] if in_flight else []
            would += [describe(action) for action in plan.actions]
            observed = self._holds.only_observes(record.vmid)
            outcome = Blocked(f"{why}; would {', '.join(would)}", observed=observed)
            self._keep(record, outcome)
            if not in_flight:
                self._applies.settle(record.vmid, outcome, looked)
                self._drop(record)
                return
        if self._is_left_alone(record.vmid):
            self._leave_alone(record)
            return
        if record.is_due(plan.actions, self._clock()):
            record.attempted = plan.actions
            self._need(record, plan.actions, seen)
            self._enqueue(record)

    def _is_left_alone(self, vmid: int) -> bool:
        """Return whether somebody else has just changed, started or stopped a guest. A person who
        applies it knows what he does.
        """
        return self._quiet_until(vmid) > self._clock() and not self._applies.is_open(vmid)

    def _leave_alone(self, record: GuestRecord) -> None:
        """Leave a guest alone until what somebody else does to it has settled."""
        self._drop(record)
        record.reset()
        why = "somebody else has just changed it; it is left alone until that has settled"
        left = self._quiet_until(record.vmid) - self._clock()
        self._keep(record, Retry(max(1.0, left), why))

    def _outcome_of(self, plan: GuestPlan) -> Outcome:
        """Return what a plan without actions stands for; what is only told of a guest that is only
        observed waits for nobody.
        """
        outcome = plan.outcome
        if isinstance(outcome, Blocked) and not plan.withheld:
            only_observed = outcome.observed or self._holds.only_observes(plan.vmid)
            outcome = replace(outcome, observed=only_observed)
        return outcome

    def _need(self, record: GuestRecord, actions: tuple[Action, ...], seen: Seen | None) -> None:
        """Note what a guest's place must allow, given what would be done."""
        need = need_of(actions) if actions else Need.POWER
        if need is not record.need:
            self._waiting.drop(record.vmid)
            record.queued_at = None
        starts = need is Need.POWER and any(isinstance(action, Start) for action in actions)
        guest = seen.actual.guests.get(record.vmid) if seen else None
        record.need = need
        record.startup = startup_of(seen.declared, guest) if starts and seen and guest else None

    def _may_not(self, vmid: int) -> str:
        """Return why a guest must not be changed now; empty if it may be."""
        ends_restart = self._operations.has_open_restart(vmid)
        return self._holds.may_change(vmid, ends_restart=ends_restart)

    def _record(self, vmid: int) -> GuestRecord:
        """Return the record of a guest, a new one if there is none."""
        return self._records.setdefault(vmid, GuestRecord(vmid))

    def _enqueue(self, record: GuestRecord) -> None:
        if not record.queued and record.vmid not in self._runs:
            record.queued_at = self._clock()
            self._counters.add(QUEUE_ADDS)
            self._retries.pop(record.vmid, None)
            self._waiting.add(record.vmid, record.need)

    def _drop(self, record: GuestRecord) -> None:
        """Let a guest wait for nothing any more."""
        if record.queued:
            self._waiting.drop(record.vmid)
        record.queued_at = None
        self._retries.pop(record.vmid, None)

    def _withdraw(self, record: GuestRecord) -> None:
        record.declare(None)
        self._drop(record)
        if record.vmid not in self._runs:
            del self._records[record.vmid]
        self._changed = True

    @property
    def _places(self) -> Places:
        return Places(self._parallel or self.max_workers)

    def _begin(self, entry: Entry) -> bool:
        """Submit what waits, if it may begin; return whether it needs to wait no more."""
        used = self._start_job(entry) if isinstance(entry, Job) else self._start(entry)
        if used:
            self._turn = None
        return used

    def _start(self, vmid: int) -> bool:
        """Submit a guest that waits; return whether its entry is used up."""
        record = self._records.get(vmid)
        if record is None or record.queued_at is None:
            return True
        if vmid in self._runs or not self._is_its_turn(record):
            return False
        if self._is_left_alone(vmid):
            # It is looked at once it has settled.
            record.queued_at = None
            return True
        restarts = record.need is Need.RESTART
        if restarts and (down := self._down_by_us(vmid)):
            return self._give_up(record, Retry(0.0, down))
        run = Run(self._clock(), record.need, record.declared, record.startup)
        seen = record.seen if record.seen and record.acted < record.seen.begun else None
        try:
            future = self._engine.reconcile(
                vmid,
                self.number,
                seen,
                granted=run.need,
                release=partial(self._report, Released(self, vmid)),
                restart_in_vain=record.restart_in_vain,
            )
        except QueueClosed:
            return False
        except RuntimeError as error:  # the system gives us no thread
            why = f"no thread could be had for it ({error}); raise TasksMax of the service"
            return self._give_up(record, Retry(0.0, why))
        self._counters.observe(QUEUE_WAIT, run.began - record.queued_at)
        record.queued_at = record.seen = None
        self._runs[vmid] = run
        future.add_done_callback(partial(self._lane_ended, vmid, run.began))
        return True

    def _give_up(self, record: GuestRecord, outcome: Outcome) -> bool:
        """Given why a guest cannot begin now, let it wait no more until the next pass: its entry is
        used up.
        """
        record.queued_at = None
        self._keep(record, outcome)
        self._applies.settle(record.vmid, outcome, self._clock())
        return True

    def _is_its_turn(self, record: GuestRecord) -> bool:
        """Return whether no other guest goes before one for which there is a place."""
        if record.need is Need.RESTART:
            return may_restart(self._runs.values())
        if record.startup is None:
            return True
        if self._turn is None:  # one look at all records, not one for each that waits
            self._turn = self._start_order.turn(self._records, self._runs, self._dispatched)
        return record.startup.order <= self._turn

    def _down_by_us(self, vmid: int) -> str:
        """Return why a guest must not be restarted now: another one did not come back from that;
        empty if it may be.
        """
        for other in sorted(self._operations.open_restarts() - {vmid}):
            record = self._records.get(other)
            if record is None:  # it is not declared any more
                continue
            # One that is as declared is to stay down.
            if record.status is None or not isinstance(record.status.outcome, Converged):
                return (
                    f"{self._names.guest(other)} was stopped for its restart and is still down; "
                    "no other guest is restarted before it is up: start it, or see why it is down"
                )
        return ""

    def _start_job(self, job: Job) -> bool:
        """Submit a one-shot job of the queue; return whether its entry is used up."""
        if job.vmid in self._runs:
            return False
        if not job.future.set_running_or_notify_cancel():
            return True
        try:
            future = job.begin()
        except (QueueClosed, RuntimeError) as error:
            job.future.set_exception(error)
            return True
        self._runs[job.vmid] = Run(self._clock(), job.need)
        future.add_done_callback(partial(self._job_ended, job))
        return True

    def _lane_ended(self, vmid: int, began: float, future: Future[Reconciled]) -> None:
        """Hear, on any thread, that a lane is done with a guest that it began with then."""
        result = result_of(future, self._names.guest(vmid))
        word = "interrupted" if result is None else outcome_word(result.outcome)
        self._counters.add(RECONCILE, word)
        self._counters.observe(RECONCILE_SECONDS, self._clock() - began)
        if result is not None and result.defect:
            self._counters.add(INTERNAL_ERRORS)
        self._report(Ended(self, vmid, result))

    def _job_ended(self, job: Job, future: Future[Any]) -> None:
        """Hear, on any thread, that a one-shot job has ended."""
        hand_over(future, job.future)
        self._report(Ended(self, job.vmid, None))

    def _keep(self, record: GuestRecord, outcome: Outcome) -> None:
        """Keep how a guest stands, and say it if it is news."""
        self._changed = True
        if record.note(outcome, self._now()):
            announce(self._names.guest(record.vmid), record.vmid, outcome)

    def _note(self, record: GuestRecord, result: Reconciled, began: float) -> None:
        """Given what came of a guest whose lane began then, keep it, and decide when the guest is
        tried again.
        """
        now, outcome = self._clock(), result.outcome
        record.restart_in_vain |= result.restart_in_vain
        if result.wants is not None:
            record.need = result.wants
            self._enqueue(record)
            if result.wants is Need.RESTART and not may_restart(self._runs.values()):
                why = "it waits until the restart of another guest has ended"
                self._keep(record, Retry(0.0, why))
            return
        # A wait that is no failure goes on: for a place, or for a task that takes its time.
        if not (isinstance(outcome, Retry) and outcome.delay):
            self._applies.settle(record.vmid, outcome, began)
        match outcome:
            case Converged():
                record.settle()
            case Retry(delay):
                if not delay:
                    record.failures += 1
                    outcome = replace(outcome, delay=self.backoff.delay(record.failures))
                record.wait(now + outcome.delay)
                self._retries[record.vmid] = record.not_before
                self._counters.add(QUEUE_RETRIES)
            case Blocked() if result.held:
                record.reset()
            case Blocked():
                record.wait(now + self.backoff.cap)
            case Refused():
                record.wait(math.inf)
        self._keep(record, outcome)
