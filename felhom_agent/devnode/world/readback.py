"""What PVE makes of a value before it stores it, which is what it answers ever after.

Most values are stored as they were typed; the few that PVE rewrites are here. Each rule names
the recording or the source it was taken from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from felhom_agent.devnode.world.schema import type_word
from felhom_agent.options import PropertyString, lookup
from felhom_agent.options.types import Boolean

DISK = re.compile(r"(ide|sata|scsi|virtio|efidisk|tpmstate)\d+|rootfs|mp\d+")

_NET_MODELS = (
    "e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b",
    "i82559er", "ne2k_isa", "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3",
)  # fmt: skip


_UNQUOTED: Mapping[str, tuple[str, ...]] = {"qemu": ("ciuser", "args"), "lxc": ()}
_WORDS: Mapping[str, tuple[str, ...]] = {"qemu": (), "lxc": ("nameserver", "searchdomain")}
_MARK = re.compile(r"snapstate:\s*(?:prepare|delete)\s*$")


@dataclass(frozen=True)
class TagStyle:
    """The `tag-style` of datacenter.cfg, as far as it changes what is stored."""

    case_sensitive: bool = False
    keep_order: bool = False


@dataclass(frozen=True)
class Printer:
    """Prints values as PVE does for a guest; `mac` invents an address, `sizes` has the volumes."""

    kind: str
    tag_style: TagStyle
    mac: Callable[[], str]
    sizes: Mapping[str, str]

    def stored(self, key: str, value: str) -> str | None:
        """Given what was written, return what is stored; None where the key goes."""
        if key == "description":
            return description(self.kind, value)
        if key == "tags":
            return tags(value, self.tag_style) or " "
        if not value.strip():
            # recorded: 13-lxc-roundtrip-root/005; an empty string reads back as one blank.
            return " "
        if key not in {"env", "cipassword"} and _MARK.search(value):
            # PVE: parse_vm_config, parse_pct_config take its line for a snapshot's state
            return None
        return self._printed(key, value).strip() or " "

    def _printed(self, key: str, value: str) -> str:
        if key == "cpuunits":
            # recorded: 9.2 202/311-332, cgroup v2
            return str(min(int(value), 10000)) if self.kind == "qemu" else _clamped(value)
        if key == "cipassword":
            return _hashed(value, self.mac())
        if re.fullmatch(r"net\d+", key):
            return self._net(value)
        if DISK.fullmatch(key) and key != "rootfs":
            return drive(value, self.sizes, self._switches(key))
        if key in _UNQUOTED[self.kind]:
            return unquoted(value)
        if key == "env":
            return "\0".join(line.strip() for line in value.split("\0") if line)
        if key in _WORDS[self.kind]:
            # PVE: LXC.pm verify_nameserver_list, verify_searchdomain_list
            return " ".join(filter(None, re.split(r"[,;\s]+", value)))
        if type_word(self.kind, key) == "integer":
            return str(int(value))  # recorded: 10-qemu-roundtrip/087-100; "02" becomes 2
        return value

    def _net(self, value: str) -> str:
        if self.kind == "lxc":
            return net_lxc(value, self.mac)
        return net_qemu(value, self.mac, self._switches("net0"))

    def _switches(self, key: str) -> frozenset[str]:
        """Return the parts of an option that are on or off, which PVE prints as 1 and 0."""
        option = lookup(self.kind, key)
        if option is None or not isinstance(option.type, PropertyString):
            return frozenset()
        parts = option.type.keys.items()
        return frozenset(name for name, part in parts if isinstance(part.type, Boolean))


def _clamped(units: str) -> str:
    return "10000" if int(units) > 10000 else units


def description(kind: str, value: str) -> str | None:
    """Given a description, return it as it is stored; None if nothing is left of it.

    QEMU cuts all white space at the end, LXC has exactly one newline there.
    recorded: 14-fixpoints/001.
    """
    kept = value.rstrip() if kind == "qemu" else value
    if kept == "0":
        return None  # PVE: write_vm_config, write_pct_config: Perl takes it for false
    if kind == "qemu":
        return kept or None
    kept = value.rstrip("\n")
    return kept + "\n" if kept else None


def unquoted(value: str) -> str:
    """Given a text of no format, return it as PVE reads it back: quotes go twice.

    PVE: qemu-server QemuServer.pm check_type, called by write_vm_config and parse_vm_config.
    """
    for _ in range(2):
        value = re.sub(r'^"(.*)"$', r"\1", value.strip())
    return value


def tags(value: str, style: TagStyle) -> str:
    """Given tags in any of PVE's separators, return them as stored. recorded: 14-fixpoints/003."""
    words = [w if style.case_sensitive else w.lower() for w in re.split(r"[,;\s]+", value) if w]
    unique = list(dict.fromkeys(words))
    return ";".join(unique if style.keep_order else sorted(unique))


def net_qemu(value: str, mac: Callable[[], str], switches: frozenset[str] = frozenset()) -> str:
    """Given a VM's network card, print the model first, with its address, the rest sorted.

    recorded: 12-qemu-roundtrip-root/013-016, 9.2 202/383-392.
    """
    parts = _switched(_parts(value, "model"), switches)
    model, address = parts.pop("model", ""), parts.pop("macaddr", "")
    for name in _NET_MODELS:
        if name in parts:
            model, address = name, parts.pop(name)
    return _joined([f"{model}={address or mac()}"], parts)


def net_lxc(value: str, mac: Callable[[], str]) -> str:
    """Given a container's network card, print the name first, address and type added.

    recorded: 13-lxc-roundtrip-root/006-008.
    """
    parts = _parts(value, "name")
    parts.setdefault("hwaddr", mac())
    parts.setdefault("type", "veth")
    return _joined([f"name={parts.pop('name', '')}"], parts)


def drive(value: str, sizes: Mapping[str, str], switches: frozenset[str] = frozenset()) -> str:
    """Given a drive, print its volume first, then the mount point of a container's, and the size
    the volume really has.

    recorded: 120-disks-qemu/018-023, 10-qemu-roundtrip/201-202, 9.2 202/443-458, 524.
    """
    volume, parts = split_drive(value)
    parts = _switched(parts, switches)
    first = [volume, f"mp={parts.pop('mp')}"] if "mp" in parts else [volume]
    parts.pop("size", None)
    for key in ("bps", "bps_rd", "bps_wr"):
        if parts.pop(key, None):
            parts[f"m{key}"] = "0.000"  # PVE: Drive.pm parse_drive divides the wrong value
    if volume in ("none", "cdrom"):
        parts.setdefault("media", "cdrom")  # recorded: 9.2 202/511-548
    if volume in sizes and "cloudinit" not in volume:
        parts["size"] = sizes[volume]
    return _joined(first, parts)


def _switched(parts: dict[str, str], switches: frozenset[str]) -> dict[str, str]:
    # PVE: JSONSchema.pm parse_boolean
    on, off = ("1", "on", "yes", "true"), ("0", "off", "no", "false")
    words = {**dict.fromkeys(on, "1"), **dict.fromkeys(off, "0")}
    return {
        key: words.get(value.lower(), value) if key in switches else value
        for key, value in parts.items()
    }


def split_drive(value: str) -> tuple[str, dict[str, str]]:
    """Given a drive, return its volume and its other options."""
    parts = _parts(value, "volume")
    volume = parts.pop("file", "") or parts.pop("volume", "")
    parts.pop("volume", None)
    return volume, parts


def split(value: str) -> dict[str, str]:
    """Given a property string, return its parts; a part without a key gets the key ""."""
    return _parts(value, "")


def _parts(value: str, default_key: str) -> dict[str, str]:
    parts = {}
    # PVE: JSONSchema.pm parse_property_string: `.+$` leaves a line feed at the end behind
    for part in value.removesuffix("\n").split(","):
        if not part.strip():
            continue  # PVE: JSONSchema.pm parse_property_string passes over what is blank
        key, equals, text = part.partition("=")
        parts[key if equals else default_key] = text if equals else part
    return parts


def _joined(first: list[str], parts: Mapping[str, str]) -> str:
    return ",".join([*first, *(f"{key}={parts[key]}" for key in sorted(parts))])


def _hashed(password: str, salt: str) -> str:
    # recorded: 120-disks-qemu/133-139; hashed with a new salt at each write.
    return f"$5${salt.replace(':', '')}${hashlib.sha256((salt + password).encode()).hexdigest()}"
