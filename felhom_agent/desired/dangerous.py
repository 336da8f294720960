"""Values with which a guest's data is lost at its next stop or crash: taken only if said twice.

    [guest.101]
    dangerous = ["scsi0.snapshot"]
    [guest.101.config]
    scsi0 = "local-lvm:vm-101-disk-0,snapshot=1"

A slip of one line shall not cost a disk. Confirming what is not declared is refused, too, so that
no confirmation waits for a value that somebody writes years later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from felhom_agent.model import DeclaredValue, Kind
from felhom_agent.options import Invalid, dangerous, lookup
from felhom_agent.options.declaration import understood
from felhom_agent.printable import printable

MAX_NAMES = 1000
_SHOWN = 60
_SELF = ("dangerous",)


def parts_of(kind: Kind | None, key: str, value: DeclaredValue) -> frozenset[str]:
    """Given a declared value, of a guest of any kind if none is known, return its dangerous parts
    as "scsi0.snapshot"; none of a value that PVE would refuse.
    """
    found: set[str] = set()
    for candidate in [kind] if kind else Kind:
        if lookup(candidate, key) is None:
            continue
        try:
            option, wire = understood(candidate, key, value)
        except Invalid:
            continue
        found.update(f"{key}.{part}" for part in dangerous(option, wire))
    return frozenset(found)


def unconfirmed(
    kind: Kind | None, config: Mapping[str, DeclaredValue], confirmed: Any
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Given what is declared of a guest and what its file has under `dangerous`, yield what is
    wrong with it: the path of the key in the guest's table, and the words.
    """
    if not isinstance(confirmed, list) or not all(isinstance(name, str) for name in confirmed):
        yield _SELF, 'dangerous must be a list like ["scsi0.snapshot"]'
        return
    if len(confirmed) > MAX_NAMES:
        yield _SELF, f"dangerous: a list of more than {MAX_NAMES} names"
        return
    found = {name: key for key, value in config.items() for name in parts_of(kind, key, value)}
    for name in sorted(found.keys() - set(confirmed)):
        text = f'{name} as declared can lose data; if it is meant, say dangerous = ["{name}"], too'
        yield ("config", found[name]), text
    for name in sorted(set(confirmed) - found.keys()):
        yield _SELF, f"dangerous: {printable(name, _SHOWN)!r} is not declared so; take it out"
