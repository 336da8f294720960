"""Which options a hub may ever set, as `[hub.options]` of agent.toml grants them.

    [hub.options]
    memory = "512..32768"   # a number within these bounds, both included
    cpuunits = true         # any number that PVE takes
    onboot = true           # by default a hub may not
    description = false     # by default a hub may

Each option of a guest is in one of three classes: a hub may set it unless the owner says no
(`DEFAULTS`), only if the owner says yes (`OWNERS`), or never, whatever the owner says (`NEVER`).
An option that is in none is never a hub's: what PVE learns tomorrow is nobody's gift. A key here is
an option's name without its number, as "net" for net0 to net31.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from felhom_agent.config.suggest import did_you_mean
from felhom_agent.printable import printable


class Class(StrEnum):
    """Who decides whether a hub may set an option."""

    DEFAULT = "default"
    OWNER = "owner"
    NEVER = "never"


@dataclass(frozen=True)
class Grant:
    """What a hub may do with one option: nothing unless `given`; else any value, or a number from
    `low` to `high`.
    """

    option: str
    given: bool = True
    low: Decimal | None = None
    high: Decimal | None = None

    @property
    def is_bounded(self) -> bool:
        return self.low is not None

    def allows(self, value: Decimal) -> bool:
        """Return whether a number is within the bounds, if there are any."""
        return self.low is None or self.high is None or self.low <= value <= self.high

    def __str__(self) -> str:
        return f'"{self.low}..{self.high}"' if self.is_bounded else str(self.given).lower()


def _within(option: str, low: str, high: str) -> Grant:
    return Grant(option, low=Decimal(low), high=Decimal(high))


# The bounds keep a hub from starving a guest, or the host, where the owner named none.
DEFAULTS: Final = (
    Grant("state"),
    Grant("description"),
    _within("cores", "1", "16"),
    _within("memory", "512", "16384"),
    _within("balloon", "512", "16384"),
    _within("cpulimit", "1", "16"),
    _within("cpuunits", "10", "1024"),
)

_OWNERS: Final[Mapping[str, str]] = {
    "the tags": "tags",
    "the start at boot, and its order": "autostart onboot startup",
    "the network": "net",
    "DNS": "nameserver searchdomain",
    "the guest's name": "hostname name",
    "what it boots from": "boot bootdisk",
    "firmware and hardware": "acpi agent allow-ksm audio0 bios cpu hotplug keyboard kvm localtime"
    " machine migrate_downtime migrate_speed numa ostype reboot rng0 scsihw serial shares smp"
    " sockets startdate tablet tdf vcpus vga vmstatestorage",
    "cloud-init": "cicustom cipassword citype ciupgrade ciuser ipconfig sshkeys",
    "the system inside": "cmode console debug entrypoint env features swap timezone tty",
    "drives and mount points": "efidisk0 ide mp rootfs sata scsi tpmstate0 virtio",
    "mapped devices and directories": "hostpci usb virtiofs",
    "the protection": "protection",
    "unsetting options": "unset",
}
_NEVER: Final[Mapping[str, str]] = {
    "it cannot be undone": "template",
    "it tells which guest this is": "smbios1 vmgenid",
    "it stops the guest by itself": "freeze watchdog",
    "it reaches the host": "args dev hookscript ivshmem lxc parallel spice_enhancements",
    "it belongs to root": "affinity amd-sev hugepages intel-tdx keephugepages",
    "it was fixed when the guest was made": "arch unprivileged",
    "it belongs to PVE": "digest lock meta parent running-nets-host-mtu runningcpu runningmachine"
    " snaptime unused vmstate",
    "it is an old name of ide2": "cdrom",
    "it can lose data": "cache rerror snapshot werror",
    "it is a word of files on the host": "dangerous identity restart stop",
}


def _by_name(groups: Mapping[str, str]) -> Mapping[str, str]:
    return {name: words for words, names in groups.items() for name in names.split()}


OWNERS: Final = _by_name(_OWNERS)
NEVER: Final = _by_name(_NEVER)
_NUMBERED: Final = (
    "dev hostpci ide ipconfig mp net numa parallel sata scsi serial unused usb virtio virtiofs"
)
_NUMBERS: Final = (
    "balloon cores cpulimit cpuunits memory migrate_downtime migrate_speed shares smp sockets swap"
    " tty vcpus"
)
NUMBERED: Final = frozenset(_NUMBERED.split())
NUMBERS: Final = frozenset(_NUMBERS.split())

_BY_DEFAULT: Final = frozenset(grant.option for grant in DEFAULTS)
_NUMBER: Final = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_RANGE: Final = re.compile(rf" *{_NUMBER} *\.\. *{_NUMBER} *", re.ASCII)
_INDEXED: Final = re.compile(r"([a-z]+)(?:0|[1-9][0-9]{0,2})", re.ASCII)


def class_of(family: str) -> Class:
    """Given an option's name without its number, return its class."""
    if family in NEVER:
        return Class.NEVER
    if family in _BY_DEFAULT:
        return Class.DEFAULT
    return Class.OWNER if family in OWNERS else Class.NEVER


def granted(table: Mapping[str, Any]) -> tuple[tuple[Grant, ...], list[tuple[str, str]]]:
    """Given the table, return all grants, the defaults among them, and what is wrong: keys, each
    with the words.
    """
    grants = {grant.option: grant for grant in DEFAULTS}
    wrong: list[tuple[str, str]] = []
    for key, value in table.items():
        try:
            _refuse_unknown(key, hint=len(wrong) < _MAX_HINTS)
            grants[key] = _grant(key, value)
        except ValueError as error:
            wrong.append((key, str(error)))
    return tuple(grants.values()), wrong


# A guess costs a comparison with each known word.
_MAX_HINTS: Final = 20


def family_of(key: str) -> str:
    """Given the key of an option, or its name without a number, return the latter."""
    match = _INDEXED.fullmatch(key)
    return match[1] if match and match[1] in NUMBERED else key


def _refuse_unknown(key: str, *, hint: bool) -> None:
    family = family_of(key)
    never = NEVER.get("lxc" if key.startswith("lxc.") else family)
    if never:
        raise ValueError(f"a hub may never set it, for {never}")
    if class_of(family) is Class.NEVER:
        guess = did_you_mean(key, _words()) if hint else ""
        raise ValueError(f"is no option that a hub may be allowed{guess}")


def _words() -> Iterator[str]:
    yield from _BY_DEFAULT
    yield from OWNERS


def _grant(key: str, value: Any) -> Grant:
    if isinstance(value, bool):
        return Grant(key, given=value)
    if key not in NUMBERS:
        raise ValueError(f"must be true or false, not {_given(value)}")
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'must be true, false or a range like "1..8", not {_given(value)}')
    low, high = Decimal(found[1]), Decimal(found[2])
    if low > high:
        raise ValueError(f"the range {low}..{high} has its lower bound last")
    return Grant(key, low=low, high=high)


def _given(value: Any) -> str:
    if isinstance(value, str):
        return f'"{printable(value, 20)}"'
    words = {dict: "a table", list: "a list", int: "a single number", float: "a single number"}
    return words.get(type(value), "a date")
