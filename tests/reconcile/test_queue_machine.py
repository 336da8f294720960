"""The queue's contract under random programs of submit, cancel, raise, close and idle.

A machine makes up the program and keeps a plain model beside it. Callbacks wait at gates that only
the machine opens, so the model knows what must run, wait or be done, although real threads do
the work. It shows that

* the callbacks of one guest run one at a time, in order, and do not wait for another guest's;
* what was cancelled or dropped never runs; all else does, even if it comes as its lane retires;
* each future ends as the model says: with the result, the very exception that its callback
  raised (even SystemExit), cancelled, or QueueClosed; and the lane lives on after each;
* after `close` nothing is accepted; what was queued runs, or fails without drain; what ran is
  left alone; in the end every lane and its thread is gone.

Lanes of one variant stay for ever, so that a lost wake-up is not made good by their retiring;
those of the other retire whenever they have nothing to do.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from felhom_agent.errors import QueueClosed
from felhom_agent.reconcile.queue import LaneQueue

SOON = 10.0
"""Deadline of waits that end at once unless something is broken."""

NTH_GUEST = st.integers(0, 1)
# The last two are how the queue itself ends a future; when a callback raises them they must
# reach its future as any other.
ERRORS = st.sampled_from(
    [None, None, ValueError, SystemExit, KeyboardInterrupt, CancelledError, QueueClosed]
)
Plan = tuple[type[BaseException] | None, bool]
"""Which error the callback raises, and whether its gate is shut at first."""
PLANS = st.lists(st.tuples(ERRORS, st.booleans()), min_size=1, max_size=6)


class Fate(Enum):
    RUNS = auto()
    CANCELLED = auto()
    DROPPED = auto()


@dataclass(eq=False)
class Job:
    """A callback that waits at its gate, and then raises its error or returns itself."""

    name: str
    guest: Guest
    error: BaseException | None
    fate: Fate = Fate.RUNS
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    future: Future[Job] = field(default_factory=Future)
    lane: threading.Thread | None = None

    def __call__(self) -> Job:
        assert self.guest.turn.acquire(blocking=False), "two callbacks of one guest overlap"
        try:
            self.lane = threading.current_thread()
            self.guest.begun.append(self)
            self.begun.set()
            assert self.gate.wait(Lanes.patience), "its gate stays shut: some call blocks"
            if self.error is not None:
                raise self.error
            return self
        finally:
            self.guest.turn.release()

    def __repr__(self) -> str:
        return self.name


@dataclass
class Guest:
    """The model of a lane: all that was submitted, in that order, and all that has begun."""

    vmid: int
    jobs: list[Job] = field(default_factory=list)
    begun: list[Job] = field(default_factory=list)
    turn: threading.Lock = field(default_factory=threading.Lock)

    def at_gate(self) -> Job | None:
        """Return the job that runs until its gate is opened."""
        shut = (job for job in self.jobs if job.fate is Fate.RUNS and not job.gate.is_set())
        return next(shut, None)

    def waiting(self) -> list[Job]:
        """Return what was submitted after the job at the gate."""
        job = self.at_gate()
        return self.jobs[self.jobs.index(job) + 1 :] if job else []

    def open_gates(self) -> None:
        for job in self.jobs:
            job.gate.set()


class SteppedLock:
    """A lock that stops a lane before it takes it, or after it gave it back, at the chosen step:
    moments that chance would hit once in thousands of times.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stop(None, 0)

    def stop(self, lane: threading.Thread | None, step: int) -> None:
        """From now on count the lane's steps, and stop it at the given one until `go_on`."""
        self.steps_left = step
        self.stopped = threading.Event()
        self.go_on = threading.Event()
        self.lane = lane

    def acquire(self, blocking: bool = True) -> bool:
        # Conditions try without blocking to see whether the lock is held; that is no step.
        if blocking:
            self._step()
        return self._lock.acquire(blocking)

    def release(self) -> None:
        self._lock.release()
        self._step()

    def _step(self) -> None:
        if threading.current_thread() is self.lane:
            self.steps_left -= 1
            if self.steps_left == -1:
                self.stopped.set()
                self.go_on.wait(Lanes.patience)

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()


class Lanes(RuleBasedStateMachine):
    retire: ClassVar[bool] = False
    patience: ClassVar[float] = SOON

    def __init__(self) -> None:
        super().__init__()
        self.threads_before = set(threading.enumerate())
        self.lock = SteppedLock()
        with mock.patch("threading.Lock", return_value=self.lock):
            self.queue = LaneQueue(idle_seconds=0.0 if self.retire else 1000 * SOON)
        self.guests = [Guest(101), Guest(102)]
        self.closed = False
        self.failed = False

    # Else half of the programs would do this and that with an empty queue.
    @initialize(first=PLANS, second=PLANS)
    def begin(self, first: list[Plan], second: list[Plan]) -> None:
        self.submit(0, first)
        self.submit(1, second)

    @precondition(lambda self: not self.closed)
    @rule(nth=NTH_GUEST, plans=PLANS)
    def submit(self, nth: int, plans: list[Plan]) -> None:
        guest = self.guests[nth]
        for error, gated in plans:
            job = Job(f"job {len(guest.jobs)} of {guest.vmid}", guest, error() if error else None)
            if not gated:
                job.gate.set()
            job.future = self.queue.submit(guest.vmid, job)
            guest.jobs.append(job)

    @precondition(lambda self: not self.closed)
    @rule(nth=NTH_GUEST, step=st.integers(0, 5), close=st.integers(0, 9))
    def submit_or_close_while_the_lane_falls_idle(self, nth: int, step: int, close: int) -> None:
        self.guests[nth].open_gates()
        self.submit(nth, [(None, True)])
        last = self.guests[nth].jobs[-1]
        self.await_what_can_be()
        assert last.lane
        # A lane that stays takes no more steps than these before it waits; one that retires is
        # gone after the last.
        self.lock.stop(last.lane, step if self.retire else step % 2)
        last.gate.set()
        looks = range(int(self.patience * 1000))
        there = any(self.lock.stopped.wait(0.001) or not last.lane.is_alive() for _ in looks)
        self.expect(there, f"the lane that did {last} neither retires nor looks for work")
        if close == 9:
            self.close(drain=True)
        else:
            self.submit(nth, [(None, False)])
        self.lock.go_on.set()
        self.await_what_can_be()

    @precondition(lambda self: self.closed)
    @rule(nth=NTH_GUEST)
    def submit_and_be_refused(self, nth: int) -> None:
        # The model does not know this job, and finds it out if it begins.
        with pytest.raises(QueueClosed):
            self.queue.submit(self.guests[nth].vmid, Job("refused job", self.guests[nth], None))

    @rule(nth=NTH_GUEST, newest=st.integers(1, 8), every=st.integers(1, 3))
    def cancel(self, nth: int, newest: int, every: int) -> None:
        self.await_what_can_be()
        waiting = self.guests[nth].waiting()
        for job in self.guests[nth].jobs[-newest::every]:
            if job in waiting and job.fate is Fate.RUNS:
                job.fate = Fate.CANCELLED
            possible = job.fate is Fate.CANCELLED
            self.expect(job.future.cancel() is possible, f"{job}: cancelling is {possible=}")

    @rule(nth=NTH_GUEST)
    def open_the_gate_of_the_running_one(self, nth: int) -> None:
        if job := self.guests[nth].at_gate():
            job.gate.set()

    @rule()
    def await_what_can_be(self) -> None:
        """All up to a gate is done, the job at the gate runs, and nothing behind it does."""
        for guest in self.guests:
            running, waiting = guest.at_gate(), guest.waiting()
            for job in guest.jobs:
                if job is running:
                    self.expect(job.begun.wait(self.patience), f"{job} is next, does not begin")
                    self.expect(not job.future.done(), f"{job} was not left alone")
                    break
                self.await_end(job)
            due = [job for job in guest.jobs if job.fate is Fate.RUNS and job not in waiting]
            self.expect(guest.begun == due, f"should have begun: {due}, has begun: {guest.begun}")

    @rule()
    def let_all_lanes_fall_idle(self) -> None:
        for guest in self.guests:
            guest.open_gates()
        self.await_what_can_be()
        if self.closed or self.retire:
            # With so long a timeout that a join which nobody wakes does not come back.
            joining = threading.Thread(target=self.queue.join, args=(1000 * SOON,), daemon=True)
            joining.start()
            joining.join(self.patience)
            self.expect(not joining.is_alive(), "a lane does not retire, or does not tell join")
            self.expect(self.queue.join(0.0), "all lanes have retired, and join denies it")
        else:
            self.expect(not self.queue.join(0.0), "a lane retired before its time")

    # Not at once, or most programs would be over before they began.
    @precondition(lambda self: sum(len(guest.jobs) for guest in self.guests) > 9)
    @rule(drain=st.booleans())
    def close(self, drain: bool) -> None:
        if not drain:
            self.await_what_can_be()
        self.queue.close(drain=drain)
        self.closed = True
        for job in [job for guest in self.guests for job in guest.waiting() if not drain]:
            if job.fate is Fate.RUNS:
                job.fate = Fate.DROPPED
            self.await_end(job)

    def await_end(self, job: Job) -> None:
        # Unlike Future.result, wait() comes back from a cancelled one only when the lane has
        # told those who wait for it.
        done = wait([job.future], self.patience).done
        self.expect(bool(done), f"{job} should be done and is not")
        end: object = Fate.CANCELLED
        if not job.future.cancelled():
            error = job.future.exception()
            dropped = isinstance(error, QueueClosed) and error is not job.error
            end = Fate.DROPPED if dropped else error or job.future.result()
        due = (job.error or job) if job.fate is Fate.RUNS else job.fate
        self.expect(end is due, f"{job} ends with {end!r}, not with {due!r}")

    def expect(self, fact: bool, message: str) -> None:
        if not fact:
            self.failed = True
            # From now on the test fails anyhow; shrinking it need not wait as long each time.
            Lanes.patience = SOON / 50
        assert fact, message

    def teardown(self) -> None:
        self.queue.close(drain=not self.failed)
        self.closed = True
        self.lock.go_on.set()
        for guest in self.guests:
            guest.open_gates()
        if self.failed:
            return
        self.let_all_lanes_fall_idle()
        for thread in set(threading.enumerate()) - self.threads_before:
            thread.join(self.patience)
            self.expect(not thread.is_alive(), f"{thread.name} outlives its lane")


@pytest.mark.parametrize("retire", [False, True], ids=["lanes stay", "lanes retire"])
def test_whatever_is_asked_of_it_the_queue_keeps_its_contract(
    retire: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lanes, "retire", retire)
    monkeypatch.setattr(Lanes, "patience", SOON)
    run_machine(Lanes, settings=settings(deadline=None, max_examples=200, stateful_step_count=30))
