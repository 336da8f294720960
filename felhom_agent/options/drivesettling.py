"""Whether PVE keeps a VM's drive: which parts go together, and which volume a drive can hold.

Asked of a text whose every part is valid. PVE takes the whole apart again whenever it reads the
guest's file, and a drive that it cannot read then is gone: so what it stores and then cannot read
is refused like what it refuses. PVE's own words stand where it says some.

PVE: qemu-server QemuServer/Drive.pm parse_drive; API2/Qemu.pm check_drive_param,
check_storage_access, create_disks; QemuServer.pm cleanup_drive_path.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from felhom_agent.options.formats import parse_size
from felhom_agent.options.volume import Volume
from felhom_agent.options.volumename import formats_of, unreadable

_NEEDS: Final[Mapping[str, str]] = {
    **{f"mbps{way}_max": f"mbps{way}" for way in ("", "_rd", "_wr")},
    **{f"bps{way}_max_length": f"mbps{way}_max" for way in ("", "_rd", "_wr")},
    **{f"iops{way}_max_length": f"iops{way}_max" for way in ("", "_rd", "_wr")},
}
_EITHER: Final = tuple(
    (f"{unit}{way}", unit) for unit in ("mbps", "iops") for way in ("_rd", "_wr")
)
_NOT_OF_A_CD: Final = ("snapshot", "format")
_UNREADABLE: Final = "unable to parse drive options"
_LOST: Final = "PVE stores it and cannot read it again"
# PVE: qemu-server QemuServer/Drive.pm $efidisk_desc, $tpmstate_fmt have no `media`
_NEVER_A_CD: Final[Mapping[str, str]] = {
    "virtio": "virtio has no CD drives",
    "efidisk0": "an EFI disk is no CD drive",
    "tpmstate0": "a TPM state is no CD drive",
}
# PVE: qemu-server API2/Qemu.pm check_drive_param
_IMPORT_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "efidisk0": ("efitype", "pre-enrolled-keys"),
    "tpmstate0": ("version",),
}
_MAX_SIZE: Final = 2**64


def drive_settles(family: str, parts: Mapping[str, str]) -> str:
    """Given the parts of a drive ("ide", "efidisk0", ...), return why PVE refuses or loses it;
    empty if it keeps it.
    """
    return (
        _becomes_no_limit(parts)
        or _limits_clash(parts)
        or _cd_clashes(family, parts)
        or _import_clashes(family, parts)
        or _holds_no_image(parts)
        or _is_too_large(parts)
    )


def _becomes_no_limit(parts: Mapping[str, str]) -> str:
    # PVE: Drive.pm parse_drive divides the wrong value: bps becomes mbps=0.000
    for key in ("bps", "bps_rd", "bps_wr"):
        if key in parts:
            return f"PVE turns {key} into m{key}=0.000; declare m{key} instead"
    return ""


def _limits_clash(parts: Mapping[str, str]) -> str:
    # PVE: Drive.pm parse_drive; to Perl `0` is false, and `0.0` is not
    set_to = {key for key, text in parts.items() if text not in {"0", ""}}
    for key, needed in _NEEDS.items():
        if key in set_to and needed not in set_to:
            return f"{_UNREADABLE}: {key} requires {needed}"
    for key, other in _EITHER:
        if {key, other} <= set_to:
            return f"{_UNREADABLE}: {key} and {other} exclude each other"
    return ""


def _cd_clashes(family: str, parts: Mapping[str, str]) -> str:
    """Return what of a CD drive PVE cannot read: it makes one of `none` by itself."""
    volume, media = Volume(parts.get("file", "")), parts.get("media", "")
    new_cloudinit = volume.is_cloudinit and volume.is_request
    if media != "cdrom" and not new_cloudinit and (media or not volume.is_cdrom):
        return ""
    # Where PVE makes it a CD by itself, it does so after it has looked, and loses the drive
    lead = _UNREADABLE if media == "cdrom" else _LOST
    if why := _NEVER_A_CD.get(family):
        return f"{lead}: {why}"
    for key in _NOT_OF_A_CD:
        # PVE: API2/Qemu.pm create_disks: a new cloud-init drive is made with its format, then a CD
        used = key == "format" and new_cloudinit and media != "cdrom"
        if parts.get(key, "0") != "0" and not used:
            return f"{lead}: a CD drive has no {key}"
    if new_cloudinit and media == "disk":
        return "PVE makes a CD drive of a new cloud-init drive; take media out"
    if volume.new_bytes is not None:
        return "a CD drive holds no new disk; declare an ISO, none or cdrom"
    return ""


def _import_clashes(family: str, parts: Mapping[str, str]) -> str:
    # PVE: API2/Qemu.pm check_drive_param, check_storage_access, import_from_volid
    source = parts.get("import-from", "")
    if not source:
        return ""
    if not _asks_for_nothing(parts.get("file", "")):
        return "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>"
    for key in _IMPORT_NEEDS.get(family, ()):
        if key not in parts:
            return f"need to specify '{key}' when using 'import-from'"
    if (kind := Volume(source).content) not in {"", "import"}:
        return f"{source} has wrong type '{kind}' - needs to be 'images' or 'import'"
    if Volume(source).new_bytes is not None:
        return "'import-from' must name a volume or a file to import, not a size"
    if why := unreadable(source) or _is_no_image(source):
        return f"'import-from': {why}"
    if Volume(source).is_cloudinit:
        return f"cannot import from '{source}' - cannot import from cloudinit disk"
    return ""


def _asks_for_nothing(volume: str) -> bool:
    """Return whether a new disk of size 0 is asked for, in any spelling."""
    size = volume.rpartition(":")[2]
    return Volume(volume).new_bytes is not None and not Decimal(size)


def _holds_no_image(parts: Mapping[str, str]) -> str:
    """Return why the volume cannot be a VM's drive, by what its name tells."""
    volume = parts.get("file", "")
    kind, formats = Volume(volume).content, formats_of(volume)
    if kind in {"", "iso"} and (why := unreadable(volume) or _is_no_image(volume)):
        return why
    if kind == "iso" and parts.get("media") != "cdrom":
        return "explicit 'media=cdrom' is required for iso images"
    if kind not in {"", "iso"}:
        return "content type needs to be 'images' or 'iso'"
    wanted = parts.get("format", "")
    if wanted and formats and wanted not in formats:
        named = " or ".join(sorted(formats))
        return f"'format={wanted}' option different from storage format '{named}'"
    return ""


def _is_no_image(volume: str) -> str:
    # PVE: qemu-server QemuServer/Drive.pm checked_parse_volname
    is_folder = formats_of(volume) == {"subvol"}
    return f"volume '{volume}' - not a QEMU image format 'subvol'" if is_folder else ""


def _is_too_large(parts: Mapping[str, str]) -> str:
    # PVE: pve-common JSONSchema.pm format_size prints such a number as 1e+20, and refuses that
    size = parse_size(parts.get("size", ""))
    return "size is larger than any disk" if size is not None and size >= _MAX_SIZE else ""
