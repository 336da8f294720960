"""By what a declaration is known again: salted, since it is written down and holds passwords.

Where it stands in its file, and in which file, does not matter.
"""

from __future__ import annotations

import hashlib
import json
import secrets

from felhom_agent.model import DesiredGuest


def fingerprint(declared: DesiredGuest | None) -> str:
    """Given a guest's declaration (None: it is not declared), return what it is known by again: one
    short line, another one each time.
    """
    salt = secrets.token_hex(16)
    return f"{salt}:{_hash(salt, declared)}"


def is_of(print_: str, declared: DesiredGuest | None) -> bool:
    """Given a fingerprint, return whether it is of this declaration."""
    salt, _, found = print_.partition(":")
    return secrets.compare_digest(_hash(salt, declared), found)


def _hash(salt: str, declared: DesiredGuest | None) -> str:
    told: object = None
    if declared is not None:
        told = [
            declared.kind, declared.state, declared.mode, sorted(declared.config.items()),
            sorted(declared.unset), declared.stop, declared.restart, declared.identity,
        ]  # fmt: skip
    text = json.dumps([salt, told], ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
