"""Property strings: several named values in one text, "virtio=BC:24:...,bridge=vmbr0,firewall=1".

PVE stores some of them as typed and re-prints others, so they can only be compared by their
parts. `PropertyString.parts` is that comparison: aliases resolved, each part by its own type,
and parts that say the same as their absence left out.

PVE: pve-common JSONSchema.pm parse_property_string, check_object, print_property_string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from felhom_agent.model import DeclaredValue
from felhom_agent.options.formats import UNDEFINED, Invalid
from felhom_agent.options.since import FIRST, Since
from felhom_agent.options.types import Boolean, OptionType, one, truth
from felhom_agent.printable import printable

_MISSING: Final = "property is missing and it is not optional"
_NO_PAIR: Final = "must be parts like key=value with commas between, and {} is none"

Parts = dict[str, Hashable]


@dataclass(frozen=True)
class Key:
    """One part of a property string.

    `default` is what PVE uses at run time where the part is missing, as wire text; `None` if
    nothing equals absence. An `owned` part is PVE's to fill in where it was not declared.
    `needs` names a part that this one cannot do without. A `lasting` part stays even where the
    option shall not be set. `made_once`: a fact of a volume, decided when it was made. `since` is
    when PVE came to know it, `None` where nobody knows; `words_since` has the words of a value that
    came later, without a sign before them.
    """

    type: OptionType
    default: str | None = None
    required: bool = False
    owned: bool = False
    needs: str = ""
    lasting: bool = False
    made_once: bool = False
    since: Since | None = FIRST
    words_since: Mapping[str, Since] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class PropertyString(OptionType):
    """A text of comma-separated `key=value` parts.

    `default_key` may be written without its name; `aliases` gives other names of keys.
    Where `key_aliases` (PVE's keyAlias) maps a word to `(outer, inner)`, `word=value` means
    `outer=word,inner=value`.
    `adjust` is given the meaning of the parts and returns it where one changes another;
    `verdict` raises `Invalid` for parts that do not go together; `rewrite` puts a declared text
    into the spelling that PVE wants. `dropped` are the parts that PVE once had: it reads them over
    in a guest's file and refuses them in a write. `path` is the option's own name, for messages.
    """

    keys: Mapping[str, Key] = field(hash=False)
    default_key: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    key_aliases: Mapping[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    adjust: Callable[[Parts], Parts] | None = None
    verdict: Callable[[Mapping[str, str]], None] | None = None
    rewrite: Callable[[str], str] | None = None
    longest: int = 0
    dropped: frozenset[str] = frozenset()
    path: str = ""

    def at(self, path: str) -> PropertyString:
        """Return this type as the one of the option called `path`."""
        return replace(self, path=path)

    def check(self, wire: str) -> None:
        parts = self.split(wire)
        errors = {key: text for key, text in self._errors(parts) if text}
        if errors:
            lines = "".join(f"{self.path}.{key}: {errors[key]}\n" for key in sorted(errors))
            raise Invalid(f"invalid format - format error\n{lines}")
        if self.verdict is not None:
            self.verdict(parts)
        if self.longest and len(wire) > self.longest:
            raise Invalid(f"value may only be {self.longest} characters long")

    def wire(self, value: DeclaredValue) -> str:
        scalar = one(value)
        if isinstance(scalar, str):
            return self.rewrite(scalar) if self.rewrite else scalar
        if not self.default_key:
            raise Invalid(
                "expected text of the form key=value,...",
                'must be text of the form "key=value,key=value"',
            )
        return self.keys[self.default_key].type.wire(scalar)

    def meaning(self, wire: str) -> Hashable:
        return frozenset(self.parts(wire).items())

    def parts(self, wire: str) -> Parts:
        """Given the text, return the meaning of each part that differs from its absence."""
        found = {key: self._meaning(key, text) for key, text in self.split(wire).items()}
        parts = self.adjust(found) if self.adjust else found
        return {key: value for key, value in parts.items() if not self._is_default(key, value)}

    def split(self, wire: str) -> dict[str, str]:
        """Given the text, return the text of each part, aliases resolved.

        Raise `Invalid` where PVE cannot take it apart. Unknown keys are kept.
        """
        parts: dict[str, str] = {}
        for part in wire.split(","):
            if part.strip():
                self._take(part, parts)
        return parts

    def unknown(self, wire: str) -> frozenset[str]:
        """Given the text, return the parts that this table does not know: a newer PVE's."""
        return frozenset(self.split(wire)) - frozenset(self.keys)

    def undeclared(self, wire: str, actual: str) -> dict[str, str]:
        """Given a declared text and PVE's, return PVE's parts that the declaration is silent about.

        They are those that PVE fills in and those that this table does not know.
        """
        present, named = self.split(actual), self.split(wire)
        pves = {key for key, spec in self.keys.items() if spec.owned} | (
            set(present) - set(self.keys)
        )
        return {key: text for key, text in present.items() if key in pves - set(named)}

    def same(self, desired: str, actual: str) -> bool:
        wanted, present = self.parts(desired), self.parts(actual)
        for key in self.undeclared(desired, actual):
            present.pop(key, None)
        return wanted == present

    def carried(self, wire: str, actual: str) -> str:
        """Given a declared text and PVE's, return the text to send that keeps all of PVE's.

        Of what PVE fills in, what means the same keeps PVE's letters, too: it compares the text of
        a MAC address, and plugs another card (PVE: qemu-server QemuServer.pm vmconfig_update_net,
        pve-container LXC.pm update_net). What cannot be read is not carried.
        """
        try:
            kept = self.undeclared(wire, actual) | self._respelled(wire, actual)
        except Invalid:
            return wire
        return self.print(self.split(wire) | kept) if kept else wire

    def _respelled(self, wire: str, actual: str) -> dict[str, str]:
        """Return the parts that PVE fills in and that say the same in other letters, in PVE's."""
        declared, present = self.split(wire), self.split(actual)
        return {
            key: present[key]
            for key, text in declared.items()
            if (spec := self.keys.get(key))
            and spec.owned
            and text != present.get(key, text)
            and self._meaning(key, text) == self._meaning(key, present[key])
        }

    def print(self, parts: Mapping[str, str]) -> str:
        """Given the text of each part, return them as one text in the order PVE prints them."""
        left = dict(parts)
        words = [self._lead(left)] if self.default_key in left else []
        required = {key for key, spec in self.keys.items() if spec.required}
        ordered = sorted(left, key=lambda key: (key not in required, key))
        return ",".join(words + [f"{key}={left[key]}" for key in ordered])

    def _lead(self, left: dict[str, str]) -> str:
        word = left.pop(self.default_key)
        inner = next((inner for _, inner in self.key_aliases.values()), "")
        return f"{word}={left.pop(inner)}" if inner in left else word

    def _take(self, part: str, parts: dict[str, str]) -> None:
        key, equals, value = part.partition("=")
        if equals and not (key and value):
            raise Invalid(
                "invalid format - missing key in comma-separated list property\n",
                _NO_PAIR.format(one_word(part)),
            )
        if not equals:
            if not self.default_key:
                raise Invalid(
                    "invalid format - value without key, but schema does not define a default"
                    " key\n",
                    _NO_PAIR.format(one_word(part)),
                )
            key, value = self.default_key, part
        elif carrier := self._key_alias(key, value):
            outer, inner = carrier
            if outer in parts:
                raise Invalid(
                    f"invalid format - key alias '{outer}' is already defined\n",
                    f"must name {outer} once, and does so twice",
                )
            parts[outer], key = key, inner
        self._put(self.aliases.get(key, key), value, parts)

    def _key_alias(self, word: str, value: str) -> tuple[str, str] | None:
        """Return (outer, inner) where `word=value` gives two parts; a newer PVE has more words."""
        if word in self.key_aliases or not self.key_aliases:
            return self.key_aliases.get(word)
        outer, inner = next(iter(self.key_aliases.values()))
        if word in self.keys or word in self.aliases:
            return None
        try:
            self.keys[inner].type.check(value)
        except Invalid:
            return None
        return outer, inner

    def _put(self, key: str, value: str, parts: dict[str, str]) -> None:
        if key in parts:
            raise Invalid(
                f"invalid format - duplicate key in comma-separated list property: {key}\n",
                f"must name {one_word(key)} once, and does so twice",
            )
        spec = self.keys.get(key)
        known = truth(value) if spec and isinstance(spec.type, Boolean) else None
        parts[key] = value if known is None else str(int(known))

    def _errors(self, parts: Mapping[str, str]) -> list[tuple[str, str]]:
        undefined = [(key, UNDEFINED) for key in parts if key not in self.keys]
        return undefined + [self._error(key, spec, parts) for key, spec in self.keys.items()]

    def _error(self, key: str, spec: Key, parts: Mapping[str, str]) -> tuple[str, str]:
        if key not in parts:
            return key, _MISSING if spec.required else ""
        if spec.needs and spec.needs not in parts:
            return spec.needs, f"missing property required by '{self.path}.{key}'"
        try:
            spec.type.check(parts[key])
        except Invalid as error:
            return key, str(error)
        return key, ""

    def _meaning(self, key: str, text: str) -> Hashable:
        spec = self.keys.get(key)
        try:
            return text if spec is None else spec.type.meaning(text)
        except Invalid:
            return text

    def _is_default(self, key: str, value: Hashable) -> bool:
        spec = self.keys.get(key)
        if spec is None or spec.default is None:
            return False
        return value == spec.type.meaning(spec.default)


def one_word(text: str) -> str:
    """Given a piece of a declared text, return it in quotes, as far as it can be seen."""
    return f'"{printable(text, 60)}"'


def spelled(pattern: str, spell: Callable[[str], str]) -> Callable[[str], str]:
    """Return a rewrite that spells what matches `pattern` again."""
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(lambda match: spell(match[0]), text)
