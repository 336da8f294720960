"""Addresses and versions, which one value has many spellings of.

`fd00::2` and `FD00:0:0:0:0:0:0:2` are one address, and a machine `pc-q35-9.0` is
`pc-q35-9.0+pve0`; PVE stores what was typed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Hashable
from dataclasses import dataclass

from felhom_agent.options.formats import split_list
from felhom_agent.options.types import Text, Words


def address_meaning(text: str) -> Hashable:
    """Given an address with or without a prefix length or a zone, return what it means.

    What is no address (`dhcp`, a DNS name) means itself, in any case.
    """
    network, slash, prefix = text.strip().partition("/")
    host, _, zone = network.partition("%")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return text.strip().lower()
    length = int(prefix) if prefix.isdecimal() else prefix
    return (address.packed, zone, length if slash else None)


@dataclass(frozen=True)
class Address(Text):
    """An IP address, a network (`ADDRESS/LENGTH`), or a word that stands for one."""

    def meaning(self, wire: str) -> Hashable:
        return address_meaning(wire)


@dataclass(frozen=True)
class Addresses(Words):
    """A list of addresses; their order counts."""

    def meaning(self, wire: str) -> Hashable:
        return tuple(address_meaning(word) for word in split_list(wire))


@dataclass(frozen=True)
class MachineType(Text):
    """A machine; a version without PVE's own revision is that of revision 0."""

    def meaning(self, wire: str) -> Hashable:
        # PVE: qemu-server QemuServer/Machine.pm get_vm_machine
        return re.sub(r"\+pve0(?=\.pxe$|$)", "", wire.strip())


@dataclass(frozen=True)
class StartDate(Text):
    """The date of the guest's clock at its start; a date alone is its midnight."""

    def meaning(self, wire: str) -> Hashable:
        numbers = tuple(int(number) for number in re.findall(r"\d+", wire))
        return (*numbers, 0, 0, 0)[:6] if len(numbers) >= 3 else wire.strip()
