"""What the value of an option needs of the token, beside what the option itself does: a table.

Each rule has its source. `docs/privileges.md` is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from felhom_agent.model import Facts
from felhom_agent.options import Invalid, Option, PropertyString, Volume
from felhom_agent.options.since import FIRST, Since, qemu_server

_Paths = Callable[["Case"], Iterator[str]]

_TRUNK: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MAX_TAG: Final = 4094
_LOCAL: Final = "localnetwork"
# PVE: pve-common JSONSchema.pm, the name that PVE itself gives to a bridge of the host
_HOSTS_NAME: Final = re.compile(r"vmbr[0-9]{1,4}")
UNKNOWN: Final = re.compile(r"<zone of ([^>]*)>")
"""Finds what stands in a path for the zone of a network that is no bridge of the node that the
token may see, and no virtual network whose zone it may see."""


@dataclass(frozen=True)
class Case:
    """One value of an option of a guest, the one that comes or the one that goes; `other` is its
    counterpart, empty where there is none.
    """

    option: Option
    key: str
    text: str
    other: str
    vmid: int
    facts: Facts
    kind: str

    @property
    def parts(self) -> dict[str, str]:
        """The parts of the value; none where PVE could not read it."""
        return _parts(self.option, self.text)


@dataclass(frozen=True)
class ValueRule:
    """What some options need because of their value.

    * `options`: their names as in the table, of guests of these `kinds`.
    * `when`: which values, in words; `where`: on which path, in words.
    * `any_of`: the privileges, of which one is enough; the first is the one to grant.
    * `paths`: given a value, yields the paths, or nothing.
    * `new`, `old`, `gone`: whether it holds for the value that comes, for the one that it replaces,
      and for one that is deleted.
    * `since`: which version brought it; `until`: which one put another rule in its place.
    """

    kinds: tuple[str, ...]
    options: tuple[str, ...]
    when: str
    any_of: tuple[str, ...]
    where: str
    paths: _Paths
    source: str
    new: bool = True
    old: bool = False
    gone: bool = False
    since: Since = FIRST
    until: Since | None = None


def _parts(option: Option, text: str) -> dict[str, str]:
    if not isinstance(option.type, PropertyString):
        return {}
    try:
        return option.type.split(text)
    except Invalid:
        return {}


def _guest(case: Case) -> Iterator[str]:
    yield f"/vms/{case.vmid}"


def _root(_: Case) -> Iterator[str]:
    yield "/"


def _bridges(case: Case) -> Iterator[str]:
    # PVE: pve-guest-common GuestHelpers.pm check_vnet_access
    parts = case.parts
    bridge = parts.get("bridge")
    if not bridge:
        return
    path = f"/sdn/zones/{_zone(bridge, case.facts)}/{bridge}"
    tags = [parts["tag"]] if parts.get("tag") else []
    tags += [tag for tag in _trunks(parts.get("trunks", "")) if tag not in tags]
    yield from (f"{path}/{tag}" for tag in tags)
    if not tags:
        yield path


def _new_bridges(case: Case) -> Iterator[str]:
    # PVE: pve-container LXC.pm check_bridge_access ends the whole check where the old card had no
    # bridge, so that the new one's is not looked at
    if not case.other or _parts(case.option, case.other).get("bridge"):
        yield from _bridges(case)


def _trunks(text: str) -> Iterator[str]:
    # PVE: pve-guest-common GuestHelpers.pm get_tags_from_trunk: a tag that is no range stays as it
    # is written ("05")
    for part in text.split(";"):
        if found := _TRUNK.fullmatch(part):
            first, last = int(found[1]), min(int(found[2] or 0), _MAX_TAG)
            yield from map(str, range(first, last + 1)) if last > first else (found[1],)


def _zone(bridge: str, facts: Facts) -> str:
    """Return the zone of a bridge or virtual network; a text for `UNKNOWN` if it cannot be told."""
    if bridge in facts.zones:
        return facts.zones[bridge]
    if facts.bridges is not None and facts.bridges.get(bridge) is False:
        return _LOCAL
    listed = facts.rights.paths if facts.rights else ()
    zones = [path.split("/") for path in listed if path.startswith("/sdn/zones/")]
    if facts.bridges is None:
        return next((p[3] for p in zones if len(p) > 4 and p[4] == bridge), _LOCAL)
    others = [p for p in zones if p[3] != _LOCAL]
    if found := next((p[3] for p in others if len(p) > 4 and p[4] == bridge), ""):
        return found
    if bridge in facts.bridges:
        # What is seen without its zone is seen by SDN.Use there.
        usable = (p[3] for p in others if _uses(facts, f"/sdn/zones/{p[3]}/{bridge}"))
        return next(usable, f"<zone of {bridge}>")
    return _LOCAL if _HOSTS_NAME.fullmatch(bridge) else f"<zone of {bridge}>"


def _uses(facts: Facts, path: str) -> bool:
    return facts.rights is not None and "SDN.Use" in facts.rights.on(path)


def _mapping(name: str, part: str) -> _Paths:
    def paths(case: Case) -> Iterator[str]:
        if found := case.parts.get(part):
            yield f"/mapping/{name}/{found}"

    return paths


def _hwrng(case: Case) -> Iterator[str]:
    if case.parts.get("source") == "/dev/hwrng":
        yield "/mapping/hwrng"


def _cpu_model(case: Case) -> Iterator[str]:
    model = case.parts.get("cputype", "")
    same = _parts(case.option, case.other).get("cputype", "") == model
    if model.startswith("custom-") and not same:
        yield f"/mapping/cpu/{model.removeprefix('custom-')}"


def _any_cpu_model(case: Case) -> Iterator[str]:
    if next(_cpu_model(case), ""):
        yield "/nodes"


def _volume(case: Case) -> Volume:
    parts = case.parts
    return Volume(parts.get("file") or parts.get("volume") or "")


def _is_cd(case: Case) -> bool:
    return case.parts.get("media") == "cdrom" or _volume(case).is_cdrom


def _cloudinit_drive(case: Case) -> Iterator[str]:
    if _volume(case).is_cloudinit:
        yield from _guest(case)


def _cd_drive(case: Case) -> Iterator[str]:
    if _is_cd(case) or _volume(case).is_cloudinit:
        yield from _guest(case)


def _disk(case: Case) -> Iterator[str]:
    if case.text and not _is_cd(case) and not _volume(case).is_cloudinit:
        yield from _guest(case)


def _new_volume(case: Case) -> Iterator[str]:
    volume = _volume(case)
    if volume.new_bytes is not None and not _is_cd(case):
        yield f"/storage/{volume.storage}"


def _image(case: Case) -> Iterator[str]:
    volume = _volume(case)
    if volume.content == "iso":
        yield f"/storage/{volume.storage}"


def _others_volume(case: Case) -> Iterator[str]:
    volume = _volume(case)
    if volume.storage and volume.owner not in (0, case.vmid):
        yield f"/storage/{volume.storage}"


def _nobodys_volume(case: Case) -> Iterator[str]:
    volume = _volume(case)
    if volume.storage and volume.is_lun:
        yield f"/storage/{volume.storage}"


def _others_guest(case: Case) -> Iterator[str]:
    if next(_others_volume(case), ""):
        yield f"/vms/{_volume(case).owner}"


def _storage(case: Case) -> Iterator[str]:
    if case.text:
        yield f"/storage/{case.text}"


def _nesting(case: Case) -> Iterator[str]:
    if case.parts.get("nesting", "") != _parts(case.option, case.other).get("nesting", ""):
        yield from _guest(case)


def _guarded_tags(case: Case) -> Iterator[str]:
    facts, new, old = case.facts, _tags(case.text), _tags(case.other)
    for tag in new ^ old:
        free = facts.free_tags is None or tag in facts.free_tags
        if tag in facts.registered_tags or not free:
            yield "/"
            return


def _tags(text: str) -> frozenset[str]:
    return frozenset(re.split(r"[,; \0]+", text)) - {""}


_DRIVES: Final = (
    "cdrom", "efidisk0", "ide[n]", "sata[n]", "scsi[n]", "tpmstate0", "virtio[n]",
)  # fmt: skip
_VOLUMES: Final = ("mp[n]", "rootfs")
BY_VALUE: Final = frozenset({("lxc", "features"), *(("qemu", name) for name in _DRIVES)})
"""Options, by kind and name, of which the rules tell all that is needed: they stand for what the
option table says, and not besides it."""
_QEMU: Final = ("qemu",)
_LXC: Final = ("lxc",)
_BOTH: Final = ("qemu", "lxc")
_ZONE: Final = "`/sdn/zones/ZONE/BRIDGE[/TAG]`"
_STORAGE: Final = "`/storage/ID`"
_API: Final = "qemu-server API2/Qemu.pm"
_CT: Final = "pve-container LXC.pm check_ct_modify_config_perm"
_ACCESS: Final = "pve-storage Storage.pm check_volume_access"
_MAPPED_CPU: Final = qemu_server("9.1.13", "9.2")

RULES: Final[tuple[ValueRule, ...]] = (
    ValueRule(_QEMU, ("startup",), "any", ("Sys.Modify",), "`/`", _root,
         f"{_API} check_vm_modify_config_perm; recorded: 10-qemu-roundtrip/125-136",
         gone=True),
    ValueRule(_QEMU, ("net[n]",), "with a bridge, also where the bridge stays", ("SDN.Use",), _ZONE,
         _bridges, f"{_API} update_vm_api; recorded: 9.2 200b/027-037", old=True, gone=True),
    ValueRule(_LXC, ("net[n]",), "with a bridge, also where the bridge stays", ("SDN.Use",), _ZONE,
         _new_bridges, f"{_CT}, check_bridge_access"),
    ValueRule(_LXC, ("net[n]",), "the card had a bridge", ("SDN.Use",), _ZONE, _bridges, _CT,
         new=False, old=True, gone=True),
    ValueRule(_QEMU, ("usb[n]",), "`mapping=ID`", ("Mapping.Use",), "`/mapping/usb/ID`",
         _mapping("usb", "mapping"), f"{_API} check_usb_perm", old=True, gone=True),
    ValueRule(_QEMU, ("hostpci[n]",), "`mapping=ID`", ("Mapping.Use",), "`/mapping/pci/ID`",
         _mapping("pci", "mapping"), f"{_API} check_hostpci_perm; recorded: 9.2 202/427-438",
         old=True, gone=True),
    ValueRule(_QEMU, ("virtiofs[n]",), "any", ("Mapping.Use",), "`/mapping/dir/ID`",
         _mapping("dir", "dirid"), f"{_API} check_dir_perm", old=True, gone=True),
    ValueRule(_QEMU, ("rng0",), "`source=/dev/hwrng`", ("Mapping.Use",), "`/mapping/hwrng`", _hwrng,
         f"{_API} check_rng_perm", old=True, gone=True),
    ValueRule(_QEMU, ("cpu",), "another model, `custom-ID`", ("Mapping.Use",), "`/mapping/cpu/ID`",
         _cpu_model, f"{_API} check_cpu_model_access", since=_MAPPED_CPU),
    ValueRule(_QEMU, ("cpu",), "another model, `custom-ID`", ("Sys.Audit",), "`/nodes`",
         _any_cpu_model, f"{_API} check_cpu_model_access", until=_MAPPED_CPU),
    ValueRule(_QEMU, _DRIVES, "a disk", ("VM.Config.Disk",), "the guest", _disk,
         f"{_API} check_drive_perms; recorded: 9.2 200b/001-006",
         old=True, gone=True),
    ValueRule(_QEMU, _DRIVES, "`media=cdrom`, `none`", ("VM.Config.CDROM",), "the guest", _cd_drive,
         f"{_API} check_drive_perms; recorded: 9.2 200b/015-020",
         old=True, gone=True),
    ValueRule(_QEMU, _DRIVES, "a cloud-init drive, besides VM.Config.CDROM",
         ("VM.Config.Cloudinit",),
         "the guest", _cloudinit_drive, f"{_API} check_drive_perms; recorded: 9.2 200b/021-026",
         old=True, gone=True),
    ValueRule(_QEMU, _DRIVES, "`STORAGE:SIZE`", ("Datastore.AllocateSpace",), _STORAGE, _new_volume,
         f"{_API} check_storage_access; recorded: 9.2 200b/013"),
    ValueRule(_QEMU, _DRIVES, "an ISO image",
         ("Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"), _STORAGE, _image,
         f"{_ACCESS}; recorded: 9.2 200b/017"),
    ValueRule(_BOTH, (*_DRIVES, *_VOLUMES), "a volume of another guest",
         ("Datastore.Audit", "Datastore.Allocate"), _STORAGE, _others_volume,
         f"{_ACCESS}; recorded: 9.2 202/188-201"),
    ValueRule(_BOTH, (*_DRIVES, *_VOLUMES), "a volume of another guest", ("VM.Config.Disk",),
         "the other guest", _others_guest, _ACCESS),
    ValueRule(_BOTH, (*_DRIVES, *_VOLUMES), "a LUN of an iSCSI target, which is no guest's",
         ("Datastore.Allocate",), _STORAGE, _nobodys_volume, _ACCESS),
    ValueRule(_LXC, _VOLUMES, "`STORAGE:SIZE`", ("Datastore.AllocateSpace",), _STORAGE, _new_volume,
         _CT),
    ValueRule(_QEMU, ("vmstatestorage",), "any", ("Datastore.AllocateSpace",), _STORAGE, _storage,
         f"{_API} check_storage_access"),
    ValueRule(_LXC, ("features",), "another `nesting`; all else is root's", ("VM.Allocate",),
         "the guest", _nesting, f"{_CT}; recorded: 11-lxc-roundtrip/124-129", gone=True),
    ValueRule(_BOTH, ("tags",),
         "a tag comes or goes that `registered-tags` or `user-tag-access` guard",
         ("Sys.Modify",), "`/`", _guarded_tags,
         "pve-guest-common GuestHelpers.pm assert_tag_permissions; recorded: 9.2 200/046-089",
         gone=True),
)  # fmt: skip
