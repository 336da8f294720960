"""TOML files that remember where each key stands.

An operator who made a mistake needs the line, and TOML readers forget it. A `TomlFile` is read
with tomli, which alone decides what the file means; beside it a scan over the same text notes the
line of every table header and key. The scan trusts the text to be valid TOML, since tomli has
accepted it by then. What would take tomli long is refused before (`tomlscan`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tomli

from felhom_agent import regularfile
from felhom_agent.config import tomlscan
from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KeyPath = tuple[str, ...]

MAX_TEXT = 400
"""How many characters a problem's text may have."""
MAX_NAME = 300
"""How many characters of a file's path are shown."""

_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)| \(at end of document\)")


@dataclass(frozen=True)
class TomlFile:
    """A parsed file: its content, and the line of each of its keys."""

    path: str
    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def place(self, *keys: str) -> Place:
        """Given a key's path, return where it stands, or the nearest table that holds it."""
        for length in range(len(keys), 0, -1):
            if line := self.lines.get(keys[:length]):
                return Place(self.path, line)
        return Place(self.path)

    def problem(self, text: str, *keys: str) -> Problem:
        """Given what is wrong with a key, return it with its place, in one bounded line."""
        return Problem(self.place(*keys), printable(text, MAX_TEXT))


def read(path: Path) -> TomlFile:
    """Given a path, return its parsed file. Raise ConfigError if it cannot be read or parsed."""
    return parse_bytes(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Given a path, return what is in the file. Raise ConfigError if it cannot be read."""
    try:
        return regularfile.read(path).data
    except regularfile.FileUnreadable as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: regularfile.FileUnreadable) -> ConfigError:
    """Given why a file of TOML was not read, return that as an error that says what to do."""
    # Not at the top: it explains an error, and most files have none.
    from felhom_agent.config.rights import to_open

    advice = f"; as root: {to_open(path)}" if error.denied else ""
    return _refuse(path, 0, f"{error}{advice}")


def no_guest_file(path: Path, error: regularfile.FileUnreadable) -> ConfigError:
    """As `unreadable`, of an entry of a directory of guest files, which nobody has named."""
    if not error.no_file:
        return unreadable(path, error)
    return _refuse(path, 0, f"{error}; remove it or give it another name")


def parse_bytes(data: bytes, path: Path) -> TomlFile:
    """Given what is in a file, and its path, return its content. Raise ConfigError if it is no
    TOML in UTF-8, with or without a byte order mark.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        kind = "is UTF-16, not UTF-8 text" if utf16 else "is not UTF-8 text"
        raise _refuse(path, line, f"{kind}; save it again as UTF-8") from None
    return parse(text, path)


def parse(text: str, path: Path) -> TomlFile:
    """Given a file's text and path, return its content. Raise ConfigError on a syntax error."""
    try:
        text = tomlscan.bounded(text.replace("\r\n", "\n"))
        data = tomli.loads(text)
    except tomlscan.TooLarge as error:
        raise _refuse(path, error.line, str(error)) from None
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a date that is none ends in one of Python's own.
        raise _no_toml(path, text, str(error)) from None
    lines: dict[KeyPath, int] = {}
    for keys, line in _locate(text):
        # A table may be named again by those inside it; where it was first named is where it is.
        lines.setdefault(keys, line)
    return TomlFile(name_of(path), data, lines)


def _no_toml(path: Path, text: str, said: str) -> ConfigError:
    """Given a text that is no TOML, and what the parser said, return that as an error."""
    # Not at the top: it explains an error, and most files have none.
    from felhom_agent.config.tomlmistake import mistake

    found = _AT_LINE.search(said)
    line, column = (int(found[1] or 0), int(found[2] or 0)) if found else (0, 0)
    what = mistake(text, line, column, _AT_LINE.sub("", said))
    return _refuse(path, what.line, printable(f"is not valid TOML: {what.text}", MAX_TEXT))


def name_of(path: Path) -> str:
    """Given a path, return it as it is named in messages; a name need not be UTF-8."""
    return printable(str(path), MAX_NAME)


def _refuse(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError((Problem(Place(name_of(path), line), text),))


def _locate(text: str) -> Iterator[tuple[KeyPath, int]]:
    table: KeyPath = ()
    for line, statement in _statements(text):
        if statement[0] == "[":
            key = table = _key(statement)
        elif "=" not in statement:
            continue
        else:
            key = table + _key(statement[: statement.index("=")])
        for length in range(1, len(key) + 1):
            yield key[:length], line


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each table header and assignment as its tokens, with the line it begins on."""
    statement: list[str] = []
    begun = line = 1
    depth = 0
    for found in tomlscan.TOKEN.finditer(text):
        token = found[0]
        if found.lastgroup != "gap":
            begun = begun if statement else line
            statement.append(token)
            depth += (token in "[{") - (token in "]}")
        elif "\n" in token and depth == 0 and statement:
            yield begun, statement
            statement = []
        line += token.count("\n")
    if statement:
        yield begun, statement


def _key(tokens: list[str]) -> KeyPath:
    return tuple(_part(t) for t in tokens if t not in ("[", "]", "."))


def _part(token: str) -> str:
    if token.startswith('"') and "\\" in token:
        return str(tomli.loads(f"key = {token}")["key"])
    return token.strip("\"'")
