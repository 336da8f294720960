"""Which keys change a running guest at once, and which wait for its next stop.

recorded: 30-running-qemu/004-071, 31-running-lxc/004-028; disks and cards by 120-disks-qemu.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_AT_ONCE = {
    "qemu": frozenset(
        {
            "onboot", "description", "tags", "protection", "name", "startup", "hotplug", "shares",
            "cpuunits", "cpulimit", "lock", "hookscript", "vmstatestorage",
        }
    ),
    "lxc": frozenset(
        {
            "onboot", "description", "tags", "protection", "hostname", "memory", "swap", "cores",
            "cpuunits", "cpulimit", "startup", "lock", "hookscript",
        }
    ),
}  # fmt: skip

_DEFAULT_HOTPLUG = "network,disk,usb"

_FEATURE = (
    ("network", re.compile(r"net\d+")),
    ("disk", re.compile(r"(scsi|virtio)\d+")),
    ("usb", re.compile(r"usb\d+")),
    ("cpu", re.compile(r"vcpus")),
    ("memory", re.compile(r"memory")),
)


def at_once(kind: str, key: str, value: str | None, config: Mapping[str, str]) -> bool:
    """Given a key of a running guest and its new value (None: it goes), say if it applies now."""
    if key in _AT_ONCE[kind] or key.startswith("unused"):
        return True
    if kind == "lxc":
        return bool(re.fullmatch(r"(net|mp)\d+", key))
    if key == "balloon":
        return value not in (None, "0")
    return _pluggable(key, config)


def _pluggable(key: str, config: Mapping[str, str]) -> bool:
    feature = next((name for name, keys in _FEATURE if keys.fullmatch(key)), None)
    if feature is None:
        return False
    if feature in ("cpu", "memory") and config.get("numa", "0") != "1":
        return False
    allowed = config.get("hotplug", _DEFAULT_HOTPLUG)
    if allowed.strip() in ("", "0"):
        return False
    return feature in (_DEFAULT_HOTPLUG if allowed == "1" else allowed).split(",")
