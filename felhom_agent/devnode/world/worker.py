"""Workers: what goes on in the node between two calls, on the world's own clock.

A worker is a generator that reads like PVE's own code: `yield 2.5` sleeps, `yield lock` takes a
guest's configuration lock or dies after ten seconds. No thread runs it: the events runs all steps
that have come due, in order, whenever somebody looks at the world. With a clock driven by hand
everything is therefore deterministic, and a task ends at the very moment it should.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from itertools import count

from felhom_agent.devnode.world.refusal import Died, cannot_lock, lock_timeout

KILLED = "unexpected status"
"""What PVE says of a task whose worker is gone without a word. recorded: 40-tasks-qemu/111."""

PATIENCE = 10.0
"""Seconds PVE waits for a guest's configuration lock. recorded: 40-tasks-qemu/050-051."""

Steps = Generator["float | Flock", None, None]


class EventQueue:
    """What is due when; `moment` is the world's time, in seconds since the epoch."""

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Let `do` happen that many seconds from the present moment."""
        heapq.heappush(self._due, (self.moment + seconds, next(self._order), do))

    def advance(self, now: float) -> None:
        """Let everything happen that is due by `now`."""
        while self._due and self._due[0][0] <= now:
            when, _, do = heapq.heappop(self._due)
            self.moment = max(self.moment, when)
            do()
        self.moment = max(self.moment, now)


class Flock:
    """The lock file of one guest's configuration; held by one worker, waited for in turn."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._holder: Worker | None = None
        self._elsewhere = False
        self._waiting: deque[Worker] = deque()

    @property
    def held(self) -> bool:
        """Whether some worker holds it."""
        return self._holder is not None or self._elsewhere

    def hold(self) -> None:
        """Let a process that is no worker hold it; a worker that holds it goes on all the same."""
        self._elsewhere = True

    def let_go(self) -> None:
        """Let that process give it back; the next in turn gets it."""
        self._elsewhere = False
        if self._holder is None:
            self._hand_on()

    def claim(self, worker: Worker) -> bool:
        """Given a worker, let it hold the lock or wait for it; return whether it holds it."""
        if not self.held:
            self._holder = worker
        else:
            self._waiting.append(worker)
        return self._holder is worker

    def keeps(self, worker: Worker) -> bool:
        """Return whether a worker waits for it."""
        return worker in self._waiting

    def abandon(self, worker: Worker) -> None:
        """Give up waiting, or the lock itself, which then goes to the next in turn."""
        if worker in self._waiting:
            self._waiting.remove(worker)
        if self._holder is worker:
            self._holder = None
            self._hand_on()

    def _hand_on(self) -> None:
        if self._waiting and not self._elsewhere:
            self._holder = self._waiting.popleft()
            self._holder.granted()


class Worker:
    """One running generator; `ended` hears its exit status, `log` what it has to say."""

    def __init__(
        self,
        events: EventQueue,
        steps: Steps,
        *,
        ended: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        self._agenda = events
        self._steps = steps
        self._ended = ended
        self._log = log
        self._turn = 0
        self._lock: Flock | None = None

    def proceed(self, error: Died | None = None) -> None:
        """Run the next step; `error` is thrown into it. Ignored once the worker has ended."""
        self._turn += 1
        try:
            wait = next(self._steps) if error is None else self._steps.throw(error)
        except StopIteration:
            self._finish("OK")
        except Died as last_words:
            self._finish(str(last_words))
        else:
            self._await(wait)

    def granted(self) -> None:
        """Hear that the lock it waited for is now its own."""
        self._resume_in(0.0)

    def interrupt(self) -> None:
        """Make it die as PVE's workers do on SIGINT. recorded: 40-tasks-qemu/054, and as it waits
        for a lock: calls-9.2/200-post-worker/030-031.
        """
        waits_for = self._lock if self._lock is not None and self._lock.keeps(self) else None
        words = "received interrupt"
        self.proceed(Died(words if waits_for is None else f"{cannot_lock(waits_for.path)}{words}"))

    def kill(self) -> None:
        """Make it vanish where it is; its lock is free, and nothing it began is undone."""
        self._steps.close()
        self._finish(KILLED)

    def _await(self, wait: float | Flock) -> None:
        if not isinstance(wait, Flock):
            self._resume_in(wait)
            return
        self._lock = wait
        if wait.claim(self):
            self._resume_in(0.0)
            return
        self._log("trying to acquire lock...")
        self._resume_in(PATIENCE, Died(lock_timeout(wait.path)))

    def _resume_in(self, seconds: float, error: Died | None = None) -> None:
        turn = self._turn = self._turn + 1

        def resume() -> None:
            if self._turn == turn:
                self.proceed(error)

        self._agenda.later(seconds, resume)

    def _finish(self, status: str) -> None:
        self._turn += 1
        if self._lock is not None:
            self._lock.abandon(self)
        self._ended(status)
