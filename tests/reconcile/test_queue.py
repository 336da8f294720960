"""The queue's contract, word by word (see the docstring of `reconcile/queue.py`)."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from functools import partial

import pytest

from felhom_agent.errors import QueueClosed
from felhom_agent.reconcile.queue import LaneQueue

SOON = 10.0
"""Deadline of waits that end at once unless something is broken."""


@pytest.fixture
def queue() -> Iterator[LaneQueue]:
    # So patient that a lane which was not woken is found out, and not saved by its own retiring.
    queue = LaneQueue(idle_seconds=1000 * SOON)
    yield queue
    queue.close(drain=False)
    assert queue.join(SOON)


class Gate:
    """A callback that says when it began and ends when told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(SOON)
        return "through"


def test_serial_per_guest_in_submit_order(queue: LaneQueue) -> None:
    seen: list[int] = []
    inside = threading.Lock()

    def note(number: int) -> None:
        assert inside.acquire(blocking=False), "two callbacks of one guest overlap"
        seen.append(number)
        inside.release()

    futures = [queue.submit(101, partial(note, number)) for number in range(200)]
    for future in futures:
        future.result(SOON)
    assert seen == list(range(200))


def test_parallel_across_guests(queue: LaneQueue) -> None:
    meeting = threading.Barrier(3)
    futures = [queue.submit(vmid, lambda: meeting.wait(SOON)) for vmid in (101, 102, 103)]
    assert sorted(future.result(SOON) for future in futures) == [0, 1, 2]


def test_submit_never_blocks_even_behind_a_callback_that_hangs(queue: LaneQueue) -> None:
    gate = Gate()
    first = queue.submit(101, gate)
    assert gate.begun.wait(SOON)
    behind = [queue.submit(101, lambda: "later") for _ in range(100)]
    assert not any(future.done() for future in behind)
    gate.open.set()
    assert first.result(SOON) == "through"
    assert [future.result(SOON) for future in behind] == ["later"] * 100


def test_a_future_completes_with_the_result(queue: LaneQueue) -> None:
    assert queue.submit(101, lambda: 42).result(SOON) == 42


def test_a_future_completes_with_the_exception_and_the_lane_lives_on(queue: LaneQueue) -> None:
    class Broken(Exception):
        pass

    def fail() -> None:
        raise Broken

    with pytest.raises(Broken):
        queue.submit(101, fail).result(SOON)
    assert queue.submit(101, lambda: "alive").result(SOON) == "alive"


def test_even_an_exit_in_a_callback_does_not_kill_the_lane(queue: LaneQueue) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        queue.submit(101, leave).result(SOON)
    assert queue.submit(101, lambda: "alive").result(SOON) == "alive"


def test_a_cancelled_future_is_never_run_and_those_behind_it_are(queue: LaneQueue) -> None:
    gate = Gate()
    queue.submit(101, gate)
    assert gate.begun.wait(SOON)
    ran: list[str] = []
    cancelled = queue.submit(101, lambda: ran.append("cancelled"))
    kept = queue.submit(101, lambda: ran.append("kept"))
    assert cancelled.cancel()
    gate.open.set()
    kept.result(SOON)
    assert ran == ["kept"]
    with pytest.raises(CancelledError):
        cancelled.result(SOON)


def test_an_abandoned_future_never_blocks_a_lane_nor_keeps_its_result(queue: LaneQueue) -> None:
    class Result:
        pass

    made: list[weakref.ref[Result]] = []

    def make() -> Result:
        result = Result()
        made.append(weakref.ref(result))
        return result

    queue.submit(101, make)
    assert queue.submit(101, lambda: "next").result(SOON) == "next"
    # The lane has handed out "next", so it has let go of what came before.
    gc.collect()
    assert made[0]() is None


def test_a_future_whose_own_callback_raises_does_not_kill_the_lane(
    queue: LaneQueue, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    future = queue.submit(101, gate)

    def raise_it(_: Future[str]) -> None:
        raise ValueError("in a done-callback")

    future.add_done_callback(raise_it)
    gate.open.set()
    assert queue.submit(101, lambda: "alive").result(SOON) == "alive"


def test_close_drains_what_was_queued(queue: LaneQueue) -> None:
    gate = Gate()
    first = queue.submit(101, gate)
    behind = [queue.submit(101, partial(int, number)) for number in range(10)]
    queue.close()
    gate.open.set()
    assert queue.join(SOON)
    assert first.result(0) == "through"
    assert [future.result(0) for future in behind] == list(range(10))


def test_close_without_drain_fails_what_was_queued_and_lets_finish_what_runs(
    queue: LaneQueue,
) -> None:
    gate = Gate()
    running = queue.submit(101, gate)
    assert gate.begun.wait(SOON)
    queued = [queue.submit(101, lambda: None) for _ in range(3)]
    queue.close(drain=False)
    for future in queued:
        with pytest.raises(QueueClosed):
            future.result(SOON)
    gate.open.set()
    assert running.result(SOON) == "through"
    assert queue.join(SOON)


def test_close_refuses_new_work_and_is_idempotent(queue: LaneQueue) -> None:
    queue.close()
    queue.close(drain=False)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.submit(101, lambda: None)
    assert queue.join(SOON)


def test_close_may_turn_from_draining_to_dropping(queue: LaneQueue) -> None:
    gate = Gate()
    queue.submit(101, gate)
    assert gate.begun.wait(SOON)
    queued = queue.submit(101, lambda: None)
    queue.close(drain=True)
    assert not queued.done()
    queue.close(drain=False)
    with pytest.raises(QueueClosed):
        queued.result(SOON)
    gate.open.set()


def test_join_says_when_a_lane_has_not_ended(queue: LaneQueue) -> None:
    gate = Gate()
    queue.submit(101, gate)
    assert gate.begun.wait(SOON)
    queue.close()
    assert not queue.join(timeout=0.0)
    gate.open.set()
    assert queue.join(SOON)


def test_no_wake_up_is_lost_between_many_producers(queue: LaneQueue) -> None:
    futures: list[Future[int]] = []
    lock = threading.Lock()

    def produce(vmid: int) -> None:
        for number in range(200):
            future = queue.submit(vmid, partial(int, number))
            with lock:
                futures.append(future)

    producers = [threading.Thread(target=produce, args=(100 + n % 4,)) for n in range(8)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join(SOON)
    assert not wait(futures, SOON).not_done
    assert sum(future.result(0) for future in futures) == 8 * sum(range(200))


def test_an_idle_lane_is_woken_by_the_next_work(queue: LaneQueue) -> None:
    for number in range(200):
        assert queue.submit(101, partial(int, number)).result(SOON) == number


def test_an_idle_lane_retires_and_comes_back_without_reordering() -> None:
    """With no patience at all a lane retires after nearly every callback."""
    queue = LaneQueue(idle_seconds=0.0)
    seen: list[int] = []
    threads: set[str] = set()

    def note(number: int) -> Callable[[], None]:
        def work() -> None:
            threads.add(f"{threading.current_thread().name}/{threading.get_ident()}")
            seen.append(number)

        return work

    futures = [queue.submit(101, note(number)) for number in range(500)]
    for future in futures:
        future.result(SOON)
    assert seen == list(range(500))
    queue.submit(101, note(500)).result(SOON)
    assert queue.join(SOON), "an idle lane stayed although it has no patience"
    queue.submit(101, note(501)).result(SOON)
    assert seen[-2:] == [500, 501]
    queue.close()
    assert queue.join(SOON)


def test_a_lane_is_named_after_its_guest(queue: LaneQueue) -> None:
    name = queue.submit(4711, lambda: threading.current_thread().name).result(SOON)
    assert name == "lane-4711"
