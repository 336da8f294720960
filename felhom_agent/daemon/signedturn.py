"""The main loop's part in signed operations: at each pass, and when a job was taken in.

It reads root's spool directory and looks whether the set of signers ends, on a lane of its own
since an examination, or the check of a chain of sets, takes its time; and hands each job that waits
to its guest's lane.

Threads: belongs to the main thread, but for that reading: `_reading` is set by the main thread and
cleared by the lane that read.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from felhom_agent.authz.hostblob import HostOperation
from felhom_agent.authz.jobs import JobState
from felhom_agent.daemon.scheduler import Scheduler
from felhom_agent.daemon.signedjobs import DueJob, SignedJobs
from felhom_agent.daemon.signing import Ready, Signing
from felhom_agent.errors import QueueClosed
from felhom_agent.reconcile.engine import Engine
from felhom_agent.reconcile.signedwork import SignedEnd
from felhom_agent.service.origins import described


class SignedTurn:
    """Lets signed jobs have their turn."""

    def __init__(self, signing: Signing, engine: Engine, scheduler: Scheduler) -> None:
        self._ready = signing.ready
        self._engine = engine
        self._scheduler = scheduler
        self._reading = threading.Event()

    def at_pass(self) -> None:
        """Remember the time, look into the spool, and hand over what waits."""
        if self._ready is None:
            return
        self._ready.keep()
        if self._ready.has_files and not self._reading.is_set():
            self._reading.set()
            try:
                self._engine.aside(partial(self._read, self._ready))
            except (QueueClosed, RuntimeError):  # stopping, or the system gives no thread
                self._reading.clear()
        self.hand_over()

    def hand_over(self) -> None:
        """Hand each job that waits to its guest's lane."""
        if self._ready is None:
            return
        jobs = self._ready.jobs
        for due in jobs.due():
            self._begun(due, self._ready).add_done_callback(partial(_ended, jobs, due))

    def _begun(self, due: DueJob, ready: Ready) -> Future[SignedEnd]:
        """Return the future of a job on its guest's lane, or on that of what belongs to none."""
        operation = due.operation
        if not isinstance(operation, HostOperation):
            return self._scheduler.run_signed(due.job, operation, ready.work)
        try:
            return self._engine.aside(partial(ready.host_work.run, due.job, operation))
        except (QueueClosed, RuntimeError) as error:  # stopping, or the system gives no thread
            failed: Future[SignedEnd] = Future()
            failed.set_exception(error)
            return failed

    def _read(self, ready: Ready) -> None:
        try:
            ready.tell_end()
            if ready.spool is not None:
                ready.spool.read(ready.jobs.submit)
        finally:
            self._reading.clear()


def _ended(jobs: SignedJobs, due: DueJob, future: Future[SignedEnd]) -> None:
    """Hear, on any thread, how a job stands after a try; one that had none waits."""
    with suppress(Exception):  # the journal's disk may be gone by now
        error = None if future.cancelled() else future.exception(timeout=0)
        if error is not None or future.cancelled():
            why = described(error) if isinstance(error, Exception) else "the agent is stopping"
            jobs.ended(due, SignedEnd(JobState.PENDING, why))
        else:
            jobs.ended(due, future.result(timeout=0))
