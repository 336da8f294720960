"""How long, and when, at a glance."""

from __future__ import annotations

from datetime import datetime

import pytest

from felhom_agent.cli.spans import ahead, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 m"), (7199, "119 m"), (7200, "2 h"),
     (172_799, "47 h"), (172_800, "2 d"), (1e9, "11574 d"), (-5, "0 s"), (-1e12, "0 s")],
)  # fmt: skip
def test_a_span_is_told_in_one_unit_that_says_enough(seconds: float, text: str) -> None:
    assert span(seconds) == text


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("2026-11-26T19:29:59", "now"),
        ("2026-11-26T19:30:00", "now"),
        ("2026-11-26T19:30:05", "in 5 s"),
        ("2026-11-26T19:31:30", "in 90 s"),
        ("2026-11-26T19:31:31", "19:31"),
        ("2026-11-26T23:59:00", "23:59"),
        ("2026-11-27T00:10:00", "Fri 00:10"),
        ("2026-11-29T03:00:00", "Sun 03:00"),
        ("2026-12-02T03:00:00", "Wed 03:00"),
        ("2026-12-03T03:00:00", "2026-12-03"),
        ("2027-11-26T19:30:00", "2027-11-26"),
    ],
)
def test_a_moment_is_told_as_near_as_it_is(then: str, text: str) -> None:
    assert ahead(at(then), at("2026-11-26T19:30:00")) == text


@pytest.mark.parametrize("moment", [1e12, 1e18, 1e300])
def test_what_no_calendar_has_is_far_ahead(moment: float) -> None:
    assert ahead(moment, 0.0) == "far ahead"


def test_less_than_a_second_ahead_is_not_now() -> None:
    assert ahead(1000.2, 1000.0) == "in 1 s"
