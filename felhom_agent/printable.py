r"""Text as a person may see it: one line, no character that acts on a terminal or hides, bounded.

Text comes from PVE, a hub, file names, guests' names and exceptions, and leaves through logs,
journald, systemd, terminals and reports. There a line feed makes a second line that nobody wrote,
an escape sequence rewrites the screen, a bidi control turns a sentence round, and a lone surrogate
stops whoever encodes it. What is not visible is shown as Python would write it: `\x1b`, `\n`,
`\u202e`, `\udce9`.

A backslash that was there stays as it is, so that text may pass through here more than once and is
the same afterwards.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

MARK: Final = "..."
"""What a text that was cut ends with."""

# Unicode calls these letters, marks or symbols (so `str.isprintable` is true), and they show
# nothing (DerivedCoreProperties.txt: Default_Ignorable_Code_Point; U+2800 is braille's blank).
_HIDDEN_RANGES: Final = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_HIDDEN: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}.union(*_HIDDEN_RANGES)
)
# Visible each by itself and beside any other: ASCII, and the letters of Latin scripts but for the
# soft hyphen. Nearly every text is made of these, and need not be looked at letter by letter.
_PLAIN: Final = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff]*")
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MAX_MARKS: Final = 4
"""How many combining marks may stand on one letter; more of them grow over the lines around."""

_MIN_SECONDS: Final = -62_135_596_800.0
_MAX_SECONDS: Final = 253_402_300_799.0


def printable(text: str, max_length: int) -> str:
    """Given a text, return it with every character that cannot be seen as an escape, in at most
    `max_length` characters (3 at least); what was cut ends in `MARK`.
    """
    head, room = text[: max_length + 1], max_length - len(MARK)
    plain = _PLAIN.fullmatch(head) is not None
    shown = head if plain else "".join(_pieces(head))
    if len(shown) <= max_length and len(head) == len(text):
        return shown
    return (head[:room] if plain else _cut(head, room)) + MARK


def one_line(text: str) -> str:
    """Given a text of some lines, return them as parts of one: "first; second"."""
    # Not by a pattern: a long run of blanks without a line's end would cost the square of it.
    return "; ".join(part for line in text.split("\n") if (part := line.strip()))


def moment_text(seconds: float) -> str:
    """Given seconds since the epoch, return them as RFC 3339 has it, in UTC; a clock that is beyond
    the years 1 to 9999 is shown as the nearest of these.
    """
    known = max(_MIN_SECONDS, min(seconds, _MAX_SECONDS))
    text = datetime.fromtimestamp(known, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")


def local_text(seconds: float, now: float | None = None) -> str:
    """Given seconds since the epoch, return them to the minute, as this host's clock shows them;
    with the present time, today's have no date: "2026-11-24 09:12", "09:12".
    """
    when = _local(seconds)
    if now is not None and when.date() == _local(now).date():
        return when.isoformat(timespec="minutes")[11:16]
    return when.isoformat(sep=" ", timespec="minutes")[:16]


def encodable(text: str, encoding: str | None) -> str:
    """Given a text and a stream's encoding, return it with what does not fit there as escapes."""
    name = encoding or "ascii"
    return text.encode(name, "backslashreplace").decode(name)


def _local(seconds: float) -> datetime:
    # A day less at each end, so that no time zone leads beyond the years 1 to 9999.
    known = max(_MIN_SECONDS + 86400, min(seconds, _MAX_SECONDS - 86400))
    return datetime.fromtimestamp(known, UTC).astimezone()


def _cut(text: str, length: int) -> str:
    """Return as many whole characters, or escapes, of a text as fit."""
    kept: list[str] = []
    for piece in _pieces(text):
        length -= len(piece)
        if length < 0:
            break
        kept.append(piece)
    return "".join(kept)


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    # At the start there is nothing of the text's own that a mark could stand on.
    marks = _MAX_MARKS
    for character in text:
        if character.isascii():
            marks = 0
            pieces.append(character if character.isprintable() else _escape(character))
            continue
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        visible = character.isprintable() and ord(character) not in _HIDDEN and marks <= _MAX_MARKS
        pieces.append(character if visible else _escape(character))
    return pieces


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
