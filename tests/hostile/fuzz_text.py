"""Any text at every exit: nothing acts on a terminal, nothing makes a second line, all is bounded.

`one` is what a fuzzer calls with its bytes; a short run is in test_text.py.
"""

from __future__ import annotations

import io
import logging
import unicodedata
from contextlib import redirect_stderr, redirect_stdout

from felhom_agent.cli.out import MAX_LINE as MAX_SAID
from felhom_agent.cli.out import complain, say, say_json
from felhom_agent.service.logging import (
    MAX_FIELD,
    MAX_LINE,
    MAX_MESSAGE,
    JournaldHandler,
    LineHandler,
    TailFormatter,
    fields,
)
from felhom_agent.service.manager import MAX_STATUS, ServiceManager

_WAYS = ("utf-8", "latin-1", "utf-16-le", "utf-32-le")
_ENCODINGS = ("utf-8", "ascii", "latin-1", "cp437")
TOKENS = (
    b"\n", b"\r", b"\x00", b"\x1b[2J", b"\x1b]0;x\x07", b"\x7f", b"\x85", b"\x9b", b"\nMAINPID=1\n",
    b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\xe2\x81\xa6", b"\xef\xbb\xbf", b"\xed\xa0\x80",
    b"\xf0\x9f", b"\x00\xd8", b"\x00\xdc", b"\x2e\x20", b"\x00\xd8\x00\x00", b"\x2e\x20\x00\x00",
    b"%s", b"%(x)s", b"{}", b"MESSAGE", b"_PID", b"9", b"=", b"Traceback (most recent call last):",
    b"\\", b'"',
)  # fmt: skip


def seeds() -> list[bytes]:
    """Return texts of each way, and for each encoding of a terminal."""
    text = "guest 101: \u00fc\u20ac\U0001f600 'no'\n\x1b[31m\u202e=\ud800"
    return [
        bytes([way + 4 * encoding]) + text.encode(_WAYS[way], "surrogatepass")
        for way in range(4)
        for encoding in range(4)
        if way != 1
    ]


def one(data: bytes) -> None:
    """Given bytes, send the text that they make through every exit. Raise AssertionError if what
    comes out is not what may.
    """
    how = data[0] if data else 0
    text = _text(data[1:], _WAYS[how % 4])
    _log(text)
    _notify(text)
    _print(text, _ENCODINGS[how // 4 % 4])


def check(line: str, max_length: int) -> None:
    """Raise AssertionError if a line is not one, or holds what cannot be seen, or is too long."""
    assert line.isprintable(), ascii(line)
    assert not any(unicodedata.category(c) in ("Cf", "Cc", "Cs", "Zl", "Zp") for c in line)
    assert len(line) <= max_length, len(line)
    line.encode("utf-8")


def _text(data: bytes, encoding: str) -> str:
    if encoding == "utf-32-le":
        # Any code points, surrogates among them.
        numbers = (int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4))
        return "".join(chr(number % 0x110000) for number in numbers)
    if encoding == "utf-16-le":
        return data[: len(data) // 2 * 2].decode(encoding, "surrogatepass")
    return data.decode(encoding, "surrogateescape")


def _record(text: str) -> logging.LogRecord:
    record = logging.LogRecord(text, logging.ERROR, text, 1, "it says %s", (text,), None, text)
    record.threadName = text
    record.exc_info = (ValueError, ValueError(text), None)
    record.__dict__.update(fields(None, why=text, **{text or "x": text}))
    return record


def _log(text: str) -> None:
    for priorities in (False, True):
        check(TailFormatter(priorities=priorities).format(_record(text)), MAX_LINE)
    sent: list[dict[str, object]] = []

    def send(message: str, **values: object) -> None:
        sent.append({"MESSAGE": message, **values})

    stderr = io.StringIO()
    with redirect_stderr(stderr):
        lines = LineHandler(TailFormatter(priorities=True))
        JournaldHandler(send, lines, {}).emit(_record(text))
    assert (len(sent), stderr.getvalue()) == (1, "")
    for name, value in sent[0].items():
        assert name.replace("_", "").isalnum(), name
        assert name.isascii(), name
        assert name.isupper(), name
        assert name[0].isalpha(), name
        assert len(name) <= 64, name
        check(str(value), MAX_MESSAGE if name == "MESSAGE" else MAX_FIELD)


def _notify(text: str) -> None:
    said: list[str] = []
    ServiceManager(said.append).status(text)
    for word in said:
        check(word, MAX_STATUS + len("STATUS="))
        assert len(word.encode()) <= MAX_STATUS + len("STATUS=")


def _print(text: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding)
    with redirect_stdout(stream), redirect_stderr(stream):
        say(text)
        complain(text)
        say_json({"text": text})
    *lines, last = raw.getvalue().decode(encoding).split("\n")
    assert (len(lines), last) == (6, "")  # the JSON has four, the first with its schema
    for line in lines:
        # Each character may be an escape of ten in such an encoding.
        check(line, 10 * MAX_SAID)
