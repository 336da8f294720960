"""Options whose meaning depends on the host, the datacenter or the guest's other keys.

`in_context` gives an option as it is in one guest on one host. A registry by option name: what
is not in it depends on nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from felhom_agent.options import Option, PropertyString
from felhom_agent.options.types import Number, Words
from felhom_agent.reconcile.comparison import Context

_WINDOWS: Final = frozenset(
    {"wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11"}
)


@dataclass(frozen=True)
class Weight(Number):
    """A CPU weight: PVE brings it between two bounds when it is written."""

    lowest: int = 0
    highest: int = 0

    def meaning(self, wire: str) -> Hashable:
        value = Decimal(str(super().meaning(wire)))
        return max(Decimal(self.lowest), min(value, Decimal(self.highest)))


def in_context(option: Option, context: Context) -> Option:
    """Given an option, return it as it is in this context."""
    change = _CONDITIONS.get(option.name)
    return change(option, context) if change else option


def _tags(option: Option, context: Context) -> Option:
    if not isinstance(option.type, Words):
        return option
    return replace(option, type=replace(option.type, fold=not context.case_sensitive_tags))


def _cpuunits(option: Option, context: Context) -> Option:
    # PVE: pve-common CGroup.pm clamp_cpu_shares
    second = context.cgroup == 2
    weight = Weight(
        *_bounds(option), integer=True, lowest=0 if second else 2,
        highest=10000 if second else 500000,
    )  # fmt: skip
    return replace(option, type=weight, default="100" if second else "1024")


def _bounds(option: Option) -> tuple[int | None, int | None]:
    kind = option.type
    return (kind.minimum, kind.maximum) if isinstance(kind, Number) else (None, None)


def _citype(option: Option, context: Context) -> Option:
    # PVE: qemu-server Cloudinit.pm get_cloudinit_format
    return replace(option, default="configdrive2" if _is_windows(context) else "nocloud")


def _localtime(option: Option, context: Context) -> Option:
    # PVE: qemu-server QemuServer.pm config_to_command: Windows expects local time
    return replace(option, default="1" if _is_windows(context) else "0")


def _vcpus(option: Option, context: Context) -> Option:
    # PVE: qemu-server QemuServer.pm config_to_command: all that there are
    sockets = context.config.get("sockets", context.config.get("smp", 1))
    try:
        total = int(str(sockets)) * int(str(context.config.get("cores", 1)))
    except ValueError:
        return option
    return replace(option, default=str(total)) if context.config else option


def _ivshmem(option: Option, context: Context) -> Option:
    # PVE: qemu-server QemuServer.pm $ivshmem_fmt: the file is called after the guest
    if not isinstance(option.type, PropertyString) or not context.vmid:
        return option
    name = replace(option.type.keys["name"], default=str(context.vmid))
    return replace(option, type=replace(option.type, keys={**option.type.keys, "name": name}))


def _is_windows(context: Context) -> bool:
    return context.config.get("ostype") in _WINDOWS


_CONDITIONS: Final[Mapping[str, Callable[[Option, Context], Option]]] = {
    "tags": _tags,
    "cpuunits": _cpuunits,
    "citype": _citype,
    "localtime": _localtime,
    "vcpus": _vcpus,
    "ivshmem": _ivshmem,
}
