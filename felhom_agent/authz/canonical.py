"""The one form in which bytes are signed: canonical JSON, so that nobody reads them otherwise.

Sorted keys, no whitespace, UTF-8, no escapes but those that must be, no duplicate keys, no numbers
but whole ones. Bytes that are not what `encode` makes of what they say are refused: that covers
each way of saying the same in other bytes, known or not.
"""

from __future__ import annotations

import json
from typing import Any, Final

from felhom_agent.authz.refusals import NotCanonical, OutOfBounds

MAX_BYTES: Final = 65_536
"""How many bytes an operation may have."""
MAX_DEPTH: Final = 6
MAX_PARTS: Final = 4096
"""How many values an operation may have, all its lists and objects together."""
_MAX_INTEGER: Final = 2**53


def encode(value: object) -> bytes:
    """Given what JSON can hold, return its one form. Raise NotCanonical if it has none."""
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        raise NotCanonical(
            "it holds what has no form: a lone surrogate or no JSON at all"
        ) from None


def decode(data: bytes) -> dict[str, Any]:
    """Given bytes within bounds, return the object that they are the one form of.

    Raise NotCanonical if they are not.
    """
    try:
        found = json.loads(data.decode("utf-8"), parse_float=_refuse, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise NotCanonical("it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise NotCanonical("it is no JSON of whole numbers, texts, lists and objects") from None
    if not isinstance(found, dict):
        raise NotCanonical("it is no JSON object")
    if encode(found) != data:
        raise NotCanonical(
            "it is not canonical JSON: sorted keys, no whitespace, no key twice; sign the file as "
            "`felhom-agent sign` writes it"
        )
    return found


def refuse_beyond_bounds(data: bytes) -> None:
    """Given bytes that are not trusted, raise OutOfBounds if they are more than an operation is.

    They are counted and not parsed. A bracket or a comma within a text counts, too: no text of an
    operation needs many.
    """
    if not data:
        raise OutOfBounds("it is empty")
    if len(data) > MAX_BYTES:
        raise OutOfBounds(f"it has {len(data)} bytes, {MAX_BYTES} at most")
    if data.count(b",") + data.count(b":") > MAX_PARTS:
        raise OutOfBounds(f"it has too many parts, {MAX_PARTS} at most")
    depth = 0
    for byte in data:
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise OutOfBounds(f"it is nested more than {MAX_DEPTH} deep")
        elif byte in b"]}":
            depth -= 1


def is_integer(value: object, low: int = 0, high: int = _MAX_INTEGER) -> bool:
    """Return whether it is a whole number within bounds; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _refuse(text: str) -> float:
    raise ValueError(text)
