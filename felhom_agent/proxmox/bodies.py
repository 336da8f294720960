"""The bodies of PVE's answers: how big one may be, by what it is, and what it holds.

The bounds are far above what PVE has to say (a row of a listing has some 400 bytes, a
configuration a few thousand), and far below what would hurt this host.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

_MIB = 1 << 20
MAX_DEPTH = 12
"""How deep lists and objects may be nested; PVE's answers are four deep."""


@dataclass(frozen=True)
class BodyLimit:
    """How big an answer may be: bytes on the wire, and lists and objects in it."""

    size: int
    items: int


LISTING = BodyLimit(16 * _MIB, 200_000)
CONFIGURATION = BodyLimit(1 * _MIB, 5_000)
LOG = BodyLimit(1 * _MIB, 5_000)
OTHER = BodyLimit(1 * _MIB, 20_000)

_BY_NAME = {
    "resources": LISTING,
    "qemu": LISTING,
    "lxc": LISTING,
    "permissions": LISTING,
    "tasks": LISTING,
    "config": CONFIGURATION,
    "pending": CONFIGURATION,
    "log": LOG,
}


def limit_of(path: Sequence[str | int]) -> BodyLimit:
    """Given the path of a call, return how big its answer may be."""
    return _BY_NAME.get(str(path[-1]), OTHER) if path else OTHER


def parse(body: bytes, limit: BodyLimit) -> dict[str, Any]:
    """Given a body, return the object in it. Raise ValueError if it holds none, or too much."""
    items = body.count(b"{") + body.count(b"[")
    if items > limit.items:
        raise ValueError("too many rows")
    try:
        whole = _DECODER.decode(body.decode())
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(whole, dict):
        raise ValueError("not an object")
    if items > MAX_DEPTH and _too_deep(whole):
        raise ValueError("nested too deep")
    return whole


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


# Made once: json.loads makes one for each body that shall have no such constants.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_NESTED = frozenset({dict, list})


def _too_deep(whole: dict[str, Any]) -> bool:
    level: list[Any] = [whole]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _NESTED
        ]
        if not level:
            return False
    return True
