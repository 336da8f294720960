"""Times as a person reads them at a glance: how long, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Final

# Not by strftime: its names follow the locale.
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SOON: Final = 90.0


def span(seconds: float) -> str:
    """Given a time that goes by, return its two first digits' worth: "12 s", "20 m", "2 h", "3 d".

    One that has not come yet, since a clock was put back, is "0 s".
    """
    whole = max(0, int(seconds))
    size, unit = next((pair for pair in _UNITS if whole >= 2 * pair[0]), _UNITS[-1])
    return f"{whole // size} {unit}"


def ahead(moment: float, now: float) -> str:
    """Given a moment and the present (seconds since the epoch), return when that is: "now",
    "in 12 s", "21:40", "Sun 03:00", "2026-12-24".
    """
    if moment <= now:
        return "now"
    if moment - now <= _SOON:
        return f"in {max(1, round(moment - now))} s"
    try:
        then, today = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
    except (OverflowError, OSError, ValueError):
        return "far ahead"
    if then.date() == today.date():
        return f"{then:%H:%M}"
    if (then.date() - today.date()).days < 7:
        return f"{_DAYS[then.weekday()]} {then:%H:%M}"
    return then.date().isoformat()
