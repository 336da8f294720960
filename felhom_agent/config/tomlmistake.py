"""What is probably wrong with a text that is no TOML, for whoever wrote it.

A parser says where it gave up ("Invalid value"); an operator wants to know what to write instead.
So the line is looked at for what people do: text without quotes, `:` for `=`, another format, a
quote that is never closed. It is a guess, made after the parser has refused the text, and decides
nothing.

A line is shown only if it is a table's name or a setting whose name and content are none of a
secret; every other line may be the middle of one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from felhom_agent.config import tomlscan
from felhom_agent.config.secretwords import may_be_secret
from felhom_agent.printable import printable

MAX_SHOWN: Final = 80
"""How many characters of a line are shown."""

# How many characters of a line, lines above it, and characters of a text are looked at: a guess
# must cost little, whatever the text.
_MAX_LINE: Final = 500
_MAX_LINES: Final = 10_000
_HEAD: Final = 20_000

_KEY: Final = r"""(?:[\w.-]++|"[^"]*+"|'[^']*+')++"""
_SETTING: Final = re.compile(rf"\s*(?P<key>{_KEY})\s*(?P<sep>==|=>|:=|[=:;]|\s)\s*(?P<value>.*)")
_HEADER: Final = re.compile(r"\s*\[\[?[\w. \"'-]*\]?\]?\s*(?:#.*)?")
_QUOTED: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|\'[^\']*+\'')
_ODD: Final = "\u00a0\u2007\u202f\u200b\u200e\u200f\ufeff\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb\uff1d\uff1a`\u00b4"  # noqa: E501
_QUOTES: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb`\u00b4"
_WORDS: Final = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false",
                 "off": "false"}  # fmt: skip
_NOTHING: Final = frozenset({"none", "null", "nil", "undefined", "~"})
_DATE: Final = re.compile(r"\d{1,4}[-./:]\d{1,2}(?:[-./:]\d{1,4})?(?:[T ]\d.*)?")
_UNIT: Final = re.compile(r"[+-]?\d[\d_]*(?:\.\d+)?\s*(?:[A-Za-z%]{1,3}|_)")
_YAML: Final = re.compile(r"(?m)^[ \t]*[\w\"'-]+:(?:\s|$)")
_TOML: Final = re.compile(r"(?m)^[ \t]*+(?:\[|[^\s:#]++[ \t]*+=)")


@dataclass(frozen=True)
class Mistake:
    """What is wrong, in words, and the line, counted from 1, where it is."""

    line: int
    text: str


def mistake(text: str, line: int, column: int, reason: str) -> Mistake:
    """Given a text that is no TOML, where the parser gave up (0, 0: at its end) and its reason,
    return what is probably wrong.
    """
    if other := _other_format(text):
        return Mistake(1, other)
    lines = [raw[:_MAX_LINE] for raw in text.split("\n")]
    if "twice" in reason or "overwrite" in reason or reason.startswith("Duplicate"):
        line = line or _last_line(lines)
        return Mistake(line, _twice(lines, line))
    if not line or "Unclosed" in reason or "Unterminated" in reason:
        begun, words = _unclosed(text)
        if begun:
            shown = _shown(lines, begun, 0)
            return Mistake(begun, f"{words}{shown}")
    line = line or _last_line(lines)
    if not lines[line - 1].strip():
        return Mistake(line, _plain(reason))
    return Mistake(line, f"{_of_line(lines, line, reason)}{_shown(lines, line, column)}")


def _other_format(text: str) -> str:
    """Return that a text is of another format altogether; empty if it seems to be meant as TOML."""
    start = text.lstrip()
    if start.startswith("{"):
        return "it is JSON; write it as TOML: [table], then key = value, one a line"
    if start.startswith("<"):
        return "it is XML or HTML; write it as TOML: [table], then key = value, one a line"
    head = text[:_HEAD]
    if not _TOML.search(head) and (start.startswith("---") or len(_YAML.findall(head)) > 1):
        return "it is YAML; write it as TOML: [table], then key = value, one a line"
    return ""


def _last_line(lines: list[str]) -> int:
    """Return the number of the last line that says something."""
    return next((n for n in range(len(lines), 0, -1) if lines[n - 1].strip()), 1)


def _twice(lines: list[str], line: int) -> str:
    """Return what stands twice, and where it stood first."""
    raw = lines[line - 1].strip()
    if raw.startswith("["):
        name = raw.partition("]")[0].strip("[ ")
        first = _first(lines, line, lambda other: other.partition("]")[0].strip("[ ") == name
                       and other.startswith("["), within=False)  # fmt: skip
        what = f"[{printable(name, MAX_SHOWN)}]" if _HEADER.fullmatch(raw) else "a table"
    else:
        found = _SETTING.match(raw)
        name = found["key"] if found else ""
        first = _first(lines, line, lambda other: bool(name) and _named(other) == name, within=True)
        what = f'"{printable(name, MAX_SHOWN)}"' if name else "a key"
    if _within_secret(lines, line):
        what = "a name"
    where = f", first in line {first}" if first else ""
    return f"{what} stands twice{where}; keep one of them"


def _named(raw: str) -> str:
    found = _SETTING.match(raw)
    return found["key"] if found else ""


def _first(lines: list[str], line: int, is_it: Callable[[str], bool], *, within: bool) -> int:
    """Return the number of the line above that is it, in the same table if `within`; else 0."""
    found = 0
    for number in range(line - 1, max(0, line - _MAX_LINES), -1):
        raw = lines[number - 1].strip()
        if is_it(raw):
            found = number
        if within and raw.startswith("["):
            break
    return found


def _unclosed(text: str) -> tuple[int, str]:
    """Return the line in which a quote or bracket opens that is never closed, and the words."""
    opened: list[tuple[str, int]] = []
    line = 1
    for found in tomlscan.TOKEN.finditer(text):
        token = found[0]
        for quotes in ('"""', "'''"):
            if token.startswith(quotes) and not (len(token) >= 6 and token.endswith(quotes)):
                return line, f"the text that begins with {quotes} here is never closed"
        if token[0] in "\"'" and (len(token) < 2 or token[-1] != token[0]):
            return line, f"the quote {token[0]} that opens here is not closed on its line"
        if found.lastgroup == "mark" and token in "[{":
            opened.append((token, line))
        elif found.lastgroup == "mark" and token in "]}" and opened:
            opened.pop()
        line += token.count("\n")
    if not opened:
        return 0, ""
    bracket, begun = opened[0]
    closing = "]" if bracket == "[" else "}"
    if text.split("\n")[begun - 1].lstrip().startswith("["):
        return begun, "the ] after the table's name is missing"
    return begun, f"the {bracket} that opens here has no {closing}, or a comma is missing after it"


def _of_line(lines: list[str], line: int, reason: str) -> str:
    """Return what is probably wrong with a line."""
    raw = lines[line - 1]
    bare = _QUOTED.sub('""', raw)
    if odd := next((c for c in bare.partition("#")[0] if c in _ODD), ""):
        return _odd(odd)
    if control := next((c for c in raw if unicodedata.category(c) == "Cc" and c != "\t"), ""):
        return f"it has the control character U+{ord(control):04X}; take it out"
    text = raw.strip()
    if text.startswith("["):
        return _of_header(text)
    if text.startswith(("//", ";", "/*", "--", "%", "rem ")):
        return "a comment begins with #"
    if text.startswith("- "):
        return 'a list is written with brackets: tags = ["a", "b"]'
    found = _SETTING.match(raw)
    if found is None:
        return "the name before the = is missing" if text.startswith("=") else (
            'it has no "=": write key = value' if "=" not in text else _plain(reason)
        )  # fmt: skip
    within = _within_secret(lines, line)
    key = "key" if within or (found["sep"].isspace() and _hides(raw)) else found["key"]
    hidden = within or _hides(raw)
    return _of_setting(
        printable(key, MAX_SHOWN), found["sep"], found["value"].strip(), hidden, reason
    )


def _odd(character: str) -> str:
    name = unicodedata.name(character, "an invisible character").lower()
    instead = 'plain quotes, "' if character in _QUOTES else "a plain blank"
    instead = {"\uff1d": "a plain =", "\uff1a": "a plain ="}.get(character, instead)
    return (
        f"it has a character of a word processor, {name} (U+{ord(character):04X}); type {instead}"
    )


def _of_header(text: str) -> str:
    name = text.partition("#")[0].strip()
    if ("]]" if name.startswith("[[") else "]") not in name:
        return "the ] after the table's name is missing"
    inside = name.strip("[]").partition("]")[0].strip()
    if not inside or inside.startswith(".") or inside.endswith(".") or ".." in inside:
        return "a part of the table's name is missing"
    if re.fullmatch(r"\[\[?[^\]]*\]\]?", name) is None:
        return "nothing may follow a table's name; begin a new line"
    return "a table's name with blanks or signs needs quotes"


def _of_setting(key: str, sep: str, value: str, hidden: bool, reason: str) -> str:
    """Return what is probably wrong with a line that has a key, something, and a value."""
    value = value if value.startswith(('"', "'")) else value.partition(" #")[0].strip()
    if sep.isspace() and re.match(rf"{_KEY}\s*=", value):
        return "a name with a blank in it needs quotes; or the line has one word too many"
    if sep != "=":
        named = '"="' if sep.isspace() else f'"=" in place of "{sep}"'
        if not value:
            return f"it has no value: write {key} = value"
        mended = "..." if hidden else _mended(value)
        missing = "there is no" if sep.isspace() else "write"
        return f"{missing} {named}: {key} = {mended}"
    if key.startswith(".") or key.endswith(".") or ".." in key:
        return "a part of the name before the = is missing"
    return _of_value(key, value, hidden, reason)


def _mended(value: str) -> str:
    """Return a value as TOML would have it, as far as that can be guessed."""
    value = value.rstrip(";,")
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    plain = re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?|\[.*\]|\{.*\}", value) or value[:1] in "\"'"
    return printable(value, MAX_SHOWN) if plain else f'"{printable(value, MAX_SHOWN)}"'


def _of_value(key: str, value: str, hidden: bool, reason: str) -> str:
    """Return what is probably wrong with a setting's value."""
    if not value:
        return f"there is no value after {key} ="
    if value[0] in "\"'":
        return _of_quoted(value, reason)
    bare = value.rstrip(";, ")
    if bare.lower() in _WORDS:
        word = _WORDS[bare.lower()]
        if bare == word:
            return f"nothing may follow the value: {key} = {word}"
        return f"yes and no are true and false, in small letters: {key} = {word}"
    if bare.lower() in _NOTHING:
        return f"TOML has no empty value; leave {key} out"
    if value[0] in "[{":
        return _of_brackets(bare, key, hidden)
    if other := re.search(rf"\s({_KEY})\s*=", value):
        name = "the other" if hidden else printable(other[1], MAX_SHOWN)
        return f"a line has one setting; begin a new line for {name}"
    if value.startswith("="):
        return f"there is one = too many: {key} = value"
    if words := _of_number(key, bare, value, hidden):
        return words
    noun = "a date or time" if _DATE.fullmatch(bare) else "text"
    bare = "..." if hidden else printable(bare, MAX_SHOWN)
    bare = bare.replace('"', "").replace("'", "")
    return f'{noun} needs quotes: {key} = "{bare}"'


def _of_number(key: str, bare: str, value: str, hidden: bool) -> str:
    """Return what is wrong with what looks like a number; empty if it does not."""
    mended = ""
    if re.fullmatch(r"[+-]?0\d+", bare):
        mended, words = bare.lstrip("+0") or "0", "a number has no zero in front"
    elif re.fullmatch(r"\.\d+|\d+\.", bare):
        mended, words = (
            f"0{bare}" if bare[0] == "." else f"{bare}0",
            "a number has digits around its point",
        )
    elif re.fullmatch(r"\d+,\d+", bare):
        mended, words = bare.replace(",", "."), "a number has a point, not a comma"
    elif re.fullmatch(r"-?\d+(?:\.\d+)?", bare) and bare != value:
        mended, words = bare, "nothing may follow the value"
    if not mended and _UNIT.fullmatch(bare):
        mended, words = _mended(bare), "a number has digits alone, and no unit; a text needs quotes"
    if not mended:
        return ""
    return f"{words}: {key} = {'...' if hidden else printable(mended, MAX_SHOWN)}"


def _of_quoted(value: str, reason: str) -> str:
    whole = _QUOTED.match(value)
    if whole is None:
        return f"the quote {value[0]} that opens here is not closed on its line"
    rest = value[whole.end() :].strip()
    if not rest or "\\" in reason or "hex" in reason or "scalar" in reason:
        return "a backslash in \"...\" begins an escape; write it twice, or use '...'"
    if rest in (";", ","):
        return f'nothing may follow the value; take the "{rest}" away'
    return 'nothing may follow the closing quote; a quote within a text is written \\"'


def _of_brackets(value: str, key: str, hidden: bool) -> str:
    if value[0] == "[":
        words = re.split(r"[,;\s]+", value.strip("[] \t,;\"'"))
        plain = (
            not hidden and len(words) < 10 and all(re.fullmatch(r"[\w.:/+-]+", w) for w in words)
        )
        listed = ", ".join(map(_mended, words)) if plain else '"a", "b"'
        return f"a list is written with commas, and its texts with quotes: {key} = [{listed}]"
    return f'a table in a line is written with = and commas: {key} = {{ a = 1, b = "c" }}'


def _plain(reason: str) -> str:
    """Return a parser's reason, where nothing better is known."""
    return printable(reason[:1].lower() + reason[1:], 200)


def _hides(raw: str) -> bool:
    """Return whether a line may hold a secret, or the middle of one."""
    return may_be_secret(raw) or not (_SETTING.match(raw) or _HEADER.fullmatch(raw))


def _shown(lines: list[str], line: int, column: int) -> str:
    """Return a line as it is shown behind what is wrong with it, with a caret at the column."""
    raw = lines[line - 1]
    if _hides(raw) or _within_secret(lines, line):
        return ""
    at = column - 1 if 0 < column <= len(raw) + 1 else -1
    marked = raw if at < 0 else f"{raw[:at]}^{raw[at:]}"
    start = max(0, at - MAX_SHOWN // 2)
    lead = "..." if start else ""
    text = printable(lead + marked[start:].strip(), MAX_SHOWN)
    return f" (the line: {text})" if at < 0 else f" (at the ^: {text})"


def _within_secret(lines: list[str], line: int) -> bool:
    """Return whether a setting above, in the same table, may be a secret that goes on here."""
    for number in range(line - 1, max(0, line - _MAX_LINES), -1):
        raw = lines[number - 1]
        if _HEADER.fullmatch(raw) and raw.strip():
            return False
        found = _SETTING.match(raw)
        if found and found["sep"] == "=":
            rest = _QUOTED.sub("", found["value"])
            open_ended = re.search(r"[\"'\[{]", rest) or '""' in found["value"]
            if open_ended and may_be_secret(raw):
                return True
    return False
