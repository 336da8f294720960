"""Who holds a volume already: PVE attaches one volume twice without a word, and both write to it.

recorded: 9.2 202/180-185, 196-203: the same volume under two keys, or under one of another guest,
is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from felhom_agent.options import Invalid, PropertyString, Volume, lookup
from felhom_agent.planning.context import Context


def holder(kind: str, key: str, volume: Volume, context: Context) -> str:
    """Given the key that shall get a volume, return who holds it already; empty if nobody does.

    A volume that is put aside (`unused0`) is held by nobody.
    """
    if volume.is_shareable:
        return _other_cloudinit(kind, key, context) if volume.is_cloudinit else ""
    if context.vmid and volume.owner not in (0, context.vmid):
        return f"guest {volume.owner}"
    for other in _keys_with(kind, context.config, volume):
        if other != key:
            return f"{other} of this guest"
    for other in _keys_with(kind, context.declared, volume):
        if other != key:
            return f"{other}, which is declared with it, too"
    return _other_guest(volume, context)


def _other_cloudinit(kind: str, key: str, context: Context) -> str:
    # PVE: qemu-server API2/Qemu.pm create_disks: one cloud-init drive for each guest
    for other, held in _volumes(kind, context.config):
        if other != key and held.is_cloudinit:
            return f"{other} of this guest"
    return ""


def _other_guest(volume: Volume, context: Context) -> str:
    for vmid, guest in context.others.items():
        if vmid != context.vmid and guest.config:
            for key in _keys_with(guest.kind, guest.config, volume):
                return f"{key} of guest {vmid}"
    return ""


def _keys_with(kind: str, config: Mapping[str, object], volume: Volume) -> Iterator[str]:
    return (key for key, held in _volumes(kind, config) if held == volume)


def _volumes(kind: str, config: Mapping[str, object]) -> Iterator[tuple[str, Volume]]:
    for key, value in config.items():
        option = lookup(kind, key)
        if option is None or option.server_owned or not isinstance(option.type, PropertyString):
            continue
        if option.type.default_key in {"file", "volume"}:
            try:
                yield key, Volume(option.type.split(str(value)).get(option.type.default_key, ""))
            except Invalid:
                continue
