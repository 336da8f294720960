"""A person's hands on what can be lost: snapshots and volumes, and what a destroyed guest leaves.

What root does here is done as PVE does it, with the tasks that PVE makes of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from felhom_agent.devnode.world import snapshots as taking
from felhom_agent.devnode.world.access import Tokens
from felhom_agent.devnode.world.backups import BackupStorage
from felhom_agent.devnode.world.guest import TASK_PREFIX, Guest
from felhom_agent.devnode.world.ha import ROOT, HaManager
from felhom_agent.devnode.world.mishaps import Mishaps
from felhom_agent.devnode.world.power import Order
from felhom_agent.devnode.world.snapshots import SnapshotOrder
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.volumes import owner
from felhom_agent.devnode.world.worker import EventQueue, Steps


class Hands(Mishaps):
    """The part of a world in which things are lost. `storages` has the kind of each storage that
    is not what its name says ("dir", "btrfs", "lvm", "lvmthin", "zfspool", "rbd"),
    `backup_storages` has those that take backups.
    """

    node: str
    events: EventQueue
    tokens: Tokens
    manager: HaManager
    cleanup_gap: float

    def __init__(self) -> None:
        self.storages: dict[str, str] = {}
        self.backup_storages: dict[str, BackupStorage] = {}
        self._left: dict[str, str] = {}

    def snapshot(self, vmid: int, name: str, description: str = "", *, ram: bool = False) -> None:
        """Let root take a snapshot of a guest, `ram` with the memory of a running VM. Raise
        `ValueError` with the end of the task unless it ends well at once.
        """
        self._by_root(taking.create, "snapshot", vmid, name, description=description, ram=ram)

    def rollback(self, vmid: int, name: str) -> None:
        """Let root roll a guest back to a snapshot. Raise `ValueError` as `snapshot` does."""
        self._by_root(taking.rollback, "rollback", vmid, name)

    def delete_snapshot(self, vmid: int, name: str) -> None:
        """Let root delete a snapshot of a guest. Raise `ValueError` as `snapshot` does."""
        self._by_root(taking.delete, "delsnapshot", vmid, name)

    def snapshots(self, vmid: int) -> dict[str, dict[str, str]]:
        """Given a guest, return the sections of its snapshots as its file has them."""
        with self.guard:
            self.catch_up()
            sections = self.guests[vmid].conf.snapshots
            return {name: dict(section) for name, section in sections.items()}

    def drop_volume(self, volume: str) -> None:
        """Let a volume be gone from its storage, whoever names it."""
        with self.guard:
            self.catch_up()
            for holder in (self._left, *(guest.sizes for guest in self.guests.values())):
                holder.pop(volume, None)

    def volumes(self) -> dict[str, str]:
        """Return the sizes of all volumes. The caller holds `guard`."""
        of_guests = {n: size for guest in self.guests.values() for n, size in guest.sizes.items()}
        return {**self._left, **of_guests}

    def bury(self, guest: Guest) -> None:
        """Lose a guest that was destroyed, what is given on it, and its place in HA and pool.

        Its volumes that its file did not name stay behind, and are those of whoever gets its
        number. recorded: 110-destroy-qemu/045-069.
        """
        self._left |= guest.sizes
        self.manager.forget(guest)
        self.tokens.forget(f"/vms/{guest.vmid}")
        self.broadcasts.drop(guest.vmid)
        del self.guests[guest.vmid]

    def adopt(self, guest: Guest) -> None:
        """Give a new guest the volumes that an earlier one of its number left behind."""
        found = [volume for volume in self._left if owner(volume) == guest.vmid]
        guest.sizes |= {volume: self._left.pop(volume) for volume in found}

    @abstractmethod
    def here(self, kind: str, vmid: int) -> Guest | None:
        """Given a kind and number, return the guest if this node has it."""

    def _by_root(
        self,
        do: Callable[[taking.Host, SnapshotOrder, Task], Steps],
        verb: str,
        vmid: int,
        name: str,
        *,
        description: str = "",
        ram: bool = False,
    ) -> None:
        with self.guard:
            self.catch_up()
            kind = self.guests[vmid].kind
            order = SnapshotOrder(
                Order(kind, vmid, self.node, ROOT), name, description, vmstate=ram
            )
            task = self.tasks.start(
                f"{TASK_PREFIX[kind]}{verb}", vmid, ROOT, lambda task: do(self, order, task)
            )
            if task.exitstatus != "OK":
                raise ValueError(f"{task.type} of {vmid}: {task.exitstatus or 'still running'}")
