"""Lines and tables for a person: colour and wrapping on a terminal, plain text everywhere else.

A pipe gets each line whole, without an escape, aligned as on a wide terminal. A terminal gets lines
of at most its width (COLUMNS, else what the terminal says), and colour if rich is installed, unless
NO_COLOR is set or TERM is `dumb`. All text is made safe as `say` makes it; nothing in it is read as
markup. What is not a terminal loads no rich.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final

from felhom_agent.cli.out import MAX_LINE, say, say_styled
from felhom_agent.printable import encodable
from felhom_agent.redaction import redacted, safe_text

MIN_WIDTH: Final = 20
"""A narrower terminal breaks lines itself."""
MAX_WIDTH: Final = 10_000
USUAL_WIDTH: Final = 80
"""For a terminal that does not know its width."""
GAP: Final = 2
"""Between two columns of a table."""
MIN_LAST: Final = 20
"""Cells that a table's last column needs; where they are not there, each row is a list."""

_NO_COLOUR_TERMS: Final = ("", "dumb", "unknown")


class Style(StrEnum):
    """What a part of a line says by its colour; the words say it, too."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    DIM = "dim"
    STRONG = "strong"


# Names of the terminal's own 16 colours, so that its theme keeps them readable.
_RICH: Final = {
    Style.GOOD: "green",
    Style.BAD: "bold red",
    Style.WARN: "yellow",
    Style.DIM: "dim",
    Style.STRONG: "bold",
}


@dataclass(frozen=True)
class Part:
    """A piece of a line, and how it is shown."""

    text: str
    style: Style | None = None


Line = Sequence[str | Part]


def width() -> int | None:
    """Return how many cells a line of the terminal on stdout has; None if there is no terminal."""
    if not _is_terminal():
        return None
    columns = _columns()
    return min(max(columns, MIN_WIDTH), MAX_WIDTH)


def put(line: Line | str, *, hang: int = 0) -> None:
    """Given a line, print it; on a terminal what does not fit goes on below, indented by `hang`.

    Raise as `say` does.
    """
    _put(_safe((line,) if isinstance(line, str) else line), hang)


def put_table(
    head: Sequence[str], rows: Sequence[Sequence[str | Part]], *, indent: int = 2
) -> None:
    """Given a head and rows of as many cells, print them in columns; the last wraps under itself.

    Where the terminal is too narrow for that, each row is a list of "HEAD value" instead. Raise as
    `say` does.
    """
    titles = [Part(text, Style.DIM) for text in head]
    table = [[_cell(cell) for cell in row] for row in (titles, *rows)]
    widths = [max(cells(row[at].text) for row in table) for at in range(len(head))]
    start = indent + sum(each + GAP for each in widths[:-1])
    columns = width()
    if columns is None or len(head) < 3 or start + min(widths[-1], MIN_LAST) <= columns:
        for row in table:
            _put([Part(" " * indent), *_padded(row, widths)], start)
    else:
        _put_lists(table, indent)


def cells(text: str) -> int:
    """Given a text, return how many cells of a terminal it takes."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def wrapped(line: Sequence[Part], columns: int, hang: int = 0) -> Iterator[list[Part]]:
    """Given a line's parts, yield the lines of at most `columns` cells that they make.

    It is broken at blanks, which go; a word that is too long for a line is broken anywhere.
    """
    hang = min(hang, columns - min(MIN_LAST, columns // 2))
    row: list[Part] = []
    used = 0
    for gap, word in _words(line, columns - hang):
        size = _size(word)
        if used and used + gap + size > columns:
            yield row
            row, used, gap = [Part(" " * hang)], hang, 0
        gap = min(gap, max(0, columns - size - used))
        row += [Part(" " * gap), *word]
        used += gap + size
    yield row


def _put(line: Sequence[Part], hang: int) -> None:
    columns = width()
    if columns is None:
        say("".join(part.text for part in line).rstrip(" "))
        return
    paint = _painter()
    for row in wrapped(line, columns, hang):
        say_styled("".join(paint(part) for part in row))


def _put_lists(table: Sequence[Sequence[Part]], indent: int) -> None:
    """Print each row as its first two cells, and below them the others with their heads."""
    head, rows = table[0], table[1:]
    aside = max(cells(title.text) for title in head[2:])
    for row in rows:
        _put([Part(" " * indent), row[0], Part(" "), row[1]], indent + GAP)
        for title, cell in zip(head[2:], row[2:], strict=True):
            if cell.text:
                start = [Part(" " * (indent + GAP)), *_padded([title, cell], [aside, 0])]
                _put(start, indent + GAP + aside + GAP)


def _padded(row: Sequence[Part], widths: Sequence[int]) -> Iterator[Part]:
    """Yield the cells of a row with the blanks that stand between them."""
    for cell, size in zip(row[:-1], widths[:-1], strict=True):
        yield cell
        yield Part(" " * (size - cells(cell.text) + GAP))
    yield row[-1]


def _words(line: Sequence[Part], room: int) -> Iterator[tuple[int, list[Part]]]:
    """Yield the words of a line, each after as many blanks; a word that is too long in pieces."""
    gap, word = 0, list[Part]()
    for part in line:
        for text in re.findall(r" +|[^ ]+", part.text):
            if not text.isspace():
                word.append(replace(part, text=text))
                continue
            if word:
                yield from _fitting(gap, word, room)
                gap, word = 0, []
            gap += len(text)
    if word:
        yield from _fitting(gap, word, room)


def _fitting(gap: int, word: list[Part], room: int) -> Iterator[tuple[int, list[Part]]]:
    if _size(word) <= room:
        yield gap, word
        return
    for part in word:
        for piece in _pieces(part.text, room):
            yield gap, [replace(part, text=piece)]
            gap = 0


def _pieces(text: str, room: int) -> Iterator[str]:
    piece, used = "", 0
    for character in text:
        size = _cells_of(character)
        if piece and used + size > room:
            yield piece
            piece, used = "", 0
        piece, used = piece + character, used + size
    yield piece


def _size(word: Sequence[Part]) -> int:
    return sum(cells(part.text) for part in word)


def _safe(line: Line) -> list[Part]:
    """Return the parts of a line as they may be printed."""
    parts = [part if isinstance(part, Part) else Part(part) for part in line]
    whole = "".join(part.text for part in parts)
    # A secret may begin in one part and end in the next.
    if redacted(whole) != "".join(redacted(part.text) for part in parts):
        parts = [Part(whole)]
    return [_cell(part) for part in parts]


def _cell(cell: str | Part) -> Part:
    part = cell if isinstance(cell, Part) else Part(cell)
    encoding = sys.stdout.encoding if sys.stdout is not None else "ascii"
    return replace(part, text=encodable(safe_text(part.text, MAX_LINE), encoding))


def _is_terminal() -> bool:
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # it was closed
        return False


def _columns() -> int:
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told[:9]) > 0:
        return int(told[:9])
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):
        return USUAL_WIDTH


def _painter() -> Callable[[Part], str]:
    """Return what makes the text of a part that is sent to the terminal on stdout."""
    term = os.environ.get("TERM", "")
    if os.environ.get("NO_COLOR") or term in _NO_COLOUR_TERMS:
        return _plain
    try:
        from rich.color import ColorSystem
        from rich.style import Style as RichStyle
    except ImportError:
        return _plain

    def painted(part: Part) -> str:
        if part.style is None:
            return part.text
        style = RichStyle.parse(_RICH[part.style])
        return style.render(part.text, color_system=ColorSystem.STANDARD)

    return painted


def _plain(part: Part) -> str:
    return part.text


@cache
def _cells_of(character: str) -> int:
    if character.isascii():
        return 1
    if _is_terminal():
        try:
            from rich.cells import get_character_cell_size
        except ImportError:
            pass
        else:
            return get_character_cell_size(character)
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
