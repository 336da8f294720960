"""Defaults that other keys of the guest, its host or its version decide.

What PVE uses where a key is absent is not always a word of the table: an absent `tablet` is off
where the display is a terminal. Each function here is given an option and returns it with the
default that it has in one guest. They hold both ways: for a declared value over an absent key, and
for a key that shall not be set over a value.

PVE: qemu-server QemuServer.pm config_to_command and what it calls; pve-container LXC.pm
update_lxc_config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from felhom_agent.options import Invalid, Option, PropertyString, lookup
from felhom_agent.options.types import truth
from felhom_agent.planning.context import Context

# PVE: qemu-server Helpers.pm windows_version: those of version 5, and all
_OLD_WINDOWS: Final = frozenset({"wxp", "w2k", "w2k3"})
_WINDOWS: Final = re.compile(r"wxp|w2k|w2k3|w2k8|wvista|win\d+")


def with_default(option: Option, context: Context) -> Option:
    """Given an option, return it with the defaults that it has in this context."""
    change = _DEFAULTS.get(option.name)
    return change(option, context) if change else option


def _text(context: Context, key: str, otherwise: str = "") -> str:
    value = context.config.get(key)
    return otherwise if value is None else str(value)


def _parts(context: Context, key: str) -> Mapping[str, str]:
    """Return the parts of another key; none where it is absent or cannot be read."""
    if context.config.get(key) is None:
        return {}
    option = lookup("qemu", key)
    kind = None if option is None else option.type
    if not isinstance(kind, PropertyString):
        return {}
    try:
        return kind.split(_text(context, key))
    except Invalid:
        return {}


def _is_on(context: Context, key: str, otherwise: str) -> bool:
    return truth(_text(context, key, otherwise).strip()) is not False


def _arch(context: Context) -> str:
    # PVE: qemu-server Helpers.pm get_vm_arch
    return _text(context, "arch", context.arch)


def _is_windows(context: Context) -> bool:
    return _WINDOWS.fullmatch(_text(context, "ostype")) is not None


def _machine_version(context: Context) -> tuple[int, int, int] | None:
    """Return major, minor and PVE's revision of a pinned machine; `None` if it is not."""
    kind = _parts(context, "machine").get("type", "")
    match = re.search(r"-(\d+)\.(\d+)(?:\.\d+)*(?:\+pve(\d+))?", kind)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _with_part(option: Option, part: str, default: str | None) -> Option:
    """Return an option whose part has another default."""
    if not isinstance(option.type, PropertyString):
        return option
    key = replace(option.type.keys[part], default=default)
    return replace(option, type=replace(option.type, keys={**option.type.keys, part: key}))


def _constant(value: Callable[[Context], str | None]) -> Callable[[Option, Context], Option]:
    """Return a change whose default depends on the context alone."""

    def change(option: Option, context: Context) -> Option:
        default = value(context)
        return option if default is None else replace(option, default=default)

    return change


def _display(context: Context) -> str:
    # PVE: QemuServer.pm get_vga_properties
    if _arch(context) == "aarch64":
        return "virtio"
    if _text(context, "ostype") in _OLD_WINDOWS:
        return "cirrus"
    version = _machine_version(context)
    old = version is not None and version < (2, 9, 0)
    return "cirrus" if old and not _is_windows(context) else "std"


def _is_passed(context: Context) -> bool:
    """Return whether a host's display is passed to the guest."""
    passed = (key for key in context.config if key.startswith("hostpci"))
    return any(truth(_parts(context, key).get("x-vga", "0")) for key in passed)


def _vga(option: Option, context: Context) -> Option:
    # PVE: QemuServer/PCI.pm print_hostpci_devices: an absent vga alone gives way
    passed = _is_passed(context)
    display = _display(context)
    return replace(_with_part(option, "type", display), default="none" if passed else display)


def _tablet(context: Context) -> str:
    # What PVE takes for an absent type is none of these.
    kind = _parts(context, "vga").get("type", "")
    return "0" if re.fullmatch(r"qxl[234]?|serial\d+", kind) else "1"


def _cpu(option: Option, context: Context) -> Option:
    # PVE: QemuServer/CPUConfig.pm get_cpu_options; a passed display hides the hypervisor
    hidden = _with_part(option, "hidden", str(int(_is_passed(context))))
    return replace(hidden, default=_cpu_type(context))


def _cpu_type(context: Context) -> str:
    # PVE: QemuServer/CPUConfig.pm get_default_cpu_type
    emulated = not _is_on(context, "kvm", _kvm(context))
    if _arch(context) == "aarch64":
        return "max" if emulated else "host"
    return "qemu64" if emulated else "kvm64"


def _kvm(context: Context) -> str:
    # PVE: CPUConfig.pm is_native_arch
    return str(int(_arch(context) == context.arch))


def _machine(option: Option, context: Context) -> Option:
    # PVE: QemuServer/Machine.pm default_machine_for_arch
    kind = "virt" if _arch(context) == "aarch64" else "pc"
    return replace(_with_part(option, "type", kind), default=kind)


def _citype(context: Context) -> str:
    # PVE: QemuServer/Cloudinit.pm get_cloudinit_format
    return "configdrive2" if _is_windows(context) else "nocloud"


def _localtime(context: Context) -> str:
    # PVE: QemuServer/Cfg2Cmd/Timer.pm
    return "1" if _is_windows(context) else "0"


def _tdf(context: Context) -> str:
    # PVE: QemuServer/Cfg2Cmd/Timer.pm
    return "1" if _is_windows(context) and _is_on(context, "acpi", "1") else "0"


def _vcpus(context: Context) -> str | None:
    # PVE: config_to_command: all that there are
    sockets = _text(context, "sockets", _text(context, "smp", "1"))
    cores = _text(context, "cores", "1")
    if not context.config or not (sockets.isdecimal() and cores.isdecimal()):
        return None
    return str(int(sockets) * int(cores))


def _balloon(context: Context) -> str | None:
    # PVE: vmconfig_hotplug_pending: "here we reset the ballooning value to memory"
    memory = _parts(context, "memory").get("current", "512")
    return memory if context.config else None


def _hostname(context: Context) -> str | None:
    # PVE: pve-container LXC.pm update_lxc_config
    return f"CT{context.vmid}" if context.vmid else None


def _net(option: Option, context: Context) -> Option:
    # PVE: QemuServer.pm print_netdevice_full; the bridge's MTU since qemu-server 9.0.3
    version = _machine_version(context)
    if version is not None:
        option = _with_part(option, "host-tunnel", "0" if version >= (11, 0, 1) else "1")
    return _with_part(option, "mtu", "1") if context.version >= (9, 0) else option


def _ivshmem(option: Option, context: Context) -> Option:
    # PVE: QemuServer.pm config_to_command: the file is called after the guest
    return _with_part(option, "name", str(context.vmid)) if context.vmid else option


_DEFAULTS: Final[Mapping[str, Callable[[Option, Context], Option]]] = {
    "arch": _constant(lambda context: context.arch),
    "balloon": _constant(_balloon),
    "citype": _constant(_citype),
    "cpu": _cpu,
    "hostname": _constant(_hostname),
    "ivshmem": _ivshmem,
    "kvm": _constant(_kvm),
    "localtime": _constant(_localtime),
    "machine": _machine,
    "net[n]": _net,
    "tablet": _constant(_tablet),
    "tdf": _constant(_tdf),
    "vcpus": _constant(_vcpus),
    "vga": _vga,
}

DECIDED_BY: Final[Mapping[str, str]] = {
    "arch": "the host",
    "balloon": "memory",
    "citype": "ostype",
    "cpu": "arch, kvm and hostpci[n] x-vga",
    "cpuunits": "the host's cgroup version",
    "hostname": "the vmid",
    "ivshmem": "the vmid",
    "kvm": "arch",
    "localtime": "ostype",
    "machine": "arch",
    "net[n]": "machine and PVE's version",
    "tablet": "vga",
    "tdf": "ostype and acpi",
    "vcpus": "sockets and cores",
    "vga": "hostpci[n] x-vga, ostype, machine and arch",
}
"""What decides an option's default, in words."""
