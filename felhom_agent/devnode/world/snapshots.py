"""Snapshots of a guest: what its file looks like as they are taken, rolled back to and deleted.

Each is a section of the file. The workers write the file when PVE does, so that whoever looks in
between, or comes after a worker that was killed, finds the same lock and the same marks; a guest's
configuration lock is free while its volumes are worked on.

recorded: 100-snapshots-qemu, 101-snapshots-lxc. PVE: guest-common AbstractConfig.pm
snapshot_create, snapshot_rollback, snapshot_delete.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from felhom_agent.devnode.world import power
from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.power import Order
from felhom_agent.devnode.world.readback import DISK, description, split_drive
from felhom_agent.devnode.world.refusal import Died
from felhom_agent.devnode.world.storage import has_snapshots, kind_of, refuse_rollback
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.volumes import add_unused, drop_used, of_section
from felhom_agent.devnode.world.worker import Steps
from felhom_agent.devnode.world.writing import megabytes, read_only

_OF_THE_SECTION = frozenset({"snapstate", "snaptime", "vmstate", "lock", "digest", "description"})
_OF_THE_RUN = ("running-nets-host-mtu", "runningcpu", "runningmachine")
_RUNNING_MACHINE = "pc-i440fx-10.1+pve0"
_STATE_BESIDES_MEMORY = 500


class Host(power.Host, Protocol):
    """What the workers need of the world."""

    @property
    def storages(self) -> Mapping[str, str]:
        """The kinds of the storages that somebody described."""


@dataclass(frozen=True)
class SnapshotOrder:
    """What a call about a snapshot asks for; `start` begins the guest's start, if it is wanted."""

    guest: Order
    name: str
    description: str = ""
    vmstate: bool = False
    force: bool = False
    start: Callable[[], None] | None = None

    @property
    def missing(self) -> str:
        """PVE's words for a snapshot that is not there."""
        return f"snapshot '{self.name}' does not exist"


def create(host: Host, o: SnapshotOrder, task: Task) -> Steps:
    """Return the worker that takes a snapshot."""
    guest = yield from power.locked(host, o.guest)
    conf = guest.conf
    _refuse_create(host, guest, o.name)
    for section in conf.snapshots.values():
        if section.get("parent") == o.name:
            del section["parent"]
    _write(host, guest)
    conf.snapshots[o.name] = _section(host, guest, o)
    conf.put("lock", "snapshot")
    power.unlock(guest, task)
    volumes = of_section(guest.kind, conf.snapshots[o.name])
    if guest.kind == "qemu":
        task.log += [f"snapshotting 'drive-{key}' ({name})" for key, name in volumes.items()]
    yield guest.behaviour.snapshot_seconds
    guest = yield from power.locked(host, o.guest)
    if guest.behaviour.snapshot_error:
        task.log.append("snapshot create failed: starting cleanup")
        _remove_section(guest, o.name)
        raise Died(guest.behaviour.snapshot_error)
    if guest.lock != "snapshot":
        raise Died("missing snapshot lock")
    _find(guest, o).pop("snapstate", None)
    conf.drop("lock")
    conf.put("parent", o.name)


def rollback(host: Host, o: SnapshotOrder, task: Task) -> Steps:
    """Return the worker that rolls a guest back to a snapshot."""
    guest = yield from power.locked(host, o.guest)
    section = _find_target(guest, o)
    names = list(guest.conf.snapshots)
    later = names[names.index(o.name) + 1 :]
    for volume in of_section(guest.kind, section).values():
        refuse_rollback(volume, o.name, _having(guest, volume, later), host.storages)
    if "snapstate" in section:
        state = section["snapstate"]
        raise Died(f"unable to rollback to incomplete snapshot (snapstate = {state})")
    if guest.lock:
        raise Died(guest.locked_text)
    _switch_off(host, guest)
    _write(host, guest)
    guest.conf.put("lock", "rollback")
    power.unlock(guest, task)
    yield guest.behaviour.snapshot_seconds
    if guest.behaviour.snapshot_error:
        raise Died(guest.behaviour.snapshot_error)
    guest = yield from power.locked(host, o.guest)
    section = _find_target(guest, o)
    if guest.running:
        raise Died(f"unable to rollback vm {guest.vmid}: vm is running")
    if guest.lock != "rollback":
        raise Died("got wrong lock")
    _write(host, guest)
    _restore(guest, o.name, section)
    if "vmstate" in section:
        yield from power.boot(host, guest, task)
    power.unlock(guest, task)
    if o.start is not None and not guest.running:
        o.start()


def delete(host: Host, o: SnapshotOrder, task: Task) -> Steps:
    """Return the worker that deletes a snapshot."""
    guest = yield from power.locked(host, o.guest)
    section = _find(guest, o)
    if guest.lock:
        raise Died(guest.locked_text)
    _write(host, guest)
    guest.conf.put("lock", "snapshot-delete")
    if guest.template:
        raise Died("you can't delete a snapshot if vm is a template")
    section["snapstate"] = "delete"
    power.unlock(guest, task)
    _free_state(guest, section, force=o.force)
    yield guest.behaviour.snapshot_seconds
    freed = _free_volumes(guest, section, o, task)
    guest = yield from power.locked(host, o.guest)
    if guest.lock != "snapshot-delete":
        raise Died("encountered invalid lock, expected 'snapshot-delete'")
    _find(guest, o)
    _remove_section(guest, o.name)
    for volume in freed:
        add_unused(guest.conf.values, volume)
    drop_used(guest)


def _free_state(guest: Guest, section: dict[str, str], *, force: bool) -> None:
    if "vmstate" in section:
        guest.sizes.pop(section["vmstate"], None)
        if not force:
            del section["vmstate"]


def _free_volumes(guest: Guest, section: dict[str, str], o: SnapshotOrder, task: Task) -> list[str]:
    """Rid the volumes of a snapshot, and note one by one in its section that they are."""
    freed = []
    for key, volume in of_section(guest.kind, section).items():
        if not guest.behaviour.snapshot_error:
            freed.append(volume)
        elif o.force:
            task.log.append(guest.behaviour.snapshot_error)
        else:
            raise Died(guest.behaviour.snapshot_error)
        if not o.force:
            del section[key]
            add_unused(section, volume)
    return freed


def _refuse_create(host: Host, guest: Guest, name: str) -> None:
    if guest.template:
        raise Died("you can't take a snapshot if it's a template")
    if guest.lock:
        raise Died(guest.locked_text)
    if name in guest.conf.snapshots:
        raise Died(f"snapshot name '{name}' already used")
    volumes = of_section(guest.kind, guest.conf.values).values()
    if not all(has_snapshots(volume, host.storages) for volume in volumes):
        raise Died("snapshot feature is not available")


def _find(guest: Guest, o: SnapshotOrder) -> dict[str, str]:
    section = guest.conf.snapshots.get(o.name)
    if section is None:
        raise Died(o.missing)
    return section


def _find_target(guest: Guest, o: SnapshotOrder) -> dict[str, str]:
    if guest.template:
        raise Died("you can't rollback if vm is a template")
    return _find(guest, o)


def _write(host: Host, guest: Guest) -> None:
    """Raise `Died` if nothing can be written. recorded: calls-9.2/201-quorum/096."""
    if not host.quorate:
        raise Died(read_only(guest))


def _section(host: Host, guest: Guest, o: SnapshotOrder) -> dict[str, str]:
    section = _copied(guest.conf.values)
    if o.vmstate and guest.running:
        section |= _saved_state(host, guest, o.name)
    section |= {"snapstate": "prepare", "snaptime": str(int(host.events.moment))}
    comment = description(guest.kind, o.description)
    return {**section, "description": comment} if comment is not None else section


def _copied(values: Mapping[str, str]) -> dict[str, str]:
    kept = values.items()
    return {k: v for k, v in kept if k not in _OF_THE_SECTION and not k.startswith("unused")}


def _saved_state(host: Host, guest: Guest, name: str) -> dict[str, str]:
    # PVE: QemuConfig.pm __snapshot_save_vmstate. recorded: 100-snapshots-qemu/103-105
    values = guest.conf.values
    volumes = of_section("qemu", values).values()
    storage = values.get("vmstatestorage") or next(
        (volume.partition(":")[0] for volume in volumes), "local"
    )
    file = f"vm-{guest.vmid}-state-{name}"
    directory = kind_of(next(iter(volumes), "local:/"), host.storages) == "dir"
    volume = f"{storage}:{guest.vmid}/{file}.raw" if directory else f"{storage}:{file}"
    size = megabytes(values.get("memory", "512")) * 2 + _STATE_BESIDES_MEMORY
    guest.sizes[volume] = f"{size}M"
    running = dict.fromkeys(_OF_THE_RUN, " ")
    cpu = split_drive(values.get("cpu", "kvm64"))[0]
    return {
        **running,
        "runningcpu": cpu,
        "runningmachine": values.get("machine", _RUNNING_MACHINE),
        "vmstate": volume,
    }


def _having(guest: Guest, volume: str, names: list[str]) -> list[str]:
    sections = guest.conf.snapshots
    return [n for n in names if volume in of_section(guest.kind, sections[n]).values()]


def _switch_off(host: Host, guest: Guest) -> None:
    """Stop a guest; its file stays as it was read before. recorded: 100/111, 101/059."""
    if not guest.running:
        return
    if guest.behaviour.stop_error:
        raise Died(guest.behaviour.stop_error)
    guest.stopped()
    host.changed(guest)
    guest.stopped_at = -math.inf  # recorded: calls-9.2/100-snapshots-qemu/115-122; no clean-up


def _restore(guest: Guest, name: str, section: Mapping[str, str]) -> None:
    """Write the guest's file as a rollback leaves it: all of the section, of what was there only
    the description and the unused volumes. recorded: 100/084-088, 214, 228; 101/045-052.
    """
    conf = guest.conf
    for volume in _gone(guest, section):
        if "cloudinit" in volume:
            guest.sizes.pop(volume, None)
        else:
            add_unused(conf.values, volume)
    kept = {k: v for k, v in conf.values.items() if k.startswith("unused") or k == "description"}
    conf.values = {**kept, **_copied(section), "parent": name}
    for key in _OF_THE_RUN:
        conf.values.pop(key, None)
    if conf.values.get("vmgenid"):
        conf.values["vmgenid"] = str(uuid.uuid4())
    conf.forget([*conf.pending, *conf.unset])
    conf.hollow = False
    for key, volume in of_section(guest.kind, section).items():
        _, parts = split_drive(section[key])
        if "size" in parts:
            guest.sizes[volume] = parts["size"]
    drop_used(guest)


def _gone(guest: Guest, section: Mapping[str, str]) -> list[str]:
    """Return the volumes that a guest has now and does not have in a snapshot."""
    return [
        volume
        for volume in _all_volumes(guest, guest.conf.values)
        if volume not in _all_volumes(guest, section)
    ]


def _all_volumes(guest: Guest, values: Mapping[str, str]) -> list[str]:
    volumes = list(of_section(guest.kind, values).values())
    if guest.kind == "qemu":
        # PVE: Drive.pm drive_is_cdrom takes no cloud-init drive for a CD here
        drives = (split_drive(value)[0] for key, value in values.items() if DISK.fullmatch(key))
        volumes += [volume for volume in drives if "cloudinit" in volume]
    return volumes


def _remove_section(guest: Guest, name: str) -> None:
    """Remove a snapshot's section and the lock; its children get its parent."""
    conf = guest.conf
    parent = conf.snapshots.pop(name).get("parent")
    for section in (conf.values, *conf.snapshots.values()):
        if section.get("parent") == name:
            del section["parent"]
            if parent:
                section["parent"] = parent
    conf.drop("lock")
