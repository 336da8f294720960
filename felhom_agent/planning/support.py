"""Whether the node's PVE knows what would be sent: options and parts of them come with versions.

The package that brings an option decides where its version on the node is known, else the release
of PVE that first had it. A part that the node itself answered with is known to it.
"""

from __future__ import annotations

from felhom_agent.model import Facts
from felhom_agent.options import Invalid, Option, PropertyString
from felhom_agent.options.formats import split_list
from felhom_agent.options.since import Since, numbers


def unsupported(option: Option, key: str, wire: str, actual: str, facts: Facts) -> str:
    """Given a text to send and the present one, return why this node's PVE cannot take it yet.

    Empty if it can, or if nobody knows. `actual` is empty where the key is not set.
    """
    if actual:
        return _unsupported_part(option, key, wire, actual, facts)
    return _lacks(option.since, facts) or _unsupported_part(option, key, wire, "", facts)


def _unsupported_part(option: Option, key: str, wire: str, actual: str, facts: Facts) -> str:
    kind = option.type
    if not isinstance(kind, PropertyString):
        return ""
    for part in sorted(_parts(kind, wire) - _parts(kind, actual)):
        spec = kind.keys.get(part)
        if spec and (why := _lacks(spec.since, facts)):
            return f"{key}.{part} {why}"
    return _unsupported_word(kind, key, wire, actual, facts)


def _unsupported_word(kind: PropertyString, key: str, wire: str, actual: str, facts: Facts) -> str:
    """Return which word of a value the node cannot take yet: a CPU model, or a flag of it."""
    for part, spec in kind.keys.items():
        new = _words(kind, part, wire) - _words(kind, part, actual)
        for word in sorted(new):
            if why := _lacks(spec.words_since.get(word), facts):
                return f"{key}.{part}: {word} {why}"
    return ""


def _words(kind: PropertyString, part: str, text: str) -> set[str]:
    """Return the words of a part, without the sign before them."""
    try:
        return {word.lstrip("+-") for word in split_list(kind.split(text).get(part, ""))}
    except Invalid:
        return set()


def _parts(kind: PropertyString, text: str) -> set[str]:
    try:
        return set(kind.split(text))
    except Invalid:
        return set()


def _lacks(since: Since | None, facts: Facts) -> str:
    """Return in words that the node is older than that; empty if it is not."""
    if since is None:
        return ""
    installed = facts.packages.get(since.package)
    if installed:
        older = numbers(installed) < numbers(since.version)
        return f"needs {since}; this node has {since.package} {installed}" if older else ""
    if not facts.version or facts.version >= numbers(since.pve):
        return ""
    return f"needs PVE {since.pve}; this node has {'.'.join(map(str, facts.version))}"
