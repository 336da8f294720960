"""Whether an action can be undone, and what a person would have to sign where it cannot.

The last wall before PVE, apart from the one that plans: `compare` and `volumes` never propose to
take a volume away, and this module does not believe them. It is given an action, wherever it comes
from, and names its class. The rule is whether data can be lost and who wants it, never the verb:

* a change of configuration that takes a volume from its key, by whatever spelling, is a
  `disk_detach`: another volume, a new one over it, none, a deletion, a disk turned into a CD;
* a stop that pulls the plug is a `force_stop`. It needs no signature where the guest's own local
  file allows it, since that speaks for the owner;
* what this version does not know is destructive.

What a key may lose without harm: nothing at all, a CD of an ISO image, and a VM's cloud-init drive,
which PVE deletes when it goes and makes again, from the configuration, whenever one is asked for
(PVE: qemu-server QemuServer.pm vmconfig_register_unused_drive; recorded: 9.2 202/143).
A path of the host counts as a volume: no token could put it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felhom_agent.irreversible import DeleteSnapshot, Destroy, PullPlug, Rollback
from felhom_agent.model import (
    ABSENT,
    Action,
    Change,
    Kind,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.options import Invalid, Option, PropertyString, Volume, lookup

LOCAL: Final = "file"
"""The source of a declaration that stands in a file on this host."""
UNKNOWN: Final = "unknown"
"""The class of what this version does not know."""
REVERSIBLE: Final = frozenset({"start", "stop", "set_config", "restart"})
DESTRUCTIVE: Final = frozenset(
    {
        "guest_destroy",
        "storage_wipe",
        "restore_overwrite",
        "decommission",
        "key_rotation",
        "snapshot_rollback",
        "snapshot_delete",
        "disk_detach",
        "force_stop",
    }
)

_DRIVES: Final = frozenset({"ide", "sata", "scsi", "virtio", "cdrom"})
_CLASSES: Final[Mapping[type, str]] = {
    Destroy: "guest_destroy",
    Rollback: "snapshot_rollback",
    DeleteSnapshot: "snapshot_delete",
    PullPlug: "force_stop",
}
_PLUG: Final = "what it has not written to its disks yet"


@dataclass(frozen=True)
class Classification:
    """What kind of act an action is; `lost` says in words what could not be brought back."""

    name: str
    vmid: int
    reversible: bool
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What would be signed: class, guest, and what is lost."""
        told = f": {'; '.join(self.lost)}" if self.lost else ""
        return f"{self.name} of guest {self.vmid}{told}"


def is_reversible(name: str) -> bool:
    """Given the name of a class, return whether its acts can be undone."""
    return name in REVERSIBLE


def classify(
    action: object,
    *,
    source: str,
    stop: StopPolicy = StopPolicy.GRACEFUL,
    present: Mapping[str, object] | None = None,
) -> Classification:
    """Given an action, return what kind of act it is; of a type that is not known here, `UNKNOWN`.

    `stop` is how the guest's declaration in force lets it be stopped, and `source` where that
    declaration is from. `present` is the guest's configuration as PVE has it now: whoever made the
    action may be wrong about what it replaces. Without it the changes alone are believed.
    """
    match action:
        case Start():
            return _reversible("start", action)
        case Stop(policy=StopPolicy.GRACEFUL):
            return _reversible("restart" if action.restart else "stop", action)
        case Stop():
            allowed = source == LOCAL and stop is StopPolicy.POWER_OFF
            return Classification("force_stop", action.vmid, allowed, (_PLUG,))
        case SetConfig():
            return _classify_change(action, present)
        case Destroy() | Rollback() | DeleteSnapshot() | PullPlug():
            return Classification(_CLASSES[type(action)], action.vmid, reversible=False)
    return Classification(UNKNOWN, getattr(action, "vmid", 0), reversible=False)


def _reversible(name: str, action: Action) -> Classification:
    return Classification(name, action.vmid, is_reversible(name))


def _classify_change(action: SetConfig, present: Mapping[str, object] | None) -> Classification:
    if lost := tuple(_lost(action, present)):
        return Classification("disk_detach", action.vmid, reversible=False, lost=lost)
    if odd := tuple(_odd(action)):
        return Classification(UNKNOWN, action.vmid, reversible=False, lost=odd)
    return _reversible("set_config", action)


def _odd(action: SetConfig) -> Iterator[str]:
    """Yield what nobody can judge: a key that is no option, or that is PVE's own to write.

    A parameter of the call is no option ("delete", "force", "revert"), nor is a list of keys.
    """
    for change in action.changes:
        option = lookup(action.kind, change.key)
        if option is None or option.server_owned:
            yield f"what writing {change.key[:60]!r} does is not known"


def _lost(action: SetConfig, present: Mapping[str, object] | None) -> Iterator[str]:
    """Yield what each change would take away."""
    for change in action.changes:
        held = dict.fromkeys(_held(change, present))
        yield from (lost for text in held if (lost := _loss(action.kind, change, text)))


def _held(change: Change, present: Mapping[str, object] | None) -> Iterator[str]:
    """Yield what a change's key holds, by the change and by what PVE has."""
    if change.before is not ABSENT:
        yield str(change.before)
    # PVE: qemu-server API2/Qemu.pm update_vm_api: `cdrom` writes and deletes ide2
    alias = change.key == "cdrom"
    if alias and present is None:
        yield "(whatever ide2 holds)"
    key = "ide2" if alias else change.key
    if present is not None and key in present:
        yield str(present[key])


def _loss(kind: Kind, change: Change, text: str) -> str:
    """Given a change and what its key holds, return what would be lost; empty if nothing."""
    option = lookup(kind, change.key)
    if not text.strip() or option is None:
        return ""
    if option.name == "vmstate":
        return f"{change.key} would lose {text}"
    if not _has_volume(option):
        return ""
    have, want = _parts(option, text), _parts(option, change.after)
    volume = have.get(_volume_key(option), "")
    if _can_be_made_again(option, volume, have):
        return ""
    instead = want.get(_volume_key(option), "")
    if instead != volume or not volume or Volume(instead).is_request:
        return f"{change.key} would lose {volume or text}" + (f" to {instead}" if instead else "")
    if want.get("import-from", "") != have.get("import-from", ""):
        return f"{change.key} would overwrite {volume} by an import"
    if _is_cd(want) != _is_cd(have):
        return f"{change.key} would make a CD of {volume}, or a disk"
    return ""


def _can_be_made_again(option: Option, volume: str, have: Mapping[str, str]) -> bool:
    """Return whether a key holds nothing that would be missed."""
    if option.family not in _DRIVES:
        return False
    held = Volume(volume)
    return volume in {"none", "cdrom"} or held.is_cloudinit or (held.is_iso and _is_cd(have))


def _is_cd(parts: Mapping[str, str]) -> bool:
    return parts.get("media", "disk") != "disk"


def _has_volume(option: Option) -> bool:
    return bool(_volume_key(option))


def _volume_key(option: Option) -> str:
    """Return the part that names an option's volume; empty if it has none."""
    key = option.type.default_key if isinstance(option.type, PropertyString) else ""
    return key if key in {"file", "volume"} else ""


def _parts(option: Option, text: object) -> dict[str, str]:
    """Return a text's parts; none where there is no text, or it cannot be taken apart."""
    if text is ABSENT or not isinstance(option.type, PropertyString):
        return {}
    try:
        return option.type.split(str(text))
    except Invalid:
        return {}
