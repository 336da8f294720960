"""The volumes that a guest's drives name: which there are, whose they are, how they come and go.

A volume is a name here, with the size that it has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.readback import DISK, split_drive
from felhom_agent.devnode.world.refusal import died
from felhom_agent.devnode.world.volumename import refuse_folder
from felhom_agent.options import Volume

_NEW = re.compile(r"([^:/,]+):(\d+(?:\.\d+)?)")
_TPM_SIZE = "4M"
_FAMILIES = ("ide", "scsi", "virtio", "sata", "efidisk", "tpmstate", "rootfs", "mp")


def is_new(volume: str) -> bool:
    """Return whether a drive's volume is one to be made, as STORAGE:SIZE."""
    return _NEW.fullmatch(volume) is not None


def owner(volume: str) -> int | None:
    """Given a volume, return the number of the guest whose it is; None if it is nobody's."""
    return Volume(volume).owner or None


def refuse_missing(key: str, value: str, sizes: Mapping[str, str]) -> None:
    """Raise `Refusal` (500) if a drive names a volume that is not there, or another format.

    recorded: 120-disks-qemu/035, 9.2 200b/085-092. PVE: qemu-server API2/Qemu.pm create_disks
    """
    volume, parts = split_drive(value)
    refuse_folder(volume)
    if owner(volume) is None:
        return
    if volume not in sizes:
        raise died(f"volume '{volume}' does not exist")
    ending = volume.rpartition(".")[2]
    held = ending if ending in {"qcow2", "vmdk"} else "raw"
    if parts.get("format", held) != held:
        raise died(
            f"drive '{key}' - volume '{volume}' - 'format={parts['format']}' option different from"
            f" storage format '{held}'"
        )


def allocated(guest: Guest, key: str, value: str) -> str:
    """Given a drive, return it with the volume that was made, if it asked for one.

    recorded: 120-disks-qemu/007-013, 029-030.
    """
    volume, parts = split_drive(value)
    if not DISK.fullmatch(key) or key == "rootfs":
        return value
    if volume.endswith(":cloudinit") and guest.kind == "qemu":
        return _cloudinit(guest, volume.partition(":")[0], parts)
    new = _NEW.fullmatch(volume)
    if new is None:
        return value
    kind = parts.pop("format", "raw") if guest.kind == "qemu" else "raw"
    if guest.kind == "lxc" and float(new[2]) == 0:
        name = _free(guest, new[1], "subvol", "subvol")  # recorded: 9.2 202/176
    else:
        name = _free(guest, new[1], "vm", kind)
    guest.sizes[name] = _TPM_SIZE if key == "tpmstate0" else _size(guest.kind, float(new[2]))
    return ",".join([name, *(f"{k}={v}" for k, v in parts.items())])


def _cloudinit(guest: Guest, storage: str, parts: Mapping[str, str]) -> str:
    # recorded: 9.2 202/143, 165-167
    file = f"vm-{guest.vmid}-cloudinit.{parts.get('format', 'qcow2')}"
    name = f"{storage}:{guest.vmid}/{file}"
    if name in guest.sizes:
        raise died(f"disk image '/var/lib/vz/images/{guest.vmid}/{file}' already exists")
    guest.sizes[name] = _TPM_SIZE
    kept = {**{k: v for k, v in parts.items() if k != "format"}, "media": "cdrom"}
    return ",".join([name, *(f"{k}={v}" for k, v in kept.items())])


def _free(guest: Guest, storage: str, stem: str, kind: str) -> str:
    # PVE: pve-storage Storage/Plugin.pm get_next_vm_diskname: a number is taken in any format
    names = (name for name in guest.sizes if name.startswith(f"{storage}:"))
    taken = {int(found[1]) for name in names if (found := re.search(r"-disk-(\d+)", name))}
    number = next(n for n in range(len(taken) + 1) if n not in taken)
    return f"{storage}:{guest.vmid}/{stem}-{guest.vmid}-disk-{number}.{kind}"


def _size(kind: str, gigabytes: float) -> str:
    """Return how PVE prints the size of a new volume. recorded: 9.2 202/153-177

    PVE: JSONSchema.pm format_size; a VM's is made in KiB, a container's in MiB.
    """
    in_megabytes = gigabytes * 1024
    size = int(in_megabytes) * 1024 if kind == "lxc" else math.ceil(in_megabytes * 1024)
    for unit in "KMG":
        if size % 1024:
            return f"{size}{unit}"
        size //= 1024
    return f"{size}T"


def unuse(guest: Guest, value: str) -> None:
    """Let a drive go: its volume becomes an unused one; a VM's only if it is the VM's own.

    PVE: qemu-server QemuServer.pm vmconfig_register_unused_drive, LXC/Config.pm
    vmconfig_apply_pending
    """
    volume, parts = split_drive(value)
    if guest.kind == "lxc":
        # recorded: 121-disks-lxc/019-020; whosever it is
        if ":" in volume and not volume.startswith("/"):
            add_unused(guest.conf.values, volume)
        return
    if "cloudinit" in volume:
        guest.sizes.pop(volume, None)
        return
    if parts.get("media") == "cdrom" or owner(volume) != guest.vmid:
        return
    add_unused(guest.conf.values, volume)


def add_unused(values: dict[str, str], volume: str) -> None:
    """Given a section of a guest's file, note an unused volume in it, unless it is there.

    PVE: guest-common AbstractConfig.pm add_unused_volume
    """
    if volume not in [values[key] for key in values if key.startswith("unused")]:
        free = next(n for n in range(256) if f"unused{n}" not in values)
        values[f"unused{free}"] = volume


def switched_off(guest: Guest, *, writable: bool) -> None:
    """Let a guest be off; what waited for this is applied. Where nothing is `writable` it waits on.

    recorded: calls-9.2/201-quorum/088, 201c/005, 008.
    """
    guest.stopped()
    if writable:
        apply_waiting(guest)


def apply_waiting(guest: Guest) -> None:
    """Apply what waits, but for a disk that is to go with a volume that a snapshot has.

    recorded: 30-running-qemu/050-054, 100-snapshots-qemu/240-244.
    """
    conf = guest.conf
    kept = set()
    for key in sorted(conf.unset & conf.values.keys()):
        if DISK.fullmatch(key) and not _detach(guest, key):
            kept.add(key)
    for key, value in conf.pending.items():
        if DISK.fullmatch(key) and key in conf.values:
            gone = split_drive(conf.values[key])[0]
            if gone != split_drive(value)[0]:
                unuse(guest, conf.values[key])
    conf.unset -= kept
    conf.settle()
    for key in kept:
        conf.stage_drop(key, force=True)
    drop_used(guest)


def _detach(guest: Guest, key: str) -> bool:
    """Let a drive go, with its volume if that is to go; return whether it can."""
    volume = split_drive(guest.conf.values[key])[0]
    if key not in guest.conf.forced:
        unuse(guest, guest.conf.values[key])
    elif in_snapshots(guest, volume):
        return False
    elif owner(volume) == guest.vmid:
        guest.sizes.pop(volume, None)
    return True


def free_unused(guest: Guest, key: str) -> None:
    """Destroy the unused volume of a container, if it is its own and nothing else has it.

    recorded: 121-disks-lxc/021-025, 9.2 210/001-002. PVE: LXC/Config.pm is_volume_in_use
    """
    volume = split_drive(guest.conf.values[key])[0]
    sections = (guest.conf.values, guest.conf.pending)
    used = any(volume in of_section("lxc", section).values() for section in sections)
    if owner(volume) == guest.vmid and not used and not in_snapshots(guest, volume):
        guest.sizes.pop(volume, None)


def of_section(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """Given a section of a guest's file, return its volumes by their keys, in PVE's order: no
    CD, no cloud-init drive, nothing that is no volume of a storage.

    PVE: QemuConfig.pm and LXC/Config.pm valid_volume_keys, drive_is_cdrom, classify_mountpoint
    """
    found = {}
    for key in sorted((key for key in values if DISK.fullmatch(key)), key=_rank):
        volume, parts = split_drive(values[key])
        cd = kind == "qemu" and (parts.get("media") == "cdrom" or volume in {"none", "cdrom"})
        if not cd and ":" in volume and not volume.startswith("/"):
            found[key] = volume
    return found


def in_snapshots(guest: Guest, volume: str) -> bool:
    """Return whether a snapshot of the guest has that volume."""
    sections = guest.conf.snapshots.values()
    return any(volume in of_section(guest.kind, section).values() for section in sections)


def _rank(key: str) -> tuple[int, int]:
    family = key.rstrip("0123456789")
    return _FAMILIES.index(family), int(key[len(family) :] or 0)


def drop_used(guest: Guest) -> None:
    """Drop the unused volumes that some drive has. PVE: QemuServer.pm write_vm_config"""
    held = [*guest.conf.values.items(), *guest.conf.pending.items()]
    used = {split_drive(value)[0] for key, value in held if DISK.fullmatch(key)}
    for key in [key for key, value in guest.conf.values.items() if key.startswith("unused")]:
        if split_drive(guest.conf.values[key])[0] in used:
            guest.conf.drop(key)
