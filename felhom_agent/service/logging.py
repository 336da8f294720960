"""One line per decision, with fields.

Where the process's stderr is journald's (systemd says so in JOURNAL_STREAM) and python3-systemd is
there, records go to journald's own protocol: the sentence as the message, and `VMID=`, `ACTION=`,
`OP_ID=`, `UPID=`, `PASS=`, `OUTCOME=` and the like beside it, with the id of the kind of event and
the place in the code. So `journalctl -u felhom-agent VMID=101` tells the story of one guest.
Without python3-systemd the same record is a line on stderr with its priority in front (`<6>`) and
the fields behind it. Elsewhere a person reads it: the time stands in front of the sentence, and the
fields come only where every detail is asked for (`--verbose`).

What ends a command before it has done its work is told the same way (`complain_to_journald`), so
that `journalctl -x` explains a start that failed.

All that leaves is safe text (felhom_agent/redaction.py) and bounded: `MAX_MESSAGE`, `MAX_FIELD`,
`MAX_FIELDS`. An error is one line, too, with its place in our code; the places that it came through
follow as lines of their own where debug records are logged. Logging never raises and never stops a
caller: a record that cannot be sent is a line on stderr, and one that cannot be written is lost.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from typing import Any

from felhom_agent.printable import encodable, one_line, printable
from felhom_agent.redaction import redacted, safe_text
from felhom_agent.service.events import INTERNAL_ERROR, Event
from felhom_agent.service.origins import described, relative, text_of, trace_of

MAX_MESSAGE = 8192
"""The longest message, in characters."""
MAX_FIELD = 1024
"""The longest value of a field, in characters."""
MAX_FIELDS = 64
MAX_LINE = 12_000
"""The longest line on stderr. journald breaks longer ones than 48 KiB (LineMax=), and takes what
follows for a line of its own; a character is 4 bytes at the most."""

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
_log = logging.getLogger(__name__)
_OURS = logging.getLogger("felhom_agent")

Send = Callable[..., object]
"""journald's `send(MESSAGE, **fields)`."""


def fields(event: Event | None = None, **values: object) -> dict[str, Any]:
    """Given a kind of event, names and values, return them as a record's `extra`.

    Empty values are left out.
    """
    kept = {k: v for k, v in values.items() if v is not None and not (isinstance(v, str) and not v)}
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
    """Prints a record as one line, with its fields as the tail unless that is not wanted."""

    def __init__(self, *, priorities: bool, tail: bool = True) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._priorities = priorities
        self._tail = tail

    def format(self, record: logging.LogRecord) -> str:
        found = _fields(record) if self._tail else []
        tail = (f"{printable(k, MAX_FIELD)}={_quoted(v)}" for k, v in found)
        return printable(" ".join([self._head(record) + _sentence(record), *tail]), MAX_LINE)

    def _head(self, record: logging.LogRecord) -> str:
        if self._priorities:
            return f"<{_PRIORITY.get(record.levelno, 6)}>"
        return f"{self.formatTime(record, self.datefmt)} {record.levelname.lower():<7} "


class PlainFormatter(TailFormatter):
    """Prints a record as commands complain: with the program's name in front."""

    def _head(self, record: logging.LogRecord) -> str:
        return f"{super()._head(record) if self._priorities else ''}felhom-agent: "


class LineHandler(logging.Handler):
    """Writes records to stderr, whatever that is at the moment."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Given a record, write it if that can be done."""
        for each in _with_trace(record):
            with suppress(Exception):  # there is nobody left to tell
                stream = sys.stderr
                stream.write(encodable(self.format(each), stream.encoding) + "\n")
                stream.flush()


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
        for each in _with_trace(record):
            try:
                self._send(
                    _sentence(each),
                    CODE_FILE=safe_text(relative(each.pathname), MAX_FIELD),
                    CODE_LINE=each.lineno,
                    CODE_FUNC=safe_text(each.funcName or "", MAX_FIELD),
                    **{**self._always, **journal_fields(each)},
                )
            except Exception:  # whatever keeps it from being sent, it must not be lost
                with suppress(Exception):
                    self._otherwise.emit(each)


class _Sent(logging.Handler):
    """Notes that a record was not taken by journald."""

    def __init__(self) -> None:
        super().__init__()
        self.all = True

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.all = False


def journal_fields(record: logging.LogRecord) -> dict[str, str]:
    """Given a record, return what stands beside its message and its place in journald."""
    event = event_of(record)
    named = {} if event is None else {"MESSAGE_ID": event.message_id, "FELHOM_EVENT": event.name}
    values = {name: text_of(value) for name, value in (*_context.get().items(), *_fields(record))}
    return {
        **{_field_name(k): safe_text(v, MAX_FIELD) for k, v in islice(values.items(), MAX_FIELDS)},
        "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
        "SYSLOG_IDENTIFIER": "felhom-agent",
        "THREAD_NAME": safe_text(str(record.threadName), MAX_FIELD),
        **named,
    }


def event_of(record: logging.LogRecord) -> Event | None:
    """Given a record, return of which kind of event it tells; None if of none."""
    event = getattr(record, "event", None)
    if isinstance(event, Event):
        return event
    return INTERNAL_ERROR if _error_of(record) else None


def told_by(record: logging.LogRecord) -> tuple[str, dict[str, str]]:
    """Given a record, return its sentence and its fields with those of its thread, as safe text."""
    values = {**_context.get(), **dict(_fields(record))}
    return _sentence(record), {
        printable(name, MAX_FIELD): safe_text(text_of(value), MAX_FIELD)
        for name, value in islice(values.items(), MAX_FIELDS)
    }


_FIELD_NAMES = {"op": "OP_ID"}
_OWN_NAMES = frozenset({"MESSAGE", "CODE_FILE", "CODE_LINE", "CODE_FUNC"})


def _field_name(name: str) -> str:
    """Return a name as journald takes it: capitals, digits and _, a letter first, 64 at most."""
    known = _FIELD_NAMES.get(name)
    upper = known or re.sub("[^A-Z0-9_]", "_", name.upper()).lstrip("_0123456789")[:60]
    return f"{upper}_" if upper in _OWN_NAMES else upper or "FIELD"


def _fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    values = getattr(record, "fields", None)
    if not isinstance(values, Mapping):
        return []
    return [(str(name), value) for name, value in islice(values.items(), MAX_FIELDS)]


def _error_of(record: logging.LogRecord) -> BaseException | None:
    found = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return found if isinstance(found, BaseException) else None


def _sentence(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # arguments that do not fit the message, or cannot be printed
        text = f"{text_of(record.msg)} (and arguments that do not fit)"
    error = _error_of(record)
    if error is not None:
        text += f": {described(error)}"
    return safe_text(one_line(text), MAX_MESSAGE)


def _with_trace(record: logging.LogRecord) -> Iterator[logging.LogRecord]:
    """Yield a record, and where debug records are logged, one for each place its error passed."""
    yield record
    error = _error_of(record)
    if error is None or not logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
        return
    for line in trace_of(error):
        made = logging.LogRecord(
            record.name, logging.DEBUG, record.pathname, record.lineno, "%s", (line,), None
        )
        made.funcName, made.threadName = record.funcName, record.threadName
        made.__dict__.update(fields=dict(_fields(record)), event=None)
        yield made


def _quoted(value: object) -> str:
    text = redacted(text_of(value))
    plain = text and not any(c.isspace() or c in "\"'=" for c in text[:MAX_FIELD])
    return printable(text if plain else repr(text[: MAX_FIELD + 1]), MAX_FIELD)


def to_journald() -> bool:
    """Return whether stderr leads to journald (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(stderr.st_dev), str(stderr.st_ino))


def set_up(*, verbose: bool = False, node: str = "") -> None:
    """Send all records from info (debug, and with their fields everywhere, if `verbose`) to
    journald, with the node's name, or to stderr. May be called again.
    """
    always = {"NODE": safe_text(node, MAX_FIELD)} if node else {}
    handler = _handler(always, verbose=verbose)
    logging.getLogger().handlers[:] = [handler]
    _OURS.setLevel(logging.DEBUG if verbose else logging.INFO)
    _quieten()


def log_warnings() -> None:
    """Send warnings to stderr as plain lines, unless records are sent somewhere already: what a
    command has to tell beside its answer.
    """
    root = logging.getLogger()
    if not root.handlers:
        journald = to_journald()
        root.handlers[:] = [LineHandler(PlainFormatter(priorities=journald, tail=journald))]
        _quieten()


def complain_to_journald(text: str, event: Event, send: Send | None = None) -> bool:
    """Given what ended a command, and its kind of event, send it to journald, by `send` or as this
    process can; return whether that was done: stderr leads there, and its protocol can be spoken.
    """
    send = send or _journald_send()
    if send is None:
        return False
    record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, "%s", (text,), None)
    record.__dict__.update(fields(event))
    sent = _Sent()
    JournaldHandler(send, sent, {}).emit(record)
    return sent.all


def _quieten() -> None:
    """Keep what libraries log of requests and bodies, which hold secrets, out of our log."""
    logging.raiseExceptions = False
    logging.getLogger().setLevel(logging.WARNING)
    # It logs bodies; whoever asks it for debug records means all of it.
    logging.getLogger("proxmoxer.core").setLevel(logging.WARNING)
    # It warns of odd headers by quoting them all, and of each connection that it tries again.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


@contextmanager
def uncaught_errors_logged() -> Iterator[None]:
    """Log what Python would print as a traceback or a warning, for the length of a block."""

    def of_thread(caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None and not isinstance(caught.exc_value, SystemExit):
            name = caught.thread.name if caught.thread else "unknown"
            _log.error(
                "thread %s: internal error; please report it", name, exc_info=caught.exc_value
            )

    def of_finalizer(caught: sys.UnraisableHookArgs) -> None:
        if caught.exc_value is not None:
            _log.error(
                "internal error while cleaning up; please report it", exc_info=caught.exc_value
            )

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = of_thread, of_finalizer
    logging.captureWarnings(True)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before
        logging.captureWarnings(False)


def _handler(always: Mapping[str, str], *, verbose: bool) -> logging.Handler:
    journald = to_journald()
    lines = LineHandler(TailFormatter(priorities=journald, tail=journald or verbose))
    send = _journald_send()
    return lines if send is None else JournaldHandler(send, lines, always)


def _journald_send() -> Send | None:
    """Return what speaks journald's own protocol; None if stderr is not its, or nothing does."""
    # Without the socket libsystemd drops what it is given, and says nothing.
    if not (to_journald() and _JOURNALD.exists()):
        return None
    try:
        from systemd import journal
    except ImportError:
        return None
    send: Send = journal.send
    return send
