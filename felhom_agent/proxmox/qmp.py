"""What QEMU says of a guest that PVE calls running: whether it does run.

PVE's `status` is of the process alone. `qmpstatus` is QEMU's own word, in status/current and in the
listing where it is asked for in full (recorded: 9.2 204/058).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# QEMU: qapi/run-state.json. The words of a migration and a snapshot are missing: they pass, and the
# guest is locked meanwhile.
_HANGS: Final[Mapping[str, str]] = {
    "debug": "a debugger holds it",
    "guest-panicked": "the system inside has crashed",
    "internal-error": "QEMU cannot go on",
    "io-error": "a disk could not be read or written, or its storage is full",
    "prelaunch": "it was started, and its processors never were",
    "shutdown": "the system inside has shut down, and its process is still there",
    "watchdog": "its watchdog has run out",
}


def hung(qmpstatus: object) -> str:
    """Given QEMU's word, return it with what it means if the guest hangs; empty if it does not.

    A guest that somebody paused or suspended does not hang.
    """
    word = str(qmpstatus or "")
    return f"{word}: {_HANGS[word]}" if word in _HANGS else ""


def is_paused(qmpstatus: object) -> bool:
    """Return whether somebody paused or suspended the guest."""
    return qmpstatus in {"paused", "suspended"}
