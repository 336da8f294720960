"""What a config write does to a guest: the last refusals, then the file.

Everything up to here has looked at the request alone; this module looks at the guest. Nothing is
changed before the last refusal has been passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping

from felhom_agent.devnode.world.change import ConfigWrite
from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.hotplug import at_once
from felhom_agent.devnode.world.readback import DISK, Printer, TagStyle, split, split_drive
from felhom_agent.devnode.world.refusal import busy, died
from felhom_agent.devnode.world.schema import type_word
from felhom_agent.options import lookup, never_settles
from felhom_agent.options.since import numbers

_DIGEST_TEXT = {
    # recorded: 20-writes-qemu/008-010, 20-writes-lxc/008-010
    "qemu": "checksum mismatch (file change by other user?)",
    "lxc": "detected modified configuration - file changed by other user? Try again.",
}


# What PVE encodes, or rewrites from what it has parsed, so that no line feed is left.
_ANEW = frozenset({"description", "tags", "cpuunits", "cipassword", "env"})

NEWEST_MACHINE = "pc-i440fx-10.1"
"""The newest machine of the version of QEMU that the recorded guests were made with."""


def refuse(guest: Guest, change: ConfigWrite) -> None:
    """Raise `Refusal` (500) if the guest as it is now does not take this change."""
    if guest.flock.held:
        raise busy(guest.flock.path)
    refuse_first(guest, change)
    refuse_by_key(guest, change)


def refuse_first(guest: Guest, change: ConfigWrite) -> None:
    """Raise `Refusal` (500) for what PVE looks at before it looks at any key."""
    checks = [_stale, _locked] if guest.kind == "qemu" else [_locked, _stale]
    for check in checks:
        check(guest, change)
    if guest.kind == "qemu":
        _balloon(guest, change)


def refuse_by_key(guest: Guest, change: ConfigWrite) -> None:
    """Raise `Refusal` (500) for what PVE looks at as a key's turn comes, of a VM; that an earlier
    key is written by then is not imitated (recorded: 9.2 200b/065).
    """
    if guest.kind == "qemu":
        _boot_devices(guest, change)
        _volumes(guest, change)
        _tpm_version(guest, change)
        _one_cloudinit(guest, change)
        _machine_and_display(change)


def checks_in_worker(version: str) -> bool:
    """Return whether that version of PVE begins the task of a change before it takes the lock, and
    looks at most of it in there. recorded: calls-9.2/200-post-worker.
    """
    return numbers(version) >= (9, 2)


def apply(guest: Guest, change: ConfigWrite, style: TagStyle, mac: Callable[[], str]) -> None:
    """Given a change that was not refused, write it into the guest's file."""
    printer = Printer(guest.kind, style, mac, guest.sizes)
    before = frozenset(guest.conf.merged())
    # PVE reads what may be plugged before it changes anything.
    was = dict(guest.conf.values)
    guest.conf.forget(change.reverts)
    for key in change.deletes:
        _remove(guest, key, was)
    for key, value in change.sets.items():
        printed = printer.stored(key, _allocated(guest, key, value))
        if printed is None:
            _remove(guest, key, was)
        else:
            _set(guest, key, printed, was)
    if guest.kind == "qemu":
        _side_effects(guest, change, before)
        _old_style(guest)


def unwritable(change: ConfigWrite) -> str:
    """Given a change, return why its values cannot stand in the guest's file; empty if they can.

    PVE finds out when it makes the text of the file, after all other checks: of a PUT that is the
    answer, of a POST the task's end. recorded: 9.2 202-values/249-310.
    PVE: qemu-server QemuServer.pm check_type; pve-container LXC/Config.pm write_pct_config.
    """
    for key, value in change.sets.items():
        if (
            key in _ANEW
            or re.fullmatch(r"net\d+", key)
            or (DISK.fullmatch(key) and key != "rootfs")
        ):
            continue
        if change.kind == "qemu" and re.search(r"[\r\n]", value):
            return f"unable to parse value of '{key}' - property contains a line feed"
        if change.kind == "lxc" and "\n" in value:
            return f"detected invalid newline inside property '{key}'"
        word = type_word("qemu", key) if change.kind == "qemu" else ""
        stored = {"integer": r"\d+", "number": r"\d+(\.\d+)?"}.get(word)
        if stored and not re.fullmatch(stored, value):
            return (
                f"unable to parse value of '{key}' - type check ('{word}') failed - got '{value}'"
            )
    return ""


def writes(guest: Guest, change: ConfigWrite) -> bool:
    """Return whether a change makes PVE write the guest's file. recorded: calls-9.2/201-quorum/067,
    074: a VM's does not where it only deletes what is not there; a container's always does.
    """
    present = guest.conf.merged()
    return guest.kind == "lxc" or bool(change.sets) or any(k in present for k in change.deletes)


def read_only(guest: Guest) -> str:
    """Return PVE's words where the cluster's file system takes nothing."""
    folder = "qemu-server" if guest.kind == "qemu" else "lxc"
    file = f"/etc/pve/nodes/{guest.node}/{folder}/{guest.vmid}.conf.tmp.4928"
    return f"unable to open file '{file}' - Permission denied"


def refuse_late(guest: Guest, bridges: Container[str]) -> None:
    """Raise `Refusal` (500) for a container on a bridge that is not there.

    PVE finds out after it has written: the change is in the file all the same.
    recorded: 13-lxc-roundtrip-root/006-008.
    """
    for key, value in guest.conf.merged().items():
        bridge = split(value).get("bridge", "") if key.startswith("net") else ""
        if guest.kind == "lxc" and bridge and bridge not in bridges:
            raise died(f"bridge '{bridge}' does not exist")


def _stale(guest: Guest, change: ConfigWrite) -> None:
    # recorded: 20-writes-qemu/011; an empty digest is no check.
    if change.digest and change.digest != guest.conf.digest():
        raise died(_DIGEST_TEXT[guest.kind])


def _locked(guest: Guest, change: ConfigWrite) -> None:
    del change
    if guest.lock:
        raise died(guest.locked_text)


def _balloon(guest: Guest, change: ConfigWrite) -> None:
    if not {"balloon", "memory"} & set(change.sets):
        return
    after = {**guest.conf.merged(), **change.sets}
    balloon, memory = after.get("balloon", "0"), megabytes(after.get("memory", "512"))
    if int(balloon) > memory:
        raise died("balloon value too large (must be smaller than assigned memory)")


def megabytes(memory: str) -> int:
    """Given a VM's memory as it is stored ("2048", "current=2048"), return MiB."""
    match = re.search(r"\d+", memory)
    return int(match[0]) if match else 512


def _boot_devices(guest: Guest, change: ConfigWrite) -> None:
    _, _, order = change.sets.get("boot", "").partition("order=")
    after = {**guest.conf.merged(), **change.sets}
    for device in filter(None, order.split(";")):
        if device not in after or device in change.deletes:
            # recorded: 10-qemu-roundtrip/157-161
            raise died(f"invalid bootorder: device '{device}' does not exist'")


def _volumes(guest: Guest, change: ConfigWrite) -> None:
    for key, value in change.sets.items():
        volume = split_drive(value)[0]
        owned = re.fullmatch(r"[^:/]+:(\d+/)?(vm|base|subvol)-\d+-.*", volume)
        if DISK.fullmatch(key) and owned and volume not in guest.sizes:
            raise died(f"volume '{volume}' does not exist")  # recorded: 120-disks-qemu/035


def _tpm_version(guest: Guest, change: ConfigWrite) -> None:
    # PVE: qemu-server API2/Qemu.pm prohibit_tpm_version_change
    old, new = guest.conf.values.get("tpmstate0"), change.sets.get("tpmstate0")
    if not old or not new:
        return
    (had, was), (gets, becomes) = split_drive(old), split_drive(new)
    if had == gets and was.get("version", "v1.2") != becomes.get("version", "v1.2"):
        raise died("cannot change TPM state version after creation")


def _one_cloudinit(guest: Guest, change: ConfigWrite) -> None:
    # PVE: qemu-server API2/Qemu.pm create_disks
    for key, value in change.sets.items():
        if not DISK.fullmatch(key) or "cloudinit" not in split_drive(value)[0]:
            continue
        for other, held in guest.conf.merged().items():
            if other != key and DISK.fullmatch(other) and "cloudinit" in split_drive(held)[0]:
                raise died(f"{key} - cloud-init drive is already attached at '{other}'")


def _machine_and_display(change: ConfigWrite) -> None:
    # recorded: 9.2 202/333-354; PVE: qemu-server QemuServer.pm assert_clipboard_config
    for key in ("machine", "vga"):
        option, wire = lookup("qemu", key), change.sets.get(key, "")
        words = never_settles(option, wire) if option and wire else ""
        if words and not words.startswith("PVE "):
            raise died(words)


def _set(guest: Guest, key: str, value: str, was: Mapping[str, str]) -> None:
    if not guest.running or at_once(guest.kind, key, value, was):
        guest.conf.put(key, value)
    else:
        guest.conf.postpone(key, value)


def _remove(guest: Guest, key: str, was: Mapping[str, str]) -> None:
    if guest.kind == "lxc" and key in guest.conf.pending and key not in guest.conf.values:
        return  # recorded: 9.2 206/025; only a revert drops it
    if guest.running and not at_once(guest.kind, key, None, was):
        guest.conf.postpone_drop(key)
        return
    if DISK.fullmatch(key):
        _unuse(guest, key)
    guest.conf.drop(key)


def _allocated(guest: Guest, key: str, value: str) -> str:
    """Given a drive as STORAGE:SIZE, make the volume; the old one becomes unused.

    recorded: 120-disks-qemu/007-013, 029-030.
    """
    volume, parts = split_drive(value)
    if volume.endswith(":cloudinit") and DISK.fullmatch(key) and guest.kind == "qemu":
        return _cloudinit(guest, volume.partition(":")[0], parts)
    new = re.fullmatch(r"([^:/,]+):(\d+(?:\.\d+)?)", volume)
    if not DISK.fullmatch(key) or key == "rootfs" or new is None:
        return value
    _unuse(guest, key)
    name = _free_volume(guest, new[1])
    guest.sizes[name] = _size(float(new[2]))
    return ",".join([name, *(f"{k}={v}" for k, v in parts.items())])


def _cloudinit(guest: Guest, storage: str, parts: Mapping[str, str]) -> str:
    # recorded: 9.2 202/143
    name = f"{storage}:{guest.vmid}/vm-{guest.vmid}-cloudinit.{parts.get('format', 'qcow2')}"
    guest.sizes[name] = "4M"
    kept = {**{k: v for k, v in parts.items() if k != "format"}, "media": "cdrom"}
    return ",".join([name, *(f"{k}={v}" for k, v in kept.items())])


def _free_volume(guest: Guest, storage: str) -> str:
    stem = f"{storage}:{guest.vmid}/vm-{guest.vmid}-disk-"
    numbers = range(len(guest.sizes) + 1)
    return next(f"{stem}{n}.raw" for n in numbers if f"{stem}{n}.raw" not in guest.sizes)


def _size(gigabytes: float) -> str:
    whole = gigabytes.is_integer()
    return f"{gigabytes:.0f}G" if whole else f"{gigabytes * 1024:.0f}M"


def _unuse(guest: Guest, key: str) -> None:
    volume = split_drive(guest.conf.values.get(key, ""))[0]
    if volume in guest.sizes:
        taken = guest.conf.values
        free = next(n for n in range(256) if f"unused{n}" not in taken)
        guest.conf.put(f"unused{free}", volume)


def _side_effects(guest: Guest, change: ConfigWrite, before: Container[str]) -> None:
    """ConfigWrite the keys that PVE changes besides those it was asked for (TRAPS)."""
    merged = guest.conf.merged()
    if change.sets.get("ostype") == "win11" and "machine" not in merged:
        _set(guest, "machine", NEWEST_MACHINE, guest.conf.values)
    if "order=" in change.sets.get("boot", ""):
        _remove(guest, "bootdisk", guest.conf.values)
    boot = merged.get("boot", "")
    if boot.startswith("order="):
        devices = boot.removeprefix("order=").split(";")
        kept = [device for device in devices if device not in change.deletes]
        kept += [drive for drive in _new_cds(change, before) if drive not in kept]
        if kept != devices:
            order = f"order={';'.join(kept)}" if kept else " "
            _set(guest, "boot", order, guest.conf.values)


def _old_style(guest: Guest) -> None:
    # PVE: qemu-server QemuServer.pm write_vm_config. recorded: 9.2 202/001-008
    values = guest.conf.values
    smp = values.get("smp")
    guest.conf.forget(["smp"])
    if smp is None:
        return
    guest.conf.drop("smp")
    if "sockets" not in values:
        guest.conf.put("sockets", smp)
        guest.conf.drop("cores")


def _new_cds(change: ConfigWrite, before: Container[str]) -> list[str]:
    drives = {key: value for key, value in change.sets.items() if DISK.fullmatch(key)}
    cds = (key for key, value in drives.items() if split_drive(value)[1].get("media") == "cdrom")
    return [key for key in cds if key not in before]
