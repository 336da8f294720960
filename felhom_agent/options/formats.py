"""PVE's named text formats: what a word must look like to be a MAC address, a DNS name, a tag.

Exists so that a value which PVE would refuse is refused before it is sent, in PVE's own words.
Each function is given one text and returns; it raises `Invalid` with the text that PVE's
validator of the same format dies with, trailing newline included.

Source of every rule: pve-common `JSONSchema.pm`, unless a function names another.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

Format = Callable[[str], None]
UNDEFINED: Final = (
    "property is not defined in schema and the schema does not allow additional properties"
)
UNKNOWN_PART: Final = "this version of felhom-agent does not know it"


class Invalid(ValueError):
    """A value that PVE would refuse; `str()` is PVE's own text where that was recorded.

    `words` are for who declared it, where more can be said than what the option's type is
    (`words.refusal`); they follow the option's name.
    """

    def __init__(self, text: str, words: str = "") -> None:
        self.words = words
        super().__init__(text)


_SIZE_UNITS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
# Of more digits than any disk has, no size is made.
_SIZE: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:([KMGT])(?:iB)?)?")
_NAME_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?"
# PVE: pve-common JSONSchema.pm pve_verify_iface
_INTERFACE: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{1,20}(?:[:.][0-9]+)?")
# Of the time zones in zone.tab, tzdata 2025b; other names (Etc/UTC, US/Eastern) are not in it.
ZONE_REGIONS: Final = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe",
    "Indian", "Pacific",
)  # fmt: skip
_PLACE: Final = re.compile(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*")
UUID: Final = r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"


def split_list(text: str) -> list[str]:
    """Given a list as PVE takes it (`,`, `;`, blanks or NULs between), return its words."""
    if "\0" in text:
        return text.split("\0")
    return re.split(r"[,;\s]+", text.strip(",; \t\r\n\f\v")) if text.strip(",; \t\r\n\f\v") else []


def parse_size(text: str) -> int | None:
    """Given a disk size ("32G", "512MiB", "4096"), return it in bytes; `None` if it is none."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** _SIZE_UNITS[match[2] or ""])


def _matching(pattern: str, refusal: str, flags: int = 0) -> Format:
    compiled = re.compile(pattern, flags | re.ASCII)

    def check(text: str) -> None:
        if compiled.fullmatch(text) is None:
            raise Invalid(refusal.format(text) + "\n")

    return check


mac_address: Final = _matching(
    r"[a-f0-9][02468ace](?::[a-f0-9]{2}){5}",
    "value does not look like a valid unicast MAC address",
    re.IGNORECASE,
)
dns_name: Final = _matching(
    rf"(?:{_NAME_LABEL}\.)*{_NAME_LABEL}", "value does not look like a valid DNS name"
)
tag: Final = _matching(r"[a-z0-9_][a-z0-9_\-+.]*", "invalid characters in tag", re.IGNORECASE)
config_id: Final = _matching(r"[a-z][a-z0-9_-]+", "invalid configuration ID '{}'", re.IGNORECASE)
bridge_id: Final = _matching(r"[-_.\w]+", "invalid bridge ID '{}'")
urlencoded: Final = _matching(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}")
storage_id: Final = _matching(
    r"[a-z][a-z0-9\-_.]*[a-z0-9]", "storage ID '{}' contains illegal characters", re.IGNORECASE
)
# PVE: pve-storage Storage/Plugin.pm parse_volume_id
volume_id: Final = _matching(
    r"[a-z][a-z0-9\-_.]*[a-z0-9]:.+", "unable to parse volume ID '{}'", re.IGNORECASE
)


def volume_or_path(text: str) -> None:
    """Check a drive's volume: a volume id, an absolute path, `none` or `cdrom`."""
    # PVE: qemu-server QemuServer.pm verify_volume_id_or_qm_path
    if text not in {"none", "cdrom"} and not text.startswith("/"):
        volume_id(text)


def volume_or_absolute_path(text: str) -> None:
    """Check where an import comes from: a volume id or an absolute path."""
    if not text.startswith("/"):
        volume_id(text)


def mount_path(text: str) -> None:
    """Check a container's volume or mount path: no way to climb out of a directory."""
    # PVE: pve-container LXC/Config.pm verify_lxc_mp_string
    if re.search(r"/\.\.?/|/\.\.?$|^\.\./", text):
        raise Invalid(f"{text} contains illegal character sequences\n")


def device_path(text: str) -> None:
    """Check a host device that a container is given."""
    # PVE: pve-container LXC/Config.pm verify_lxc_dev_string
    if not text.startswith("/dev/") or re.search(r"/\.\.?(?:/|$)", text):
        raise Invalid(f"{text} is not a valid device path\n")


def boot_device(text: str) -> None:
    """Check a device of the boot order."""
    # PVE: qemu-server QemuServer.pm verify_bootdev; Drive.pm, Network.pm, USB.pm, PCI.pm
    limits = {
        "ide": 4, "sata": 6, "scsi": 31, "virtio": 16, "net": 32, "usb": 14, "hostpci": 16,
    }  # fmt: skip
    match = re.fullmatch(r"([a-z]+)(0|[1-9][0-9]{0,3})", text)
    if match is None or int(match[2]) >= limits.get(match[1], 0):
        raise Invalid(f"invalid boot device '{text}'\n")


def boot_disk(text: str) -> None:
    """Check a disk to boot from."""
    # PVE: qemu-server QemuServer.pm verify_bootdisk; Drive.pm is_valid_drivename
    try:
        boot_device(text)
        known = text.startswith(("ide", "sata", "scsi", "virtio"))
    except Invalid:
        known = text in {"efidisk0", "tpmstate0"}
    if not known:
        raise Invalid(f"invalid boot disk '{text}'\n")


def ipv4(text: str) -> None:
    """Check an IPv4 address."""
    if _address(text) != 4:
        raise Invalid("value does not look like a valid IPv4 address\n")


def ipv6(text: str) -> None:
    """Check an IPv6 address."""
    if _address(text) != 6:
        raise Invalid("value does not look like a valid IPv6 address\n")


def address(text: str) -> None:
    """Check an address: IPv4, IPv6 or a DNS name."""
    if _address(text):
        return
    try:
        dns_name(text)
        known = text != "0"  # to Perl it is false
    except Invalid:
        known = False
    if not known:
        raise Invalid(f"value does not look like a valid address: {text}\n")


def link_local_ip(text: str) -> None:
    """Check an IP address; an IPv6 link-local one may name its interface (`fe80::1%eth0`)."""
    # PVE: pve-container LXC/Config.pm verify_ip_with_ll_iface
    bare, percent, interface = text.partition("%")
    named = percent and bare.startswith("fe80:") and _INTERFACE.fullmatch(interface)
    if not _address(bare if named else text):
        raise Invalid("value does not look like a valid IP address\n")


def ipv4_config(text: str) -> None:
    """Check how an interface gets its IPv4 address."""
    if text not in {"dhcp", "manual"} and not _is_network(text, 4):
        raise Invalid("value does not look like a valid ipv4 network configuration\n")


def ipv6_config(text: str) -> None:
    """Check how an interface gets its IPv6 address."""
    if text not in {"auto", "dhcp", "manual"} and not _is_network(text, 6):
        raise Invalid("value does not look like a valid ipv6 network configuration\n")


def phys_bits(text: str) -> None:
    """Check the physical address bits of a CPU."""
    # PVE: qemu-server CPUConfig.pm parse_phys_bits
    if text != "host" and not (re.fullmatch(r"[0-9]{1,2}", text) and 8 <= int(text) <= 64):
        raise Invalid("value must be an integer between 8 and 64 or 'host'\n")


def timezone(text: str) -> None:
    """Check a time zone: its region and its shape, because the host's own list decides."""
    # PVE: pve-common JSONSchema.pm pve_verify_timezone: UTC, and what zone.tab lists
    region, slash, place = text.partition("/")
    listed = region in ZONE_REGIONS and slash and _PLACE.fullmatch(place)
    if text not in {"host", "UTC"} and not listed:
        raise Invalid(f"invalid time zone '{text}'\n")


def _address(text: str) -> int:
    """Return the version of an IP address, 0 if it is none."""
    try:
        return 0 if "%" in text else ipaddress.ip_address(text).version
    except ValueError:
        return 0


def _is_network(text: str, version: int) -> bool:
    host, slash, prefix = text.partition("/")
    limit = 32 if version == 4 else 128
    return (
        _address(host) == version
        and bool(slash)
        and re.fullmatch(r"[0-9]{1,9}", prefix) is not None
        and 7 < int(prefix) <= limit
    )
