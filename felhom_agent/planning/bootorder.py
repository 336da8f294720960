"""What PVE makes of a VM's boot order besides, as it writes CD drives.

PVE appends each CD drive that is written, and that is not in the order, to it; also one that was
there before, and not the one for cloud-init. Where the order is written in the same request, chance
decides which comes last (PVE: qemu-server API2/Qemu.pm update_vm_api, @bootorder). So a declared
order is written after the drives. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from felhom_agent.model import ABSENT, EMPTY, ActualGuest, Change, Kind
from felhom_agent.planning.plugging import in_list, parts_of

_DRIVE = re.compile(r"(?:ide|sata|scsi|virtio)\d+")
# PVE: qemu-server QemuServer/Drive.pm drive_is_cloudinit
_CLOUDINIT = re.compile(r"[:/](?:vm-\d+-)?cloudinit(?:\.\w+)?$")
BESIDES = "PVE adds the CD drive to the boot order"


def writes_cd(change: Change) -> bool:
    """Given a change of a VM, return whether it writes a CD drive that PVE would boot from."""
    if change.after is ABSENT or not _DRIVE.fullmatch(change.key):
        return False
    parts = parts_of(Kind.QEMU, change.key, str(change.after))
    return parts.get("media") == "cdrom" and not _CLOUDINIT.search(parts.get("file", ""))


def order_after(guest: ActualGuest, changes: Iterable[Change]) -> str:
    """Given a guest and its changes, return the boot order that PVE makes of them besides; empty if
    it makes none.
    """
    order = order_in_effect(guest)
    if guest.kind is not Kind.QEMU or not order.startswith("order="):
        return ""
    changes = tuple(changes)
    devices = in_list(order.removeprefix("order="))
    gone = {change.key for change in changes if change.after is ABSENT}
    new = [c.key for c in changes if writes_cd(c) and c.key not in devices]
    if not new:
        return ""
    return f"order={';'.join([*(device for device in devices if device not in gone), *new])}"


def is_besides(guest: ActualGuest, change: Change) -> bool:
    """Return whether a change sets right what PVE will make of the boot order besides."""
    return change.key == "boot" and change.before != (guest.config or EMPTY).get("boot", ABSENT)


def order_in_effect(guest: ActualGuest) -> str:
    """Given a guest, return the text of its boot order that is in effect; empty if it has none."""
    present = {**(guest.config or EMPTY), **guest.pending}.get("boot")
    return str(present or "")
