"""What an agent must not send, although the schema would let it pass.

The reasons are kept apart. Some values PVE refuses or turns into another whoever sends them
(`never_settles`), and some cannot be undone (`for_good`): such a declaration is wrong, and told so
when its file is loaded. A mask is no password (`mask`): it is wrong only where it would be written.
And some *PVE gives to root alone* (`beyond_token`), so that an agent on an API token would fail for
ever: those may be declared, and are compared. Some lose data at the next stop or crash
(`dangerous`). Each function returns the reason, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.special import MASK, RESERVED_TAG, Tags
from felhom_agent.options.table import Option
from felhom_agent.options.volume import Volume

_Judge = Callable[[Mapping[str, str]], str]

_DRIVES: Final = ("ide", "sata", "scsi", "virtio", "efidisk0", "tpmstate0")
_NO_DEVICE: Final = "either 'host' or 'mapping' must be set."
# PVE: qemu-server QemuServer/Drive.pm parse_drive
_NEEDS: Final[Mapping[str, str]] = {
    **{f"mbps{way}_max": f"mbps{way}" for way in ("", "_rd", "_wr")},
    **{f"bps{way}_max_length": f"mbps{way}_max" for way in ("", "_rd", "_wr")},
    **{f"iops{way}_max_length": f"iops{way}_max" for way in ("", "_rd", "_wr")},
}
# Rewritten by PVE before they are stored, or encoded
_SEVERAL_LINES: Final = frozenset({"description", "sshkeys", "tags"})
_EITHER: Final = tuple(
    (f"{unit}{way}", unit) for unit in ("mbps", "iops") for way in ("_rd", "_wr")
)
# PVE: qemu-server QemuServer/Drive.pm print_drivedevice_full: QEMU drops all that was written to a
# `snapshot` drive when the guest stops; unsafe caches never flush; errors that are ignored are told
# to nobody
_DANGEROUS: Final[Mapping[str, frozenset[str]]] = {
    "snapshot": frozenset({"1"}),
    "cache": frozenset({"unsafe"}),
    "rerror": frozenset({"ignore"}),
    "werror": frozenset({"ignore"}),
}
_NOT_OF_A_CD: Final = ("snapshot", "format")


def never_settles(option: Option, wire: str) -> str:
    """Given a valid value, return why PVE refuses or changes it; empty if it keeps it."""
    if option.name == "smp":
        # PVE: qemu-server QemuServer.pm write_vm_config drops it; recorded: 9.2 202/001-008
        return "PVE never stores 'smp': it turns it into sockets and forgets cores; declare sockets"
    if option.name == "description" and wire == "0":
        # PVE: qemu-server write_vm_config, pve-container write_pct_config: Perl takes it for false
        return "PVE takes a description of '0' for none"
    several = option.name in _SEVERAL_LINES or option.name.startswith("lxc.")
    if re.search(r"[\r\n]", wire) and not several:
        # PVE: qemu-server QemuServer.pm check_type; pve-container write_pct_config
        return "PVE keeps a value on one line, and refuses a line feed in it"
    judge = _SETTLING.get(option.family)
    return judge(_parts(option, wire)) if judge else ""


def mask(option: Option, wire: str) -> str:
    """Given a valid value, return why it is no password; empty unless it is PVE's mask of one."""
    if option.secret and wire.strip() == MASK:
        return "this is the mask that PVE shows instead of a password, not a password"
    return ""


def for_good(option: Option, wire: str) -> str:
    """Given a valid value, return why it is not set although PVE would; empty if it can be undone.

    A guest that has the value already is as declared.
    """
    if option.name == "template" and wire == "1":
        return "PVE never makes a guest of a template again; make it one by hand"
    return ""


def reserved(option: Option, wire: str) -> str:
    """Given a valid value, return why nobody declares it; empty if it may be declared."""
    found = sorted(option.type.reserved(wire)) if isinstance(option.type, Tags) else []
    if not found:
        return ""
    return f"a tag that begins with {RESERVED_TAG} is not declared: it is set in PVE ({found[0]})"


def dangerous(option: Option, wire: str) -> tuple[str, ...]:
    """Given a valid value, return the parts of it with which data is lost at a stop or a crash."""
    parts = _parts(option, wire)
    return tuple(part for part, values in _DANGEROUS.items() if parts.get(part) in values)


def lost_by_unset(option: Option) -> str:
    """Return what would be lost for good without the option; empty if nothing would be."""
    if option.family == "net":
        return "would drop the card and its MAC address; remove the card by hand"
    return ""


def beyond_token(option: Option, key: str, wire: str) -> str:
    """Given a valid value, return PVE's words if no API token may set it; empty if one may."""
    if option.token_never:
        return option.token_never
    judge = _JUDGES.get(option.family)
    return judge(_parts(option, wire) or {"": wire}).format(key=key) if judge else ""


def _parts(option: Option, wire: str) -> dict[str, str]:
    return option.type.split(wire) if isinstance(option.type, PropertyString) else {}


def _drive_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server Drive.pm parse_drive divides the wrong value: bps becomes mbps=0.000
    for key in ("bps", "bps_rd", "bps_wr"):
        if key in parts:
            return f"PVE turns {key} into m{key}=0.000; declare m{key} instead"
    return _drive_parts_clash(parts) or _is_bare_iso(parts) or _imports_nothing(parts)


def _drive_parts_clash(parts: Mapping[str, str]) -> str:
    """Return why PVE could not read the parts of a drive together ("unable to parse")."""
    set_to = {key for key, text in parts.items() if text not in {"0", ""}}
    for key, needed in _NEEDS.items():
        if key in set_to and needed not in set_to:
            return f"unable to parse drive options: {key} requires {needed}"
    for key, other in _EITHER:
        if {key, other} <= set_to:
            return f"unable to parse drive options: {key} and {other} exclude each other"
    for key in _NOT_OF_A_CD:
        if parts.get("media") == "cdrom" and key in set_to:
            return f"unable to parse drive options: a CD drive has no {key}"
    return ""


def _is_bare_iso(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server API2/Qemu.pm check_drive_param
    bare = Volume(parts.get("file", "")).is_iso and parts.get("media") != "cdrom"
    return "explicit 'media=cdrom' is required for iso images" if bare else ""


def _imports_nothing(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server API2/Qemu.pm check_drive_param
    if "import-from" not in parts or Volume(parts.get("file", "")).new_bytes == 0:
        return ""
    return "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"


def _virtio_settles(parts: Mapping[str, str]) -> str:
    if parts.get("media") == "cdrom" or Volume(parts.get("file", "")).is_cdrom:
        return "unable to parse drive options: virtio has no CD drives"
    return _drive_settles(parts)


def _device_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server API2/Qemu.pm check_usb_perm, check_hostpci_perm
    return "" if "host" in parts or "mapping" in parts else _NO_DEVICE


def _machine_settles(parts: Mapping[str, str]) -> str:
    # PVE: qemu-server Machine.pm assert_valid_machine_property
    bits = parts.get("aw-bits")
    if bits and "viommu" not in parts:
        return "cannot set aw-bits if no vIOMMU is configured"
    if parts.get("viommu") != "intel":
        return ""
    if "q35" not in parts.get("type", ""):
        return "to use Intel vIOMMU please set the machine type to q35"
    return "" if bits in {None, "39", "48"} else (
        "Intel vIOMMU supports only 39 or 48 bits as address width"
    )  # fmt: skip


def _serial(parts: Mapping[str, str]) -> str:
    real = parts[""] != "socket"
    return "only root can modify '{key}' config for real devices" if real else ""


def _usb(parts: Mapping[str, str]) -> str:
    host = parts.get("host", "")
    real = host and host.lower() != "spice"
    return "only root can set '{key}' config for real devices" if real else ""


def _hostpci(parts: Mapping[str, str]) -> str:
    if "host" in parts:
        return "only root can set '{key}' config for non-mapped devices"
    return "only root@pam can set 'romfile' option" if "romfile" in parts else ""


def _features(parts: Mapping[str, str]) -> str:
    # PVE: pve-container LXC.pm check_ct_modify_config_perm: `fuse=0` counts as a change too
    others = set(parts) - {"nesting", ""}
    words = "changing feature flags (except nesting) is only allowed for root@pam"
    return words if others else ""


def _mount(parts: Mapping[str, str]) -> str:
    volume = parts.get("volume", "")
    # recorded: 121-disks-lxc/002-004
    kind = "device" if volume.startswith("/dev/") else "bind" if volume.startswith("/") else ""
    return f"mount point type {kind} is only allowed for root@pam" if kind else ""


def _drive(parts: Mapping[str, str]) -> str:
    # recorded: 120-disks-qemu/032
    if any(parts.get(name, "").startswith("/") for name in ("file", "import-from")):
        return "Only root can pass arbitrary filesystem paths."
    # recorded: 120-disks-qemu: the host's own drive needs Sys.Console on /
    return "the host's CD drive needs Sys.Console on /" if parts.get("file") == "cdrom" else ""


_SETTLING: Final[Mapping[str, _Judge]] = {
    "usb": _device_settles,
    "hostpci": _device_settles,
    "machine": _machine_settles,
    **dict.fromkeys(_DRIVES, _drive_settles),
    "virtio": _virtio_settles,
}
_JUDGES: Final[Mapping[str, _Judge]] = {
    "serial": _serial,
    "usb": _usb,
    "hostpci": _hostpci,
    "features": _features,
    "rootfs": _mount,
    "mp": _mount,
    **dict.fromkeys(_DRIVES, _drive),
}
