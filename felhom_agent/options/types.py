"""The types of option values: what PVE accepts, what it means, and how it goes on the wire.

An option's value has three forms: as *declared* (TOML), on the *wire* (the text of a form body)
and as *read back* (what GET answers, as text). A type promises:

* `check` raises `Invalid` exactly where PVE's PUT would answer 400, in PVE's words;
* `wire` turns a declared value into wire text, and never guesses: a list where one value
  belongs, or a boolean where text belongs, raises `Invalid`;
* `meaning` maps wire or read-back text to a value that is equal for equal meanings. It is
  tolerant (people edit configuration files by hand) and raises only on what cannot be read.

All types are frozen values without state. Those made of named parts are in `propstring`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from felhom_agent.model import DeclaredValue, Scalar
from felhom_agent.options.formats import Format, Invalid, split_list

# PVE: pve-common JSONSchema.pm parse_boolean
_TRUE: Final = frozenset({"1", "on", "yes", "true"})
_FALSE: Final = frozenset({"0", "off", "no", "false"})
_PLAIN: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PLAIN_DIGITS: Final = 30
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.[0-9]+|[0-9]+\.|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_DIGITS: Final = 60
"""How many characters a number may have before it is taken for no number at all."""
_MAX_EXPONENT: Final = 400
"""From here on PVE's own numbers are infinite, or zero."""
_ONE_EACH: Final = (
    "must have one word in each element of its list: one is empty, or holds what divides words"
)


class OptionType:
    """What every type of value can do.

    A plain class: a Protocol would make each `isinstance` many times as dear.
    """

    def check(self, wire: str) -> None:
        """Given wire text, raise `Invalid` where PVE would refuse it."""
        raise NotImplementedError

    def wire(self, value: DeclaredValue) -> str:
        """Given a declared value, return its wire text. Raise `Invalid` if it makes no sense."""
        raise NotImplementedError

    def meaning(self, wire: str) -> Hashable:
        """Given wire or read-back text, return its meaning. Raise `Invalid` if there is none."""
        raise NotImplementedError

    def same(self, desired: str, actual: str) -> bool:
        """Return whether PVE, given `desired`, would answer with the like of `actual`."""
        return self.meaning(desired) == self.meaning(actual)

    def carried(self, wire: str, actual: str) -> str:
        """Given a declared text and PVE's, return the text to send that keeps all of PVE's."""
        del actual
        return wire


def truth(text: str) -> bool | None:
    """Given a boolean in any of PVE's spellings, return it; `None` if it is none."""
    word = text.lower()
    return True if word in _TRUE else False if word in _FALSE else None


def plain(text: str) -> str:
    """Given a number, return it in digits, without exponent and without a needless sign; as it is
    if those would be too many.
    """
    mantissa, _, exponent = text.lower().partition("e")
    if (
        len(mantissa) > _PLAIN_DIGITS
        or len(exponent) > 3
        or abs(int(exponent or 0)) > _PLAIN_DIGITS
    ):
        return text
    value = Decimal(text)
    return f"{value:f}" if value else "0"


def scalar_text(value: Scalar) -> str:
    """Given one declared scalar that is no boolean, return its text.

    Raise `Invalid` for a boolean: PVE has no text that means it outside its boolean options.
    """
    if isinstance(value, bool):
        word = str(value).lower()
        raise Invalid(
            f"expected text or a number, not {word}", f"must be text or a number, not {word}"
        )
    return value if isinstance(value, str) else repr(value)


def one(value: DeclaredValue) -> Scalar:
    """Given a declared value, return it if it is no list. Raise `Invalid` if it is one."""
    if isinstance(value, tuple):
        raise Invalid("expected one value, not a list", "must be one value, not a list")
    return value


def joined(values: Iterable[Scalar], separator: str, forbidden: str) -> str:
    """Given the elements of a list, return them as one text.

    Raise `Invalid` if an element matches `forbidden`: it would become several elements.
    """
    words = [scalar_text(value) for value in values]
    for word in words:
        if not word or re.search(forbidden, word):
            raise Invalid(f"{word!r} cannot be one element of a list", _ONE_EACH)
    return separator.join(words)


@dataclass(frozen=True)
class Boolean(OptionType):
    """0 or 1; nothing else is taken on the wire."""

    def check(self, wire: str) -> None:
        # recorded: 10-qemu-roundtrip/051
        if wire not in {"0", "1"}:
            raise Invalid(f"type check ('boolean') failed - got '{wire}'")

    def wire(self, value: DeclaredValue) -> str:
        scalar = one(value)
        return str(int(scalar)) if isinstance(scalar, bool) else scalar_text(scalar)

    def meaning(self, wire: str) -> Hashable:
        value = truth(wire.strip())
        if value is None:
            raise Invalid(f"type check ('boolean') failed - got '{wire}'")
        return value


@dataclass(frozen=True)
class Number(OptionType):
    """A number; `integer` leaves no decimals, and the bounds are inclusive."""

    minimum: int | None = None
    maximum: int | None = None
    integer: bool = False

    def check(self, wire: str) -> None:
        value = self._parse(wire)
        if value.is_infinite() and self.maximum is None:
            raise Invalid("value is too large", "must be a smaller number")
        if self.maximum is not None and value > self.maximum:
            raise Invalid(f"value must have a maximum value of {self.maximum}")
        if self.minimum is not None and value < self.minimum:
            raise Invalid(f"value must have a minimum value of {self.minimum}")

    def wire(self, value: DeclaredValue) -> str:
        text = scalar_text(one(value))
        # PVE: qemu-server QemuServer.pm check_type: `.5`, `+2` and `1e2` pass the schema, and die
        # when they are stored (recorded: 9.2 202/249-310)
        accepted = (_INTEGER if self.integer else _NUMBER).fullmatch(text)
        return plain(text) if accepted and not _PLAIN.fullmatch(text) else text

    def meaning(self, wire: str) -> Hashable:
        return self._parse(wire.strip())

    def _parse(self, text: str) -> Decimal:
        if (_INTEGER if self.integer else _NUMBER).fullmatch(text) is None:
            kind = "integer" if self.integer else "number"
            raise Invalid(f"type check ('{kind}') failed - got '{text}'")
        if len(text) > _MAX_DIGITS:
            raise Invalid(
                f"value has more than {_MAX_DIGITS} characters, too many for a number",
                f"must be a number of at most {_MAX_DIGITS} characters",
            )
        mantissa, _, exponent = text.lower().partition("e")
        if abs(int(exponent or "0")) <= _MAX_EXPONENT:
            return Decimal(text)
        if not Decimal(mantissa) or int(exponent) < 0:
            return Decimal(0)
        return Decimal("Infinity").copy_sign(Decimal(mantissa))


def integer(minimum: int | None = None, maximum: int | None = None) -> Number:
    """Return the type of whole numbers between two bounds."""
    return Number(minimum, maximum, integer=True)


@dataclass(frozen=True)
class Choice(OptionType):
    """One word of a fixed list; case counts."""

    values: tuple[str, ...]

    def check(self, wire: str) -> None:
        if wire not in self.values:
            words = ", ".join(self.values)
            raise Invalid(f"value '{wire}' does not have a value in the enumeration '{words}'")

    def wire(self, value: DeclaredValue) -> str:
        return scalar_text(one(value))

    def meaning(self, wire: str) -> Hashable:
        return wire


def choice(words: str) -> Choice:
    """Given the words of an enumeration in PVE's order, blanks between, return its type."""
    return Choice(tuple(words.split()))


@dataclass(frozen=True)
class Text(OptionType):
    """Free text: of a named format, matching a pattern, not longer than `longest` characters.

    `fold` is true where upper and lower case mean the same. `words` say what matches `pattern`.
    """

    format: Format | None = None
    pattern: str = ""
    longest: int = 0
    fold: bool = False
    words: str = ""

    def check(self, wire: str) -> None:
        # PVE checks in this order: JSONSchema.pm check_prop
        if self.format is not None:
            try:
                self.format(wire)
            except Invalid as error:
                raise Invalid(f"invalid format - {error}") from None
        if self.pattern and re.fullmatch(self.pattern, wire, re.ASCII) is None:
            raise Invalid("value does not match the regex pattern")
        if self.longest and len(wire) > self.longest:
            raise Invalid(f"value may only be {self.longest} characters long")

    def wire(self, value: DeclaredValue) -> str:
        return scalar_text(one(value))

    def meaning(self, wire: str) -> Hashable:
        # PVE: parse_vm_config, parse_pct_config cut white space around a value; recorded:
        # 10-qemu-roundtrip/159: an empty value reads back as one blank
        text = wire.strip()
        return text.lower() if self.fold else text


@dataclass(frozen=True)
class Words(OptionType):
    """A list of words, any of PVE's separators between them.

    `separator` joins a declared list; each word is of `format`, the whole matches `pattern`.
    Order counts unless `unordered`; `fold` lower-cases. `words` say what matches `pattern`.
    """

    separator: str
    format: Format | None = None
    pattern: str = ""
    unordered: bool = False
    fold: bool = False
    words: str = ""

    def check(self, wire: str) -> None:
        Text(pattern=self.pattern).check(wire)
        for word in split_list(wire):
            Text(self.format).check(word)

    def wire(self, value: DeclaredValue) -> str:
        if isinstance(value, tuple):
            return joined(value, self.separator, r"[,;\s\0]")
        return scalar_text(value)

    def meaning(self, wire: str) -> Hashable:
        words = [word.lower() if self.fold else word for word in split_list(wire)]
        return frozenset(words) if self.unordered else tuple(words)


@dataclass(frozen=True)
class NumberSet(OptionType):
    """A set of numbers written as ranges ("0-3,8"), `separator` between them.

    With a `pattern` PVE looks at the shape alone, and does not ask whether a range has an end.
    """

    separator: str = ","
    refusal: str = "invalid format - unable to parse cpuset option\n"
    pattern: str = ""

    def check(self, wire: str) -> None:
        if self.pattern:
            Text(pattern=self.pattern).check(wire)
        else:
            self._parse(wire)

    def wire(self, value: DeclaredValue) -> str:
        values = value if isinstance(value, tuple) else (value,)
        return self.separator.join(scalar_text(item) for item in values)

    def meaning(self, wire: str) -> Hashable:
        return self._parse(wire)

    def _parse(self, text: str) -> tuple[tuple[int, int], ...]:
        """Return the set as sorted ranges that neither overlap nor touch."""
        ranges: list[tuple[int, int]] = []
        # PVE: pve-common CpuSet.pm parse_cpuset: Perl's split forgets empty parts at the end alone
        whole = text.rstrip(self.separator)
        parts = whole.split(self.separator) if whole else []
        for low, high in sorted(map(self._range, parts)):
            if ranges and low <= ranges[-1][1] + 1:
                low, high = ranges[-1][0], max(high, ranges.pop()[1])
            ranges.append((low, high))
        return tuple(ranges)

    def _range(self, part: str) -> tuple[int, int]:
        match = re.fullmatch(r"\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise Invalid(self.refusal)
        return int(match[1]), int(match[2] or match[1])
