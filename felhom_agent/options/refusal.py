"""What an agent must not send, although the schema would let it pass.

The reasons are kept apart. Some values PVE refuses or turns into another whoever sends them
(`settling`), and some cannot be undone (`for_good`): such a declaration is wrong, and told so when
its file is loaded. A mask is no password (`mask`): it is wrong only where it would be written.
And some *PVE gives to root alone* (`beyond_token`), so that an agent on an API token would fail for
ever: those may be declared, and are compared. Some lose data at the next stop or crash
(`dangerous`). Each function returns the reason, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.special import MASK, RESERVED_TAG, Tags
from felhom_agent.options.table import Option
from felhom_agent.options.volume import Volume

_Judge = Callable[[Mapping[str, str]], str]

_DRIVES: Final = ("ide", "sata", "scsi", "virtio", "efidisk0", "tpmstate0")
# PVE: qemu-server QemuServer/Drive.pm print_drivedevice_full: QEMU drops all that was written to a
# `snapshot` drive when the guest stops; unsafe caches never flush; errors that are ignored are told
# to nobody
_DANGEROUS: Final[Mapping[str, frozenset[str]]] = {
    "snapshot": frozenset({"1"}),
    "cache": frozenset({"unsafe"}),
    "rerror": frozenset({"ignore"}),
    "werror": frozenset({"ignore"}),
}


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
    if kind:
        return f"mount point type {kind} is only allowed for root@pam"
    # PVE: pve-storage Storage.pm check_volume_access, of which root is not asked
    if Volume(volume).content:
        return "only root can mount a volume whose content type is not 'rootdir'"
    return ""


def _drive(parts: Mapping[str, str]) -> str:
    # recorded: 120-disks-qemu/032
    if any(parts.get(name, "").startswith("/") for name in ("file", "import-from")):
        return "Only root can pass arbitrary filesystem paths."
    # recorded: 120-disks-qemu: the host's own drive needs Sys.Console on /
    return "the host's CD drive needs Sys.Console on /" if parts.get("file") == "cdrom" else ""


_JUDGES: Final[Mapping[str, _Judge]] = {
    "serial": _serial,
    "usb": _usb,
    "hostpci": _hostpci,
    "features": _features,
    "rootfs": _mount,
    "mp": _mount,
    **dict.fromkeys(_DRIVES, _drive),
}
