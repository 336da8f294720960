"""A value that may be a secret, as the journal has it: so that it can be known again, not read.

Recovery after a crash asks whether PVE has the value that was sent. A digest with a salt of its own
tells that, and tells nobody who reads the journal, or a copy of it, what the value is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

_START: Final = "\0hidden:"
"""No value of PVE's begins with a NUL."""
_SALT_BYTES: Final = 16


def mark_of(value: str) -> str:
    """Given a value, return what is written down of it."""
    return _mark(value, secrets.token_hex(_SALT_BYTES))


def is_mark(text: str) -> bool:
    """Given what is written down, return whether it stands for a value that is not."""
    return text.startswith(_START)


def stands_for(mark: str, value: str) -> bool:
    """Given a mark and a value, return whether the mark was made of it."""
    salt = mark.removeprefix(_START).partition(":")[0]
    return hmac.compare_digest(_mark(value, salt), mark)


def _mark(value: str, salt: str) -> str:
    text = value.encode("utf-8", "surrogatepass")
    digest = hashlib.scrypt(text, salt=salt.encode(), n=1 << 12, r=8, p=1, dklen=32)
    return f"{_START}{salt}:{digest.hex()}"
