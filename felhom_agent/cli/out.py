"""How commands speak: whole lines of safe text to stdout and stderr.

A terminal is not sent what acts on it, an encoding is not asked for more than it has, and whoever
stops reading is not told about it.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from felhom_agent.errors import FelhomError
from felhom_agent.printable import encodable, one_line
from felhom_agent.redaction import redacted, safe_text
from felhom_agent.service.events import Event
from felhom_agent.service.logging import complain_to_journald, to_journald

MAX_LINE = 65536
"""The longest line, in characters; a guest's description in escapes must fit."""


class ReaderLeft(FelhomError):
    """Whoever read stdout has closed it (`| head`)."""


class OutputFailed(FelhomError):
    """Stdout cannot be written: its disk is full, say."""


def say(line: object = "", *, end: str = "\n") -> None:
    """Given a line, print it to stdout at once.

    Raise ReaderLeft if nobody reads any more, OutputFailed if it cannot be written.
    """
    _put(safe_text(str(line), MAX_LINE) + end)


def say_styled(line: str, *, end: str = "\n") -> None:
    """Given a line that `terminal` made of safe text and colours, print it. Raise as `say` does."""
    _put(line + end)


def say_json(data: Mapping[str, object], *, schema: int = 1) -> None:
    """Given an answer, print it as JSON in ASCII alone, the number of its form as `schema` first.

    Raise as `say` does.
    """
    _put(json.dumps(_as_form(data, schema), indent=2) + "\n")


def say_json_line(data: Mapping[str, object], *, schema: int = 1) -> None:
    """Given one of many answers, print it as `say_json` does, in a line of its own, whole however
    long it is. Raise as `say` does.
    """
    _put(json.dumps(_as_form(data, schema)) + "\n")


def wait(seconds: float) -> None:
    """Wait so long. Raise ReaderLeft as soon as nobody reads stdout any more: a command that has
    nothing to print would not notice.
    """
    if sys.stdout is None:
        raise ReaderLeft("stdout is closed")
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # for what poll(2) tells unasked: the other end is gone
    if poller.poll(seconds * 1000):
        raise ReaderLeft("nobody reads stdout any more")


def complain(line: object, prefix: str = "felhom-agent: ", event: Event | None = None) -> None:
    """Given a line, print it to stderr if that can be done; as an event of that kind, if one is
    given, where stderr is journald's.
    """
    if event is not None and complain_to_journald(one_line(str(line)), event):
        return
    # For journald an error is one by its priority.
    mark = "<3>" if to_journald() else ""
    _try(sys.stderr, f"{mark}{prefix}{safe_text(one_line(str(line)), MAX_LINE)}\n")


def give_up_stdout() -> None:
    """Lead stdout to nowhere, so that Python's own last flush has nothing to complain of."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def put_lines(text: str, stream: TextIO | None) -> None:
    """Given a text of some lines (usage, help), write them to stdout or stderr, made safe.

    Raise as `say` does for stdout.
    """
    lines = "".join(safe_text(line, MAX_LINE) + "\n" for line in text.rstrip("\n").split("\n"))
    # None is the stdout that somebody has closed: what was asked for goes nowhere else.
    if stream is not None and stream is sys.stderr:
        _try(sys.stderr, lines)
    else:
        _put(lines)


def _put(text: str) -> None:
    # Started with its stdout closed (`>&-`), Python has none.
    if sys.stdout is None:
        return
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise ReaderLeft("nobody reads stdout any more") from None
    except OSError as error:
        raise OutputFailed(f"stdout cannot be written: {error.strerror}") from None


def _try(stream: TextIO | None, text: str) -> None:
    with suppress(OSError, ValueError):
        if stream is not None:
            _write(stream, text)


def _write(stream: TextIO, text: str) -> None:
    stream.write(encodable(text, stream.encoding))
    stream.flush()


def _as_form(data: Mapping[str, object], schema: int) -> dict[str, object]:
    return {"schema": schema, **{key: _without_secrets(value) for key, value in data.items()}}


def _without_secrets(data: object) -> object:
    if isinstance(data, dict):
        return {key: _without_secrets(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_secrets(value) for value in data]
    return redacted(data) if isinstance(data, str) else data
