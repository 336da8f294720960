"""Drives and mount points: what the volume part of their text says.

`STORAGE:NAME` is a volume that exists, `STORAGE:GIB` asks for a new one of that size, and
`STORAGE:cloudinit` for a cloud-init drive; `none` and `cdrom` are drives without a volume, and
an absolute path is the host's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

GIB: Final = 1024**3

# PVE: qemu-server Drive.pm $NEW_DISK_RE; pve-container LXC.pm $NEW_DISK_RE
_NEW: Final = re.compile(r"[^/:\s]+:([0-9]+(?:\.[0-9]+)?)")
# A longer number is too large a size for any storage, whatever its further digits are.
_MAX_DIGITS: Final = 30
# PVE: qemu-server Drive.pm drive_is_cloudinit
_CLOUDINIT: Final = re.compile(
    r".*[:/](?:vm-[0-9]+-)?cloudinit(?:\.(?:raw|qcow2?|qed|vmdk|cloop))?"
)
# PVE: pve-storage Storage/Plugin.pm parse_volname: of a file its directory tells, not its name;
# RBDPlugin.pm, ZFSPoolPlugin.pm, LVMPlugin.pm, LvmThinPlugin.pm parse_volname. A linked clone names
# its base first.
_OWNED: Final = re.compile(
    r"[0-9]+/\S+/([0-9]+)/\S+|([0-9]+)/\S+|"
    r"(?:base(?:vol)?-[0-9]+-\S+/)?(?:vm|base|subvol|basevol)-([0-9]+)-\S+"
)
# PVE: pve-storage ISCSIPlugin.pm, ISCSIDirectPlugin.pm parse_volname
_LUN: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[^/\s]+|lun[0-9]+")
_OTHER_KIND: Final = re.compile(r"[^:/]+:(iso|import|snippets|vztmpl|backup)/")


@dataclass(frozen=True)
class Volume:
    """The volume part of a drive or mount point, as written."""

    text: str

    @property
    def storage(self) -> str:
        """The storage's name; empty where the volume is on none."""
        return "" if self.is_path or self.is_empty else self.text.partition(":")[0]

    @property
    def is_path(self) -> bool:
        return self.text.startswith("/")

    @property
    def is_empty(self) -> bool:
        """Whether there is a drive but no volume of ours in it."""
        return self.text in {"", "none", "cdrom"}

    @property
    def is_request(self) -> bool:
        """Whether PVE would make a new volume of this."""
        return self.new_bytes is not None or self.text.endswith(":cloudinit")

    @property
    def new_bytes(self) -> int | None:
        """The size of the new volume that is asked for; `None` if none is."""
        match = _NEW.fullmatch(self.text)
        return int(Decimal(match[1][:_MAX_DIGITS]) * GIB) if match else None

    @property
    def is_cloudinit(self) -> bool:
        return _CLOUDINIT.fullmatch(self.text) is not None

    @property
    def is_iso(self) -> bool:
        return ":iso/" in self.text

    @property
    def is_cdrom(self) -> bool:
        """Whether PVE makes a CD drive of it without being told.

        An ISO or a host's device is a disk unless `media` says otherwise.
        """
        # PVE: qemu-server QemuServer.pm cleanup_drive_path; API2/Qemu.pm create_disks
        return self.text in {"none", "cdrom"} or self.text.endswith(":cloudinit")

    @property
    def is_shareable(self) -> bool:
        """Whether several drives may hold it: it is no volume of one guest's."""
        return self.is_empty or self.is_path or self.is_iso or self.is_request

    @property
    def owner(self) -> int:
        """The vmid that the volume belongs to by its name; 0 where that names none."""
        found = _OWNED.fullmatch(self.text.partition(":")[2])
        return int(found[1] or found[2] or found[3]) if found else 0

    @property
    def is_lun(self) -> bool:
        """Whether it is a LUN of an iSCSI target, which belongs to no guest."""
        return _LUN.fullmatch(self.text.partition(":")[2]) is not None

    @property
    def content(self) -> str:
        """What a volume of a directory is by its name ("iso"); empty for a guest's image."""
        found = _OTHER_KIND.match(self.text)
        return found[1] if found else ""
