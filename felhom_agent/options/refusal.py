"""What an agent must not send, although the schema would let it pass.

The reasons are kept apart: some values *harm* whoever sends them, some are *for good*, and some
*PVE gives to root alone*, so that an agent on an API token would fail for ever. Each function
returns the reason in words, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.special import MASK
from felhom_agent.options.table import Option

_Judge = Callable[[Mapping[str, str]], str]


def harm(option: Option, wire: str) -> str:
    """Given a valid value, return why sending it does harm; empty if it does none."""
    if option.secret and wire.strip() == MASK:
        return "this is the mask that PVE shows instead of a password, not a password"
    parts = _parts(option, wire)
    # PVE: qemu-server Drive.pm parse_drive divides the wrong value: bps becomes mbps=0.000
    for key in ("bps", "bps_rd", "bps_wr"):
        if key in parts:
            return f"PVE turns {key} into m{key}=0.000; declare m{key} instead"
    return ""


def for_good(option: Option, wire: str) -> str:
    """Given a valid value, return why it is not set although PVE would; empty if it can be undone.

    A guest that has the value already is as declared.
    """
    if option.name == "template" and wire == "1":
        return "PVE never makes a guest of a template again; make it one by hand"
    return ""


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
    if host and host.lower() != "spice":
        return "only root can set '{key}' config for real devices"
    return "" if host or "mapping" in parts else "either 'host' or 'mapping' must be set."


def _hostpci(parts: Mapping[str, str]) -> str:
    if "host" in parts:
        return "only root can set '{key}' config for non-mapped devices"
    if "mapping" not in parts:
        return "either 'host' or 'mapping' must be set."
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


_JUDGES: Final[Mapping[str, _Judge]] = {
    "serial": _serial,
    "usb": _usb,
    "hostpci": _hostpci,
    "features": _features,
    "rootfs": _mount,
    "mp": _mount,
    **dict.fromkeys(("ide", "sata", "scsi", "virtio", "efidisk0", "tpmstate0"), _drive),
}
