"""Whether this host's clock is known to be right.

The kernel knows, whoever sets the clock, but its word is behind a call that the agent's sandbox
does not have. The helper of the hints passes it on, every few seconds. Where that is not there,
systemd-timesyncd tells once that it has set the clock; chrony, which Proxmox VE installs, tells
nobody. What nobody tells is not known.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from felhom_agent import regularfile

TIMESYNCD: Final = Path("/run/systemd/timesync/synchronized")
"""Is there once systemd-timesyncd has set the clock (systemd: systemd-timesyncd.service(8))."""
CLOCK: Final = "clock"
"""The helper's file, in the directory of the hints (`felhom_agent/hintshelper.py`)."""
FRESH_SECONDS: Final = 15.0
"""How old the helper's word may be; three times what it promises."""


def is_synchronised(
    hints: Path | None, timesyncd: Path = TIMESYNCD, now: Callable[[], float] = time.time
) -> bool:
    """Given the directory of the hints, if there is one, return whether the clock is known to be
    right. The file of systemd-timesyncd is another one in a test alone.
    """
    told = _told(hints / CLOCK, now()) if hints is not None else None
    return timesyncd.exists() if told is None else told


def _told(path: Path, now: float) -> bool | None:
    """Return the helper's word; None if there is none, or it is old."""
    try:
        found = regularfile.read(path)
        told = json.loads(found.data).get("synchronised")
    except (regularfile.FileUnreadable, ValueError, AttributeError, RecursionError):
        return None
    fresh = abs(now - found.stamp.modified) <= FRESH_SECONDS
    return told if fresh and isinstance(told, bool) else None
