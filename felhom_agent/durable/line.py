"""The form of one line of the journal, and what a file of lines says of itself.

    {"v":1,"n":12,"crc":"9ae0daaf","r":{...}}

`v` is the format, `n` the line's number in its file, `r` the record, and `crc` the CRC-32 of the
other three. CRC-32 finds every change of up to 32 bits in a row; the number finds a line that was
lost, doubled or moved. Later formats will begin with `v` too, so that they can be refused by name.

A record that passes all this may still say what no journal says; who knows the records judges that
(`shape.py`), and it is damage like any other.

What follows the last newline is a *tail*. Whoever wrote it died before anybody was told that it is
durable, so it was promised to nobody. A record that is whole but for its newline is kept all the
same: keeping it is as right as losing it, and a newline that became a zero may have been promised.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1
_MAX_DEPTH = 100

Record = Mapping[str, Any]

_LINE = re.compile(rb'\{"v":(\d{1,9}),"n":(\d{1,18}),"crc":"([0-9a-f]{8})","r":(\{.*\})\}')
# As `_LINE`, of our own format, each on a line of its own.
_OURS = re.compile(
    rb'^\{"v":%d,"n":(\d{1,18}),"crc":"([0-9a-f]{8})","r":(\{.*\})\}$' % VERSION, re.MULTILINE
)
_FORMAT = re.compile(rb'\{"v":(\d{1,9})\D')


class Unreadable(Exception):
    """A line is not what was written; the text says how."""


class Newer(Unreadable):
    """A line is of a format that is not ours."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a line, in words; lines count from 1.

    `newer` tells that it is no damage, but a line of a later felhom-agent.
    """

    line: int
    text: str
    newer: bool = False


@dataclass(frozen=True)
class Content:
    """What a file says: its intact records in order, the tail after them, and what is damaged."""

    records: tuple[Record, ...]
    tail: bytes
    damage: tuple[Damage, ...]


def body_of(record: Record) -> bytes:
    """Given a record, return its JSON. Raise TypeError or ValueError if it has none."""
    text = json.dumps(dict(record), separators=(",", ":"), sort_keys=True, allow_nan=False)
    return text.encode("ascii")


def encode(number: int, body: bytes) -> bytes:
    """Given a line's number and its record's JSON, return the line."""
    crc = _crc(b"%d" % VERSION, b"%d" % number, body)
    return b'{"v":%d,"n":%d,"crc":"%08x","r":%s}\n' % (VERSION, number, crc, body)


def encode_file(records: Iterable[Record]) -> bytes:
    """Given all records of a file, return its bytes."""
    return b"".join(encode(n, body_of(record)) for n, record in enumerate(records, start=1))


def decode(line: bytes) -> tuple[int, Record]:
    """Given a line without its newline, return its number and record.

    Raise Unreadable if it is not what was written.
    """
    found = _LINE.fullmatch(line)
    intact = found is not None and int(found[3], 16) == _crc(found[1], found[2], found[4])
    version = found if intact else None if found else _FORMAT.match(line)
    if version is not None and int(version[1]) > VERSION:
        raise Newer(f"the line has format {int(version[1])}, written by a newer felhom-agent")
    if found is None or not intact:
        raise Unreadable("the line is damaged (its checksum does not match)")
    return int(found[2]), _parse(found[4])


def are_sound(lines: bytes, first: int = 0) -> bool:
    """Given whole lines of a file, and the number that the first must have (0: any), return whether
    each is what was written and none is missing.

    Their records are not parsed, so this is quick; where it is false, `decode_file` says why.
    """
    found = _OURS.findall(lines)
    expected = first or (int(found[0][0]) if found else 0)
    for digits, crc, body in found:
        if int(digits) != expected or int(crc, 16) != _crc(b"%d" % VERSION, digits, body):
            return False
        expected += 1
    return len(found) == lines.count(b"\n") and lines.endswith(b"\n")


def decode_file(content: bytes, problem: Callable[[Record], str] | None = None) -> Content:
    """Given a file's bytes, return what they say.

    `problem` tells what is wrong with a record that is what was written; empty if nothing is.
    """
    # Zeros at the end are room that a file system gave before the bytes came.
    *lines, tail = content.rstrip(b"\0").split(b"\n")
    reader = LineReader(problem)
    if content and not lines and not tail:
        reader.complain_of_zeros(len(content))
    for line in lines:
        reader.take(line)
    if _is_intact(tail):
        reader.take(tail)
        tail = b""
    elif _is_intact(tail[:-1]):
        reader.take(tail[:-1])
        reader.complain("the line's end is damaged (it is no newline)")
        tail = b""
    return Content(tuple(reader.records), tail, tuple(reader.damage))


class LineReader:
    """Goes through a file line by line and sees to it that the numbers leave nothing out.

    `records` and `damage` are what was found so far; whoever reads on may take them out.
    """

    def __init__(self, problem: Callable[[Record], str] | None) -> None:
        self.records: list[Record] = []
        self.damage: list[Damage] = []
        self._problem = problem
        self._line = 0
        self._number = 0

    def take(self, line: bytes) -> None:
        self._line += 1
        expected = self._number + 1
        try:
            number, record = decode(line)
        except Unreadable as error:
            self._number = expected
            self.complain(str(error), newer=isinstance(error, Newer))
            return
        if number < expected:
            self.complain(f"the line stands at a wrong place (it says that it is line {number})")
            return
        if number > expected:
            self.complain(f"{number - expected} lines before it are missing")
        self._number = number
        if self._problem is not None and (odd := self._problem(record)):
            self.complain(f"the line is intact, and is no record of a journal: {odd}")
            return
        self.records.append(record)

    def complain_of_zeros(self, length: int) -> None:
        self._line = 1
        self.complain(f"the file is nothing but {length} zeros, as a disk may leave it")

    def complain(self, text: str, *, newer: bool = False) -> None:
        self.damage.append(Damage(self._line, text, newer))


def _is_intact(line: bytes) -> bool:
    try:
        decode(line)
    except Unreadable:
        return False
    return True


def _parse(body: bytes) -> Record:
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        record: Record = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Unreadable("the line is damaged (its record cannot be parsed)") from None
    # Else it could be read, and not written again.
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _depth(record) > _MAX_DEPTH:
        raise Unreadable("the line is damaged (its record is nested too deeply)")
    return record


def _finite(text: str) -> float:
    """Given a number's text, return it. Raise ValueError for what is no number in JSON."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


# One for all lines: `json.loads` would make one for each.
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


def _depth(record: Record) -> int:
    depth = 0
    values: list[Any] = [record]
    while values and depth <= _MAX_DEPTH:
        depth += 1
        values = [v for value in values for v in _within(value) if isinstance(v, (dict, list))]
    return depth


def _within(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _crc(version: bytes, number: bytes, body: bytes) -> int:
    return zlib.crc32(b"%s %s %s" % (version, number, body))
