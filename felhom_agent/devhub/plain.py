"""Reading what others sent: within bounds, whatever it is, and as text that a person may see.

A host, a browser and a database of an earlier version may hold anything. What is of the wrong type
counts as not there; a text is one printable line of bounded length.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, TypeGuard

MAX_INTEGER: Final = 2**53 - 1
LAST_SECOND: Final = 253_370_764_800
"""Seconds since the epoch beyond which no date is shown: a year before 10000."""
_LONGEST: Final = 200


def table(row: object, key: str) -> dict[str, Any]:
    """Given an object, return the object that it has under a key; an empty one if it has none."""
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, dict) else {}


def listed(row: object, key: str) -> list[Any]:
    """Given an object, return the list that it has under a key; an empty one if it has none."""
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, list) else []


def plain(text: str, longest: int = _LONGEST) -> str:
    """Given a text, return it in printable characters, cut to a length."""
    cut = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in cut)


def plain_of(value: object, longest: int = _LONGEST) -> str:
    """Given any value, return it as `plain` has it if it is a text; else an empty text."""
    return plain(value, longest) if isinstance(value, str) else ""


def shown(value: object) -> str:
    """Given any value, return it as one bounded printable line; lists and objects are not shown."""
    return plain(str(value)) if isinstance(value, str | int | float) else ""


def is_plain(value: object, longest: int) -> TypeGuard[str]:
    """Return whether it is a text of one to that many characters, all of them printable."""
    return isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable()


def is_whole(value: object, low: int = 0, high: int = MAX_INTEGER) -> TypeGuard[int]:
    """Return whether it is a whole number within bounds; true and false are none."""
    return type(value) is int and low <= value <= high


def is_deeper(value: object, levels: int) -> bool:
    """Return whether lists and objects are nested in it beyond so many levels."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for each in layer for inner in _inner(each)]
        if not layer:
            return False
    return any(isinstance(each, dict | list) for each in layer)


def seconds_of(moment: object) -> float | None:
    """Given a moment as RFC 3339 has it, return its seconds since the epoch; None if it is none."""
    if not isinstance(moment, str) or len(moment) > _LONGEST:
        return None
    try:
        found = datetime.fromisoformat(moment)
        seconds = found.timestamp() if found.tzinfo else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LAST_SECOND else None


def moment_text(seconds: float) -> str:
    """Given seconds since the epoch, return them to the second, in UTC."""
    known = max(0.0, min(seconds, LAST_SECOND))
    return f"{datetime.fromtimestamp(known, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _inner(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
