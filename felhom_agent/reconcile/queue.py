"""The choke point: every mutation of a guest passes through its lane.

What the queue promises, each a test of that name:

* *serial per guest in submit order*: two callbacks of one guest never overlap;
* *parallel across guests*: no guest waits for another's callback;
* *submit never blocks*;
* *a future always completes*: with a result, an exception, cancelled, or QueueClosed;
* *a raising callback never kills its lane*;
* *an abandoned future never blocks a lane*;
* *close is idempotent, refuses new work and drains what was queued* (or drops it, if told so);
* *no lost wake-up*;
* *an idle lane's thread retires and comes back without reordering*.

A lane is a thread (`lane-101`) that drains a deque under a condition. It is born with a guest's
first work and dies when it had nothing to do for `idle_seconds`, or when the queue is closed and
its deque is empty.

Threads: one lock guards the table of lanes, every lane's deque and `_closed`; each lane's
condition is built on that same lock, so that "nothing left to do, I retire" and "here is work for
you" exclude each other. Callbacks and futures run outside of it. A lane waits on its condition
with `idle_seconds` as the deadline, woken by `submit` and `close`; `join` waits on `_gone` until
its own deadline, woken by each lane that ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from felhom_agent.errors import QueueClosed

T = TypeVar("T")
Work = tuple[Callable[[], Any], "Future[Any]"]


@dataclass
class _Lane:
    """One guest's waiting work, and the condition its thread waits on."""

    wake: threading.Condition
    work: deque[Work] = field(default_factory=deque)


class LaneQueue:
    """Runs callbacks one at a time per guest, and side by side for different guests."""

    def __init__(self, *, idle_seconds: float = 1.0) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._gone = threading.Condition(self._lock)
        self._lanes: dict[int, _Lane] = {}
        self._closed = False

    def submit(self, vmid: int, callback: Callable[[], T]) -> Future[T]:
        """Given a guest and a callback, return the future of its run, which comes after all that
        was submitted for that guest before. Raise QueueClosed after `close`.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise QueueClosed("the agent is stopping; no new work is taken")
            lane = self._lanes.get(vmid)
            if lane is None:
                lane = self._open_lane(vmid)
            lane.work.append((callback, future))
            lane.wake.notify()
        return future

    def close(self, *, drain: bool = True) -> None:
        """Take no more work. What was queued still runs, or fails with QueueClosed without drain.

        Closing again is allowed, also with `drain=False` after `drain=True`. What runs is left
        alone either way; `join` waits for it.
        """
        dropped: list[Work] = []
        with self._lock:
            self._closed = True
            for lane in self._lanes.values():
                if not drain:
                    dropped += lane.work
                    lane.work.clear()
                lane.wake.notify()
        for _, future in dropped:
            if future.set_running_or_notify_cancel():
                future.set_exception(QueueClosed("dropped: the agent is stopping"))

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for all lanes to end; return whether they did."""
        deadline = time.monotonic() + timeout
        with self._lock:
            while self._lanes:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._gone.wait(left)
        return True

    def _open_lane(self, vmid: int) -> _Lane:
        lane = _Lane(threading.Condition(self._lock))
        # Daemonic: a lane stuck in a hung call must not keep a stopping process alive; what it
        # was doing stands in the journal.
        threading.Thread(
            target=self._run_lane, args=(vmid, lane), name=f"lane-{vmid}", daemon=True
        ).start()
        # Only now, so that a thread that could not be had leaves no lane that nobody serves.
        self._lanes[vmid] = lane
        return lane

    def _run_lane(self, vmid: int, lane: _Lane) -> None:
        while work := self._next(vmid, lane):
            _run(*work)
            # Else the last callback and its result would live as long as the lane idles.
            del work

    def _next(self, vmid: int, lane: _Lane) -> Work | None:
        """Return the lane's next work; none when the lane has retired."""
        with self._lock:
            if not lane.work and not self._closed:
                lane.wake.wait_for(lambda: lane.work or self._closed, self._idle_seconds)
            if lane.work:
                return lane.work.popleft()
            del self._lanes[vmid]
            self._gone.notify_all()
            return None


def _run(callback: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = callback()
    except BaseException as error:  # even SystemExit: the lane serves the guest's next work
        future.set_exception(error)
    else:
        future.set_result(result)
