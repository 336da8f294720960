"""The calls about a guest's snapshots."""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.devnode.api import calls
from felhom_agent.devnode.api.calls import Call, order_of
from felhom_agent.devnode.world import release, writing
from felhom_agent.devnode.world import snapshots as taking
from felhom_agent.devnode.world.guest import TASK_PREFIX, Guest
from felhom_agent.devnode.world.readback import description
from felhom_agent.devnode.world.refusal import Died, Refusal, died
from felhom_agent.devnode.world.snapshots import SnapshotOrder
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps

_Work = Callable[[taking.Host, SnapshotOrder, Task], Steps]


def rows(call: Call) -> object:
    """GET snapshot: the guest's snapshots, and the guest itself as "current"."""
    guest = call.guest()
    told = [_row(guest, name) for name in guest.conf.snapshots]
    current: dict[str, object] = {
        "name": "current",
        "description": "You are here!",
        "digest": guest.conf.digest(),
        "running": int(guest.running),
    }
    if "parent" in guest.conf.values:
        current["parent"] = guest.conf.values["parent"]
    return [*told, current]


def _row(guest: Guest, name: str) -> dict[str, object]:
    section = guest.conf.snapshots[name]
    row: dict[str, object] = {
        "name": name,
        "snaptime": int(section.get("snaptime", 0)),
        "description": section.get("description", ""),
    }
    if guest.kind == "qemu":
        row["vmstate"] = int("vmstate" in section)
    return row | {key: section[key] for key in ("parent", "snapstate") if key in section}


def index(call: Call) -> object:
    """GET snapshot/NAME: an index of words, whether there is such a snapshot or not."""
    del call
    return [{"cmd": "rollback"}, {"cmd": "config"}]


def config(call: Call) -> object:
    """GET snapshot/NAME/config."""
    return calls.section(call.guest(), call.place["snapname"])


def comment(call: Call) -> object:
    """PUT snapshot/NAME/config: the snapshot's description."""
    if "description" not in call.params:
        return None
    guest, name = call.guest(), call.place["snapname"]
    writing.refuse_held(guest)
    if guest.lock:
        raise died(guest.locked_text)
    section = guest.conf.snapshots.get(name)
    if section is None:
        raise died(f"snapshot '{name}' does not exist")
    if not call.world.quorate:
        raise died(writing.read_only(guest))
    text = description(guest.kind, call.params["description"])
    section.pop("description", None)
    if text is not None:
        section["description"] = text
    return None


def create(call: Call) -> object:
    """POST snapshot: a task."""
    name = call.params["snapname"]
    reserved = {"current", "vzdump"} if call.kind == "lxc" else {"current"}
    if call.kind == "qemu" and name.lower() == "pending":
        name = "pending"  # recorded: 100-snapshots-qemu/024
        reserved.add(name)
    if name in reserved:
        raise died(f"unable to use snapshot name '{name}' (reserved name)")
    if call.kind == "qemu":
        call.guest()  # recorded: 100-snapshots-qemu/039; of a container the task finds out
    order = SnapshotOrder(
        order_of(call),
        name,
        call.params.get("description", ""),
        vmstate=call.params.get("vmstate") == "1",
    )
    return _begin(call, "snapshot", order, taking.create)


def rollback(call: Call) -> object:
    """POST snapshot/NAME/rollback: a task, and that of a start if it is wanted."""
    wants_start = call.params.get("start") == "1"
    if wants_start and call.kind == "qemu" and release.checks_start(call.world.version):
        call.caller.need(f"/vms/{call.vmid}", "VM.PowerMgmt")

    def start() -> None:
        try:
            calls.start_guest(call)
        except Refusal as refusal:
            raise Died(refusal.last_words) from None

    order = SnapshotOrder(
        order_of(call), call.place["snapname"], start=start if wants_start else None
    )
    return _begin(call, "rollback", order, taking.rollback)


def delete(call: Call) -> object:
    """DELETE snapshot/NAME: a task."""
    force = call.params.get("force") == "1"
    order = SnapshotOrder(order_of(call), call.place["snapname"], force=force)
    return _begin(call, "delsnapshot", order, taking.delete)


def _begin(call: Call, verb: str, order: SnapshotOrder, do: _Work) -> str:
    world = call.world

    def work(task: Task) -> Steps:
        return do(world, order, task)

    kind = f"{TASK_PREFIX[call.kind]}{verb}"
    return world.tasks.start(kind, call.vmid, call.caller.name, work).upid
