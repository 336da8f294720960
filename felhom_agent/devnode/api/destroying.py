"""DELETE of a guest."""

from __future__ import annotations

from felhom_agent.devnode.api.calls import ROOT_ONLY, Call, order_of
from felhom_agent.devnode.world import destroy
from felhom_agent.devnode.world.guest import TASK_PREFIX
from felhom_agent.devnode.world.refusal import bad
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps


def destroy_guest(call: Call) -> object:
    """DELETE /nodes/N/qemu/ID, /nodes/N/lxc/ID: a task."""
    world, params = call.world, call.params
    if params.get("skiplock", "0") != "0":
        raise bad({"skiplock": ROOT_ONLY})
    order = destroy.DestroyOrder(
        order_of(call),
        purge=params.get("purge") == "1",
        unreferenced=params.get("destroy-unreferenced-disks") == "1",
        force=params.get("force") == "1",
    )
    destroy.refuse_early(world, order)

    def work(task: Task) -> Steps:
        return destroy.work(world, order, task)

    kind = f"{TASK_PREFIX[call.kind]}destroy"
    return world.tasks.start(kind, call.vmid, call.caller.name, work).upid
