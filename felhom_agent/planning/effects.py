"""What a write of one key does to a guest that runs: it takes effect now, or waits for a restart.

PVE takes every change of a running guest, and tells only afterwards, in its list of what is
pending, which of them wait. What decides is in its source, and follows here as data: keys that are
in effect at once, and rules for the keys of which it depends on more: what the guest's hotplug
setting lets be plugged, whether a device is there already, and which parts of it change. A key of
neither waits.

`UNSURE` is a change that PVE makes at once if the guest's operating system lets go of a device;
else it waits like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from felhom_agent.model import ABSENT, Change, Facts, Kind
from felhom_agent.planning import judging
from felhom_agent.planning.judging import NOW, Case, Effect, Judgement, restart

__all__ = ["Effect", "Judgement", "effect_of", "is_at_once"]


# PVE: qemu-server QemuServer.pm $fast_plug_option; pve-container LXC/Config.pm
# $LXC_FASTPLUG_OPTIONS. recorded: 30-running-qemu/004-031, 31-running-lxc/004-028.
_AT_ONCE: Mapping[Kind, frozenset[str]] = {
    Kind.QEMU: frozenset(
        {
            "description", "hookscript", "lock", "migrate_downtime", "migrate_speed", "name",
            "onboot", "protection", "shares", "startup", "tags", "vmstatestorage",
            "cpuunits", "cpulimit",
        }
    ),
    Kind.LXC: frozenset(
        {
            "description", "hookscript", "hostname", "lock", "onboot", "protection", "startup",
            "tags", "cores", "cpulimit", "cpuunits", "memory", "swap",
        }
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Rule:
    """What decides about keys that look so, and where PVE decides it."""

    keys: re.Pattern[str]
    judge: Callable[[Case], Judgement]
    source: str


def _rule(keys: str, judge: Callable[[Case], Judgement], source: str) -> _Rule:
    return _Rule(re.compile(keys), judge, source)


_QEMU = "qemu-server QemuServer.pm vmconfig_hotplug_pending"
_LXC = "pve-container LXC/Config.pm vmconfig_hotplug_pending"

_RULES: Mapping[Kind, tuple[_Rule, ...]] = {
    Kind.QEMU: (
        _rule(
            r"ci\w+|ipconfig\d+|nameserver|searchdomain|sshkeys",
            judging.cloudinit,
            "qemu-server QemuServer.pm $confdesc_cloudinit, $fast_plug_option",
        ),
        _rule(r"hotplug", judging.hotplug, _QEMU),
        _rule(r"tablet", judging.tablet, f"{_QEMU}; recorded: 30-running-qemu/017"),
        _rule(r"usb\d+", judging.usb, f"{_QEMU} $is_usb_hotplug_supported"),
        _rule(r"vcpus", judging.vcpus, "QemuServer.pm qemu_cpu_hotplug; 30-running-qemu/065"),
        _rule(r"balloon", judging.balloon, f"{_QEMU}; 30-running-qemu/012-013"),
        _rule(r"memory", judging.memory, "QemuServer/Memory.pm qemu_memory_hotplug; 30/067"),
        _rule(r"agent", judging.agent, "QemuServer.pm vmconfig_update_agent"),
        _rule(r"net\d+", judging.card, "QemuServer.pm vmconfig_update_net"),
        _rule(r"efidisk\d+|tpmstate\d+", judging.fixed_drive, _QEMU),
        _rule(
            r"(?:ide|sata|scsi|virtio)\d+",
            judging.drive,
            "QemuServer.pm vmconfig_update_disk, vm_deviceunplug; 120-disks-qemu/155-174",
        ),
        _rule(r"unused\d+", judging.unused, "qemu-server API2/Qemu.pm update_vm_api"),
    ),
    Kind.LXC: (
        _rule(r"net\d+", judging.container_card, _LXC),
        _rule(r"mp\d+", judging.added_only, _LXC),
        _rule(r"dev\d+", judging.device, f"{_LXC}, from pve-container 6.0.4 on"),
        _rule(r"unused\d+", judging.unused, _LXC),
    ),
}


def is_at_once(kind: Kind, key: str) -> bool:
    """Return whether a change of that key of a running guest is in effect at once, always."""
    return key in _AT_ONCE[kind]


def effect_of(kind: Kind, change: Change, present: Mapping[str, str], facts: Facts) -> Judgement:
    """Given a change of a running guest and the configuration that is in effect, return when the
    change is in effect.
    """
    before = present.get(change.key)
    after = None if change.after is ABSENT else change.after
    case = Case(kind, change.key, before, after, present, facts)
    if is_at_once(kind, change.key):
        return NOW
    if before == after and (kind is Kind.QEMU or after is not None):
        return Judgement(Effect.NOW, "it takes back a change that waits for a restart")
    for rule in _RULES[kind]:
        if rule.keys.fullmatch(change.key):
            return rule.judge(case)
    return restart(f"PVE does not change it {case.running}")
