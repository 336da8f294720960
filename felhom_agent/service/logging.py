"""One line per decision, with fields.

A line is a sentence and a tail: `guest started vmid=101 action=Start op=019a...`. Under systemd
(which sets JOURNAL_STREAM) a line begins with its priority as `<6>`, so that `journalctl -p` works;
elsewhere with the time. Exceptions never show a traceback: a stranger's error is one line too.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

# syslog(3)'s priorities, as sd-daemon(3) wants them in front of a line.
_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


def fields(**values: object) -> dict[str, Any]:
    """Given names and values, return them as a record's `extra`; empty values are left out."""
    return {"fields": {k: v for k, v in values.items() if v not in ("", None)}}


class TailFormatter(logging.Formatter):
    """Prints a record as one line with its fields as the tail."""

    def __init__(self, *, priorities: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        head = self._head(record)
        text = record.getMessage().replace("\n", "; ")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text += f": {type(error).__name__}: {error}".replace("\n", "; ")
        return " ".join([head + text, *_tail(getattr(record, "fields", {}))])

    def _head(self, record: logging.LogRecord) -> str:
        if self._priorities:
            return f"<{_PRIORITY.get(record.levelno, 6)}>"
        return f"{self.formatTime(record, self.datefmt)} {record.levelname.lower():<7} "


def _tail(values: Mapping[str, object]) -> list[str]:
    return [f"{name}={_quoted(str(value))}" for name, value in values.items()]


def _quoted(text: str) -> str:
    plain = text and not any(c.isspace() or c in "\"'=" for c in text)
    return text if plain else repr(text)


def set_up(*, verbose: bool = False) -> None:
    """Send all records from info (debug if `verbose`) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TailFormatter(priorities="JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for chatty in ("urllib3", "requests", "proxmoxer.core"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
