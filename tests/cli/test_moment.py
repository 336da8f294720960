"""Times as a person types them, in a zone whose clocks are changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.cli.moment import day_of, day_text, since, until


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = utc("2026-11-25T12:00")


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2d", "2026-11-23T12:00"),
        ("90m", "2026-11-25T10:30"),
        ("1d12h", "2026-11-24T00:00"),
        ("1w", "2026-11-18T12:00"),
        ("45s", "2026-11-25T11:59:15"),
        ("now", "2026-11-25T12:00"),
        ("today", "2026-11-24T23:00"),
        ("yesterday", "2026-11-23T23:00"),
        ("2026-11-24", "2026-11-23T23:00"),
        ("2026-11-24T09:00", "2026-11-24T08:00"),
        ("2026-11-24 09:00:30", "2026-11-24T08:00:30"),
        ("2026-11-24T09:00Z", "2026-11-24T09:00"),
        ("2026-11-24T09:00+05:30", "2026-11-24T03:30"),
        ("09:00", "2026-11-25T08:00"),
        ("09:00Z", "2026-11-25T09:00"),
        (" 2d ", "2026-11-23T12:00"),
        # As the clocks are changed: before, in the gap, and the first of the two.
        ("2026-03-29", "2026-03-28T23:00"),
        ("2026-03-30", "2026-03-29T22:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),
    ],
)
def test_since(text: str, then: str) -> None:
    assert since(text, NOW) == utc(then)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2026-11-24", "2026-11-24T22:59:59.999"),
        ("2026-10-25", "2026-10-25T22:59:59.999"),
        ("today", "2026-11-25T22:59:59.999"),
        ("2026-11-24T09:00", "2026-11-24T08:00"),
        ("2h", "2026-11-25T10:00"),
    ],
)
def test_until_a_day_is_until_its_end(text: str, then: str) -> None:
    assert until(text, NOW) == pytest.approx(utc(then), abs=1e-5)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "2", "2026", "-2d", "2y", "2.5h", "2026-13-01", "25:00", "2026-11-24T",
     "0001-01-01", "tomorrow", "٢d", "2d\x1b[2J", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_time_is_told_in_a_short_line_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time; write 2d or 90m .*2026-11-24") as caught:
        since(text, NOW)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_told_to_be_none(text: str) -> None:
    try:
        found: float | str = until(text, NOW)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, float) or "is no time" in found


def test_days_have_the_names_that_people_use() -> None:
    today = day_of(NOW)
    assert day_text(today, today) == "today"
    assert day_text(date(2026, 11, 24), today) == "yesterday"
    assert day_text(date(2026, 11, 23), today) == "Mon 2026-11-23"
    assert day_text(date(2026, 11, 26), today) == "Thu 2026-11-26"


def test_a_day_of_25_hours_is_one_day_and_the_one_before_it_is_yesterday() -> None:
    first, last = utc("2026-10-24T22:00"), utc("2026-10-25T22:59")
    assert day_of(first) == day_of(last) == date(2026, 10, 25)
    assert day_text(day_of(first - 60), day_of(last)) == "yesterday"
