"""The wait after failures in a row."""

from __future__ import annotations

from felhom_agent.reconcile.backoff import Backoff


def backoff(chance: float = 0.0, jitter: float = 0.0) -> Backoff:
    return Backoff(first=5.0, cap=600.0, jitter=jitter, chance=lambda: chance)


def test_the_wait_doubles_with_each_failure_up_to_the_cap() -> None:
    assert [backoff().delay(n) for n in range(1, 10)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_a_share_of_the_wait_is_drawn_by_chance() -> None:
    assert backoff(chance=0.0, jitter=0.5).delay(1) == 5.0
    assert backoff(chance=1.0, jitter=0.5).delay(1) == 2.5
    assert backoff(chance=1.0, jitter=0.5).delay(100) == 300.0


def test_no_number_of_failures_is_too_large() -> None:
    assert backoff().delay(10**9) == 600.0
