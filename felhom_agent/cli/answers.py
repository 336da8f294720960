"""What a running agent answered, read with patience.

The agent that answers may be older or newer than the command, and the path of a socket is what
somebody wrote down: another program may answer there. So a member that is missing, or of another
type than it should be, reads as nothing; nothing here raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Answer = Mapping[str, Any]


def text(of: Answer, name: str) -> str:
    """Return a text; empty if there is none."""
    found = of.get(name)
    return found if isinstance(found, str) else ""


def number(of: Answer, name: str) -> float | None:
    """Return a number; None if there is none."""
    found = of.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        return float(found) if math.isfinite(found) else None
    except OverflowError:
        return None


def whole(of: Answer, name: str) -> int | None:
    """Return a whole number from 0 to 10**15; None if there is none."""
    found = of.get(name)
    return found if type(found) is int and 0 <= found <= 10**15 else None


def vmid(of: Answer) -> int | None:
    """Return the guest's number; None if there is none."""
    found = whole(of, "vmid")
    return found if found is not None and 100 <= found <= 999_999_999 else None


def moment(of: Answer, name: str) -> float | None:
    """Return a time in seconds since the epoch; None if there is none."""
    try:
        found = datetime.fromisoformat(text(of, name))
        return found.timestamp() if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rows(of: Answer, name: str) -> list[dict[str, Any]]:
    """Return a list of objects; empty if there is none."""
    found = of.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def guests(of: Answer, name: str) -> list[dict[str, Any]]:
    """Return a list of objects that each have the number of a guest, by that number."""
    found = [(at, row) for row in rows(of, name) if (at := vmid(row)) is not None]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def table(of: Answer, name: str) -> dict[str, Any]:
    """Return an object; an empty one if there is none."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def texts(of: Answer, name: str) -> list[str]:
    """Return a list of texts; empty if there is none."""
    found = of.get(name)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
