"""Names of volumes that no storage of a node can read, and what PVE says of them.

PVE: pve-storage Storage/*Plugin.pm parse_volname; qemu-server QemuServer/Drive.pm
checked_parse_volname
"""

from __future__ import annotations

import re

from felhom_agent.devnode.world.refusal import died
from felhom_agent.options.volumename import formats_of, unreadable

_POOLS = {"local-lvm": "lvm", "local-zfs": "zfs"}
_REQUEST = re.compile(r"[0-9]+(?:\.[0-9]+)?|cloudinit")
_MACHINE = re.compile(r"import/[^/]+\.(ov[af])")


def refuse_unreadable(volume: str) -> None:
    """Raise `Refusal` (500) for a volume whose name no storage can read. recorded: 9.2 202/145-146

    What asks for a new volume is one, where PVE reads it as a name.
    """
    storage, _, name = volume.partition(":")
    if _MACHINE.fullmatch(name) or not (_REQUEST.fullmatch(name) or unreadable(volume)):
        return
    if re.match("[0-9]+/", name):
        raise died(f"unable to parse volume filename '{name.rpartition('/')[2]}'")
    # The storages of other names are taken for directories; each kind has words of its own
    raise died(f"unable to parse {_POOLS.get(storage, 'directory')} volume name '{name}'")


def refuse_source(volume: str) -> None:
    """Raise `Refusal` (500) for what is to be imported, if it is no image by its name."""
    if not volume or volume.startswith("/"):
        return
    refuse_unreadable(volume)
    if machine := _MACHINE.fullmatch(volume.partition(":")[2]):
        raise died(f"volume '{volume}' - not a QEMU image format '{machine[1]}'")
    refuse_folder(volume)


def refuse_folder(volume: str) -> None:
    """Raise `Refusal` (500) for a container's folder where QEMU wants an image."""
    if formats_of(volume) == {"subvol"}:
        raise died(f"volume '{volume}' - not a QEMU image format 'subvol'")
