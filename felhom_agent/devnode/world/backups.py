"""The storages of the node that take backups, and the backups on them.

PVE: pve-storage Storage/Plugin.pm get_subdir_files, Storage/PBSPlugin.pm list_volumes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from felhom_agent.devnode.world.access import Caller
from felhom_agent.devnode.world.refusal import died

_PBS = "pbs"
_ARCHIVE = {"qemu": "vma.zst", "lxc": "tar.zst"}
_PBS_TYPE = {"qemu": "vm", "lxc": "ct"}


@dataclass(frozen=True)
class Backup:
    """A backup of a guest, made at a time in seconds since the epoch; `verification` is what a
    backup server found of it ("ok", "failed"; empty: it did not look).
    """

    kind: str
    vmid: int
    made: int
    verification: str = ""


@dataclass
class BackupStorage:
    """A storage of a kind ("dir", "nfs", "pbs") that takes backups; `available` is whether pvestatd
    reached it, `online` whether it can be reached now.
    """

    kind: str = "dir"
    available: bool = True
    online: bool = True
    backups: list[Backup] = field(default_factory=list)

    def row(self, name: str, node: str) -> dict[str, object]:
        """Return its row of GET /cluster/resources. recorded: 95-access/112-pool-get-new."""
        content = "backup" if self.kind == _PBS else "rootdir,iso,backup,images,vztmpl,snippets"
        return {
            "id": f"storage/{node}/{name}",
            "type": "storage",
            "storage": name,
            "node": node,
            "plugintype": self.kind,
            "content": content,
            "shared": int(self.kind != "dir"),
            **(
                {"status": "available", "disk": 25880563712, "maxdisk": 270553174016}
                if self.available
                else {"status": "unknown"}
            ),
        }

    def listed(self, name: str, caller: Caller, vmid: str = "") -> list[dict[str, object]]:
        """Return the rows of its backups, of one guest perhaps, that the caller may see. Raise
        `Refusal` if it cannot be reached.
        """
        if not self.online:
            raise died(f"storage '{name}' is not online")
        seen = [b for b in self.backups if vmid in ("", str(b.vmid)) and _may(caller, name, b)]
        return sorted(
            (self._row(name, backup) for backup in seen), key=lambda row: str(row["volid"]).lower()
        )

    def _row(self, name: str, backup: Backup) -> dict[str, object]:
        made = datetime.fromtimestamp(backup.made, UTC)
        pbs = self.kind == _PBS
        kind = _PBS_TYPE[backup.kind]
        file = f"vzdump-{backup.kind}-{backup.vmid}-{made:%Y_%m_%d-%H_%M_%S}"
        form = f"pbs-{kind}" if pbs else _ARCHIVE[backup.kind]
        path = f"{kind}/{backup.vmid}/{made:%Y-%m-%dT%H:%M:%SZ}" if pbs else f"{file}.{form}"
        row: dict[str, object] = {
            "volid": f"{name}:backup/{path}",
            "content": "backup",
            "format": form,
            "subtype": backup.kind,
            "vmid": backup.vmid,
            "ctime": backup.made,
            "size": 1 << 30,
        }
        return (
            {**row, "verification": {"state": backup.verification}} if backup.verification else row
        )


def _may(caller: Caller, name: str, backup: Backup) -> bool:
    """Return whether the caller may read a backup. PVE: pve-storage Storage.pm
    check_volume_access
    """
    here = f"/storage/{name}"
    return caller.may(here, "Datastore.Allocate") or (
        caller.may(here, "Datastore.AllocateSpace")
        and caller.may(f"/vms/{backup.vmid}", "VM.Backup")
    )
