"""Which keys change a running guest at once, and which wait for its next stop.

A guest here lets go of every device that PVE unplugs. What PVE cannot plug waits.

recorded: 30-running-qemu/004-071, 31-running-lxc/004-028; disks and cards by 120-disks-qemu.
PVE: qemu-server QemuServer.pm, pve-container LXC/Config.pm vmconfig_hotplug_pending
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from felhom_agent.devnode.world.readback import split, split_drive

_AT_ONCE = {
    "qemu": re.compile(
        r"onboot|description|tags|protection|name|startup|shares|cpuunits|cpulimit|lock|hookscript"
        r"|vmstatestorage|migrate_(?:speed|downtime)|ci[a-z]+|ipconfig\d+|nameserver|searchdomain"
        r"|sshkeys"
    ),
    "lxc": re.compile(
        r"onboot|description|tags|protection|hostname|memory|swap|cores|cpuunits|cpulimit|startup"
        r"|lock|hookscript"
    ),
}

FAST = re.compile(
    r"description|hookscript|lock|migrate_(?:downtime|speed)|name|onboot|protection|shares|startup"
    r"|tags|vmstatestorage|ci[a-z]+|ipconfig\d+|nameserver|searchdomain|sshkeys"
)
"""Keys of a VM that apply with the next write of any key. PVE: QemuServer.pm fast_plug_option"""

_DEFAULT_HOTPLUG = "network,disk,usb"
_DISK = re.compile(r"(?:scsi|virtio|ide|sata)\d+")
_WITH_THE_DISK = ("aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro")
_WITH_THE_CARD = ("queues", "mtu")
_MODEL = re.compile(r"(?:^|,)(?:model=)?(\w+)=((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})")


def at_once(kind: str, key: str, value: str | None, config: Mapping[str, str]) -> bool:
    """Given a key of a running guest, its new value (None: it goes) and what is in force, say if
    it applies now.
    """
    if _AT_ONCE[kind].fullmatch(key) or (value is None and key.startswith("unused")):
        return True
    if kind == "lxc":
        return _container_takes(key, value, new=key not in config)
    if _DISK.fullmatch(key):
        return _disk(key, value, config)
    if re.fullmatch(r"net\d+", key):
        return _card(config.get(key), value, plug="network" in _allowed(config))
    return _setting(key, value, config)


def plug_error(key: str, value: str | None, config: Mapping[str, str]) -> str:
    """Given a key of a running VM, its new value (None: it goes) and what is in force, return what
    PVE dies of when it plugs; empty where it plugs it or lets it wait.

    PVE: qemu-server QemuServer.pm vmconfig_update_disk, vm_deviceunplug, qemu_cpu_hotplug,
    Memory.pm qemu_memory_hotplug
    """
    allowed = _allowed(config)
    if _DISK.fullmatch(key) and key in config:
        return _disk_error(key, value, config, plug="disk" in allowed)
    if key == "vcpus" and "cpu" in allowed and value and int(value) > _cpus(config):
        return "you can't add more vcpus than maxcpus\n"
    if key == "memory" and "memory" in allowed:
        before, after = _mebibytes(config.get(key)), _mebibytes(value)
        if after != before and after < _static(config):
            # Perl adds where it died to a text without a line feed.
            where = "/usr/share/perl5/PVE/QemuServer/Memory.pm line 392"
            return f"memory can't be lower than {_static(config)} MB at {where}.\n"
    return ""


def _disk_error(key: str, value: str | None, config: Mapping[str, str], *, plug: bool) -> str:
    (had, was) = split_drive(config[key])
    (gets, becomes) = split_drive(value) if value is not None else ("", {})
    if value is not None and was.get("media", "disk") != becomes.get("media", "disk"):
        return "unable to change media type\n"
    if "cloudinit" in gets or (value is not None and was.get("media") == "cdrom"):
        return ""
    goes = value is None or had != gets
    unplugs = plug and not (value is None and re.match("ide|sata", key))
    if goes and unplugs and key in _booted_from(config):
        return f"can't unplug bootdisk '{key}'\n"
    return ""


def _container_takes(key: str, value: str | None, *, new: bool) -> bool:
    if value is None:
        return re.fullmatch(r"net\d", key) is not None
    if re.fullmatch(r"(?:mp|dev)\d+", key):
        return new
    return re.fullmatch(r"net\d+", key) is not None


def _setting(key: str, value: str | None, config: Mapping[str, str]) -> bool:
    allowed = _allowed(config)
    old = config.get(key)
    match key:
        case "hotplug":
            return not re.search("cpu|memory", f"{old} {value}")
        case "balloon":
            return (old == "0") == (value == "0")
        case "tablet":
            return "usb" in allowed
        case "vcpus":
            return "cpu" in allowed and int(value or _cpus(config)) <= _cpus(config)
        case "memory":
            return "memory" in allowed and _enough(_mebibytes(old), _mebibytes(value), config)
        case "agent":
            return _agent(old or "0", value)
    return key.startswith("usb") and "usb" in allowed and _has_new_usb(config)


def _allowed(config: Mapping[str, str]) -> list[str]:
    words = config.get("hotplug", "1")
    return re.split(r"[,;\s]+", {"1": _DEFAULT_HOTPLUG, "0": ""}.get(words, words))


def _has_new_usb(config: Mapping[str, str]) -> bool:
    if config.get("ostype") not in ("l26", "win8", "win10", "win11"):
        return False
    version = re.match(r"(?:type=)?(?:pc(?:-i440fx|-q35)?|virt)-(\d+)\.(\d+)", _machine(config))
    if version is None and config["ostype"].startswith("win"):
        # PVE: QemuServer/Machine.pm get_vm_machine
        created = re.search(r"creation-qemu=(\d+)\.(\d+)", config.get("meta", ""))
        return created is not None and (int(created[1]), int(created[2])) >= (9, 1)
    return version is None or (int(version[1]), int(version[2])) >= (7, 1)


def _machine(config: Mapping[str, str]) -> str:
    parts = split(config.get("machine", ""))
    return parts.get("type") or parts.get("") or ""


def _mebibytes(memory: str | None) -> int:
    found = re.search(r"\d+", memory or "")
    return int(found[0]) if found else 512


def _enough(before: int, after: int, config: Mapping[str, str]) -> bool:
    return after == before or after >= _static(config)


def plugged_memory(value: str, config: Mapping[str, str]) -> str:
    """Given a running VM's new memory and what is in force, return the size that PVE reaches and
    writes: it plugs and unplugs whole modules.

    PVE: qemu-server QemuServer/Memory.pm foreach_dimm, qemu_memory_hotplug
    """
    before, wanted = _mebibytes(config.get("memory")), _mebibytes(value)
    if wanted == before:
        return value
    module = 1024 if config.get("hugepages") == "1024" else 512
    sizes = [_static(config)]
    for doubled in range(8):
        sizes += [sizes[-1] + (module << doubled) * n for n in range(1, 33)]
    if wanted > before:
        return str(next((size for size in sizes if size >= wanted), sizes[-1]))
    return str(max((size for size in sizes if size <= wanted), default=sizes[0]))


def _static(config: Mapping[str, str]) -> int:
    huge = config.get("hugepages") == "1024"
    return 1024 * (int(config.get("sockets", "1")) if huge else 1)


def _cpus(config: Mapping[str, str]) -> int:
    return int(config.get("sockets", "1")) * int(config.get("cores", "1"))


def _agent(old: str, value: str | None) -> bool:
    if value is None or old == "0":
        return False
    return _agent_parts(old) == _agent_parts(value)


def _agent_parts(text: str) -> dict[str, str]:
    parts = {("enabled" if k == "" else k): v for k, v in split(text).items()}
    switch = parts.get("enabled", "0").lower()
    parts.pop("fstrim_cloned_disks", None)
    on = {**parts, "enabled": "1", **_switch(parts, "freeze-fs-on-backup")}
    return on if switch in ("1", "on", "yes", "true") else {}


def _switch(parts: Mapping[str, str], key: str) -> dict[str, str]:
    words = {"on": "1", "yes": "1", "true": "1", "off": "0", "no": "0", "false": "0"}
    return {key: words.get(parts[key].lower(), parts[key])} if key in parts else {}


def _card(old: str | None, new: str | None, *, plug: bool) -> bool:
    if old is None or new is None:
        return plug
    was, becomes = split(old), split(new)
    same = _identity(old) == _identity(new) and all(
        was.get(part) == becomes.get(part) for part in _WITH_THE_CARD
    )
    bridged = bool(was.get("bridge") and becomes.get("bridge"))
    return plug or (same and bridged)


def _identity(card: str) -> tuple[str, str]:
    found = _MODEL.search(card)
    if found and found[1] != "macaddr":
        return found[1], found[2]
    parts = split(card)
    return parts.get("model") or parts.get("") or "", parts.get("macaddr", "")


def _disk(key: str, new: str | None, config: Mapping[str, str]) -> bool:
    old = config.get(key)
    if old is None or new is None:
        return _plugs(key, config, goes=old is not None)
    (had, was), (gets, becomes) = split_drive(old), split_drive(new)
    if was.get("media", "disk") != becomes.get("media", "disk"):
        return False
    if was.get("media") == "cdrom":
        return True
    if had != gets:
        return _plugs(key, config, goes=True)
    return all(was.get(part) == becomes.get(part) for part in _WITH_THE_DISK)


def _plugs(key: str, config: Mapping[str, str], *, goes: bool) -> bool:
    if "disk" not in _allowed(config) or re.match("ide|sata", key):
        return False
    return not (goes and key in _booted_from(config))


def _booted_from(config: Mapping[str, str]) -> list[str]:
    boot = config.get("boot", "")
    if boot and not boot.strip():
        return []
    _, ordered, devices = boot.partition("order=")
    return re.split(r"[;,\s]+", devices) if ordered else [config.get("bootdisk", "")]
