"""Writing TOML as a person would: one key a line, long texts and lists over several.

What is written here is read back as exactly the same value, whatever characters it has; what does
not show, or acts on a terminal, stands there as an escape, so that a file may simply be shown.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from felhom_agent.model import DeclaredValue, Scalar
from felhom_agent.printable import printable

WIDTH: Final = 100
"""From how many characters on a list has a line for each element."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def key_text(key: str, *, plain: bool = False) -> str:
    """Given an option's name, return it as a key; a dot in it stands between tables."""
    return key if _BARE.fullmatch(key) else one_line(key, plain=plain)


def value_text(value: DeclaredValue, *, plain: bool = False) -> str:
    """Given a value, return its text, perhaps of several lines; with `plain`, in ASCII alone."""
    if isinstance(value, tuple):
        text = one_line(value, plain=plain)
        if len(text) <= WIDTH:
            return text
        return "".join(["[\n", *(f"  {_scalar(item, plain=plain)},\n" for item in value), "]"])
    if isinstance(value, str) and "\n" in value:
        return _lines(value, plain=plain)
    return _scalar(value, plain=plain)


def one_line(value: DeclaredValue, *, plain: bool = False) -> str:
    """Given a value, return its text in one line; with `plain`, in ASCII alone."""
    if isinstance(value, tuple):
        return f"[{', '.join(_scalar(item, plain=plain) for item in value)}]"
    return _scalar(value, plain=plain)


def comment(text: str, max_length: int, *, plain: bool = False) -> str:
    """Given what is to be said, return it as a comment of at most so many characters."""
    said = printable(text, max_length)
    return f"# {said.encode('ascii', 'backslashreplace').decode() if plain else said}"


def _scalar(value: Scalar, *, plain: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{_escaped(value, plain=plain)}"'
    return repr(value)


def _lines(text: str, *, plain: bool) -> str:
    """Return a text of several lines between three quotes each; the first line feed is TOML's."""
    lines = [_escaped(line, plain=plain, quotes=False) for line in text.split("\n")]
    joined = "\n".join(map(_with_visible_end, lines)).replace('"""', '""\\"')
    return f'"""\n{joined[:-1]}\\""""' if joined.endswith('"') else f'"""\n{joined}"""'


def _with_visible_end(line: str) -> str:
    # Many an editor takes blanks away from the end of a line.
    return f"{line[:-1]}\\u0020" if line.endswith(" ") else line


def _escaped(text: str, *, plain: bool, quotes: bool = True) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return "".join(c if c == '"' and not quotes else _character(c, plain=plain) for c in text)


def _character(character: str, *, plain: bool) -> str:
    if short := _ESCAPES.get(character):
        return short
    if character.isascii():
        seen = character.isprintable()
    else:
        # A mark that stands alone is shown as an escape, and so is what hides.
        mark = unicodedata.category(character) in ("Mn", "Me")
        seen = not plain and (mark or printable(character, 12) == character)
    if seen:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
