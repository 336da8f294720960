"""What a config write does to a guest: the last refusals, then the file.

Everything up to here has looked at the request alone; this module looks at the guest. A container's
file is changed after the last refusal; a VM's is written key by key (`update`).
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from felhom_agent.devnode.world.change import ConfigWrite
from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.hotplug import at_once
from felhom_agent.devnode.world.readback import DISK, Printer, TagStyle, split, split_drive
from felhom_agent.devnode.world.refusal import busy, died
from felhom_agent.devnode.world.unwritable import unwritable
from felhom_agent.devnode.world.update import May, Update
from felhom_agent.devnode.world.volumes import allocated, drop_used, free_unused, unuse

_DIGEST_TEXT = {
    # recorded: 20-writes-qemu/008-010, 20-writes-lxc/008-010
    "qemu": "checksum mismatch (file change by other user?)",
    "lxc": "detected modified configuration - file changed by other user? Try again.",
}


BRIDGE_MTU = 1500
_GOING = r"(?:unused|mp)\d+"
_VOLUME_ID = re.compile(r"[a-z][a-z0-9\-_.]*[a-z0-9]:.+", re.IGNORECASE)


def _anything(key: str, value: str | None) -> None:
    del key, value


def _any_volume(volume: str) -> None:
    del volume


@dataclass(frozen=True)
class Tools:
    """What a write needs beside the guest: the style of tags, new addresses, the volumes of other
    guests, the node's bridges, the rights that PVE looks at as a key's turn comes, and to destroy a
    volume.
    """

    tag_style: TagStyle
    mac: Callable[[], str]
    others: Mapping[str, str]
    bridges: Container[str]
    may: May = _anything
    may_free: Callable[[str], None] = _any_volume


def refuse_held(guest: Guest) -> None:
    """Raise `Refusal` (500) if somebody else has the guest's configuration lock."""
    if guest.flock.held:
        raise busy(guest.flock.path)


def refuse_first(guest: Guest, change: ConfigWrite) -> None:
    """Raise `Refusal` (500) for what PVE looks at before it looks at any key."""
    checks = [_stale, _locked] if guest.kind == "qemu" else [_locked, _stale]
    for check in checks:
        check(guest, change)
    if guest.kind == "qemu":
        _balloon(guest, change)


def apply(guest: Guest, change: ConfigWrite, tools: Tools) -> None:
    """Given a change that passed `refuse_first`, write it into the guest's file.

    Raise `Refusal` for what is refused while it is written.
    """
    sizes = ChainMap(guest.sizes, dict(tools.others))
    printer = Printer(guest.kind, tools.tag_style, tools.mac, sizes)
    if guest.kind == "qemu":
        Update(guest, change, printer, tools.may, tools.may_free).run()
        return
    for key, value in change.sets.items():
        if words := unwritable("lxc", key, value):
            raise died(words)
    _mtu(change, tools.bridges)
    _protected(guest, change)
    _no_volume(change)
    _apply_lxc(guest, change, printer)


def _apply_lxc(guest: Guest, change: ConfigWrite, printer: Printer) -> None:
    # PVE reads what may be plugged before it changes anything.
    was = dict(guest.conf.values)
    guest.conf.forget(change.reverts)
    for key in change.deletes:
        _remove(guest, key, was)
    for key, value in change.sets.items():
        if DISK.fullmatch(key) and key != "rootfs" and ":" in value and key in was:
            unuse(guest, was[key])
        printed = printer.stored(key, allocated(guest, key, value))
        if printed is None:
            _remove(guest, key, was)
        else:
            _set(guest, key, printed, was)
    drop_used(guest)


def _no_volume(change: ConfigWrite) -> None:
    # PVE: LXC/Config.pm update_pct_config, classify_mountpoint; pve-storage Storage.pm
    # parse_volume_id
    for key, value in sorted(change.sets.items()):
        volume, _ = split_drive(value) if DISK.fullmatch(key) else ("/", {})
        if not volume.startswith("/") and not _VOLUME_ID.fullmatch(volume):
            raise died(f"unable to parse volume ID '{volume}'")


def _protected(guest: Guest, change: ConfigWrite) -> None:
    """Raise `Refusal` (500) if a container's volumes are protected.

    recorded: 121-disks-lxc/048-057. PVE: LXC/Config.pm update_pct_config
    """
    if guest.conf.values.get("protection") != "1":
        return
    present = guest.conf.values.keys() | guest.conf.pending.keys()
    gone = [key for key in change.deletes if key in present and re.fullmatch(_GOING, key)]
    changed = sorted(key for key in change.sets if DISK.fullmatch(key))
    for verb, keys in (("remove", gone), ("update", changed)):
        for key in keys:
            what = f"CT {guest.vmid} drive '{key}'"
            raise died(f"can't {verb} {what} - protection mode enabled")


def writes(guest: Guest, change: ConfigWrite) -> bool:
    """Return whether a change makes PVE write the guest's file. recorded: calls-9.2/201-quorum/067-
    069, 074: a VM's does not where it deletes or reverts what is not there; a container's always
    does.
    """
    present, waits = guest.conf.merged(), guest.conf.pending.keys() | guest.conf.unset
    changed = any(k in present for k in change.deletes) or any(k in waits for k in change.reverts)
    return guest.kind == "lxc" or bool(change.sets) or changed


def read_only(guest: Guest) -> str:
    """Return PVE's words where the cluster's file system takes nothing."""
    folder = "qemu-server" if guest.kind == "qemu" else "lxc"
    file = f"/etc/pve/nodes/{guest.node}/{folder}/{guest.vmid}.conf.tmp.4928"
    return f"unable to open file '{file}' - Permission denied"


def refuse_late(guest: Guest, bridges: Container[str]) -> None:
    """Raise `Refusal` (500) for a container on a bridge that is not there, or on none.

    PVE finds out after it has written: the change is in the file all the same.
    recorded: 13-lxc-roundtrip-root/006-008, 9.2 202/503-506.
    """
    for key, value in guest.conf.merged().items():
        bridge = split(value).get("bridge", "")
        if guest.kind == "lxc" and re.fullmatch(r"net\d+", key) and bridge not in bridges:
            raise died(f"bridge '{bridge}' does not exist")


def _mtu(change: ConfigWrite, bridges: Container[str]) -> None:
    """Raise `Refusal` (500) for a container's card whose MTU its bridge does not have.

    recorded: 9.2 202/502; the bridges here have what PVE gives them. PVE: LXC/Config.pm
    update_pct_config
    """
    for key, value in sorted(change.sets.items()):
        parts = split(value) if re.fullmatch(r"net\d+", key) else {}
        mtu, bridge = int(parts.get("mtu", "0")), parts.get("bridge", "")
        if mtu and bridge not in bridges:
            raise died(f"bridge '{bridge}' does not exist")
        if mtu > BRIDGE_MTU:
            words = f"MTU size '{mtu}' is bigger than bridge MTU '{BRIDGE_MTU}'"
            raise died(f"{key}: {words}")


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
    if key in guest.conf.values:
        if DISK.fullmatch(key):
            unuse(guest, guest.conf.values[key])
        elif key.startswith("unused"):
            free_unused(guest, key)
    guest.conf.drop(key)
