"""Start, stop, shutdown, reboot: what PVE refuses at once, and what its workers do.

QEMU answers nearly always with a task and lets the task fail; LXC looks first and answers 500.
recorded: 40-tasks-qemu, 41-tasks-lxc, 50-locks, 130-stop.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Protocol

from felhom_agent.devnode.world.guest import NOUN, Guest, missing
from felhom_agent.devnode.world.refusal import Died, died
from felhom_agent.devnode.world.tasks import Task, TaskBook
from felhom_agent.devnode.world.volumes import apply_waiting, switched_off
from felhom_agent.devnode.world.worker import EventQueue, Flock, Steps
from felhom_agent.devnode.world.writing import read_only

DEFAULT_TIMEOUT = 60.0
"""Seconds a shutdown waits for the guest if the call says nothing (PVE: vm_stop)."""

LXC_GRACE = 10.0
"""Seconds PVE gives a container after lxc-stop gave up. recorded: 41-tasks-lxc/039."""

CLEANUP_LOCK = 30.0
"""Seconds for which the clean-up of a VM waits with the lock held. recorded: 9.2 208, 208b."""

QMEVENTD_GAP = 1.0
"""Seconds until a rebooting VM is started again, by no task. recorded: 40-tasks-qemu/066-068."""


class Host(Protocol):
    """What the workers need of the world."""

    events: EventQueue
    tasks: TaskBook
    quorate: bool
    cleanup_gap: float

    def here(self, kind: str, vmid: int) -> Guest | None:
        """Given a kind and number, return the guest if this node has it."""

    def changed(self, guest: Guest) -> None:
        """Hear that a guest's run state changed."""


@dataclass(frozen=True)
class Order:
    """What a power call asks for."""

    kind: str
    vmid: int
    node: str
    user: str
    timeout: float = DEFAULT_TIMEOUT
    force: bool = False
    overrule: bool = False

    @property
    def not_running(self) -> str:
        """PVE's words for a guest that would have to run."""
        return f"{NOUN[self.kind]} {self.vmid} not running"


def order(kind: str, vmid: int, node: str, user: str, params: Mapping[str, str]) -> Order:
    """Given a power call, return what it asks for."""
    return Order(
        kind=kind,
        vmid=vmid,
        node=node,
        user=user,
        timeout=float(params.get("timeout", DEFAULT_TIMEOUT)),
        force=params.get("forceStop") == "1",
        overrule=params.get("overrule-shutdown") == "1",
    )


def refuse_early(host: Host, verb: str, o: Order) -> None:
    """Raise `Refusal` (500) for what PVE refuses before it starts a task."""
    guest = host.here(o.kind, o.vmid)
    running = guest is not None and guest.running
    if verb == "start":
        if o.kind == "lxc" and running:
            raise died(f"CT {o.vmid} already running")
        if not host.quorate:
            # recorded: calls-9.2/201-quorum/079-081, 090-093; of a VM that is not there, too.
            raise died("cluster not ready - no quorum?")
    elif verb == "reboot":
        if not running:
            # recorded: 41-tasks-lxc/003; "VM" for a container too.
            raise died(f"VM {o.vmid} not running")
    elif o.kind == "lxc" and not running:
        raise died(o.not_running)
    if verb == "shutdown" and guest and guest.paused and not o.force:
        # PVE: qemu-server API2/Qemu.pm vm_shutdown
        raise died("VM is paused - cannot shutdown")


def work(host: Host, verb: str, o: Order, task: Task) -> Steps:
    """Given a verb and an order, return the worker that carries it out."""
    steps = {"start": _start, "stop": _stop, "shutdown": _shutdown, "reboot": _reboot}
    return steps[verb](host, o, task)


def locked(host: Host, o: Order) -> Generator[float | Flock, None, Guest]:
    """Take the configuration lock of the guest and return it. Raise `Died` if it is not there, or
    not any more when the lock is free.
    """
    guest = host.here(o.kind, o.vmid)
    if guest is not None:
        yield guest.flock
    if guest is None or host.here(o.kind, o.vmid) is not guest:
        raise Died(missing(o.kind, o.vmid, o.node))
    return guest


def unlock(guest: Guest, task: Task) -> None:
    """Give a guest's configuration lock back before the worker of a task ends."""
    if task.worker is not None:
        guest.flock.abandon(task.worker)


def _found(host: Host, o: Order) -> Generator[float | Flock, None, Guest]:
    """Do as `locked`, with PVE's words for a guest that is to be stopped."""
    try:
        return (yield from locked(host, o))
    except Died as why:
        if str(why) != missing(o.kind, o.vmid, o.node):
            raise
    raise Died(f"unable to find configuration file for VM {o.vmid} on node '{o.node}'")


def _start(host: Host, o: Order, task: Task) -> Steps:
    guest = yield from locked(host, o)
    if guest.template:
        raise Died(f"you can't start a {'vm' if o.kind == 'qemu' else 'CT'} if it's a template")
    # recorded: 50-locks/071; a mounted container starts.
    if guest.lock and guest.lock != "mounted":
        raise Died(guest.locked_text)
    if guest.running and o.kind == "qemu":
        raise Died(f"VM {o.vmid} already running")
    yield from boot(host, guest, task)


def boot(host: Host, guest: Guest, task: Task) -> Steps:
    """Let a guest boot whose lock is held; what a change left behind is applied first.

    PVE: qemu-server QemuServer.pm vm_start_nolock, pve-container LXC.pm vm_start
    """
    apply_waiting(guest)
    yield guest.behaviour.start_seconds
    if guest.behaviour.start_error:
        raise Died(guest.behaviour.start_error)
    for number in range(guest.behaviour.warnings):
        task.warn(f"the guest gives warning {number + 1}")
    guest.started(host.events.moment)
    host.changed(guest)
    _clean_up(host, guest)


def _clean_up(host: Host, guest: Guest) -> None:
    """Let the clean-up after a stop take the new process for the old one, if it meets it."""
    told = guest.behaviour.cleanup_gap
    gap = host.cleanup_gap if told is None else told
    if guest.kind == "qemu" and host.events.moment - guest.stopped_at < gap:
        guest.flock.hold()
        host.events.later(CLEANUP_LOCK, guest.flock.let_go)


def _stop(host: Host, o: Order, task: Task) -> Steps:
    guest = host.here(o.kind, o.vmid)
    if guest is None:
        text = f"unable to find configuration file for VM {o.vmid} on node '{o.node}'"
        raise Died(text)
    if o.overrule:
        _overrule(host, o, task)
    guest = yield from _found(host, o)
    if not guest.running:
        return
    if guest.lock and not (o.kind == "lxc" and guest.lock == "mounted"):
        raise Died(guest.locked_text)
    _fail_if_told(guest)
    yield guest.behaviour.stop_seconds
    _switch_off(host, guest, task)


def _overrule(host: Host, o: Order, task: Task) -> None:
    # recorded: 130-stop/055-064; only tasks of the very same caller are overruled.
    mine = [t for t in host.tasks.running() if t.id == task.id and t.user == o.user]
    shutdowns = [t for t in mine if t.type.endswith("shutdown")]
    for shutdown in shutdowns:
        if shutdown.worker is not None:
            # recorded: 40-tasks-qemu/054, 41-tasks-lxc/046; a container's worker says nothing.
            end = shutdown.worker.interrupt if o.kind == "qemu" else shutdown.worker.kill
            end()
    if shutdowns:
        names = ", ".join(t.upid for t in shutdowns)
        task.log.append(f"overruled {shutdowns[0].type} tasks: {names}")


def _shutdown(host: Host, o: Order, task: Task) -> Steps:
    guest = yield from _found(host, o)
    if not guest.running:
        return
    if guest.lock:
        raise Died(guest.locked_text)
    yield from _power_down(host, o, guest, task)


def _fail_if_told(guest: Guest) -> None:
    if guest.behaviour.stop_error:
        raise Died(guest.behaviour.stop_error)


def _power_down(host: Host, o: Order, guest: Guest, task: Task) -> Steps:
    _fail_if_told(guest)
    needs = guest.behaviour.shutdown_seconds
    obeys = guest.behaviour.obeys_shutdown and not guest.paused
    if obeys and needs <= o.timeout:
        yield needs
        _switch_off(host, guest, task)
        return
    if obeys:
        _off_later(host, guest, needs)
    yield o.timeout
    if not guest.running:
        return
    if o.kind == "qemu" and not o.force:
        raise Died("VM quit/powerdown failed - got timeout")
    if o.kind == "qemu":
        task.log.append("VM still running - terminating now with SIGTERM")
    elif not o.force:
        yield from _container_stays(o, guest, task)
    _switch_off(host, guest, task)


def _container_stays(o: Order, guest: Guest, task: Task) -> Steps:
    command = f"lxc-stop -n {o.vmid} --nokill --timeout {o.timeout:.0f}"
    task.log.append(f"command '{command}' failed: exit code 1")
    yield LXC_GRACE
    if guest.running:
        raise Died("container did not stop")


def _reboot(host: Host, o: Order, task: Task) -> Steps:
    guest = yield from locked(host, o)
    if guest.lock and o.kind == "qemu":
        raise Died(guest.locked_text)
    yield from _power_down(host, o, guest, task)
    if o.kind == "qemu":
        _on_later(host, guest)
    elif guest.lock:
        # recorded: 50-locks/092-094; a locked container is stopped and not started again.
        raise Died(f"startup for container '{o.vmid}' failed")
    elif not host.quorate:
        _stay_down(guest, task)
    else:
        yield from boot(host, guest, task)


def _stay_down(guest: Guest, task: Task) -> None:
    """Raise `Died`: without quorum a container is not started again.

    recorded: calls-9.2/201c-containers-no-corosync/001-002
    """
    if guest.conf.waits:
        raise Died(read_only(guest))
    task.log += [
        "run_buffer: 322 Script exited with status 2",
        f'lxc_init: 844 Failed to run lxc.hook.pre-start for container "{guest.vmid}"',
        f'__lxc_start: 2027 Failed to initialize container "{guest.vmid}"',
    ]
    raise Died(f"startup for container '{guest.vmid}' failed")


def _switch_off(host: Host, guest: Guest, task: Task | None = None) -> None:
    if not host.quorate and task is not None and guest.kind == "qemu" and guest.conf.waits:
        # recorded: calls-9.2/201-quorum/088; a container's worker says nothing.
        task.log.append(read_only(guest))
    switched_off(guest, writable=host.quorate)
    host.changed(guest)


def _off_later(host: Host, guest: Guest, seconds: float) -> None:
    run = guest.run

    def off() -> None:
        if guest.running and guest.run == run:
            _switch_off(host, guest)

    host.events.later(seconds, off)


def _on_later(host: Host, guest: Guest) -> None:
    def on() -> None:
        # It is started by a call of the API's own (PVE: qemu-server CLI/qm.pm cleanup).
        if not guest.running and host.quorate:
            guest.started(host.events.moment)
            host.changed(guest)

    host.events.later(QMEVENTD_GAP, on)
