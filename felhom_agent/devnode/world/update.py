"""How a VM's file is written: key by key, as PVE's worker does it.

What is deleted comes first, in its order, then what is set. Each key is looked at when its turn
comes, and waits in the file from then on; when all had their turn, what waits is applied, or
plugged into the guest that runs. So a key that is refused leaves others behind that wait, for the
next write. Which key that is set comes first is chance in PVE; here the refused ones come last,
which leaves the most behind (recorded: calls-9.2/200b/065; 066 is the other chance).

PVE: qemu-server API2/Qemu.pm update_vm_api, QemuServer.pm vmconfig_apply_pending and
vmconfig_hotplug_pending
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from felhom_agent.devnode.world.change import ConfigWrite
from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.hotplug import FAST, at_once, plug_error, plugged_memory
from felhom_agent.devnode.world.readback import DISK, Printer, split_drive
from felhom_agent.devnode.world.refusal import Refusal, bad, died
from felhom_agent.devnode.world.unwritable import unwritable
from felhom_agent.devnode.world.volumes import (
    allocated,
    drop_used,
    in_snapshots,
    of_section,
    owner,
    refuse_missing,
    unuse,
)
from felhom_agent.options import lookup, never_settles

May = Callable[[str, str | None], None]
"""Raise `Refusal` unless the caller may write that value (None: it goes), as a key has its turn."""

NEWEST_MACHINE = "pc-i440fx-10.1"
"""The newest machine of the version of QEMU that the recorded guests were made with."""

_UNUSED = re.compile(r"unused\d+")


@dataclass
class Update:
    """One write of a VM's file; `sizes` has the volumes of all guests, `may` the rights that PVE
    looks at late, and `may_free` whether a caller may destroy a volume.
    """

    guest: Guest
    change: ConfigWrite
    printer: Printer
    may: May
    may_free: Callable[[str], None]
    modified: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    """The boot order that is in effect, as PVE keeps it up while it writes."""

    def run(self) -> None:
        """Write it. Raise `Refusal` for what is not written; the rest may be all the same."""
        guest, conf = self.guest, self.guest.conf
        boot = conf.values.get("boot", "")
        if boot.startswith("order="):
            self.order = _devices(boot)
        conf.hollow = False
        conf.forget(self.change.reverts)
        for key in self.change.deletes:
            self._delete(key)
        refused: Refusal | None = None
        # A drive after the boot order takes the most from whoever writes both.
        for key, value in sorted(self.change.sets.items(), key=lambda pair: pair[0] != "boot"):
            try:
                self._set(key, value)
            except Refusal as refusal:
                refused = refused or refusal
        if refused is not None:
            raise refused
        self._besides()
        conf.clean()
        drop_used(guest)
        errors = self._plug() if guest.running else self._apply()
        drop_used(guest)
        _old_style(guest)
        if errors:
            raise bad(errors)

    def _delete(self, key: str) -> None:
        conf = self.guest.conf
        waits = conf.pending.get(key)
        present = conf.values.get(key, waits)
        if present is None:
            return
        self.modified.add(key)
        if key in self.order:
            self._reorder([device for device in self.order if device != key])
        self.may(key, None)
        if _UNUSED.fullmatch(key):
            self._protected(f"can't remove unused disk '{split_drive(present)[0]}'")
            self._free(key, present)
            conf.drop(key)
        elif DISK.fullmatch(key):
            self._protected(f"can't remove drive '{key}'")
            if waits is not None:
                unuse(self.guest, waits)
            conf.stage_drop(key, force=self.change.force)
        elif key == "tags":
            conf.drop(key)
        else:
            conf.stage_drop(key)

    def _protected(self, words: str) -> None:
        if self.guest.conf.values.get("protection") == "1":
            raise died(f"{words} - protection mode enabled")

    def _free(self, key: str, value: str) -> None:
        volume = split_drive(value)[0]
        if owner(volume) != self.guest.vmid:
            return
        self.may_free(volume)
        drives = of_section("qemu", self.guest.conf.values)
        if in_snapshots(self.guest, volume) or volume in {**drives, key: ""}.values():
            # recorded: 100-snapshots-qemu/236-238. PVE: QemuServer/Drive.pm is_volume_in_use
            raise died(f"unable to delete '{volume}' - volume is still in use (snapshot?)")
        self.guest.sizes.pop(volume, None)

    def _set(self, key: str, value: str) -> None:
        conf = self.guest.conf
        # PVE plugs it even then.
        self.modified.add(key)
        if conf.pending.get(key) == value:
            return
        self.may(key, value)
        if words := unwritable("qemu", key, value):
            raise died(words)
        if DISK.fullmatch(key):
            self._drive(key, value)
        elif key == "boot":
            self._boot(value)
        elif key in ("machine", "vga"):
            _never(key, value)
        if key == "description" and value and not value.strip("\n"):
            conf.hollow = True  # recorded: 9.2 202/051, 053
            return
        printed = self.printer.stored(key, allocated(self.guest, key, value))
        if printed is None:
            conf.stage_drop(key)
        else:
            conf.stage(key, printed)
        if DISK.fullmatch(key) and self.order and key not in self.order and _is_cd(value):
            self._reorder([*self.order, key])

    def _reorder(self, devices: list[str]) -> None:
        # PVE: @bootorder in update_vm_api
        self.order = devices
        self._also("boot", f"order={';'.join(devices)}" if devices else " ")

    def _drive(self, key: str, value: str) -> None:
        conf = self.guest.conf
        if key == "tpmstate0":
            _tpm_version(conf.values.get(key, ""), value)
        refuse_missing(key, value, self.printer.sizes)
        if "cloudinit" in split_drive(value)[0]:
            for other, held in conf.merged().items():
                if other != key and DISK.fullmatch(other) and "cloudinit" in split_drive(held)[0]:
                    raise died(f"{key} - cloud-init drive is already attached at '{other}'")
        if key in conf.pending:
            unuse(self.guest, conf.pending[key])

    def _boot(self, value: str) -> None:
        _, _, order = value.partition("order=")
        after = {**self.guest.conf.values, **self.guest.conf.pending, **self.change.sets}
        for device in filter(None, re.split(r"[;,\s]+", order)):
            if device not in after or device in self.change.deletes:
                # recorded: 10-qemu-roundtrip/157-161
                raise died(f"invalid bootorder: device '{device}' does not exist'")

    def _besides(self) -> None:
        """Stage the keys that PVE changes besides those it was asked for (TRAPS)."""
        change, conf = self.change, self.guest.conf
        merged = conf.merged()
        if change.sets.get("ostype") == "win11" and "machine" not in merged:
            self._also("machine", NEWEST_MACHINE)
        if "order=" in change.sets.get("boot", "") and "bootdisk" in merged:
            conf.stage_drop("bootdisk")
            self.modified.add("bootdisk")

    def _also(self, key: str, value: str) -> None:
        self.guest.conf.stage(key, value)
        self.modified.add(key)

    def _apply(self) -> dict[str, str]:
        """Apply what waits to a guest that is off; return what is wrong, by key."""
        conf, errors = self.guest.conf, {}
        for key in sorted(conf.unset):
            try:
                self._detach(key)
            except Refusal as refusal:
                # recorded: 120-disks-qemu/055, 100-snapshots-qemu/237
                errors[key] = f"unable to apply pending change {key} : {refusal.last_words}\n"
            else:
                conf.drop(key)
        for key, value in list(conf.pending.items()):
            if DISK.fullmatch(key) and key in conf.values:
                unuse(self.guest, conf.values[key])
            conf.put(key, value)
        return errors

    def _detach(self, key: str) -> None:
        conf = self.guest.conf
        if not DISK.fullmatch(key) or key not in conf.values:
            return
        if key in conf.forced:
            self._free(key, conf.values[key])
        else:
            unuse(self.guest, conf.values[key])

    def _plug(self) -> dict[str, str]:
        """Plug what waits into a guest that runs, if it can be; return what is wrong, by key."""
        conf, errors = self.guest.conf, {}
        # PVE reads what may be plugged before it changes anything.
        was = dict(conf.values)
        waiting: dict[str, str | None] = {**conf.pending, **dict.fromkeys(sorted(conf.unset))}
        for key, value in waiting.items():
            if key not in self.modified and not (value is not None and FAST.fullmatch(key)):
                continue
            if words := plug_error(key, value, was):
                errors[key] = f"hotplug problem - {words}"
            elif at_once("qemu", key, value, was):
                self._replace(key, value)
        return errors

    def _replace(self, key: str, value: str | None) -> None:
        conf = self.guest.conf
        if value is None:
            self._detach(key)
            conf.drop(key)
            return
        if DISK.fullmatch(key) and key in conf.values:
            gone = split_drive(conf.values[key])[0]
            if gone != split_drive(value)[0]:
                unuse(self.guest, conf.values[key])
        if key == "memory":
            value = plugged_memory(value, conf.values)
        conf.put(key, value)


def _never(key: str, value: str) -> None:
    # recorded: 9.2 202/333-354
    option = lookup("qemu", key)
    if option and value and (words := never_settles(option, value)):
        raise died(words)


def _tpm_version(old: str, new: str) -> None:
    # PVE: qemu-server API2/Qemu.pm prohibit_tpm_version_change
    if not old or not new:
        return
    (had, was), (gets, becomes) = split_drive(old), split_drive(new)
    if had == gets and was.get("version", "v1.2") != becomes.get("version", "v1.2"):
        raise died("cannot change TPM state version after creation")


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


def _devices(order: str) -> list[str]:
    return [device for device in re.split(r"[;,\s]+", order.removeprefix("order=")) if device]


def _is_cd(drive: str) -> bool:
    # PVE: QemuServer/Drive.pm drive_is_cdrom and drive_is_cloudinit
    file, parts = split_drive(drive)
    cloudinit = re.search(r"[:/](?:vm-\d+-)?cloudinit(?:\.\w+)?$", file)
    return parts.get("media") == "cdrom" and cloudinit is None
