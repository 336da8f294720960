"""How long a guest is left alone after a failure."""

from __future__ import annotations

from felhom_agent.reconcile.backoff import Backoff


def without_chance(cap: float = 100.0) -> Backoff:
    return Backoff(first=5.0, cap=cap, jitter=0.5, chance=lambda: 0.0)


def test_the_wait_doubles_up_to_the_cap() -> None:
    backoff = without_chance()
    assert [backoff.failed(101, "as is") for _ in range(7)] == [5, 10, 20, 40, 80, 100, 100]


def test_a_thousand_failures_still_wait_for_the_cap() -> None:
    backoff = without_chance()
    assert [backoff.failed(101, "as is") for _ in range(1000)][-1] == 100


def test_success_forgets_the_failures() -> None:
    backoff = without_chance()
    backoff.failed(101, "as is")
    backoff.failed(101, "as is")
    backoff.succeeded(101)
    assert backoff.failed(101, "as is") == 5


def test_a_changed_declaration_forgets_the_failures() -> None:
    backoff = without_chance()
    backoff.failed(101, "cores = 1")
    backoff.failed(101, "cores = 1")
    assert backoff.failed(101, "cores = 2") == 5


def test_guests_are_counted_apart() -> None:
    backoff = without_chance()
    backoff.failed(101, "")
    assert backoff.failed(102, "") == 5


def test_chance_takes_at_most_its_share() -> None:
    draws = iter([0.0, 1.0, 0.5])
    backoff = Backoff(first=10.0, cap=10.0, jitter=0.2, chance=lambda: next(draws))
    assert [backoff.failed(101, "") for _ in range(3)] == [10.0, 8.0, 9.0]


def test_other_settings_count_from_the_next_failure() -> None:
    backoff = without_chance()
    backoff.failed(101, "")
    backoff.adopt(first=1.0, cap=2.0, jitter=0.0)
    assert [backoff.failed(101, "") for _ in range(2)] == [2.0, 2.0]
