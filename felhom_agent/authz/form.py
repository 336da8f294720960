"""What every signed form is made of: fields that must all be there, each good, and no other.

Shared by what is done to a guest (`blob.py`) and what is done to the host (`hostblob.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from felhom_agent.authz.canonical import is_integer
from felhom_agent.authz.challenge import TOKEN
from felhom_agent.authz.refusals import NotCanonical
from felhom_agent.printable import printable

NAMESPACE: Final = "felhom-op-v1"
"""What SSHSIG calls the purpose of a signature."""
SCHEMA: Final = 1
LATEST: Final = 253_370_764_800
"""The last second that a time may name: the end of the year 9998."""

HEX_32: Final = re.compile(r"[0-9a-f]{32}")
HASH: Final = re.compile(r"[0-9a-f]{64}")
# What ssh-keygen calls a key: the base64 of a SHA-256, without its padding.
FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")

Check = Callable[[Any], bool]


@dataclass(frozen=True)
class SignedTimes:
    """What the signer says of time, in seconds since the epoch."""

    issued: int
    not_before: int
    expires: int


def require(found: Any, fields: Mapping[str, Check], whose: str = "") -> None:
    """Raise NotCanonical unless an object has exactly these fields, each as it must be."""
    if not isinstance(found, dict):
        raise NotCanonical(f"{whose or 'the '}form is no object")
    for key in found:
        if key not in fields:
            raise NotCanonical(f"it has {whose}{key!r}, which this version does not know")
    for key, check in fields.items():
        if key not in found:
            raise NotCanonical(f"it has no {whose}{key}")
        if not check(found[key]):
            raise NotCanonical(f"{whose}{key} is not as it must be: {found[key]!r:.80}")


def matches(pattern: re.Pattern[str], *, or_empty: bool = False) -> Check:
    """Return a check for texts of a pattern."""
    return lambda value: (
        isinstance(value, str) and bool(pattern.fullmatch(value) or (or_empty and not value))
    )


def is_plain(value: object, longest: int) -> bool:
    """Return whether it is a text that may be shown and be passed on: one line, bounded, nothing
    hidden in it, and nothing that a command would take for an option.
    """
    return (
        isinstance(value, str)
        and len(value) <= longest
        and printable(value, max(longest, 3)) == value
        and not value.startswith("-")
    )


def is_flag(value: object) -> bool:
    """Return whether it is true or false."""
    return isinstance(value, bool)


def is_second(value: object) -> bool:
    """Return whether it is a time, in seconds since the epoch."""
    return is_integer(value, 0, LATEST)


def is_second_or_none(value: object) -> bool:
    """Return whether it is a time, or there is none."""
    return value is None or is_second(value)


def times_of(found: Mapping[str, Any]) -> SignedTimes | None:
    """Given an object whose fields are as they must be, return the signer's times; None if it has a
    challenge. Raise NotCanonical unless it has exactly one of the two.
    """
    given = [found[key] for key in ("issued", "not_before", "expires")]
    if found["challenge"]:
        if any(each is not None for each in given):
            raise NotCanonical("it has a challenge, and times of the signer's; one of them counts")
        return None
    if any(each is None for each in given):
        raise NotCanonical("it has neither a challenge nor issued, not_before and expires")
    return SignedTimes(*given)


def times_json(times: SignedTimes | None) -> dict[str, int | None]:
    """Given the signer's times, or none, return the fields that tell them."""
    return {
        "issued": times.issued if times else None,
        "not_before": times.not_before if times else None,
        "expires": times.expires if times else None,
    }


def hash_of(blob: bytes) -> str:
    """Given bytes, return their SHA-256 in hex."""
    return hashlib.sha256(blob).hexdigest()


COMMON: Final[Mapping[str, Check]] = {
    "schema": lambda value: is_integer(value) and value == SCHEMA,
    "host": matches(HEX_32),
    "nonce": matches(HEX_32),
    "issued": is_second_or_none,
    "not_before": is_second_or_none,
    "expires": is_second_or_none,
    "challenge": lambda value: matches(HEX_32, or_empty=True)(value) or matches(TOKEN)(value),
    "requester": matches(FINGERPRINT, or_empty=True),
    "shown": matches(HASH, or_empty=True),
}
"""The fields that every form has."""
