"""Fingerprints of acts: what a person saw and agreed to, compared with what is about to be done.

A fingerprint names the guest, what is done, and of a change the key and its new value. It is a
hash, since a value may be a secret. The value that a key had before does not count: PVE's digest
guards that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from felhom_agent.model import ABSENT, Action, SetConfig, Stop


def print_of(action: Action) -> str:
    """Given an act, return its fingerprint as a whole."""
    what: list[object] = [action.vmid, type(action).__name__]
    match action:
        case SetConfig():
            what += [[c.key, None if c.after is ABSENT else c.after] for c in action.changes]
        case Stop():
            what += [action.policy, action.restart]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def prints_of(actions: Iterable[Action]) -> frozenset[str]:
    """Given acts, return a fingerprint for each, and for each single change: who agreed to some
    changes agreed to fewer of them.
    """
    return frozenset(print_of(part) for action in actions for part in _parts(action))


def _parts(action: Action) -> tuple[Action, ...]:
    if not isinstance(action, SetConfig):
        return (action,)
    return tuple(SetConfig(action.vmid, action.kind, (change,)) for change in action.changes)
