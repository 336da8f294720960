"""One line per decision, with fields.

Where the process's stderr is journald's (systemd says so in JOURNAL_STREAM) and python3-systemd is
there, records go to journald's own protocol: the sentence as the message, and `VMID=`, `ACTION=`,
`OP_ID=`, `UPID=`, `PASS=`, `OUTCOME=` and the like beside it, with the id of the kind of event. So
`journalctl -u felhom-agent VMID=101` tells the story of one guest. Without python3-systemd the same
record is a line on stderr with its priority in front (`<6>`) and the fields behind it; elsewhere
the time stands in front.

Exceptions never show a traceback: a stranger's error is one line too.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from felhom_agent.service.events import INTERNAL_ERROR, Event

# syslog(3)'s priorities, as sd-daemon(3) wants them in front of a line.
_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_JOURNALD = Path("/run/systemd/journal/socket")
_context: ContextVar[Mapping[str, object]] = ContextVar("fields", default={})  # noqa: B039

Send = Callable[..., object]
"""journald's `send(MESSAGE, **fields)`."""


def fields(event: Event | None = None, **values: object) -> dict[str, Any]:
    """Given a kind of event, names and values, return them as a record's `extra`.

    Empty values are left out.
    """
    kept = {k: v for k, v in values.items() if v not in ("", None)}
    return {"fields": kept, "event": event}


@contextmanager
def within(**values: object) -> Iterator[None]:
    """Give every record of this thread these fields in journald for the length of a block."""
    token = _context.set({**_context.get(), **values})
    try:
        yield
    finally:
        _context.reset(token)


class TailFormatter(logging.Formatter):
    """Prints a record as one line with its fields as the tail."""

    def __init__(self, *, priorities: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(
            [self._head(record) + _sentence(record), *_tail(getattr(record, "fields", {}))]
        )

    def _head(self, record: logging.LogRecord) -> str:
        if self._priorities:
            return f"<{_PRIORITY.get(record.levelno, 6)}>"
        return f"{self.formatTime(record, self.datefmt)} {record.levelname.lower():<7} "


class JournaldHandler(logging.Handler):
    """Sends records to journald; a record that it does not take goes to `otherwise`."""

    def __init__(self, send: Send, otherwise: logging.Handler, always: Mapping[str, str]) -> None:
        """`always` are fields that every record has."""
        super().__init__()
        self._send = send
        self._otherwise = otherwise
        self._always = always

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, send it."""
        try:
            self._send(_sentence(record), **{**self._always, **journal_fields(record)})
        except OSError:
            self._otherwise.emit(record)


def journal_fields(record: logging.LogRecord) -> dict[str, str]:
    """Given a record, return what stands beside its message in journald."""
    event: Event | None = getattr(record, "event", None)
    if event is None and record.exc_info:
        event = INTERNAL_ERROR
    named = {} if event is None else {"MESSAGE_ID": event.message_id, "FELHOM_EVENT": event.name}
    values = {**_context.get(), **getattr(record, "fields", {})}
    return {
        "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
        "SYSLOG_IDENTIFIER": "felhom-agent",
        "THREAD_NAME": str(record.threadName),
        **named,
        **{_FIELD_NAMES.get(name, name.upper()): str(value) for name, value in values.items()},
    }


_FIELD_NAMES = {"op": "OP_ID"}


def _sentence(record: logging.LogRecord) -> str:
    text = record.getMessage().replace("\n", "; ")
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        text += f": {type(error).__name__}: {error}".replace("\n", "; ")
    return text


def _tail(values: Mapping[str, object]) -> list[str]:
    return [f"{name}={_quoted(str(value))}" for name, value in values.items()]


def _quoted(text: str) -> str:
    plain = text and not any(c.isspace() or c in "\"'=" for c in text)
    return text if plain else repr(text)


def to_journald() -> bool:
    """Return whether stderr leads to journald (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(stderr.st_dev), str(stderr.st_ino))


def set_up(*, verbose: bool = False, node: str = "") -> None:
    """Send all records from info (debug if `verbose`) to journald, with the node's name, or to
    stderr. May be called again.
    """
    handler = _handler({"NODE": node} if node else {})
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for chatty in ("urllib3", "requests", "proxmoxer.core"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _handler(always: Mapping[str, str]) -> logging.Handler:
    journald = to_journald()
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(TailFormatter(priorities=journald))
    # Without the socket libsystemd drops what it is given, and says nothing.
    if journald and _JOURNALD.exists():
        try:
            from systemd import journal
        except ImportError:
            return lines
        return JournaldHandler(journal.send, lines, always)
    return lines
