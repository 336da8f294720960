"""Destroying a guest: what PVE refuses at once, and what its worker removes.

The guest's volumes go first, one after the other, then what is said of it elsewhere, its file
last. So a worker that is killed leaves a guest behind that has lost volumes.

recorded: 110-destroy-qemu, 111-destroy-lxc, 140-ha-no-crm/034-050, 093-094.
PVE: qemu-server API2/Qemu.pm, pve-container API2/LXC.pm destroy_vm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from felhom_agent.devnode.world import power
from felhom_agent.devnode.world.guest import NOUN, Guest, missing
from felhom_agent.devnode.world.power import Order
from felhom_agent.devnode.world.readback import DISK, split_drive
from felhom_agent.devnode.world.refusal import Died, Refusal, died
from felhom_agent.devnode.world.storage import kind_of, path_of
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.volumes import owner, switched_off
from felhom_agent.devnode.world.worker import Steps
from felhom_agent.devnode.world.writing import read_only


class Host(power.Host, Protocol):
    """What the worker needs of the world."""

    @property
    def storages(self) -> Mapping[str, str]:
        """The kinds of the storages that somebody described."""

    def bury(self, guest: Guest) -> None:
        """Lose a guest, and what is said of it elsewhere."""


@dataclass(frozen=True)
class DestroyOrder:
    """What a call asks for; `force` is for containers alone."""

    guest: Order
    purge: bool = False
    unreferenced: bool = False
    force: bool = False


def refuse_early(host: Host, o: DestroyOrder) -> None:
    """Raise `Refusal` (500) for what PVE refuses before it starts a task, and again in it."""
    guest = host.here(o.guest.kind, o.guest.vmid)
    if guest is None:
        raise died(missing(o.guest.kind, o.guest.vmid, o.guest.node))
    what = f"{NOUN[guest.kind]} {guest.vmid}"
    if guest.conf.values.get("protection") == "1":
        raise died(f"can't remove {what} - protection mode enabled")
    if guest.kind == "lxc" and guest.lock:
        raise died(guest.locked_text)
    if guest.ha and not o.purge:
        used = "used in HA resources and purge parameter not set."
        raise died(f"unable to remove {what} - {used}")
    if guest.running and guest.kind == "qemu":
        raise died(f"{what} is running - destroy failed")
    if guest.running and not o.force:
        raise died(f"unable to destroy {what} - container is running")


def work(host: Host, o: DestroyOrder, task: Task) -> Steps:
    """Return the worker that destroys a guest."""
    guest = yield from power.locked(host, o.guest)
    try:
        refuse_early(host, o)
    except Refusal as refusal:
        raise Died(refusal.last_words) from None
    if guest.kind == "qemu" and guest.lock not in ("", "suspended"):
        raise Died(guest.locked_text)
    _force_off(host, guest, task)
    yield from _free_all(host, guest, task, unreferenced=o.unreferenced)
    if not host.quorate:
        # recorded: calls-9.2/201-quorum/102; the volumes are gone by then.
        raise Died(read_only(guest))
    noun = NOUN[guest.kind]
    if o.purge:
        task.log.append(f"purging {noun} {guest.vmid} from related configurations..")
        if guest.ha:
            task.log.append(f"NOTE: removed {noun} {guest.vmid} from HA resource configuration.")
    host.bury(guest)


def _force_off(host: Host, guest: Guest, task: Task) -> None:
    if not guest.running:
        return
    task.log.append(f"forced to stop CT {guest.vmid} before destroying!")
    if guest.behaviour.stop_error:
        raise Died(guest.behaviour.stop_error)
    switched_off(guest, writable=host.quorate)
    host.changed(guest)


def _free_all(host: Host, guest: Guest, task: Task, *, unreferenced: bool) -> Steps:
    volumes = _owned(guest)
    if unreferenced:
        volumes += [name for name in guest.sizes if name not in volumes]
    share = guest.behaviour.destroy_seconds / max(1, len(volumes))
    if not volumes or guest.behaviour.destroy_error:
        yield share
    if guest.behaviour.destroy_error:
        raise Died(guest.behaviour.destroy_error)
    for volume in volumes:
        yield share
        if guest.sizes.pop(volume, None) is None and kind_of(volume, host.storages) == "dir":
            task.log.append(f"disk image '{path_of(volume)}' does not exist")


def _owned(guest: Guest) -> list[str]:
    """Return the volumes that go with a guest: those of its file that are its own."""
    conf = guest.conf
    named = [*conf.values.items(), *conf.pending.items()]
    drives = [v for key, v in named if DISK.fullmatch(key) or key.startswith("unused")]
    states = [section["vmstate"] for section in conf.snapshots.values() if "vmstate" in section]
    volumes = dict.fromkeys(split_drive(drive)[0] for drive in [*drives, *states])
    return [volume for volume in volumes if owner(volume) == guest.vmid]
