"""What each call of the API does.

A handler is given a call that has passed all general checks (see `routes`), looks at the world,
and returns the data of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from felhom_agent.devnode.api import reads, tasklist
from felhom_agent.devnode.api.tasklist import Page
from felhom_agent.devnode.world import authorize, change, release, writing
from felhom_agent.devnode.world import power as powering
from felhom_agent.devnode.world.access import Caller
from felhom_agent.devnode.world.bulk import DEFAULT_TIMEOUT, BulkOrder, start_all, stop_all
from felhom_agent.devnode.world.guest import TASK_PREFIX, Guest, missing
from felhom_agent.devnode.world.refusal import Died, Refusal, bad, died
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps
from felhom_agent.devnode.world.world import World

ROOT_ONLY = "Only root may use this option."
_BOTH = "cannot use 'snapshot' parameter with 'current'"


@dataclass(frozen=True)
class Waiting:
    """A call that waits for the task of a VM's change, at most `until` a moment of the world's."""

    task: Task
    vmid: int
    until: float

    def is_over(self, moment: float) -> bool:
        """Return whether it waits no longer."""
        return self.task.exitstatus is not None or moment >= self.until

    def answer(self) -> object:
        """Return its answer as things stand. Raise `Refusal` (500) if the task failed."""
        status = self.task.exitstatus
        if status is None:
            return self.task.upid
        if status != "OK":
            # recorded: calls-9.2/200-post-worker/010-030
            raise died(f"failed to update VM {self.vmid}: {status}")
        return None  # recorded: 20-writes-qemu/062; a task that ends in time leaves no name.


@dataclass(frozen=True)
class Call:
    """One call: who makes it, the parts of its path, its parameters raw and verified."""

    world: World
    fingerprint: str
    method: str
    caller: Caller
    place: Mapping[str, str]
    raw: Mapping[str, Raw]
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The guest's kind in the path."""
        return self.place["kind"]

    @property
    def vmid(self) -> int:
        """The guest's number in the path."""
        return int(self.place["vmid"])

    @property
    def uptime(self) -> int:
        """Seconds since the node was made."""
        return int(self.world.events.moment - self.world.born)

    def guest_now(self) -> Guest | None:
        """Return the guest of the path, if it is on this node."""
        return self.world.here(self.kind, self.vmid)

    def guest(self) -> Guest:
        """Return the guest of the path. Raise `Refusal` (500) if it is not on this node."""
        guest = self.guest_now()
        if guest is None:
            raise died(missing(self.kind, self.vmid, self.world.node))
        return guest


def version(call: Call) -> object:
    """GET /version."""
    return reads.version(call.world.version)


def nodes(call: Call) -> object:
    """GET /nodes."""
    world = call.world
    known = call.caller.may(f"/nodes/{world.node}", "Sys.Audit")
    return [reads.node(world.node, call.fingerprint, call.uptime, known=known), *_peers(world)]


def node_status(call: Call) -> object:
    """GET /nodes/N/status."""
    return reads.node_status(call.uptime, call.world.version)


def cluster_status(call: Call) -> object:
    """GET /cluster/status."""
    name = call.world.node
    row = {"id": f"node/{name}", "name": name, "type": "node", "ip": "127.0.0.1"}
    return [{**row, "nodeid": 0, "online": 1, "local": 1, "level": ""}]


def ha_status(call: Call) -> object:
    """GET /cluster/ha/status/current, as far as it matters here.

    recorded: 141-ha-running/001, calls-9.2/201-quorum/024, 054, 159, calls-9.2/205-ha-armed.
    """
    name, quorate = call.world.node, call.world.quorate
    status = "OK" if quorate else f"No quorum on node '{name}'!"
    quorum = {"id": "quorum", "node": name, "quorate": int(quorate), "status": status}
    fencing: dict[str, object] = {"id": "fencing", "node": name, "type": "fencing"}
    if mode := call.world.manager.disarmed:
        text = f"disarmed, resource mode: {mode} (CRM watchdog released)"
        fencing |= {"armed-state": "disarmed", "resource_mode": mode, "status": text}
    else:
        fencing |= {"armed-state": "standby", "status": "standby (CRM watchdog standby)"}
    managed = [guest for guest in call.world.guests.values() if guest.managed]
    services = [_service(guest, mode) for guest in managed] if mode else []
    return [{**quorum, "type": "quorum"}, fencing, *services]


def _service(guest: Guest, mode: str) -> dict[str, object]:
    sid = f"{'vm' if guest.kind == 'qemu' else 'ct'}:{guest.vmid}"
    row = {"id": f"service:{sid}", "type": "service", "sid": sid, "node": guest.node}
    return {**row, "state": mode, "status": f"{sid} ({guest.node}, {mode})"}


def cluster_options(call: Call) -> object:
    """GET /cluster/options, as far as it matters here.

    PVE: pve-manager API2/Cluster.pm get_options: without Sys.Audit on / not all of it is told.
    """
    style = call.world.tag_style
    tag_style: dict[str, object] = {}
    if style.case_sensitive:
        tag_style["case-sensitive"] = 1
    if style.keep_order:
        tag_style["ordering"] = "config"
    datacenter = call.world.datacenter(call.caller)
    options: dict[str, object] = {"allowed-tags": sorted(datacenter.allowed)}
    if not call.caller.may("/", "Sys.Audit"):
        return {**options, "tag-style": tag_style} if tag_style else options
    options |= {"keyboard": "en-us", "mac_prefix": "BC:24:11", "description": ""}
    if datacenter.registered:
        options["registered-tags"] = sorted(datacenter.registered)
    if datacenter.user_allow != "free":
        options["user-tag-access"] = {"user-allow": datacenter.user_allow}
    if call.world.max_workers is not None:
        # PVE: DataCenterConfig.pm has it as a number.
        options["max_workers"] = call.world.max_workers
    return {**options, "tag-style": tag_style} if tag_style else options


def resources(call: Call) -> object:
    """GET /cluster/resources."""
    world, moment = call.world, call.world.events.moment
    wanted = call.params.get("type")
    rows: list[object] = []
    if wanted in (None, "vm"):
        tell = world.broadcasts.due(moment)
        rows += [_resource(world, g, moment, tell=tell) for g in _visible(world, call)]
    if wanted in (None, "storage"):
        rows += [
            storage.row(name, world.node)
            for name, storage in sorted(world.backup_storages.items())
            if call.caller.may(f"/storage/{name}", "Datastore.Audit")
        ]
    if wanted in (None, "node"):
        known = call.caller.may(f"/nodes/{world.node}", "Sys.Audit")
        rows.append(reads.node_resource(world.node, call.uptime, known=known))
        rows += _peers(world)
    return rows


def _peers(world: World) -> list[reads.Row]:
    return [reads.peer(name, online=name not in world.offline) for name in sorted(world.peers)]


def _resource(world: World, guest: Guest, moment: float, *, tell: bool) -> reads.Row:
    def live() -> reads.Row:
        says_paused = release.says_paused(world.version)
        return reads.resource(guest, moment, world.manager.disarmed, says_paused=says_paused)

    return world.broadcasts.row(guest.vmid, live, tell=tell)


def _visible(world: World, call: Call) -> list[Guest]:
    # recorded: 91-auth-more/012-015; whoever may not see a guest does not see it listed.
    guests = world.guests.values()
    return [g for g in guests if call.caller.may(f"/vms/{g.vmid}", "VM.Audit")]


def permissions(call: Call) -> object:
    """GET /access/permissions."""
    if path := call.params.get("path"):
        return {path: dict.fromkeys(call.caller.on(path), 1)}
    return call.caller.permissions()


def guests(call: Call) -> object:
    """GET /nodes/N/qemu, /nodes/N/lxc."""
    world = call.world
    here = [g for g in _visible(world, call) if g.node == world.node and g.kind == call.kind]
    full = call.params.get("full") == "1"
    return [reads.listed(guest, world.events.moment, full=full) for guest in here]


def config(call: Call) -> object:
    """GET config: of the guest, or of one of its snapshots."""
    if name := call.params.get("snapshot"):
        if call.params.get("current") == "1":
            raise bad({"snapshot": _BOTH, "current": _BOTH})
        guest = call.guest()
        return {**section(guest, name), "digest": guest.conf.digest()}
    return call.guest().conf.answer(current=call.params.get("current") == "1")


def section(guest: Guest, name: str) -> dict[str, object]:
    """Given a guest, return one of its snapshots. Raise `Refusal` (500) if it has none such."""
    if name not in guest.conf.snapshots:
        raise died(f"snapshot '{name}' does not exist")
    return dict(guest.conf.section(name))


def pending(call: Call) -> object:
    """GET pending."""
    return list(call.guest().conf.rows())


def current(call: Call) -> object:
    """GET status/current."""
    world = call.world
    return reads.current(call.guest(), world.events.moment, world.manager.disarmed)


def backups(call: Call) -> object:
    """GET /nodes/N/storage/S/content, as far as its backups go."""
    name = call.place["storage"]
    storage = call.world.backup_storages.get(name)
    if storage is None:
        raise died(f"storage '{name}' does not exist")
    return storage.listed(name, call.caller, call.params.get("vmid", ""))


def vnets(call: Call) -> object:
    """GET /cluster/sdn/vnets: those that the caller may see."""
    return [
        {"vnet": vnet, "zone": zone, "type": "vnet"}
        for vnet, zone in sorted(call.world.zones.items())
        if call.caller.may(f"/sdn/zones/{zone}/{vnet}", "SDN.Audit", "SDN.Allocate")
    ]


def networks(call: Call) -> object:
    """GET /nodes/N/network, as far as its bridges and virtual networks go.

    PVE: pve-manager API2/Network.pm index, pve-network SDN.pm get_local_vnets
    """
    world, wanted = call.world, call.params.get("type", "")
    local = (
        sorted(world.bridges - world.zones.keys()) if wanted not in {"vnet", "OVSBridge"} else []
    )
    virtual = sorted(world.zones) if wanted in {"vnet", "any_bridge"} else []
    found = [(name, "bridge", "localnetwork") for name in local]
    found += [(name, "vnet", world.zones[name]) for name in virtual]
    return [
        {"iface": name, "type": kind, "active": 1}
        for name, kind, zone in found
        if call.caller.may_bridge(zone, name, "SDN.Audit", "SDN.Use")
    ]


def write_config(call: Call) -> object:
    """PUT config, which is synchronous, and POST config, which is a task."""
    world = call.world
    present = world.here(call.kind, call.vmid)
    stored = present.conf.merged() if present else {}
    wanted = change.parse(
        call.kind,
        call.raw,
        post=call.method == "POST",
        version=call.world.version,
        newer=call.world.newer_parts | change.unknown_parts(call.kind, stored),
    )
    change.refuse_unknown_model(wanted, world.cpu_models)
    asked = authorize.Asked(wanted, call.caller, call.vmid, stored, world.datacenter(call.caller))
    authorize.first_round(asked)
    if call.kind == "lxc":
        authorize.second_round(asked)
    guest = call.guest()
    forks_first = release.forks_first(world.version)
    if forks_first and guest.kind == "qemu":
        writing.refuse_first(guest, wanted)
    if call.method == "PUT" or not forks_first:
        writing.refuse_held(guest)
        writing.refuse_first(guest, wanted)
    if call.method == "POST":
        return _write_by_task(call, guest, asked)
    _write(call, guest, asked)
    writing.refuse_late(guest, world.bridges)
    return None


def unlink(call: Call) -> object:
    """PUT unlink: a write that deletes drives of a VM, with `force` their volumes too.

    recorded: 120-disks-qemu/053-060, 102. PVE: qemu-server API2/Qemu.pm unlink
    """
    params = call.params
    given: dict[str, Raw] = {"delete": params["idlist"]}
    if "force" in params:
        given["force"] = params["force"]
    return write_config(replace(call, raw=given))


def _write(call: Call, guest: Guest, asked: authorize.Asked) -> None:
    world = call.world
    if not world.quorate and writing.writes(guest, asked.change):
        raise died(writing.read_only(guest))

    def may(key: str, value: str | None) -> None:
        authorize.turn(asked, key, value)

    def may_free(volume: str) -> None:
        asked.caller.need(f"/storage/{volume.partition(':')[0]}", "Datastore.AllocateSpace")

    volumes, bridges = world.volumes(), world.bridges
    tools = writing.Tools(world.tag_style, world.mac, volumes, bridges, may, may_free)
    writing.apply(guest, asked.change, tools)


def _write_by_task(call: Call, guest: Guest, asked: authorize.Asked) -> object:
    wanted = asked.change
    world = call.world
    flows = world.in_real_time or world.waits is not None
    in_time = wanted.delay is not None and guest.behaviour.config_seconds <= wanted.delay
    seconds = 0.0 if in_time and not flows else guest.behaviour.config_seconds

    def work(task: Task) -> Steps:
        yield guest.flock
        yield seconds
        if release.forks_first(world.version):
            if call.guest_now() is not guest:
                raise Died(missing(guest.kind, guest.vmid, world.node))
            _or_die(lambda: writing.refuse_first(guest, wanted))
        task.log.append(wanted.log_line(guest.vmid))
        if guest.behaviour.config_error:
            part = wanted.only(guest.behaviour.config_written)
            _or_die(lambda: _write(call, guest, replace(asked, change=part)))
            raise Died(guest.behaviour.config_error)
        _or_die(lambda: _write(call, guest, asked))

    task = world.tasks.start("qmconfig", guest.vmid, call.caller.name, work)
    if wanted.delay is None:
        return task.upid
    waiting = Waiting(task, guest.vmid, until=world.events.moment + wanted.delay)
    return waiting if flows and task.exitstatus is None else waiting.answer()


def _or_die(do: Callable[[], None]) -> None:
    """Do something in a worker, which dies of what a call would be refused for."""
    try:
        do()
    except Refusal as refusal:
        raise Died(refusal.last_words) from None


def power(call: Call) -> object:
    """POST status/VERB: a task, or the HA manager's where that decides."""
    for key in ("skiplock", "keepActive", "migratedfrom", "stateuri"):
        # recorded: 130-stop/008-014, 027-033; true values alone are refused.
        if call.params.get(key, "0") != "0":
            raise bad({key: ROOT_ONLY})
    return _power(call, call.place["verb"], order_of(call))


def start_guest(call: Call) -> str:
    """Start the guest of a call about something else, as PVE's own code calls the API."""
    return _power(call, "start", order_of(call))


def order_of(call: Call) -> powering.Order:
    """Given a call about a guest, return what its parameters ask for."""
    world = call.world
    return powering.order(call.kind, call.vmid, world.node, call.caller.name, call.params)


def _power(call: Call, verb: str, order: powering.Order) -> str:
    world = call.world
    powering.refuse_early(world, verb, order)
    guest = world.here(call.kind, call.vmid)
    managed = guest is not None and guest.managed and world.manager.disarmed != "ignore"
    if guest is not None and managed and verb != "reboot":
        patience = order.timeout if verb == "shutdown" else 0.0
        return _declared(world, "start" if verb == "start" else "stop", guest, order, patience)
    kind = f"{TASK_PREFIX[call.kind]}{verb}"

    def work(task: Task) -> Steps:
        return powering.work(world, verb, order, task)

    return world.tasks.start(kind, call.vmid, order.user, work).upid


def bulk(call: Call) -> object:
    """POST /nodes/N/startall, stopall: a task about no guest. recorded: 170-bulk."""
    world, params = call.world, call.params
    vmids = frozenset(int(v) for v in re.split(r"[,; ]+", params.get("vms", "")) if v)
    for path in [f"/vms/{vmid}" for vmid in sorted(vmids)] or ["/"]:
        call.caller.need(path, "VM.PowerMgmt")
    starts = call.place["verb"] == "startall"
    order = BulkOrder(
        call.caller.name,
        vmids,
        force=params.get("force", "0") == "1" if starts else params.get("force-stop", "1") == "1",
        timeout=float(params.get("timeout", DEFAULT_TIMEOUT)),
    )
    steps = start_all if starts else stop_all
    name = order.user
    return world.tasks.start(call.place["verb"], "", name, lambda t: steps(world, order, t)).upid


def _declared(world: World, verb: str, guest: Guest, order: powering.Order, patience: float) -> str:
    def work(task: Task) -> Steps:
        return world.manager.request(verb, guest, task, patience)

    return world.tasks.start(f"ha{verb}", guest.vmid, order.user, work).upid


def tasks(call: Call) -> object:
    """GET /nodes/N/tasks."""
    return tasklist.page(call.world.tasks, call.caller, call.world.node, call.params)


def cluster_tasks(call: Call) -> object:
    """GET /cluster/tasks."""
    return tasklist.cluster(call.world.tasks, call.caller, call.world.node)


def task_status(call: Call) -> object:
    """GET tasks/UPID/status."""
    tasklist.permit(call.caller, call.place["upid"], call.world.node)
    return tasklist.status(call.world.tasks, call.place["upid"])


def task_log(call: Call) -> Page:
    """GET tasks/UPID/log."""
    tasklist.permit(call.caller, call.place["upid"], call.world.node)
    return tasklist.log(call.world.tasks, call.place["upid"], call.params)
