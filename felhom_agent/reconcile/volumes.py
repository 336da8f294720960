"""Comparing and writing drives and mount points, where a careless write loses a disk.

Apart from the other options because here a write can do more than change a value: asking for a
volume over one that exists makes a new empty one and puts the old one aside, and a size in the
text changes nothing at all. What is promised: a text that `wire` returns never makes a volume
where the declared one exists, never names a stale size, and never takes a disk away.

recorded: 120-disks-qemu/009-030, 121-disks-lxc/062-068
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from felhom_agent.options import Invalid, Option, PropertyString, Volume
from felhom_agent.options.formats import parse_size
from felhom_agent.reconcile.comparison import EQUAL, Comparison, Context, Verdict

# PVE takes these when it makes a volume, and forgets them.
_WHEN_MADE: Final = frozenset({"format", "import-from"})
# PVE: qemu-server Drive.pm: PVE itself chooses the size of these
_FIXED_SIZE: Final = frozenset({"efidisk0", "tpmstate0"})


def has_volume(option: Option) -> bool:
    """Return whether an option is a drive, a mount point or a root file system."""
    return isinstance(option.type, PropertyString) and option.type.default_key in {"file", "volume"}


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


def compare_volume(option: Option, desired: str, actual: str, context: Context) -> Comparison:
    """Given the wire text of a drive and what PVE has there, return how they compare."""
    want, have = Drive(option, desired), Drive(option, actual)
    return (
        _replaced(want, have, context)
        or _other_volume(want, have)
        or _other_settings(want, have)
        or _other_size(want, have)
        or EQUAL
    )


def volume_wire(option: Option, desired: str, actual: str, context: Context) -> str:
    """Given a drive that drifted, return the text to send. Raise `Invalid` if none may be sent.

    `actual` is empty where there is no such drive yet.
    """
    if not actual:
        return _new_volume_wire(option, desired)
    comparison = compare_volume(option, desired, actual, context)
    if comparison.verdict in {Verdict.FORBIDDEN, Verdict.UNFIXABLE}:
        raise Invalid(comparison.why)
    want, have = Drive(option, desired), Drive(option, actual)
    stays = _is_satisfied(want, have) or want.volume == have.volume
    if _is_disk(have) and not stays:
        # recorded: 120-disks-qemu/009: the old volume becomes unused0 without a word
        raise Invalid(f"{want.volume.text} would put the volume {have.volume.text} aside")
    parts = want.parts
    parts.pop("size", None)
    if _is_satisfied(want, have):
        parts = {key: text for key, text in parts.items() if key not in _WHEN_MADE}
    if stays:
        parts = _server_parts(have) | parts | {want.type.default_key: have.volume.text}
    return want.type.print(_with_media(want, parts))


def _new_volume_wire(option: Option, desired: str) -> str:
    want = Drive(option, desired)
    if option.name == "rootfs":
        # recorded: 121-disks-lxc/062: PVE writes the text down as it is, and makes nothing
        raise Invalid("PVE does not make a root file system for a container that exists")
    return want.type.print(
        _with_media(want, {key: text for key, text in want.parts.items() if key != "size"})
    )


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
    if _is_disk(have) and (want.volume.is_request or want.is_cdrom or want.option.name == "rootfs"):
        return Comparison(
            Verdict.FORBIDDEN,
            f"{want.volume.text} would put the volume {have.volume.text} aside",
        )
    return Comparison(Verdict.DRIFT, f"holds {have.volume.text}, declared {want.volume.text}")


def _is_disk(drive: Drive) -> bool:
    return not drive.volume.is_empty and not drive.is_cdrom


def _is_satisfied(want: Drive, have: Drive) -> bool:
    """Return whether what is there is what a new volume was asked for, but for its size."""
    if not want.volume.is_request or want.volume.storage != have.volume.storage:
        return False
    if want.volume.new_bytes is None:
        return have.volume.is_cloudinit
    return _is_disk(have)


def _other_settings(want: Drive, have: Drive) -> Comparison | None:
    gone = _WHEN_MADE if want.volume.is_request else frozenset()
    owned = {key for key, spec in want.type.keys.items() if spec.owned} - set(want.parts)
    wanted, present = want.settings(gone), have.settings(gone | owned)
    if want.is_cdrom == have.is_cdrom and wanted == present:
        return None
    different = sorted(
        key for key in wanted.keys() | present.keys() if wanted.get(key) != present.get(key)
    )
    return Comparison(Verdict.DRIFT, f"differs in {', '.join(different) or 'media'}")


def _other_size(want: Drive, have: Drive) -> Comparison | None:
    size = want.size if want.volume.new_bytes is None else want.volume.new_bytes
    if want.option.name in _FIXED_SIZE or None in (size, have.size) or size == have.size:
        return None
    return Comparison(
        Verdict.UNFIXABLE,
        f"is {have.parts['size']}, and a configuration write never changes a volume's size",
    )


def _server_parts(have: Drive) -> dict[str, str]:
    """Return what PVE filled in beside the volume and must not be lost.

    A container's size is one of them: PVE keeps that text as it is, so it must be the present
    one. A VM's size is put right by PVE and is left out.
    """
    kept = {"ms-cert", "size"} if have.type.default_key == "volume" else {"ms-cert"}
    return {key: text for key, text in have.parts.items() if key in kept}


def _with_media(want: Drive, parts: dict[str, str]) -> dict[str, str]:
    # recorded: 120-disks-qemu: explicit 'media=cdrom' is required for iso images
    implied = {"media": "cdrom"} if want.volume.is_cdrom and "media" in want.type.keys else {}
    return implied | parts
