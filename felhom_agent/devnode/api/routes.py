"""The calls this node knows, and the checks that every call goes through.

The order of the refusals is PVE's: who are you (401), is there such a call (501), may you (403),
does the node answer (500, 595), are the parameters right (400), and only then the call itself.
recorded: 02-auth, 03-notfound, 160-other-node, 161-other-node-offline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from felhom_agent.devnode.api import calls, destroying, snapshots
from felhom_agent.devnode.api.calls import Call
from felhom_agent.devnode.world import schema
from felhom_agent.devnode.world.refusal import Refusal, bad, died, not_implemented
from felhom_agent.devnode.world.schema import Check, Raw
from felhom_agent.devnode.world.world import World

_WRITERS = {
    "qemu": ("Disk", "CDROM", "CPU", "Memory", "Network", "HWType", "Options", "Cloudinit"),
    "lxc": ("Disk", "CPU", "Memory", "Network", "Options"),
}

Answer = Callable[[Call], object]
Need = tuple[str, tuple[str, ...]]
"""A path, with the parts of the call's own path in it, and the privileges of which one is due."""


@dataclass(frozen=True)
class Route:
    """A method and path; `checks` is None where the call looks at its parameters itself."""

    method: str
    path: re.Pattern[str]
    answer: Answer
    need: Need | None = None
    checks: Mapping[str, Check] | None = field(default_factory=dict)
    required: tuple[str, ...] = ()


class Api:
    """Answers calls out of a world; `fingerprint` is the node's certificate's."""

    def __init__(self, world: World, fingerprint: str = "") -> None:
        self._world = world
        self._fingerprint = fingerprint

    def answer(self, method: str, path: str, raw: Mapping[str, Raw], authorization: str) -> object:
        """Given a call, return its data or a `Page`. Raise `Refusal` for any other answer."""
        with self._world.guard:
            self._world.catch_up()
            caller = self._world.tokens.authenticate(authorization)
            route, place = _find(method, path)
            call = Call(self._world, self._fingerprint, method, caller, place, raw)
            _permit(route, call)
            _reach(call)
            _verify_vmid(place)
            if route.checks is not None:
                given = {**raw, **{key: place[key] for key in _NAMED & place.keys()}}
                params = schema.verify_simple(given, route.checks, route.required)
                call = replace(call, params=params)
            return route.answer(call)


def _find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match and route.method == method:
            return route, match.groupdict()
    raise not_implemented(method, path)


def _permit(route: Route, call: Call) -> None:
    if route.need is not None:
        path, privileges = route.need
        call.caller.need(path.format(**call.place), *privileges)


def _reach(call: Call) -> None:
    node = call.place.get("node", call.world.node)
    if node in call.world.peers:
        raise Refusal(595, "Connection refused")
    if node != call.world.node:
        reason = f"failed to get address info for: {node}: Name or service not known"
        raise died(f"hostname lookup '{node}' failed - {reason}")


def _verify_vmid(place: Mapping[str, str]) -> None:
    complaint = schema.vmid(place["vmid"]) if "vmid" in place else ""
    if complaint:
        raise bad({"vmid": complaint})


_GUEST = r"/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)/(?P<vmid>[^/]+)"
_TASK = r"/nodes/(?P<node>[^/]+)/tasks/(?P<upid>[^/]+)"
_AUDIT = ("/vms/{vmid}", ("VM.Audit",))
_POWER = ("/vms/{vmid}", ("VM.PowerMgmt",))
_SNAPSHOTS = f"{_GUEST}/snapshot"
_SNAPSHOT = f"{_SNAPSHOTS}/(?P<snapname>[^/]+)"
_SNAPSHOOTER = ("/vms/{vmid}", ("VM.Snapshot",))
_ROLLER = ("/vms/{vmid}", ("VM.Snapshot", "VM.Snapshot.Rollback"))
_NAMED = frozenset({"snapname"})
"""Parts of a path that are checked with the parameters."""

_NUMBER = schema.integer(0)


def _route(
    method: str,
    path: str,
    answer: Answer,
    need: Need | None = None,
    /,
    **checks: Check,
) -> Route:
    named = {key.replace("_", "-"): check for key, check in checks.items()}
    return Route(method, re.compile(path), answer, need, named)


def _guest_route(kind: str, verb: str, /, **checks: Check) -> Route:
    path = _GUEST.replace("qemu|lxc", kind) + f"/status/(?P<verb>{verb})"
    return _route("POST", path, calls.power, _POWER, **checks)


def _writer(method: str, kind: str) -> Route:
    path = re.compile(_GUEST.replace("qemu|lxc", kind) + "/config")
    privileges = tuple(f"VM.Config.{word}" for word in _WRITERS[kind])
    return Route(method, path, calls.write_config, ("/vms/{vmid}", privileges), None)


def _snapshot_route(
    method: str, tail: str, answer: Answer, need: Need | None, /, **checks: Check
) -> Route:
    return _route(method, _SNAPSHOT + tail, answer, need, snapname=schema.snapshot_name, **checks)


def _creator(kind: str, /, **checks: Check) -> Route:
    path = re.compile(_SNAPSHOTS.replace("qemu|lxc", kind))
    known = {"snapname": schema.snapshot_name, "description": schema.text(), **checks}
    return Route("POST", path, snapshots.create, _SNAPSHOOTER, known, required=("snapname",))


def _destroyer(kind: str, /, **checks: Check) -> Route:
    return _route(
        "DELETE",
        _GUEST.replace("qemu|lxc", kind),
        destroying.destroy_guest,
        ("/vms/{vmid}", ("VM.Allocate",)),
        purge=schema.boolean,
        destroy_unreferenced_disks=schema.boolean,
        **checks,
    )


ROUTES: tuple[Route, ...] = (
    _route("GET", "/version", calls.version),
    _route("GET", "/nodes", calls.nodes),
    _route(
        "GET", "/nodes/(?P<node>[^/]+)/status", calls.node_status, ("/nodes/{node}", ("Sys.Audit",))
    ),
    _route("GET", "/cluster/status", calls.cluster_status, ("/", ("Sys.Audit",))),
    _route("GET", "/cluster/ha/status/current", calls.ha_status, ("/", ("Sys.Audit",))),
    _route("GET", "/cluster/options", calls.cluster_options),
    _route("GET", "/cluster/sdn/vnets", calls.vnets),
    _route(
        "GET",
        "/nodes/(?P<node>[^/]+)/network",
        calls.networks,
        type=schema.one_of("bridge", "OVSBridge", "vnet", "any_bridge", "any_local_bridge"),
    ),
    _route("GET", "/cluster/tasks", calls.cluster_tasks),
    _route(
        "GET",
        "/cluster/resources",
        calls.resources,
        type=schema.one_of("vm", "storage", "node", "sdn"),
    ),
    Route(
        "GET",
        re.compile("/nodes/(?P<node>[^/]+)/storage/(?P<storage>[^/]+)/content"),
        calls.backups,
        ("/storage/{storage}", ("Datastore.Audit", "Datastore.AllocateSpace")),
        {"content": schema.one_of("backup"), "vmid": schema.vmid},
        required=("content",),
    ),
    _route(
        "GET", "/access/permissions", calls.permissions, path=schema.text(), userid=schema.text()
    ),
    _route("GET", "/nodes/(?P<node>[^/]+)/(?P<kind>qemu)", calls.guests, full=schema.boolean),
    _route("GET", "/nodes/(?P<node>[^/]+)/(?P<kind>lxc)", calls.guests),
    _route(
        "GET",
        f"{_GUEST}/config",
        calls.config,
        _AUDIT,
        current=schema.boolean,
        snapshot=schema.snapshot_name,
    ),
    _route("GET", f"{_GUEST}/pending", calls.pending, _AUDIT),
    _route("GET", f"{_GUEST}/status/current", calls.current, _AUDIT),
    _writer("PUT", "qemu"),
    _writer("POST", "qemu"),
    _writer("PUT", "lxc"),
    Route(
        "PUT",
        re.compile(_GUEST.replace("qemu|lxc", "qemu") + "/unlink"),
        calls.unlink,
        ("/vms/{vmid}", ("VM.Config.Disk",)),
        {"idlist": schema.text(), "force": schema.boolean},
        required=("idlist",),
    ),
    _guest_route(
        "qemu",
        "start",
        timeout=_NUMBER,
        skiplock=schema.boolean,
        stateuri=schema.text(128),
        migratedfrom=schema.text(),
    ),
    _guest_route("lxc", "start", skiplock=schema.boolean, debug=schema.boolean),
    _guest_route(
        "qemu",
        "stop",
        timeout=_NUMBER,
        skiplock=schema.boolean,
        keepActive=schema.boolean,
        migratedfrom=schema.text(),
        overrule_shutdown=schema.boolean,
    ),
    _guest_route("lxc", "stop", skiplock=schema.boolean, overrule_shutdown=schema.boolean),
    _guest_route(
        "qemu",
        "shutdown",
        timeout=_NUMBER,
        forceStop=schema.boolean,
        skiplock=schema.boolean,
        keepActive=schema.boolean,
    ),
    _guest_route("lxc", "shutdown", timeout=_NUMBER, forceStop=schema.boolean),
    _guest_route("(?:qemu|lxc)", "reboot", timeout=_NUMBER),
    _destroyer("qemu", skiplock=schema.boolean),
    _destroyer("lxc", force=schema.boolean),
    _route("GET", _SNAPSHOTS, snapshots.rows, _AUDIT),
    _creator("qemu", vmstate=schema.boolean),
    _creator("lxc"),
    _snapshot_route("GET", "", snapshots.index, None),
    _snapshot_route("DELETE", "", snapshots.delete, _SNAPSHOOTER, force=schema.boolean),
    _snapshot_route("POST", "/rollback", snapshots.rollback, _ROLLER, start=schema.boolean),
    _snapshot_route(
        "GET",
        "/config",
        snapshots.config,
        ("/vms/{vmid}", ("VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit")),
    ),
    _snapshot_route("PUT", "/config", snapshots.comment, _SNAPSHOOTER, description=schema.text()),
    _route(
        "POST",
        "/nodes/(?P<node>[^/]+)/(?P<verb>startall)",
        calls.bulk,
        vms=schema.vmids,
        force=schema.boolean,
    ),
    _route(
        "POST",
        "/nodes/(?P<node>[^/]+)/(?P<verb>stopall)",
        calls.bulk,
        vms=schema.vmids,
        timeout=_NUMBER,
        force_stop=schema.boolean,
    ),
    _route(
        "GET",
        "/nodes/(?P<node>[^/]+)/tasks",
        calls.tasks,
        start=_NUMBER,
        limit=_NUMBER,
        since=schema.integer(),
        until=schema.integer(),
        vmid=schema.vmid,
        source=schema.one_of("archive", "active", "all"),
        typefilter=schema.text(),
        userfilter=schema.text(),
        statusfilter=schema.task_states,
        errors=schema.boolean,
    ),
    _route("GET", f"{_TASK}/status", calls.task_status),
    _route("GET", f"{_TASK}/log", calls.task_log, start=_NUMBER, limit=_NUMBER),
)
