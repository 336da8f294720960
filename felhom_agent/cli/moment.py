"""A moment as a person types it: how long ago, a day, a time of day, or both.

`2d`, `90m` and `1d12h` are so long ago; `2026-11-24` and `yesterday` are days, of which `since`
means the beginning and `until` the end; `09:00` is of today. Without a zone the time is this
host's. A time of day that the clocks skip or show twice, as they are changed, is the earlier one.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

_LONG_AGO = re.compile(r"(?:[0-9]{1,9}[smhdw])+", re.ASCII)
_PART = re.compile(r"([0-9]+)([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAYS = {"today": 0, "yesterday": 1}
_MAX_SHOWN = 40


def since(text: str, now: float) -> float:
    """Given what was typed and the present time, return the seconds since the epoch that it means.

    Raise ValueError, in words, if it means none.
    """
    return _moment(text, now, last=False)


def until(text: str, now: float) -> float:
    """Return as `since` does; a day means its last moment."""
    return _moment(text, now, last=True)


def day_of(seconds: float) -> date:
    """Given seconds since the epoch, return the day that it is on this host then."""
    return datetime.fromtimestamp(seconds).astimezone().date()


def day_text(day: date, today: date) -> str:
    """Given a day, return how people call it: "today", "yesterday", "Tue 2026-11-24"."""
    if day == today:
        return "today"
    if day == today - timedelta(days=1):
        return "yesterday"
    # Not by strftime: its names follow the locale.
    name = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day.weekday()]
    return f"{name} {day.isoformat()}"


def _moment(text: str, now: float, *, last: bool) -> float:
    given = text.strip()
    try:
        if given == "now":
            return now
        if _LONG_AGO.fullmatch(given):
            parts = _PART.findall(given)
            return now - sum(int(number) * _SECONDS[unit] for number, unit in parts)
        if (day := _day(given, now)) is not None:
            return _end(day) if last else _begin(day)
        return _time(given, now)
    except (ValueError, OverflowError, OSError):
        shown = ascii(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")
        raise ValueError(
            f"{shown} is no time; write 2d or 90m (so long ago), 2026-11-24, 09:00, "
            f"or 2026-11-24T09:00, with a zone (Z, +01:00) or without"
        ) from None


def _day(text: str, now: float) -> date | None:
    if text in _DAYS:
        return day_of(now) - timedelta(days=_DAYS[text])
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _time(text: str, now: float) -> float:
    if ":" not in text:  # else 2026 would be 20:26
        raise ValueError(text)
    try:
        clock = time.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
    today = (
        day_of(now) if clock.tzinfo is None else datetime.fromtimestamp(now, clock.tzinfo).date()
    )
    return datetime.combine(today, clock).timestamp()


def _begin(day: date) -> float:
    return datetime.combine(day, time()).timestamp()


def _end(day: date) -> float:
    # The last of what times are written with: the journal's have milliseconds.
    return _begin(day + timedelta(days=1)) - 0.001
