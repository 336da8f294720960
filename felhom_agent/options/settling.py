"""Whether PVE keeps a value that its schema takes: what it refuses beyond it, or makes another of.

PVE's schema judges the parts of a value one by one. Its code then judges them together, and reads
back what it has stored: `never_settles` says what comes of that, whoever sends the value, so that a
declaration is refused when its file is loaded. Where PVE refuses, the words are its own. The rules
of drives are in `drivesettling`; tests/data/verdicts.jsonl has PVE's verdicts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from operator import itemgetter
from typing import Final

from felhom_agent.options.drivesettling import drive_settles
from felhom_agent.options.formats import Invalid, split_list, volume_id
from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.special import Description
from felhom_agent.options.table import Option
from felhom_agent.options.types import Number, Text, Words
from felhom_agent.options.volumename import unreadable

_Judge = Callable[[Mapping[str, str]], str]

_NO_DEVICE: Final = "either 'host' or 'mapping' must be set."
# Rewritten by PVE before they are stored, or encoded
_SEVERAL_LINES: Final = frozenset({"description", "sshkeys", "tags"})
# Written as other lines than NAME: VALUE, or as a hash
_NEVER_LAST: Final = frozenset({"env", "cipassword"})
_MARK: Final = re.compile(r"snapstate:\s*(?:prepare|delete)\s*$")
_MAX_INTEGER: Final = 2**64
_MAX_DIGITS: Final = 18
# PVE: qemu-server QemuServer.pm assert_clipboard_config
_HAS_CLIPBOARD: Final = ("std", "cirrus", "vmware", "virtio", "qxl")


def never_settles(option: Option, wire: str) -> str:
    """Given a valid value, return why PVE refuses or changes it; empty if it keeps it."""
    if option.name == "smp":
        # PVE: qemu-server QemuServer.pm write_vm_config drops it; recorded: 9.2 202/001-008
        return "PVE never stores 'smp': it turns it into sockets and forgets cores; declare sockets"
    if why := _description(option, wire) if option.name == "description" else "":
        return why
    several = option.name in _SEVERAL_LINES or option.name.startswith("lxc.")
    if re.search(r"[\r\n]", wire) and not several:
        # PVE: qemu-server QemuServer.pm check_type; pve-container write_pct_config
        return "PVE keeps a value on one line, and refuses a line feed in it"
    if isinstance(option.type, Number):
        return _number_settles(option.type, wire)
    named = several or option.name in _NEVER_LAST
    if isinstance(option.type, (Text, Words)) and not named and _MARK.search(wire):
        # PVE: qemu-server parse_vm_config, pve-container parse_pct_config look for it in any line
        return "PVE takes a value with such an end for a snapshot's mark, and loses it"
    if isinstance(option.type, PropertyString):
        return _parts_settle(option, option.type, wire)
    return _SCALARS[option.name](wire) if option.name in _SCALARS else ""


def _description(option: Option, wire: str) -> str:
    # PVE: qemu-server parse_vm_config cuts all blanks at its end, pve-container's none; to
    # write_vm_config and write_pct_config what is left is false
    text = (
        wire.rstrip() if isinstance(option.type, Description) and not option.type.newline else wire
    )
    return "PVE takes a description of '0' for none" if text == "0" else ""


def _number_settles(kind: Number, wire: str) -> str:
    # PVE: Perl makes a float of it, written as 1e+20, which is no number to it when it reads it
    whole = re.fullmatch(r"\+?([0-9]{19,60})", wire) if kind.integer else None
    too_large = whole and int(whole[1]) >= _MAX_INTEGER
    return f"PVE keeps no number from {_MAX_INTEGER} on" if too_large else ""


def _parts_settle(option: Option, kind: PropertyString, wire: str) -> str:
    parts = kind.split(wire)
    # PVE: QemuServer/Drive.pm print_drive: a drive is stored with its size, its parts in order
    drive = option.family in _DRIVES
    if why := _loses_its_end(kind, kind.print({"size": "1G"} | parts) if drive else wire):
        return why
    if drive:
        return drive_settles(option.family, parts)
    judge = _SETTLING.get(option.family)
    return judge(parts) if judge else ""


def _loses_its_end(kind: PropertyString, stored: str) -> str:
    # PVE: qemu-server parse_vm_config, pve-container parse_pct_config cut the line's end
    if stored == stored.rstrip() or not stored.strip():
        return ""
    try:
        same = kind.same(stored, stored.rstrip())
    except Invalid:
        same = False
    return "" if same else "PVE cuts blanks off the end of a value; take them out"


def _searchdomain(wire: str) -> str:
    # PVE: qemu-server QemuServer.pm check_type takes them away, of an option without a format
    return "PVE takes the quotes around it away" if re.fullmatch('".*"', wire.strip()) else ""


def _device_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server API2/Qemu.pm check_usb_perm, check_hostpci_perm
    return "" if "host" in parts or "mapping" in parts else _NO_DEVICE


def _machine_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server Machine.pm assert_valid_machine_property
    bits, viommu = parts.get("aw-bits"), parts.get("viommu")
    if bits and not viommu:
        return "cannot set aw-bits if no vIOMMU is configured"
    if viommu != "intel":
        return ""
    if "q35" not in parts.get("type", ""):
        return "to use Intel vIOMMU please set the machine type to q35"
    return "" if not bits or float(bits) in {39, 48} else (
        "Intel vIOMMU supports only 39 or 48 bits as address width"
    )  # fmt: skip


def _vga_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server QemuServer.pm assert_clipboard_config; a display of no type is `std`
    display = parts.get("type", "")
    if parts.get("clipboard") != "vnc" or not display or display.startswith(_HAS_CLIPBOARD):
        return ""
    return f"vga type {display} is not compatible with VNC clipboard"


def _boot_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server API2/Qemu.pm update_vm_api prints the order alone
    if "legacy" in parts and "order" in parts:
        return "PVE forgets the letters beside an order; declare the order alone"
    if "order" in parts and not split_list(parts["order"]):
        return "the order names no device; for none declare boot = []"
    return ""


def _sides_meet(parts: Mapping[str, str]) -> str:
    for key in ("cpus", "hostnodes", "trunks"):
        for low, _, high in (word.partition("-") for word in parts.get(key, "").split(";")):
            # PVE stores both, and no guest starts with either: QEMU refuses them
            if max(len(low), len(high)) > _MAX_DIGITS:
                return f"{key} has a number that is too large"
            if high and int(high) < int(low):
                return f"{key}: the range {low}-{high} ends before it begins"
    return ""


def _container_net_settles(parts: Mapping[str, str]) -> str:
    if "bridge" not in parts:
        # PVE: pve-container LXC.pm update_lxc_config asks for the bridge's MTU (since 5.0.1; with
        # `mtu` update_pct_config before it): "bridge '' does not exist"; recorded: 9.2 202/503-506
        return "must have bridge: the host's bridge that the card is on, like vmbr0"
    # PVE: pve-container LXC/Config.pm update_pct_config
    managed = parts.get("host-managed") == "1" and parts.get("link_down") != "1"
    if managed and parts.get("ip6") == "auto":
        return "SLAAC is not supported for host-managed network configuration."
    return ""


def _net_settles(parts: Mapping[str, str]) -> str:
    return _sides_meet(parts) if "model" in parts else _container_net_settles(parts)


def _path_settles(parts: Mapping[str, str]) -> str:
    # PVE: pve-container LXC/Config.pm parse_device
    return "" if "path" in parts else "must have path: a device's path like /dev/ttyUSB0"


def _mount_settles(parts: Mapping[str, str]) -> str:
    return _is_mounted(parts.get("volume", "")) or _ids_mapped_twice(parts)


def _is_mounted(volume: str) -> str:
    # PVE: pve-container LXC/Config.pm update_pct_config, classify_mountpoint
    if not volume.startswith("/"):
        try:
            volume_id(volume)
        except Invalid:
            return "the volume must be STORAGE:VOLUME, STORAGE:SIZE or a path"
    if volume.endswith(":cloudinit"):
        return "a container has no cloud-init drive"
    return unreadable(volume)


def _ids_mapped_twice(parts: Mapping[str, str]) -> str:
    """Return the first of a volume's id mappings that maps an id twice, in PVE's words."""
    # PVE: pve-container LXC.pm validate_id_maps
    words = [entry.split(":") for entry in parts.get("idmap", "").split(";") if ":" in entry]
    entries = [(kind, int(inside), int(host), int(count)) for kind, inside, host, count in words]
    for kind in ("u", "g"):
        for column, side in ((1, "container"), (2, "host")):
            same = sorted((e for e in entries if e[0] == kind), key=itemgetter(column))
            for one, two in pairwise(same):
                if int(one[column]) + one[3] > int(two[column]):
                    return (
                        f"invalid map entry '{_spelled(two)}': {side} {kind}id {two[column]} "
                        f"is also mapped by entry '{_spelled(one)}'"
                    )
    return ""


def _spelled(entry: tuple[object, ...]) -> str:
    return " ".join(map(str, entry))


_DRIVES: Final = ("ide", "sata", "scsi", "virtio", "efidisk0", "tpmstate0")
_SETTLING: Final[Mapping[str, _Judge]] = {
    "usb": _device_settles,
    "hostpci": _device_settles,
    "machine": _machine_settles,
    "vga": _vga_settles,
    "boot": _boot_settles,
    "numa": _sides_meet,
    "net": _net_settles,
    "dev": _path_settles,
    "rootfs": _mount_settles,
    "mp": _mount_settles,
}
_SCALARS: Final[Mapping[str, Callable[[str], str]]] = {"searchdomain": _searchdomain}
