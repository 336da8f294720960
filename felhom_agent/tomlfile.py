"""TOML files that remember where each key stands.

An operator who made a mistake needs the line, and TOML readers forget it. A `TomlFile` is read
with tomli, which alone decides what the file means; beside it a scan over the same text notes the
line of every table header and key. The scan trusts the text to be valid TOML, since tomli has
accepted it by then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tomli

from felhom_agent.errors import ConfigError
from felhom_agent.model import Place, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KeyPath = tuple[str, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=.,\n]"
    r"|[^\s\[\]{}=.,\"'#]+",
    re.DOTALL,
)
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


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
        """Given what is wrong with a key, return it with its place."""
        return Problem(self.place(*keys), text)


def read(path: Path) -> TomlFile:
    """Given a path, return its parsed file. Raise ConfigError if it cannot be read or parsed."""
    try:
        text = path.read_bytes().decode("utf-8")
    except PermissionError:
        # The directory's group is the service's, so that a file need not be open to everybody.
        text = "cannot be read: Permission denied; give it the group of its directory, and mode 640"
        raise _refuse(path, 0, text) from None
    except OSError as error:
        raise _refuse(path, 0, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _refuse(path, line, "is not UTF-8 text") from None
    return parse(text, path)


def parse(text: str, path: Path) -> TomlFile:
    """Given a file's text and path, return its content. Raise ConfigError on a syntax error."""
    try:
        data = tomli.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: an endless number or nesting ends in one of Python's own.
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        said = _AT_LINE.sub("", str(error))
        raise _refuse(path, line, f"is not valid TOML: {said}") from None
    lines: dict[KeyPath, int] = {}
    for keys, line in _locate(text.replace("\r\n", "\n")):
        # A table may be named again by those inside it; where it was first named is where it is.
        lines.setdefault(keys, line)
    return TomlFile(str(path), data, lines)


def _refuse(path: Path, line: int, text: str) -> ConfigError:
    return ConfigError((Problem(Place(str(path), line), text),))


def _locate(text: str) -> Iterator[tuple[KeyPath, int]]:
    table: KeyPath = ()
    for line, statement in _statements(text):
        if statement[0] == "[":
            key = table = _key(statement)
        else:
            key = table + _key(statement[: statement.index("=")])
        for length in range(1, len(key) + 1):
            yield key[:length], line


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each table header and assignment as its tokens, with the line it begins on."""
    statement: list[str] = []
    begun = line = 1
    depth = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == "\n" and depth == 0 and statement:
            yield begun, statement
            statement = []
        elif token != "\n" and not token.startswith("#"):
            begun = begun if statement else line
            statement.append(token)
            depth += (token in "[{") - (token in "]}")
        line += token.count("\n")
    if statement:
        yield begun, statement


def _key(tokens: list[str]) -> KeyPath:
    return tuple(t.strip("\"'") for t in tokens if t not in ("[", "]", "."))
