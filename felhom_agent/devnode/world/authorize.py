"""Who may make which change of a guest's configuration: PVE's own rules, in PVE's own order.

A VM's change is looked at in two rounds. The first knows the request alone, and is made before
anything is read; the second comes as each key has its turn, and looks at the value that is
replaced, too. A container's is looked at in one. PVE: qemu-server API2/Qemu.pm
check_vm_modify_config_perm, check_storage_access and update_vm_api; pve-container LXC.pm
check_ct_modify_config_perm; pve-guest-common GuestHelpers.pm. recorded: 150-privilege-matrix,
9.2 200b-post-worker-privileges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from felhom_agent.devnode.world.access import Caller
from felhom_agent.devnode.world.change import ConfigWrite
from felhom_agent.devnode.world.readback import DISK, split, split_drive
from felhom_agent.devnode.world.refusal import Refusal, bad, denied, died
from felhom_agent.devnode.world.volumename import refuse_source, refuse_unreadable
from felhom_agent.options import Volume, beyond_token, lookup
from felhom_agent.options.since import numbers

_LATER = re.compile(r"(?:unused|serial|usb|hostpci|virtiofs)\d+|tags|cdrom")
_NO_DEVICE = "either 'host' or 'mapping' must be set."
_HWTYPE, _DISKS, _CDROM = "VM.Config.HWType", "VM.Config.Disk", "VM.Config.CDROM"
_CLOUDINIT = re.compile(r".*[:/](?:vm-\d+-)?cloudinit(?:\.(?:raw|qcow2?|qed|vmdk|cloop))?")
_NEW = re.compile(r"[^/:\s]+:\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Datacenter:
    """What of the datacenter decides: the zone of each virtual network, and who may give tags.

    `user_allow` and `registered` are `user-tag-access` and `registered-tags` of datacenter.cfg,
    `allowed` the tags that the former lets pass.
    """

    version: str = ""
    zones: Mapping[str, str] = field(default_factory=dict)
    user_allow: str = "free"
    allowed: frozenset[str] = frozenset()
    registered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Asked:
    """One change by one caller; `present` is the guest's configuration, empty if there is none."""

    change: ConfigWrite
    caller: Caller
    vmid: int
    present: Mapping[str, str]
    datacenter: Datacenter

    @property
    def is_qemu(self) -> bool:
        return self.change.kind == "qemu"

    def on_guest(self, *wanted: str) -> None:
        """Raise `Refusal` (403) unless any of these privileges is on the guest."""
        self.caller.need(f"/vms/{self.vmid}", *wanted)


def first_round(asked: Asked) -> None:
    """Raise `Refusal` (403, or 500 where only root may) for what the request alone shows."""
    change = asked.change
    # PVE looks at what a VM's revert brings back only as far as it is written.
    reverts = () if asked.is_qemu else change.reverts
    for key in (*change.deletes, *reverts, *change.sets):
        _plain(asked, key)
    if not asked.is_qemu:
        return
    for key, value in change.sets.items():
        if DISK.fullmatch(key):
            _storage(asked, value)
        elif key.startswith("unused") and numbers(asked.datacenter.version) >= (9, 2):
            _volume(asked, split_drive(value)[0])
    if change.sets.get("vmstatestorage"):
        path = f"/storage/{change.sets['vmstatestorage']}"
        asked.caller.need(path, "Datastore.AllocateSpace")
    for key, value in change.sets.items():
        if re.fullmatch(r"net\d+", key):
            _bridge(asked, value)
    _cpu_model(asked)


def second_round(asked: Asked) -> None:
    """Raise `Refusal` for what shows as each key has its turn."""
    for key in asked.change.deletes:
        turn(asked, key, None)
    for key, value in asked.change.sets.items():
        turn(asked, key, value)


def turn(asked: Asked, key: str, value: str | None) -> None:
    """Raise `Refusal` for what shows as a key has its turn; without a value it goes."""
    present = asked.present.get(key, "")
    if not asked.is_qemu:
        _container(asked, key, value)
        return
    if present:
        _device(asked, key, present, value or "")
    new_tags = key == "tags" and not present
    if value is not None and (new_tags or not re.fullmatch(r"net\d+|tags", key)):
        _device(asked, key, value, value)


def allowed_tags(
    user_allow: str, listed: frozenset[str], existing: frozenset[str], registered: frozenset[str]
) -> frozenset[str]:
    """Given the rules and the tags that guests have, return what a user may give and take."""
    allowed = listed if user_allow != "none" else frozenset()
    if user_allow in {"free", "existing"}:
        allowed |= existing
    return allowed - registered


def _plain(asked: Asked, key: str) -> None:
    option = lookup(asked.change.kind, key)
    if option is None:
        return
    if option.read_only:
        raise died(f"unable to modify read-only option: '{key}'")  # recorded: 11-lxc-roundtrip/141
    if option.token_never:
        raise died(option.token_never) if asked.is_qemu else _only_root(option.token_never)
    if not asked.is_qemu or DISK.fullmatch(key) or _LATER.fullmatch(key):
        return
    if option.privileges:
        asked.on_guest(*option.privileges)
    if key == "startup":
        asked.caller.need("/", "Sys.Modify")  # recorded: 10-qemu-roundtrip/125-136


def _device(asked: Asked, key: str, value: str, new: str = "") -> None:
    """Judge one value of a key of a VM: the one that comes, or the one that goes."""
    option = lookup("qemu", key)
    family = option.family if option else ""
    if DISK.fullmatch(key):
        _drive(asked, value)
    elif family == "net":
        _bridge(asked, value)
    elif key == "tags":
        _tags(asked, asked.present.get(key, ""), new)
    elif family in {"serial", "usb", "hostpci"}:
        _host_device(asked, key, family, value)
    elif family == "rng0":
        asked.on_guest(_HWTYPE)
        if value.startswith("/dev/hwrng") or split(value).get("source") == "/dev/hwrng":
            asked.caller.need("/mapping/hwrng", "Mapping.Use")
    elif family == "virtiofs":
        asked.on_guest(_DISKS)
        name = split(value).get("dirid") or value.partition(",")[0]
        asked.caller.need(f"/mapping/dir/{name}", "Mapping.Use")
    elif family == "unused" and not new:
        _unused(asked, value)


def _host_device(asked: Asked, key: str, family: str, value: str) -> None:
    option = lookup("qemu", key)
    words = beyond_token(option, key, value) if option else ""
    if family == "usb":
        asked.on_guest(_HWTYPE)
    if words and "romfile" not in words:
        raise died(words)
    _mapped(asked, family, split(value))
    asked.on_guest(_HWTYPE)
    if words:
        raise bad({key: words})  # recorded: 9.2 202/427-438


def _unused(asked: Asked, volume: str) -> None:
    asked.on_guest(_DISKS)
    # recorded: 9.2 200b/009-010
    asked.caller.need(f"/storage/{volume.partition(':')[0]}", "Datastore.AllocateSpace")


def _mapped(asked: Asked, family: str, parts: Mapping[str, str]) -> None:
    if family == "serial" or "spice" in (parts.get("host") or parts.get("", "")).lower():
        return
    if "mapping" in parts:
        kind = {"usb": "usb", "hostpci": "pci"}[family]
        asked.caller.need(f"/mapping/{kind}/{parts['mapping']}", "Mapping.Use")
    elif not {"host", ""} & set(parts):
        raise died(_NO_DEVICE)


def _drive(asked: Asked, value: str) -> None:
    volume, parts = split_drive(value)
    if _CLOUDINIT.fullmatch(volume):
        asked.on_guest("VM.Config.Cloudinit")
        asked.on_guest(_CDROM)
    elif parts.get("media") == "cdrom" or volume in {"none", "cdrom"}:
        asked.on_guest(_CDROM)
    else:
        asked.on_guest(_DISKS)


def _storage(asked: Asked, value: str) -> None:
    volume, parts = split_drive(value)
    refuse_source(parts.get("import-from", ""))
    is_cd = parts.get("media") == "cdrom" or volume in {"none", "cdrom"}
    if volume == "none" or volume.endswith(":cloudinit"):
        return
    if volume == "cdrom":
        asked.caller.need("/", "Sys.Console")
    elif _NEW.fullmatch(volume) and not is_cd:
        asked.caller.need(f"/storage/{volume.partition(':')[0]}", "Datastore.AllocateSpace")
    else:
        _volume(asked, volume)


def _volume(asked: Asked, volume: str) -> None:
    # PVE: pve-storage Storage.pm check_volume_access
    if volume.startswith("/"):
        raise died("Only root can pass arbitrary filesystem paths.")
    refuse_unreadable(volume)
    storage, _, name = volume.partition(":")
    content, owner = Volume(volume).content, Volume(volume).owner
    if content and not asked.is_qemu:
        raise died(f"unable to use volume {volume} - content type needs to be 'rootdir'")
    path = f"/storage/{storage}"
    if asked.caller.may(path, "Datastore.Allocate"):
        return
    if content in {"iso", "vztmpl", "import"}:
        asked.caller.need(path, "Datastore.AllocateSpace", "Datastore.Audit")
    elif owner not in (0, asked.vmid):
        asked.caller.need(path, "Datastore.Audit")
        asked.caller.need(f"/vms/{owner}", _DISKS)
    elif not owner and name:
        raise died(f"missing privileges to access {volume}")


def _bridge(asked: Asked, value: str) -> None:
    parts = split(value)
    bridge = parts.get("bridge")
    if not bridge:
        return
    zone = asked.datacenter.zones.get(bridge, "localnetwork")
    path = f"/sdn/zones/{zone}/{bridge}"
    tags = [*filter(None, [parts.get("tag")]), *_trunks(parts.get("trunks", ""))]
    for tag in tags:
        asked.caller.need(f"{path}/{tag}", "SDN.Use")
    if not tags:
        asked.caller.need(path, "SDN.Use")


def _trunks(text: str) -> Iterator[str]:
    # PVE: pve-guest-common GuestHelpers.pm get_tags_from_trunk
    for part in filter(None, text.split(";")):
        first, _, last = part.partition("-")
        ranged = last and int(last) > int(first)
        yield from map(str, range(int(first), int(last) + 1)) if ranged else (first,)


def _cpu_model(asked: Asked) -> None:
    # recorded: 9.2 202/375; another rule before qemu-server 9.1.13
    model = _model(asked.change.sets.get("cpu", ""))
    if not model.startswith("custom-") or _model(asked.present.get("cpu", "")) == model:
        return
    if numbers(asked.datacenter.version) < (9, 2):
        asked.caller.need("/nodes", "Sys.Audit")
    else:
        asked.caller.need(f"/mapping/cpu/{model.removeprefix('custom-')}", "Mapping.Use")


def _model(value: str) -> str:
    parts = split(value)
    return parts.get("cputype") or parts.get("", "") or value.partition(",")[0]


def _tags(asked: Asked, old: str, new: str) -> None:
    asked.on_guest("VM.Config.Options")
    if asked.caller.may("/", "Sys.Modify"):
        return
    rules = asked.datacenter
    for tag in sorted(_words(old) ^ _words(new)):
        free = rules.user_allow == "free" or tag in rules.allowed
        if tag in rules.registered or not free:
            raise _only_root(f"/, Sys.Modify for modifying tag '{tag}'")


def _words(tags: str) -> frozenset[str]:
    return frozenset(re.split(r"[,; \0]+", tags)) - {""}


def _container(asked: Asked, key: str, value: str | None) -> None:
    option = lookup("lxc", key)
    old = asked.present.get(key, "")
    if option is None:
        return
    if key == "tags":
        _tags(asked, old, value or "")
    elif key == "features":
        _features(asked, value, old)
    elif option.privileges:
        asked.on_guest(*option.privileges)
    if DISK.fullmatch(key) and value is not None:
        volume = split_drive(value)[0]
        if volume.startswith("/") and (words := beyond_token(option, key, value)):
            raise _only_root(words)
        if _NEW.fullmatch(volume):
            asked.caller.need(f"/storage/{volume.partition(':')[0]}", "Datastore.AllocateSpace")
        else:
            _volume(asked, volume)
    if re.fullmatch(r"net\d+", key):
        _bridge(asked, old)
        # PVE: check_bridge_access leaves the loop by `next` where the old card has no bridge.
        if not old or split(old).get("bridge"):
            _bridge(asked, value or "")


def _features(asked: Asked, value: str | None, old: str) -> None:
    # recorded: 11-lxc-roundtrip/124-129
    if asked.present and str(asked.present.get("unprivileged", "0")) != "1":
        raise _only_root(
            "changing feature flags for privileged container is only allowed for root@pam"
        )
    new, before = split(value or ""), split(old)
    changed = {key for key in {*new, *before} - {""} if new.get(key) != before.get(key)}
    if changed - {"nesting"}:
        raise _only_root("changing feature flags (except nesting) is only allowed for root@pam")
    if changed:
        asked.on_guest("VM.Allocate")


def _only_root(words: str) -> Refusal:
    return denied(f"Permission check failed ({words})")
