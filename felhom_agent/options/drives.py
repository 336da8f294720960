"""The parts of drive and mount point strings, of both kinds of guests.

Apart from the tables because several options share them. Defaults are those of run time: what
QEMU or the storage layer does when the part is missing, not what the schema says.

PVE: qemu-server QemuServer/Drive.pm; pve-container LXC/Config.pm $rootfs_desc, $mp_desc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felhom_agent.options.formats import (
    mount_path,
    urlencoded,
    volume_id,
    volume_or_absolute_path,
    volume_or_path,
)
from felhom_agent.options.propstring import Key, PropertyString
from felhom_agent.options.since import pve_container, qemu_server
from felhom_agent.options.special import Bytes
from felhom_agent.options.types import Boolean, Number, Text, Words, choice, integer

_OFF: Final = Key(Boolean(), "0")
_ON: Final = Key(Boolean(), "1")
# PVE: qemu-server OVMF.pm: what an EFI disk was made with; the text is only its label
_MADE_OFF: Final = Key(Boolean(), "0", made_once=True, since=qemu_server("7.0-16", "7.1"))
_SIZE: Final = Key(Bytes(), owned=True)
_FILE: Final = Key(Text(volume_or_path), required=True)
_FORMAT: Final = Key(choice("raw qcow qed qcow2 vmdk cloop"))
_IMPORT: Final = Key(Text(volume_or_absolute_path), since=qemu_server("7.1-5", "7.2"))
_RATE: Final = Key(integer(), "0")
_MEGABYTES: Final = Key(Number(), "0")
_SECONDS: Final = Key(integer(1), "1")
_VOLUME: Final = {"volume": "file"}

_DRIVE: Final[Mapping[str, Key]] = {
    "file": _FILE,
    "aio": Key(choice("native threads io_uring")),
    # PVE: Drive.pm: an absent `backup` means included for a drive
    "backup": _ON,
    "bps": _RATE,
    "bps_rd": _RATE,
    "bps_wr": _RATE,
    "bps_max_length": _SECONDS,
    "bps_rd_max_length": _SECONDS,
    "bps_wr_max_length": _SECONDS,
    # PVE: Drive.pm drive_uses_cache_direct: caching is off where nothing is said
    "cache": Key(choice("none writethrough writeback unsafe directsync"), "none"),
    # PVE: Drive.pm detect_zeroes_cmdline_option
    "detect_zeroes": _ON,
    "discard": Key(choice("ignore on"), "ignore"),
    "format": _FORMAT,
    "import-from": _IMPORT,
    "iops": _RATE,
    "iops_rd": _RATE,
    "iops_wr": _RATE,
    "iops_max": _RATE,
    "iops_rd_max": _RATE,
    "iops_wr_max": _RATE,
    "iops_max_length": _SECONDS,
    "iops_rd_max_length": _SECONDS,
    "iops_wr_max_length": _SECONDS,
    "mbps": _MEGABYTES,
    "mbps_rd": _MEGABYTES,
    "mbps_wr": _MEGABYTES,
    "mbps_max": _MEGABYTES,
    "mbps_rd_max": _MEGABYTES,
    "mbps_wr_max": _MEGABYTES,
    "media": Key(choice("cdrom disk"), "disk"),
    "replicate": _ON,
    # QEMU's own defaults: report read errors, stop for want of space only
    "rerror": Key(choice("ignore report stop"), "report"),
    "werror": Key(choice("enospc ignore report stop"), "enospc"),
    "serial": Key(Text(urlencoded, longest=60)),
    "shared": _OFF,
    "size": _SIZE,
    "snapshot": _OFF,
}
_ALIASES: Final = _VOLUME | {
    "bps_rd_length": "bps_rd_max_length",
    "bps_wr_length": "bps_wr_max_length",
    "iops_rd_length": "iops_rd_max_length",
    "iops_wr_length": "iops_wr_max_length",
}
# PVE: qemu-server QemuServer/Drive.pm $DROPPED_PROPERTIES (9.0.1): QEMU has none of them since 3.1
_GEOMETRY: Final = frozenset({"cyls", "heads", "secs", "trans"})
_SSD: Final = {
    "ssd": _OFF,
    "wwn": Key(Text(pattern=r"0x[0-9a-fA-F]{16}", fold=True, words="0x and 16 hexadecimal digits")),
}
_THREADED: Final = {"iothread": _OFF, "ro": Key(Boolean(), "0", since=qemu_server("7.0-18", "7.1"))}

IDE: Final = PropertyString(
    {**_DRIVE, **_SSD, "model": Key(Text(urlencoded, longest=120))},
    "file",
    _ALIASES,
    dropped=_GEOMETRY,
)
SATA: Final = PropertyString({**_DRIVE, **_SSD}, "file", _ALIASES, dropped=_GEOMETRY)
VIRTIO: Final = PropertyString({**_DRIVE, **_THREADED}, "file", _ALIASES, dropped=_GEOMETRY)
SCSI: Final = PropertyString(
    {
        **_DRIVE,
        **_SSD,
        **_THREADED,
        "product": Key(
            Text(
                pattern=r"[A-Za-z0-9\-_\s]{0,16}",
                words="up to 16 letters, digits, dashes, underscores and blanks",
            ),
            since=qemu_server("8.1.0", "8.2"),
        ),
        "queues": Key(integer(2)),
        "scsiblock": _OFF,
        "vendor": Key(
            Text(
                pattern=r"[A-Za-z0-9\-_\s]{0,8}",
                words="up to 8 letters, digits, dashes, underscores and blanks",
            ),
            since=qemu_server("8.1.0", "8.2"),
        ),
    },
    "file",
    _ALIASES,
    dropped=_GEOMETRY,
)
EFI_DISK: Final = PropertyString(
    {
        "file": _FILE,
        "efitype": Key(choice("2m 4m"), "2m", made_once=True, since=qemu_server("7.0-16", "7.1")),
        "format": _FORMAT,
        "import-from": _IMPORT,
        # PVE: Drive.pm: a marker that PVE itself sets when it enrolls certificates
        "ms-cert": Key(
            choice("2011 2023 2023w 2023k"),
            "2011",
            owned=True,
            made_once=True,
            since=qemu_server("9.0.27", "9.1"),
        ),
        "pre-enrolled-keys": _MADE_OFF,
        "size": _SIZE,
    },
    "file",
    _VOLUME,
)
TPM_STATE: Final = PropertyString(
    {
        "file": _FILE,
        "format": Key(choice("raw qcow2 vmdk"), since=qemu_server("9.0.26", "9.1")),
        "import-from": _IMPORT,
        "size": _SIZE,
        "version": Key(choice("v1.2 v2.0"), "v1.2", made_once=True),
    },
    "file",
    _VOLUME,
)
UNUSED_DRIVE: Final = PropertyString({"file": Key(Text(volume_id), required=True)}, "file", _VOLUME)

_MOUNT_OPTION: Final = "(?:discard|lazytime|noatime|nodev|noexec|nosuid)"
_CONTAINER_VOLUME: Final[Mapping[str, Key]] = {
    "volume": Key(Text(mount_path), required=True),
    "acl": Key(Boolean()),
    "idmap": Key(
        Words(
            ";",
            pattern=r"passthrough|[ug]:\d+:\d+:[1-9]\d*(?:;[ug]:\d+:\d+:[1-9]\d*)*",
            unordered=True,
            words="passthrough, or mappings like u:0:100000:65536;g:0:100000:65536",
        ),
        since=pve_container("6.1.6", "9.2"),
    ),
    "mountoptions": Key(
        Words(
            ";",
            pattern=f"{_MOUNT_OPTION}(?:;{_MOUNT_OPTION})*",
            unordered=True,
            words="some of discard, lazytime, noatime, nodev, noexec, nosuid, semicolons between",
        )
    ),
    "quota": _OFF,
    "replicate": _ON,
    "ro": _OFF,
    "shared": _OFF,
    "size": _SIZE,
}
ROOTFS: Final = PropertyString(_CONTAINER_VOLUME, "volume")
MOUNT_POINT: Final = PropertyString(
    {
        **_CONTAINER_VOLUME,
        "mp": Key(Text(mount_path), required=True),
        # PVE: LXC/Config.pm mountpoint_backup_enabled: absent means excluded, unlike a drive
        "backup": _OFF,
        "keepattrs": Key(Boolean(), "0", since=pve_container("6.1.2", "9.2")),
    },
    "volume",
)
UNUSED_VOLUME: Final = PropertyString({"volume": Key(Text(volume_id), required=True)}, "volume")
