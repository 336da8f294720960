"""What a reload found, in one line: how many guests are declared, and which are new or changed.

`systemctl reload` answers nothing by itself. Whoever has edited a file looks into the log to see
whether it was read, and whether the right guests are in it; so a reload compares what it reads with
what was in force before, and names the guests by number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from felhom_agent.model import Desired

MAX_NAMED: Final = 10
"""How many guests, or files, a list names."""


def summary(before: Desired, now: Desired) -> str:
    """Given what was desired and what is, return what that means for the guests, in one line."""
    old = before.guests.keys() | before.held.keys()
    new = now.guests.keys() | now.held.keys()
    lists = {
        "new": now.guests.keys() - old,
        "changed": {
            vmid for vmid in now.guests.keys() & old if now.guests[vmid] != before.guests.get(vmid)
        },
        "held until their file is mended": now.held.keys(),
        "no longer declared, left as they are": old - new,
    }
    parts = [f"{name}: {_named(map(str, sorted(found)))}" for name, found in lists.items() if found]
    if not any(lists.values()):
        parts.append("as before")
    if now.unsettled:
        seconds = max(1, round(now.settles_in))
        files = _named(path.rpartition("/")[2] for path in now.unsettled)
        parts.append(f"written just now, read in {seconds} s: {files}")
    return "; ".join([f"{counted(len(new))} declared", *parts])


def differ(before: Desired, now: Desired) -> bool:
    """Return whether other guests are desired now, or the same ones otherwise."""
    return before.guests != now.guests or before.held.keys() != now.held.keys()


def counted(number: int) -> str:
    """Given a number of guests, return it in words: "1 guest", "12 guests"."""
    return f"{number} guest{'' if number == 1 else 's'}"


def _named(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more
