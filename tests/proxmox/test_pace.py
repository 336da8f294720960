"""The pace of looks at running tasks, as a table."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from felhom_agent.proxmox.pace import FINE, SHARE, SPARSE, Durations, next_look

LENGTHS = (0.05, 0.1, 0.3, 0.7, 1.0, 2.0, 3.3, 5.0, 10.0, 30.0, 61.0, 300.0, 1000.0, 3600.0)
HISTORIES = (
    (),
    (0.0,),
    (0.05,),
    (2.0, 2.0, 2.01, 1.99),
    (1.0, 2.0, 3.0, 4.0),
    (0.5, 60.0),
    (3600.0,),
    (3.0, 3.04, 3.08, 3.12),
)


def looks(length: float, known: tuple[float, ...]) -> list[float]:
    """Return the ages at which a task of that length is looked at, until its end is seen."""
    ages = [next_look(0.0, known)]
    while ages[-1] < length:
        ages.append(next_look(ages[-1], known))
    return ages


@pytest.mark.parametrize("known", HISTORIES)
@pytest.mark.parametrize("length", LENGTHS)
def test_an_end_is_never_seen_later_than_the_bound(length: float, known: tuple[float, ...]) -> None:
    assert looks(length, known)[-1] - length <= max(SPARSE, SHARE * length)


@pytest.mark.parametrize("known", HISTORIES)
def test_looks_go_on_and_are_never_closer_than_half_of_the_finest_pause(
    known: tuple[float, ...],
) -> None:
    ages = [0.0, *looks(3600.0, known)]
    pauses = [after - before for before, after in pairwise(ages)]
    assert min(pauses) >= FINE / 2 - 0.001
    assert len(ages) < 250


def test_a_type_that_was_not_met_before_is_looked_at_often_at_first() -> None:
    assert [round(age, 2) for age in looks(0.5, ())] == [0.02, 0.06, 0.12, 0.21, 0.34, 0.54]


@pytest.mark.parametrize("expected", [0.1, 0.5, 2.0, 10.0, 60.0])
def test_one_look_falls_right_before_and_one_right_after_the_expected_end(expected: float) -> None:
    ages = looks(expected + 1.0, (expected,))
    assert any(abs(age - (expected - FINE / 2)) < 0.001 for age in ages)
    assert any(abs(age - (expected + FINE / 2)) < 0.001 for age in ages)


@pytest.mark.parametrize(
    ("known", "count"), [((0.01,), 1), ((0.6,), 4), ((2.0,), 11), ((2.0, 2.03), 11)]
)
def test_a_task_that_ends_as_expected_costs_few_looks(known: tuple[float, ...], count: int) -> None:
    assert len(looks(known[0], known)) <= count


@pytest.mark.parametrize("length", [0.05, 0.6, 2.0, 5.0])
def test_after_a_few_tasks_the_mean_overshoot_is_small(length: float) -> None:
    """Ends that vary by 10 ms, looks that come up to 5 ms late."""
    chance = random.Random(14)  # noqa: S311
    durations, late, counts = Durations(), [], []
    for _ in range(100):
        end = length + chance.uniform(0, 0.01)
        running, age, count = 0.0, 0.0, 0
        while age < end:
            running = age
            age = next_look(age, durations.of("qmstart")) + chance.uniform(0, 0.005)
            count += 1
        durations.ended("qmstart", running, age)
        late.append(age - end)
        counts.append(count)
    assert sum(late[5:]) / len(late[5:]) <= 0.05
    if length <= 2.0:
        assert max(counts[5:]) <= 12


def test_only_the_last_durations_of_a_type_are_kept_and_only_so_many_types() -> None:
    durations = Durations()
    for age in range(1, 10):
        durations.ended("qmstart", age - 0.02, age)
    assert [round(age, 2) for age in durations.of("qmstart")] == [5.99, 6.99, 7.99, 8.99]
    for number in range(100):
        durations.ended(f"type{number}", 0.0, 1.0)
    assert durations.of("qmstart") == ()
    assert durations.of("type99") == (0.94,)
    assert durations.of("type0") == ()
