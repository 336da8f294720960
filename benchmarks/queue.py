"""What the choke point costs: a round trip through a lane, and how many a second.

`python -m benchmarks.queue [--short]` prints rows as JSON. Beside the agent's queue stand the two
plainest ways to the same: per guest a thread that reads a SimpleQueue, and per guest a
ThreadPoolExecutor of one. Neither of them ends an idle thread, or drops what waits when it closes.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from statistics import median

from benchmarks.measure import Row, share
from felhom_agent.reconcile.queue import LaneQueue

Work = tuple[Callable[[], int], "Future[int]"]


class _Candidate(ABC):
    """Something that runs a guest's callbacks one after the other."""

    name: str

    @abstractmethod
    def submit(self, vmid: int, callback: Callable[[], int]) -> Future[int]: ...

    @abstractmethod
    def close(self) -> None: ...


class _Ours(_Candidate):
    name = "LaneQueue"

    def __init__(self, guests: int) -> None:
        del guests
        self._queue = LaneQueue()

    def submit(self, vmid: int, callback: Callable[[], int]) -> Future[int]:
        return self._queue.submit(vmid, callback)

    def close(self) -> None:
        self._queue.close()
        self._queue.join(60)


class _Simple(_Candidate):
    name = "SimpleQueue and a thread"

    def __init__(self, guests: int) -> None:
        self._queues: list[SimpleQueue[Work | None]] = [SimpleQueue() for _ in range(guests)]
        self._threads = [threading.Thread(target=_drain, args=(queue,)) for queue in self._queues]
        for thread in self._threads:
            thread.start()

    def submit(self, vmid: int, callback: Callable[[], int]) -> Future[int]:
        future: Future[int] = Future()
        self._queues[vmid].put((callback, future))
        return future

    def close(self) -> None:
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()


def _drain(queue: SimpleQueue[Work | None]) -> None:
    while work := queue.get():
        callback, future = work
        future.set_result(callback())


class _Pools(_Candidate):
    name = "ThreadPoolExecutor(1)"

    def __init__(self, guests: int) -> None:
        self._pools = [ThreadPoolExecutor(1) for _ in range(guests)]

    def submit(self, vmid: int, callback: Callable[[], int]) -> Future[int]:
        return self._pools[vmid].submit(callback)

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown()


_ALL: tuple[Callable[[int], _Candidate], ...] = (_Ours, _Simple, _Pools)
_FIGURES = ("p50", "p99", "rate")


def _nothing() -> int:
    return 0


def measured(make: Callable[[int], _Candidate], guests: int, calls: int) -> Row:
    """Given a candidate, how many guests and calls, return what the calls cost."""
    candidate = make(guests)
    try:
        for vmid in range(guests):
            candidate.submit(vmid, _nothing).result(60)
        trips = [_trip(candidate, n % guests) for n in range(calls)]
        begun = time.perf_counter()
        futures = [candidate.submit(n % guests, _nothing) for n in range(calls)]
        for future in futures:
            future.result(60)
        rate = calls / (time.perf_counter() - begun)
    finally:
        candidate.close()
    p50, p99 = share(trips, 0.5) * 1e6, share(trips, 0.99) * 1e6
    return {"name": candidate.name, "p50": p50, "p99": p99, "rate": rate}


def _trip(candidate: _Candidate, vmid: int) -> float:
    begun = time.perf_counter()
    candidate.submit(vmid, _nothing).result(60)
    return time.perf_counter() - begun


def rows(calls: int, rounds: int) -> list[Row]:
    """Given how many calls each measurement has and how often each is made, return ours beside
    each other candidate. The candidates take turns, and each figure is the median of its rounds.
    """
    found: list[Row] = []
    for guests in (1, 64):
        samples = [[measured(make, guests, calls) for make in _ALL] for _ in range(rounds)]
        ours, *others = (_median(list(sample)) for sample in zip(*samples, strict=True))
        for other in others:
            ratios = {f"ratio_{key}": ours[key] / other[key] for key in _FIGURES}
            beside = {f"other_{key}": other[key] for key in _FIGURES}
            named = {"table": "queue", "guests": guests, "beside": other["name"]}
            found.append({**named, **ratios, **{key: ours[key] for key in _FIGURES}, **beside})
    return found


def _median(sample: list[Row]) -> Row:
    return {**sample[0], **{key: median(row[key] for row in sample) for key in _FIGURES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true")
    calls, rounds = (200, 1) if parser.parse_args().short else (20_000, 5)
    print(json.dumps(rows(calls, rounds)))


if __name__ == "__main__":
    main()
