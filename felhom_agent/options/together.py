"""Which options of one guest PVE refuses beside each other, each of which it takes alone.

Asked of all that a file declares of a guest, so that what PVE would refuse at every try is told
with its line. Only what is declared counts: what the guest has besides is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Final

from felhom_agent.model import DeclaredValue
from felhom_agent.options.declaration import TABLES, declared, lookup
from felhom_agent.options.formats import Invalid, split_list
from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.volume import Volume

_ASKED: Final = frozenset({"boot", "balloon", "memory"})
_DRIVE: Final = re.compile(r"(?:ide|sata|scsi|virtio)\d+")


def clashes(
    kind: str | None, config: Mapping[str, DeclaredValue], unset: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Given a guest's kind if it is known, its declared options and those that it shall not have,
    yield each key that PVE refuses because of another one, and why.

    A value that is refused alone counts as not declared.
    """
    kinds = [kind] if kind else [each for each in TABLES if _knows_all(each, config)]
    if kinds != ["qemu"]:
        return
    wires = dict(_wires(config))
    yield from _boots_from_what_goes(wires, unset)
    yield from _balloon_exceeds_memory(wires)
    yield from _second_cloudinit(wires)


def _knows_all(kind: str, config: Mapping[str, DeclaredValue]) -> bool:
    return all(lookup(kind, key) for key in config)


def _wires(config: Mapping[str, DeclaredValue]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if key in _ASKED or _DRIVE.fullmatch(key):
            with suppress(Invalid):
                yield key, declared("qemu", key, value)


def _boots_from_what_goes(
    wires: Mapping[str, str], unset: Collection[str]
) -> Iterator[tuple[str, str]]:
    # PVE: qemu-server API2/Qemu.pm update_vm_api ("invalid bootorder: device '...' does not exist")
    for device in split_list(_parts("boot", wires).get("order", "")):
        if device in unset:
            yield "boot", f"names {device}, which unset removes; take it out of one of them"


def _balloon_exceeds_memory(wires: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    # PVE: qemu-server API2/Qemu.pm load_and_check_config; a balloon of 0 is off
    balloon, memory = wires.get("balloon", ""), _parts("memory", wires).get("current", "")
    if balloon and memory and int(balloon) > int(memory):
        yield "balloon", f"must be at most memory, {int(memory)} MiB, and is {int(balloon)}"


def _second_cloudinit(wires: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    # PVE: qemu-server API2/Qemu.pm create_disks ("cloud-init drive is already attached at '...'")
    keys = sorted(filter(_DRIVE.fullmatch, wires))
    holders = [key for key in keys if Volume(_parts(key, wires).get("file", "")).is_cloudinit]
    for key in holders[1:]:
        yield key, f"is a second cloud-init drive beside {holders[0]}; a guest has one"


def _parts(key: str, wires: Mapping[str, str]) -> dict[str, str]:
    option = lookup("qemu", key)
    if option is None or key not in wires or not isinstance(option.type, PropertyString):
        return {}
    return option.type.split(wires[key])
