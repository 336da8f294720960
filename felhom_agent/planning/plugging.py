"""What a running guest's values say about what can be plugged into it, read as PVE reads them.

Pure and without an opinion: `effects` decides. Values are the texts that are in effect; a value
that nobody can take apart has no parts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

from felhom_agent.model import Kind
from felhom_agent.options import Invalid, PropertyString, lookup
from felhom_agent.options.types import Text

_DEFAULT = "network,disk,usb"
# PVE: pve-common Tools.pm split_list
_SEPARATORS = re.compile(r"[,;\s\0]+")
# PVE: qemu-server Machine.pm extract_version_parts
_MACHINE = re.compile(r"(?:pc(?:-i440fx|-q35)?|virt)-(\d+)\.(\d+)")
_CREATED = re.compile(r"(?:^|,)creation-qemu=(\d+)\.(\d+)")
_USB_SINCE = (7, 1)
_PINNED, _KEPT_SINCE = (5, 1), (9, 1)


def features(hotplug: str | None) -> frozenset[str]:
    """Given a VM's hotplug setting (None: it has none), return what may be plugged.

    PVE: qemu-server QemuServer.pm parse_hotplug_features
    """
    if hotplug == "0":
        return frozenset()
    text = _DEFAULT if hotplug in (None, "1") else hotplug
    return frozenset(in_list(text))


def takes_usb(present: Mapping[str, str]) -> bool:
    """Given what is in effect of a VM, return whether USB devices are plugged while it runs.

    PVE: qemu-server QemuServer.pm $is_usb_hotplug_supported
    """
    windows = re.fullmatch(r"win(\d+)", present.get("ostype", ""))
    known = present.get("ostype") == "l26" or (windows is not None and int(windows[1]) > 7)
    version = _machine_version(present, windows=windows is not None)
    return known and (version is None or version >= _USB_SINCE)


def _machine_version(present: Mapping[str, str], *, windows: bool) -> tuple[int, int] | None:
    """Return the version of a VM's machine; None if it is the newest that the node has.

    A Windows VM whose machine has none keeps the one that it was created with, where PVE knows that
    and it is not too old (PVE: qemu-server QemuServer/Machine.pm get_vm_machine).
    """
    machine = parts_of(Kind.QEMU, "machine", present.get("machine")).get("type", "")
    if version := _MACHINE.match(machine):
        return int(version[1]), int(version[2])
    if not windows:
        return None
    created = _CREATED.search(present.get("meta", ""))
    version_then = (int(created[1]), int(created[2])) if created else _PINNED
    return version_then if version_then >= _KEPT_SINCE else _PINNED


def cpus_in_effect(present: Mapping[str, str]) -> int:
    """Given what is in effect of a VM, return how many processors it can have at most."""
    return whole(present.get("sockets"), 1) * whole(present.get("cores"), 1)


def mebibytes(memory: str | None) -> int:
    """Given a VM's memory as stored ("2048", "current=2048"; None: it has none), return MiB."""
    return whole(memory, 512)


def whole(text: str | None, default: int) -> int:
    """Given a text, return the first whole number in it, or the default."""
    found = re.search(r"\d+", text or "")
    return int(found[0]) if found else default


def boot_disks(present: Mapping[str, str]) -> frozenset[str]:
    """Given what is in effect of a VM, return the devices that it boots from.

    PVE: qemu-server QemuServer/Drive.pm get_bootdisks
    """
    boot = present.get("boot", "")
    parts = parts_of(Kind.QEMU, "boot", boot)
    if not boot or "legacy" in parts:
        return frozenset(filter(None, [present.get("bootdisk", "")]))
    return frozenset(in_list(parts.get("order", "")))


def in_list(text: str) -> list[str]:
    """Given a list as PVE writes it, return what is in it."""
    return [word for word in _SEPARATORS.split(text) if word]


def parts_of(kind: Kind, key: str, value: str | None) -> dict[str, str]:
    """Given a property string (None: the key is absent), return the text of each part."""
    option = lookup(kind, key)
    if option is None or not isinstance(option.type, PropertyString) or value is None:
        return {}
    try:
        return option.type.split(value)
    except Invalid:
        return {}


def changed_parts(kind: Kind, key: str, before: str | None, after: str | None) -> frozenset[str]:
    """Given two values of a key, return the parts in which PVE sees a difference.

    A part that is absent differs from one that says the default: PVE compares the texts
    (pve-guest-common safe_string_ne, safe_num_ne), after booleans and numbers were read; so a MAC
    address in other letters is another one.
    """
    old, new = _read(kind, key, before), _read(kind, key, after)
    return frozenset(part for part in {*old, *new} if old.get(part) != new.get(part))


def _read(kind: Kind, key: str, value: str | None) -> dict[str, Hashable]:
    option = lookup(kind, key)
    parts = parts_of(kind, key, value)
    if option is None or not isinstance(option.type, PropertyString):
        return dict(parts)
    if key == "agent" and option.type.parts(value or "").get("enabled") != 1:
        # PVE: qemu-server QemuServer.pm parse_guest_agent: the parts of a disabled one do not count
        return {}
    return {part: _meaning(option.type, part, text) for part, text in parts.items()}


def _meaning(type_: PropertyString, part: str, text: str) -> Hashable:
    known = type_.keys.get(part)
    try:
        return text if known is None or isinstance(known.type, Text) else known.type.meaning(text)
    except Invalid:
        return text
