"""All operations of a journal: begins them, notes their steps, knows what is in flight.

Each step is one durable record before the next thing happens: the intent before PVE is called, the
UPID before it is waited for, the outcome once it was seen. Whatever has no outcome is *in flight*;
after a crash that list is where recovery begins.

Reconcile operations carry no key and are never suppressed by an earlier success: doing again what
drifted again is their purpose. A one-shot job carries a key, and is begun at most once: only after
an attempt of which PVE surely did nothing may its key be used again. Keys are kept until the job
itself has expired, and for good where it never does.

Clocks. How long ago an operation was begun is told by the monotonic clock alone, and only in
memory: since its intent in the process that began it, since its start in any other. What the wall
clock says goes into the records for people, and decides one thing: whether a job has expired. For
that no time counts that lies before the latest one ever seen here (the ids hold it, and the mark),
so that a job that has expired once stays so. After a clock that was ahead, jobs are therefore good
only if they end later than what it showed; the refusal names that time.

Threads: one lock guards the index and the clock's last word. A record is appended outside of it
(a sync takes its time), and the index changes after the record is durable, so that nobody acts on
what a crash could take back. A job's key alone is taken before, so that it is taken once.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from felhom_agent.durable.line import Record
from felhom_agent.errors import JobRefused
from felhom_agent.irreversible import Act
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation, State, ended, intent, record_of, replay
from felhom_agent.journal.retention import Limits, Watermark, mark_record, retain, watermark_of
from felhom_agent.journal.shape import is_time

_DAY = 86400.0


class Operations:
    """The operations of an open journal.

    `clock` tells the seconds since the epoch, `monotonic` those since any moment, `limits` how much
    of the past is kept.
    """

    def __init__(
        self,
        log: JournalLog,
        records: Iterable[Record],
        clock: Callable[[], float],
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self._started = monotonic()
        self._begun: dict[str, float] = {}
        self._limits = limits
        self._lock = threading.Lock()
        self._in_flight: dict[str, Operation] = {}
        self._jobs: dict[str, Operation] = {}
        self._upids: set[str] = set()
        self._unknown: set[str] = set()
        self._open_restarts: set[int] = set()
        self._changed: dict[int, float] = {}
        self.heard: Callable[[Operation], None] = lambda _: None
        """Is given each step of an operation once it is durable, on the thread that did it; set
        before any thread begins one.
        """
        records = list(records)
        operations = replay(records)
        self._last_id = watermark_of(records).include(operations).last_id
        self._forgotten = watermark_of(records).forgotten
        for operation in operations:
            self._index(operation)
        self._tidied = self._started
        self._tidied_size = log.size

    def begin(
        self, action: Act, *, key: str = "", expires: float | None = None, name: str = ""
    ) -> Operation:
        """Given an action about to be done, and its guest's name, return its operation once the
        intent is durable.

        `key` makes it a one-shot job, which is good until `expires` (None: for ever). Raise
        JobRefused if the job has expired, or was begun before and may have had an effect.
        """
        if key:
            with self._lock:
                self._refuse_spent(key)
            self._refuse_expired(key, expires)
        with self._lock:
            if key:
                self._refuse_spent(key)
            now = self._clock()
            self._last_id = max(self._last_id + 1, int(now * 1000))
            operation = intent(f"{self._last_id:012x}", action, now, key, expires, name)
            if key:
                self._jobs[key] = operation
        self._write(operation)
        with self._lock:
            # Only now may PVE be asked.
            self._begun[operation.op_id] = self._monotonic()
        return operation

    def waited(self, operation: Operation) -> float:
        """Return for how many seconds an operation surely was begun already, whatever clocks say:
        since this process began it, or since it was found.
        """
        with self._lock:
            begun = self._begun.get(operation.op_id, self._started)
        return self._monotonic() - begun

    def task(self, operation: Operation, upid: str) -> Operation:
        """Note the UPID under which PVE works on it."""
        return self._write(dataclasses.replace(operation, state=State.TASK, upid=upid))

    def succeeded(self, operation: Operation) -> Operation:
        """Note that it was done, and seen to be done."""
        return self._write(ended(operation, State.SUCCEEDED, self._clock()))

    def failed(self, operation: Operation, why: str, *, untouched: bool = False) -> Operation:
        """Note that it was not done; `untouched`: that PVE surely did nothing."""
        now = self._clock()
        return self._write(ended(operation, State.FAILED, now, why, untouched=untouched))

    def unknown(self, operation: Operation, why: str) -> Operation:
        """Note that nobody can tell any more whether it was done."""
        return self._write(ended(operation, State.UNKNOWN, self._clock(), why))

    def in_flight(self, vmid: int | None = None) -> tuple[Operation, ...]:
        """Return what has no outcome yet, of one guest or of all, oldest first."""
        with self._lock:
            found = [o for o in self._in_flight.values() if vmid in (None, o.vmid)]
        return tuple(sorted(found, key=lambda o: o.op_id))

    @property
    def journal_size(self) -> int:
        """The bytes that the journal has."""
        return self._log.size

    @property
    def unknown_count(self) -> int:
        """How many operations the journal has of which nobody can tell what became of them."""
        with self._lock:
            return len(self._unknown)

    def has_open_restart(self, vmid: int) -> bool:
        """Return whether we stopped a guest for a restart and have not started it again."""
        with self._lock:
            return vmid in self._open_restarts

    def changed(self) -> dict[int, float]:
        """Return when each guest was last changed, started or stopped by us, in seconds since the
        epoch, of those of which the journal tells.
        """
        with self._lock:
            return dict(self._changed)

    def open_restarts(self) -> frozenset[int]:
        """Return the guests that we stopped for a restart and have not started again."""
        with self._lock:
            return frozenset(self._open_restarts)

    def close_restart(self, vmid: int) -> None:
        """Note that a guest runs again, whoever started it."""
        with self._lock:
            self._open_restarts.discard(vmid)

    def check(self) -> None:
        """Raise JournalClosed if nothing can be written down any more."""
        self._log.check()

    def now(self) -> float:
        """Return the time by which operations begin and end, in seconds since the epoch."""
        return self._clock()

    def owns(self, upid: str) -> bool:
        """Return whether a task is already known to be some operation's."""
        with self._lock:
            return upid in self._upids

    def job(self, key: str) -> Operation | None:
        """Return the latest operation that was begun for a one-shot job; None if none is known."""
        with self._lock:
            return self._jobs.get(key)

    def already_applied(self, key: str) -> bool:
        """Return whether a one-shot job of that key has succeeded."""
        job = self.job(key)
        return job is not None and job.state is State.SUCCEEDED

    def compact(self) -> bool:
        """Let go of what is older than the limits, if it is time to; return whether it was.

        Raise JournalError if the journal cannot be made smaller now; it goes on as it was.
        """
        moment, size = self._monotonic(), self._log.size
        outgrown = size > self._limits.size and size > 2 * self._tidied_size
        aged = moment - self._tidied > _DAY and size > self._tidied_size
        if not (outgrown or aged):
            return False
        # Also where it fails: not again before it has grown as much, or a day has gone by.
        self._tidied, self._tidied_size = moment, size
        now = self._clock()
        dropped: list[Operation] = []

        def keep(records: list[Record]) -> list[Record]:
            kept = retain(records, now, self._limits)
            left = {operation.op_id for operation in replay(kept)}
            dropped.extend(o for o in replay(records) if o.op_id not in left)
            return kept

        self._log.compact(keep)
        self._tidied_size = self._log.size
        self._forget(dropped)
        return True

    def _refuse_expired(self, key: str, expires: float | None) -> None:
        """Raise JobRefused for a job that has expired, and remember that it has."""
        if expires is None:
            return
        if not is_time(expires):
            raise JobRefused(f"job {key} ends at {expires!r}, which is no time")
        with self._lock:
            # The last id is the highest time at which anything was begun, in milliseconds. Of a
            # job that ends before the last that was let go of, nobody knows any more.
            seen = max(self._clock(), self._forgotten, self._last_id / 1000)
            if expires > seen:
                return
            news, self._forgotten = expires > self._forgotten, max(self._forgotten, expires)
            mark = Watermark(self._last_id, self._forgotten)
        if news:
            self._log.append(mark_record(mark))
        raise JobRefused(
            f"job {key} has expired ({_date(expires)}; the latest time seen is {_date(seen)})"
        )

    def _refuse_spent(self, key: str) -> None:
        job = self._jobs.get(key)
        if job is not None and job.spends_its_key:
            raise JobRefused(f"job {key} was begun before ({job.state}: {job.text}), not again")

    def _write(self, operation: Operation) -> Operation:
        self._log.append(record_of(operation))
        with self._lock:
            self._index(operation)
        self.heard(operation)
        return operation

    def _index(self, operation: Operation) -> None:
        if operation.in_flight:
            self._in_flight[operation.op_id] = operation
        else:
            self._in_flight.pop(operation.op_id, None)
            self._begun.pop(operation.op_id, None)
        if operation.state is State.UNKNOWN:
            self._unknown.add(operation.op_id)
        if operation.restart and operation.state in (State.SUCCEEDED, State.UNKNOWN):
            self._open_restarts.add(operation.vmid)
        if operation.action == "Start" and operation.state is State.SUCCEEDED:
            self._open_restarts.discard(operation.vmid)
        if operation.state is State.SUCCEEDED:
            self._changed[operation.vmid] = operation.ended
        if operation.upid:
            self._upids.add(operation.upid)
        if operation.key:
            self._jobs[operation.key] = operation

    def _forget(self, dropped: list[Operation]) -> None:
        with self._lock:
            self._forgotten = Watermark(0, self._forgotten).include(dropped).forgotten
            for operation in dropped:
                self._upids.discard(operation.upid)
                self._unknown.discard(operation.op_id)
                job = self._jobs.get(operation.key)
                if job is not None and job.op_id == operation.op_id:
                    del self._jobs[operation.key]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
