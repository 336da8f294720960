"""What a set of signers says of itself: which version it is, and when it ends (`set.toml`).

    version = 3
    expires = "20270101"     # UTC: YYYYMMDD or YYYYMMDDHHMMSS; without it the set does not end

Without the file it is version 1, and does not end. A wrong word makes the whole set count for
nothing, as a wrong line of its lists does: a version that is misread would bring an old set back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from felhom_agent.authz.canonical import is_integer
from felhom_agent.authz.hostblob import MAX_VERSION
from felhom_agent.config import tomlfile
from felhom_agent.errors import ConfigError
from felhom_agent.model import Problem
from felhom_agent.printable import printable

SET: Final = "set.toml"
FIRST_VERSION: Final = 1
_FORMS: Final = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True)
class SetFile:
    """The version of a set, and when it ends (seconds since the epoch; None: never)."""

    version: int = FIRST_VERSION
    expires: float | None = None


def parse_set(text: str, path: Path) -> tuple[SetFile, tuple[Problem, ...]]:
    """Given the file's text and its path, return what it says, and all that is wrong with it."""
    try:
        file = tomlfile.parse(text, path)
    except ConfigError as error:
        return SetFile(), error.problems
    problems = [
        file.problem(f"unknown key {printable(key, 60)}; it may have version and expires", key)
        for key in file.data
        if key not in ("version", "expires")
    ]
    version, expires = file.data.get("version", FIRST_VERSION), None
    if not is_integer(version, FIRST_VERSION, MAX_VERSION):
        what = f"version: must be a whole number from {FIRST_VERSION} to {MAX_VERSION}"
        problems.append(file.problem(what, "version"))
        version = FIRST_VERSION
    try:
        expires = end_of(file.data.get("expires", ""))
    except ValueError as error:
        problems.append(file.problem(f"expires: {error}", "expires"))
    return SetFile(version, expires), tuple(problems)


def end_of(value: Any) -> float | None:
    """Given when a set ends, as a text (empty: never) or a date of TOML's, return it in seconds
    since the epoch; None for never. Raise ValueError in words.
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    if value == "":
        return None
    digits = value.removesuffix("Z") if isinstance(value, str) else ""
    try:
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError
        return datetime.strptime(digits, _FORMS[len(digits)]).replace(tzinfo=UTC).timestamp()
    except (ValueError, KeyError, OverflowError):
        raise ValueError("must be a time in UTC: YYYYMMDD or YYYYMMDDHHMMSS") from None


def set_text(version: int, expires: str = "") -> str:
    """Given a version, and when the set ends (empty: never), return the file's text."""
    return f"version = {version}\n" + (f'expires = "{expires}"\n' if expires else "")
