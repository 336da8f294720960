"""Which boot of the host this is, and how long it has lasted.

CLOCK_BOOTTIME goes on while the host sleeps, and nobody can set it; but it begins anew with each
boot, so that what it says is worth something only together with the boot's id.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
BOOT_ID_VARIABLE = "FELHOM_BOOT_ID"
_ID = re.compile(r"[0-9a-f]{32}")


def since_boot() -> float:
    """Return how many seconds ago the host was booted, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id(file: Path = BOOT_ID_FILE, environment: Mapping[str, str] = os.environ) -> str:
    """Return the id of this boot, 32 hex digits; empty if nobody tells it."""
    try:
        text = file.read_text()
    except OSError:
        # A service with ProcSubset=pid does not see that file; its unit passes %b instead.
        text = environment.get(BOOT_ID_VARIABLE, "")
    plain = text.strip().replace("-", "").lower()
    return plain if _ID.fullmatch(plain) else ""
