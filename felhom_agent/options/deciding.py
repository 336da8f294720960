"""By which rules two texts of an option that compare as equal are so, though they are spelled
otherwise.

`rules` says all that counts for an option; here is said what made the difference of one pair
vanish. For people: `felhom-agent explain` asks, nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from felhom_agent.options.formats import Invalid, split_list
from felhom_agent.options.propstring import Key, PropertyString
from felhom_agent.options.rules import (
    NEWER_PARTS,
    PARTS,
    PROPERTY_STRING,
    RESERVED,
    TAGS,
    Rule,
    filled_in,
    in_kind,
    new_volume,
    of_type,
    rules_of,
)
from felhom_agent.options.special import Tags, is_reserved
from felhom_agent.options.table import Option

SAME = Rule("the two are the same text", "felhom-agent")


def deciding(kind: str, option: Option, declared: str, actual: str) -> tuple[Rule, ...]:
    """Given a guest's kind, an option and two texts of it that are equal (the declared one as it
    would be sent), return the rules that make them so.
    """
    if declared == actual:
        return (SAME,)
    try:
        found = tuple(dict.fromkeys(_deciding(option, declared, actual)))
    except Invalid:
        found = ()
    first = next((rule for rule in rules_of(kind, option) if rule.compares), SAME)
    return tuple(in_kind(kind, rule) for rule in found) or (first,)


def _deciding(option: Option, declared: str, actual: str) -> Iterator[Rule]:
    if isinstance(option.type, PropertyString):
        yield from _spelling(option.type, declared, actual)
        yield from _of_parts(option.type, declared, actual)
    elif isinstance(option.type, Tags):
        yield from _of_tags(option.type, split_list(declared), split_list(actual))
    else:
        yield from of_type(option.type)


def _of_tags(kind: Tags, declared: list[str], actual: list[str]) -> Iterator[Rule]:
    if any(map(is_reserved, {*declared} ^ {*actual})):
        yield RESERVED
    ours, theirs = ([t for t in tags if not is_reserved(t)] for tags in (declared, actual))
    if {*ours} != {*theirs}:
        yield TAGS
    if [t.lower() for t in ours] != [t.lower() for t in theirs]:
        yield from of_type(kind)


def _spelling(kind: PropertyString, declared: str, actual: str) -> Iterator[Rule]:
    """Yield what counts of how parts are named and ordered."""
    one, two = _names(declared), _names(actual)
    if (one[:1] == [""]) != (two[:1] == [""]):
        yield Rule(f"a first part without a name is {kind.default_key}", PROPERTY_STRING)
    for word in sorted({*one} ^ {*two}):
        if word in kind.aliases:
            yield Rule(f"{word} is another name of {kind.aliases[word]}", PROPERTY_STRING)
        elif word in kind.key_aliases:
            outer, inner = kind.key_aliases[word]
            yield Rule(f"{word}=... is {outer}={word},{inner}=...", f"{PROPERTY_STRING} keyAlias")
    first, second = kind.split(declared), kind.split(actual)
    if [k for k in first if k in second] != [k for k in second if k in first]:
        yield PARTS


def _of_parts(kind: PropertyString, declared: str, actual: str) -> Iterator[Rule]:
    """Yield what counts of the parts that differ as texts."""
    first, second = kind.split(declared), kind.split(actual)
    raw = _raw(kind, declared), _raw(kind, actual)
    for key in sorted({*first, *second}):
        spec = kind.keys.get(key)
        if key in first and key in second:
            spelled = [texts[key] for texts in raw if key in texts]
            if spec is not None and (first[key] != second[key] or len({*spelled}) > 1):
                yield from _of_part(kind, key, spec)
        elif spec is None:
            yield NEWER_PARTS
        elif spec.owned and key not in first:
            yield filled_in(key)
        elif spec.default is not None:
            yield Rule(f"{key}={spec.default} is as good as no {key}", PROPERTY_STRING)


def _of_part(kind: PropertyString, key: str, spec: Key) -> Iterator[Rule]:
    if key == kind.default_key and key in {"file", "volume"}:
        yield new_volume(kind)
    else:
        yield from (replace(rule, text=f"{key}: {rule.text}") for rule in of_type(spec.type))


def _names(text: str) -> list[str]:
    """Return the names of the parts as they are written; empty for one without a name."""
    return [part.partition("=")[0] if "=" in part else "" for part in text.split(",") if part]


def _raw(kind: PropertyString, text: str) -> Mapping[str, str]:
    """Return the parts that are written with their names, or without, as they are written."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name, value = (name, value) if equals else (kind.default_key, part)
        if name not in kind.key_aliases:
            found[kind.aliases.get(name, name)] = value
    return found
