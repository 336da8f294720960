"""So many an hour, and one summary of the rest."""

from __future__ import annotations

import math

from felhom_agent.notify.hourly import HOUR, HourlyLimit


def test_so_many_go_out_within_any_hour_and_no_more() -> None:
    limit = HourlyLimit(2)
    assert [limit.take("a", now) for now in (0.0, 1.0, 2.0)] == [True, True, False]


def test_what_is_beyond_is_one_summary_as_soon_as_there_is_a_place() -> None:
    limit = HourlyLimit(1)
    assert limit.take("a", 0.0)
    assert not any(limit.take(event, 10.0) for event in ("a", "b", "a"))
    assert limit.summary(20.0) == {}
    assert limit.due(20.0) == HOUR - 20.0
    assert limit.summary(HOUR) == {"a": 2, "b": 1}
    assert limit.due(HOUR) == math.inf
    # The summary has taken the place.
    assert not limit.take("c", HOUR + 1.0)


def test_what_was_not_told_goes_before_what_is_new() -> None:
    limit = HourlyLimit(2)
    limit.miss("lost")
    assert not limit.take("a", 0.0)
    assert limit.due(0.0) == 0.0
    assert limit.summary(0.0) == {"lost": 1, "a": 1}
    assert limit.take("b", 0.0)
