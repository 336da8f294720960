"""Which guest it is, when its number says only where it lives.

PVE hands a vmid out again once its guest is gone, and a declaration that names only the number
would then be brought about on a stranger. So the agent remembers who was there when it first
managed a number, and leaves another guest under it alone until a person confirms.

A VM is known by its SMBIOS uuid (made new for each VM and clone, kept by backup and restore) or
else by when it was made; a container, for want of anything better, by its root volume.
"""

from __future__ import annotations

import re

from felhom_agent.model import EMPTY, ActualGuest, DesiredGuest, Kind, SetConfig

_KEYS = frozenset({"smbios1", "rootfs"})
_UUID = re.compile(r"(?:^|,)uuid=([0-9a-fA-F-]{36})(?:,|$)")
_CTIME = re.compile(r"(?:^|,)ctime=(\d+)(?:,|$)")


def identity_of(guest: ActualGuest) -> str:
    """Given a guest, return what it is known by; empty if there is nothing to know it by."""
    config = guest.config or EMPTY
    if guest.kind is Kind.LXC:
        volume = str(config.get("rootfs", "")).partition(",")[0].removeprefix("volume=")
        return f"rootfs={volume}" if volume else ""
    if found := _UUID.search(str(config.get("smbios1", ""))):
        return f"uuid={found[1].lower()}"
    if found := _CTIME.search(str(config.get("meta", ""))):
        return f"ctime={found[1]}"
    return ""


def changes_identity(action: SetConfig) -> bool:
    """Return whether a change is to what a guest is known by."""
    return any(change.key in _KEYS for change in action.changes)


def stranger(desired: DesiredGuest, guest: ActualGuest, known: str) -> str:
    """Given a guest and what was known under its number, return why it is not the one; else empty.

    `known` is empty where nothing was remembered.
    """
    present = identity_of(guest)
    expected = desired.identity or known
    if not expected or not present or expected in (present, present.lower()):
        return ""
    return (
        f"vmid {guest.vmid} was given to another guest ({expected} is now {present}); if that is "
        f'the one you mean, confirm with identity = "{present}" in its declaration'
    )
