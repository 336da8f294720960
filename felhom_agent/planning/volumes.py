"""Comparing and writing drives and mount points, where a careless write loses a disk.

Apart from the other options because here a write can do more than change a value: asking for a
volume over one that exists makes a new empty one and puts the old one aside, and a size in the
text changes nothing at all. What is promised: a text that `volume_wire` returns never makes a
volume (but a cloud-init drive, which PVE fills again whenever it likes), never attaches one that
is held elsewhere, never names a stale size, and never takes a disk away.

recorded: 120-disks-qemu/009-030, 121-disks-lxc/062-068
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Final

from felhom_agent.model import Action, SetConfig
from felhom_agent.options import Invalid, Option, PropertyString, Volume, lookup
from felhom_agent.options.formats import parse_size
from felhom_agent.options.volume import GIB
from felhom_agent.planning.context import EQUAL, Comparison, Context, Verdict
from felhom_agent.planning.holders import holder
from felhom_agent.planning.rights import root_command

_MIB: Final = 1024**2
_EXTENT: Final = 4 * _MIB
# PVE takes these when it makes a volume, and forgets them.
_WHEN_MADE: Final = frozenset({"format", "import-from"})
# PVE: qemu-server Drive.pm: PVE itself chooses the size of these
_FIXED_SIZE: Final = frozenset({"efidisk0", "tpmstate0"})


def has_volume(option: Option) -> bool:
    """Return whether an option is a drive, a mount point or a root file system."""
    return isinstance(option.type, PropertyString) and option.type.default_key in {"file", "volume"}


def is_volume(kind: str, key: str) -> bool:
    """Return whether a key of a guest of that kind holds a volume."""
    option = lookup(kind, key)
    return option is not None and has_volume(option)


def changes_volume(action: Action) -> bool:
    """Return whether an action changes a key that holds a volume."""
    if not isinstance(action, SetConfig):
        return False
    return any(is_volume(action.kind, change.key) for change in action.changes)


@dataclass(frozen=True)
class Drive:
    """A drive's or mount point's text, taken apart."""

    option: Option
    text: str

    @property
    def type(self) -> PropertyString:
        if not isinstance(self.option.type, PropertyString):
            raise TypeError(f"{self.option.name} has no volume")
        return self.option.type

    @property
    def parts(self) -> dict[str, str]:
        return self.type.split(self.text)

    @property
    def volume(self) -> Volume:
        return Volume(self.parts.get(self.type.default_key, ""))

    @property
    def size(self) -> int | None:
        """The size in bytes that the text names."""
        return parse_size(self.parts.get("size", ""))

    @property
    def is_cdrom(self) -> bool:
        media = self.parts.get("media")
        return self.volume.is_cdrom if media is None else media == "cdrom"

    def settings(self, leave_out: frozenset[str] = frozenset()) -> dict[str, Hashable]:
        """Return the meaning of all parts but volume, size and media."""
        gone = leave_out | {self.type.default_key, "size", "media"}
        return {key: value for key, value in self.type.parts(self.text).items() if key not in gone}


def compare_volume(
    option: Option, key: str, desired: str, actual: str, context: Context
) -> Comparison:
    """Given the wire text of a drive and what PVE has there, return how they compare."""
    want, have = Drive(option, desired), Drive(option, actual)
    return (
        _replaced(want, have, context)
        or _other_volume(want, have)
        or _attached(want, have, key, context)
        or _made_otherwise(want, have)
        or _other_settings(want, have)
        or _other_size(want, have)
        or EQUAL
    )


def compare_no_volume(option: Option, key: str, desired: str, context: Context) -> Comparison:
    """Given the wire text of a drive where PVE has none, return how they compare."""
    want = Drive(option, desired)
    if option.name == "rootfs":
        # recorded: 121-disks-lxc/062: PVE writes the text down as it is, and makes nothing
        return Comparison(
            Verdict.FORBIDDEN, "PVE does not make a root file system for a container that exists"
        )
    return _attaching(want, key, context) or Comparison(Verdict.DRIFT, "is not set")


def volume_wire(option: Option, key: str, desired: str, actual: str, context: Context) -> str:
    """Given a drive that drifted, return the text to send. Raise `Invalid` if none may be sent.

    `actual` is empty where there is no such drive yet.
    """
    want = Drive(option, desired)
    if not actual:
        _raise_if_never(compare_no_volume(option, key, desired, context))
        return want.type.print(_with_media(want, _without(want.parts, {"size"})))
    _raise_if_never(compare_volume(option, key, desired, actual, context))
    have = Drive(option, actual)
    stays = _is_satisfied(want, have) or want.volume == have.volume
    if _is_disk(have) and not stays:
        # recorded: 120-disks-qemu/009: the old volume becomes unused0 without a word
        raise Invalid(f"{want.volume.text} would put the volume {have.volume.text} aside")
    parts = _without(want.parts, {"size"})
    if _is_satisfied(want, have):
        parts = _without(parts, _WHEN_MADE)
    if stays:
        parts = _server_parts(have) | parts | {want.type.default_key: have.volume.text}
    unknown = {key: have.parts[key] for key in have.type.unknown(actual) - have.type.dropped}
    return want.type.print(_with_media(want, unknown | parts))


def _without(parts: dict[str, str], gone: Collection[str]) -> dict[str, str]:
    return {key: text for key, text in parts.items() if key not in gone}


def _raise_if_never(comparison: Comparison) -> None:
    if comparison.verdict in {Verdict.FORBIDDEN, Verdict.UNFIXABLE}:
        raise Invalid(comparison.why)


def _replaced(want: Drive, have: Drive, context: Context) -> Comparison | None:
    before = Drive(want.option, context.before).volume if context.before else have.volume
    if want.volume.is_request and before != have.volume:
        return Comparison(
            Verdict.FORBIDDEN,
            f"{want.volume.text} made a new volume {have.volume.text} over {before.text}",
        )
    return None


def _other_volume(want: Drive, have: Drive) -> Comparison | None:
    if want.volume == have.volume or _is_satisfied(want, have):
        return None
    instead = want.volume.is_request or want.is_cdrom or want.volume.is_iso
    if _is_disk(have) and (instead or want.option.name == "rootfs"):
        return Comparison(
            Verdict.FORBIDDEN,
            f"{want.volume.text} would put the volume {have.volume.text} aside",
        )
    return None


def _attached(want: Drive, have: Drive, key: str, context: Context) -> Comparison | None:
    """Return what comes of a volume that would be attached where another one, or none, is."""
    if want.volume == have.volume or _is_satisfied(want, have):
        return None
    return _attaching(want, key, context) or Comparison(
        Verdict.DRIFT, f"holds {have.volume.text}, declared {want.volume.text}"
    )


def _attaching(want: Drive, key: str, context: Context) -> Comparison | None:
    """Return why a volume must not be attached; `None` if it may be."""
    kind = "lxc" if want.type.default_key == "volume" else "qemu"
    if want.volume.new_bytes is not None:
        # recorded: 9.2 202/153-156: detached by a person and asked for again, it is another one
        return Comparison(
            Verdict.FORBIDDEN,
            f"{want.volume.text} asks for a new volume, and the agent creates no volumes; make it"
            f" with: {root_command(kind, key, want.text, context)}",
        )
    if other := holder(kind, key, want.volume, context):
        return Comparison(
            Verdict.FORBIDDEN,
            f"{want.volume.text} is held by {other}; one volume is never attached twice",
        )
    return None


def _is_disk(drive: Drive) -> bool:
    return not drive.volume.is_empty and not drive.is_cdrom


def _is_satisfied(want: Drive, have: Drive) -> bool:
    """Return whether what is there is what a new volume was asked for, but for its size."""
    if not want.volume.is_request or want.volume.storage != have.volume.storage:
        return False
    if want.volume.new_bytes is None:
        return have.volume.is_cloudinit
    return _is_disk(have) and not have.volume.is_iso


def _made_otherwise(want: Drive, have: Drive) -> Comparison | None:
    """Return the difference in what was decided when the volume was made; `None` if none."""
    once = {key: spec for key, spec in want.type.keys.items() if spec.made_once}
    wanted, present = want.settings(), have.settings()
    for key, spec in once.items():
        silent = spec.owned and key not in want.parts
        if not silent and wanted.get(key) != present.get(key):
            # PVE: qemu-server API2/Qemu.pm prohibit_tpm_version_change; OVMF.pm
            return Comparison(
                Verdict.UNFIXABLE,
                f"differs in {key}, which was decided when the volume was made",
            )
    return None


def _other_settings(want: Drive, have: Drive) -> Comparison | None:
    gone = _WHEN_MADE if want.volume.is_request else frozenset()
    pves = frozenset(want.type.undeclared(want.text, have.text))
    wanted, present = want.settings(gone), have.settings(gone | pves)
    if want.is_cdrom == have.is_cdrom and wanted == present:
        return None
    different = sorted(
        key for key in wanted.keys() | present.keys() if wanted.get(key) != present.get(key)
    )
    return Comparison(Verdict.DRIFT, f"differs in {', '.join(different) or 'media'}")


def _other_size(want: Drive, have: Drive) -> Comparison | None:
    if want.option.name in _FIXED_SIZE or have.size is None or _has_size(want, have.size):
        return None
    return Comparison(
        Verdict.UNFIXABLE,
        f"is {have.parts['size']}, and a configuration write never changes a volume's size",
    )


def _has_size(want: Drive, size: int) -> bool:
    """Return whether a volume of that many bytes is of the size that is declared, if any is."""
    asked = want.volume.new_bytes
    if asked is None:
        return want.size in {None, size}
    if asked % GIB == 0:
        # STORAGE:0 names no size: what is imported, or a directory, has its own
        return asked in {0, size}
    # PVE asks for whole KiB (VMs) or MiB (containers), LVM gives whole extents of 4 MiB;
    # recorded: 9.2 202/160, 175: `local:0.2` came to 209716K and to 204M
    return asked // _MIB * _MIB <= size <= -(-asked // _EXTENT) * _EXTENT


def _server_parts(have: Drive) -> dict[str, str]:
    """Return what PVE filled in beside the volume and must not be lost.

    A container's size is one of them: PVE keeps that text as it is, so it must be the present
    one. A VM's size is put right by PVE and is left out.
    """
    kept = {"ms-cert", "size"} if have.type.default_key == "volume" else {"ms-cert"}
    return {key: text for key, text in have.parts.items() if key in kept}


def _with_media(want: Drive, parts: dict[str, str]) -> dict[str, str]:
    # As PVE itself does it: qemu-server QemuServer.pm cleanup_drive_path
    implied = {"media": "cdrom"} if want.volume.is_cdrom and "media" in want.type.keys else {}
    return implied | parts
