"""A look at the tokens of a TOML text, before it is parsed and beside it.

tomli takes a text as it comes: keys of many parts cost it the square of their number, nesting ends
in Python's own recursion limit, and a number may have any number of digits. So a text is measured
first, in one pass whose cost grows with its length alone, whether it is TOML or not; what is larger
than anybody needs is refused, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_PARTS: Final = 16
"""How many parts a dotted key may have; a guest file needs five."""
MAX_DEPTH: Final = 16
"""How deep lists and inline tables may stand in each other; a guest file needs two."""
MAX_ITEMS: Final = 50_000
"""How many keys, tables and elements of lists a text may have."""
MAX_WORD: Final = 100
"""How many characters a number may have."""

# Each alternative takes what it began, up to the end of the text if need be, and gives nothing
# back: so no text is walked twice.
TOKEN: Final = re.compile(
    r'"""(?:[^"\\]++|\\.?+|"{1,2}+(?!"))*+(?:"{3,5}+|\Z)?+'
    r"|'''(?:[^']++|'{1,2}+(?!'))*+(?:'{3,5}+|\Z)?+"
    r'|"(?:[^"\\\n]++|\\[^\n]?+)*+"?+'
    r"|'[^'\n]*+'?+"
    r"|(?P<gap>(?:\s++|\#[^\n]*+)++)"
    r"|(?P<mark>[\[\]{}=,])"
    r"|(?P<dot>\.)"
    r"|(?P<word>[^\s\[\]{}=.,\"'#]++)",
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"[+-]?[0-9]")
_REST: Final = re.compile(r"[\w.+-]*+")


class TooLarge(ValueError):
    """A text that is not to be parsed; `line` is where it becomes too much."""

    def __init__(self, text: str, line: int) -> None:
        self.line = line
        super().__init__(text)


def bounded(text: str) -> str:
    """Given a text, return it in a form that is cheap to parse. Raise TooLarge if it has none.

    In place of a number that is too long stands an empty table, which is no option's value: so it
    costs the guest that has it, and not the file.
    """
    pieces: list[str] = []
    taken = 0
    for start, end in _long_numbers(text):
        pieces += [text[taken:start], "{}"]
        taken = end
    return "".join((*pieces, text[taken:])) if pieces else text


def _long_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Yield where numbers of too many characters begin and end, while all else is measured."""
    depth = items = dots = begin = done = 0
    end = -1  # where the word that is being read ends so far; -1: none is
    for found in TOKEN.finditer(text):
        kind, here = found.lastgroup, found.start()
        if kind == "mark":
            items += found[0] in "[{=,"
            depth += (found[0] in "[{") - (found[0] in "]}")
            dots = 0
            if depth < 0:
                return  # no TOML, and a parser gets no further than this
        elif kind == "dot":
            dots += 1
        _refuse(text, here, depth, items, dots)
        if kind not in ("word", "dot"):
            end = -1
            continue
        begin = here if here != end else begin
        end = found.end()
        if here >= done and end - begin > MAX_WORD and _NUMBER.match(text, begin):
            rest = _REST.match(text, end)
            done = rest.end() if rest else end
            yield begin, done


def _refuse(text: str, here: int, depth: int, items: int, dots: int) -> None:
    words = ""
    if depth > MAX_DEPTH:
        words = f"lists and tables stand more than {MAX_DEPTH} deep in each other"
    elif dots >= MAX_PARTS:
        words = f"a key has more than {MAX_PARTS} parts"
    elif items > MAX_ITEMS:
        words = f"has more than {MAX_ITEMS:,} keys and values; use several files"
    if words:
        raise TooLarge(words, text.count("\n", 0, here) + 1)
