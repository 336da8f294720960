"""What happens is counted, from any thread, and never without a bound."""

from __future__ import annotations

import threading

from felhom_agent.service.counters import MAX_SERIES, Counters
from felhom_agent.service.families import (
    API,
    API_SECONDS,
    FSYNC,
    HINTS_MISSED,
    OPERATIONS,
    PASS,
    QUEUE_ADDS,
    FamilyType,
)
from tests.process import SOON


def test_what_is_counted_is_in_the_next_snapshot_and_not_in_the_one_before() -> None:
    counters = Counters()
    before = counters.snapshot()
    counters.add(PASS, "good")
    counters.add(PASS, "good", by=2)
    assert before.counters[PASS] == {("good",): 0, ("failed",): 0}
    assert counters.snapshot().counters[PASS] == {("good",): 3, ("failed",): 0}


def test_what_may_be_counted_is_there_from_the_start() -> None:
    found = Counters().snapshot()
    assert found.counters[HINTS_MISSED] == {(): 0}
    assert found.counters[OPERATIONS]["Start", "failed"] == 0
    assert found.distributions[FSYNC][()].counts == (0,) * (len(FSYNC.buckets) + 1)
    assert all(family.type is not FamilyType.GAUGE for family in found.counters)


def test_a_measurement_is_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    counters = Counters()
    first, second = FSYNC.buckets[:2]
    for seconds in (first, second, FSYNC.buckets[-1] + 1):
        counters.observe(FSYNC, seconds)
    found = counters.snapshot().distributions[FSYNC][()]
    assert (found.counts[0], found.counts[1], found.counts[-1]) == (1, 1, 1)
    assert found.total == first + second + FSYNC.buckets[-1] + 1


def test_a_clock_that_was_set_back_takes_nothing_from_the_sum() -> None:
    counters = Counters()
    counters.observe(FSYNC, -5.0)
    found = counters.snapshot().distributions[FSYNC][()]
    assert (found.counts[0], found.total) == (1, 0)


def test_labels_without_end_end_at_other() -> None:
    counters = Counters()
    for number in range(MAX_SERIES + 50):
        counters.add(API, "GET", f"/{number}", "200")
        counters.observe(API_SECONDS, 0.1, "GET", f"/{number}")
    found = counters.snapshot()
    assert found.counters[API]["other", "other", "other"] == 50
    assert sum(found.counters[API].values()) == MAX_SERIES + 50
    assert len(found.counters[API]) == len(found.distributions[API_SECONDS]) == MAX_SERIES + 1
    counters.add(API, "GET", "/0", "200")
    assert counters.snapshot().counters[API]["GET", "/0", "200"] == 2


def test_no_count_is_lost_between_threads() -> None:
    counters, begin = Counters(), threading.Barrier(8)

    def count() -> None:
        begin.wait(SOON)
        for _ in range(2000):
            counters.add(QUEUE_ADDS)
            counters.observe(FSYNC, 0.0)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    found = counters.snapshot()
    assert found.counters[QUEUE_ADDS][()] == found.distributions[FSYNC][()].counts[0] == 16000
