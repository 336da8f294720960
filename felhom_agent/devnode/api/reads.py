"""The rows of PVE's listings: guests, the node, the cluster.

Figures that no caller can do anything with (CPU load, traffic) are zero; the keys are PVE's.
recorded: 01-reads, 30-running-qemu/003, 31-running-lxc/003, 50-locks/012-013.
"""

from __future__ import annotations

from collections.abc import Mapping

from felhom_agent.devnode.world.guest import Guest
from felhom_agent.devnode.world.release import build
from felhom_agent.devnode.world.writing import megabytes

Row = dict[str, object]

MIB = 1024 * 1024
NODE_CPUS = 8
NODE_MEMORY = 32 * 1024 * MIB
NODE_DISK = 256 * 1024 * MIB
_ROOT_DISK = 4 * 1024 * MIB
_PID_BASE = 20000

_PRESSURE = tuple(
    f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("some", "full")
)


def name(guest: Guest) -> str:
    """Given a guest, return the name PVE lists it by. recorded: 20-writes-*/024."""
    values = guest.conf.values
    if guest.kind == "qemu":
        return values.get("name", f"VM {guest.vmid}")
    return values.get("hostname", f"CT{guest.vmid}")


def _figures(guest: Guest, moment: float) -> Row:
    values = guest.conf.values
    memory = megabytes(values.get("memory", "512")) * MIB
    return {
        "vmid": guest.vmid,
        "name": name(guest),
        "status": "running" if guest.running else "stopped",
        "uptime": int(moment - guest.since) if guest.running else 0,
        "cpu": 0,
        "mem": memory // 2 if guest.running else 0,
        "maxmem": memory,
        "disk": 0,
        "maxdisk": 0 if guest.kind == "qemu" else _ROOT_DISK,
        "netin": 0,
        "netout": 0,
    }


def _cpus(values: Mapping[str, str], kind: str) -> int:
    if kind == "lxc":
        return int(values.get("cores", NODE_CPUS))
    cores = int(values.get("cores", 1)) * int(values.get("sockets", 1))
    return int(values.get("vcpus", cores))


def _marks(guest: Guest) -> Row:
    marks = {"tags": guest.conf.values.get("tags", "").strip(), "lock": guest.lock}
    row: Row = {key: value for key, value in marks.items() if value}
    return {**row, "template": 1} if guest.template else row


def listed(guest: Guest, moment: float, *, full: bool = False) -> Row:
    """Given a guest, return its row of GET /nodes/N/qemu or /nodes/N/lxc."""
    row = {**_figures(guest, moment), **_marks(guest)}
    row["cpus"] = _cpus(guest.conf.values, guest.kind)
    if guest.running:
        row["pid"] = _PID_BASE + guest.vmid
    if guest.kind == "qemu":
        row["memhost"] = row["mem"]
        pressure = dict.fromkeys(_PRESSURE, 0) if guest.running else {}
        status = {"qmpstatus": _qmpstatus(guest)} if full else {}
        return {**row, **pressure, **_ballooning(guest.conf.values), **status}
    swap = int(guest.conf.values.get("swap", 0)) * MIB
    return {**row, "type": "lxc", "swap": 0, "maxswap": swap, "diskread": 0, "diskwrite": 0}


def _ballooning(values: Mapping[str, str]) -> Row:
    # recorded: 30-running-qemu/036
    least = int(values.get("balloon", 0)) * MIB
    return {"balloon_min": least, "shares": int(values.get("shares", 1000))} if least else {}


def current(guest: Guest, moment: float, disarmed: str = "") -> Row:
    """Given a guest, and the resource mode of an HA that is disarmed, return what GET
    status/current answers. recorded: calls-9.2/205-ha-armed/012, 043.
    """
    row = listed(guest, moment, full=True)
    state = "freeze" if disarmed == "freeze" else guest.ha
    managed = guest.managed and disarmed != "ignore"
    row["ha"] = {"managed": 1, "state": state} if managed else {"managed": 0}
    if guest.kind == "qemu":
        row["clipboard"] = None
    elif guest.running:
        row.update(dict.fromkeys(_PRESSURE))
    return row


def resource(guest: Guest, moment: float, disarmed: str = "", *, says_paused: bool = False) -> Row:
    """Given a guest, and the resource mode of an HA that is disarmed, return its row of GET
    /cluster/resources; `says_paused` tells that a paused VM's state is that there.
    """
    row = {**_figures(guest, moment), **_marks(guest)}
    if says_paused and guest.paused:
        row["status"] = "paused"
    row |= {
        "id": f"{guest.kind}/{guest.vmid}",
        "type": guest.kind,
        "node": guest.node,
        "maxcpu": _cpus(guest.conf.values, guest.kind),
        "template": int(guest.template),
        "memhost": row["mem"],
        "diskread": 0,
        "diskwrite": 0,
    }
    if guest.pool:
        row["pool"] = guest.pool
    state = "freeze" if guest.managed and disarmed == "freeze" else guest.ha
    return {**row, "hastate": state} if state else row


def _qmpstatus(guest: Guest) -> str:
    if not guest.running:
        return "stopped"
    return "paused" if guest.paused else guest.hung or "running"


def node(node_name: str, fingerprint: str, uptime: int, *, known: bool) -> Row:
    """Return the node's row of GET /nodes; the figures only if the caller may know them."""
    row: Row = {
        "id": f"node/{node_name}",
        "node": node_name,
        "type": "node",
        "status": "online",
        "level": "",
        "ssl_fingerprint": fingerprint,
    }
    return {**row, **_node_figures(uptime)} if known else row


def peer(node_name: str, *, online: bool) -> Row:
    """Return the row of another node in GET /nodes and GET /cluster/resources."""
    status = "online" if online else "offline"
    row = {"id": f"node/{node_name}", "node": node_name, "type": "node", "status": status}
    return {**row, "level": ""}


def node_resource(node_name: str, uptime: int, *, known: bool) -> Row:
    """Return the node's row of GET /cluster/resources."""
    row = node(node_name, "", uptime, known=known)
    del row["ssl_fingerprint"]
    return {**row, "cgroup-mode": 2}


def _node_figures(uptime: int) -> Row:
    return {
        "uptime": uptime,
        "cpu": 0.01,
        "maxcpu": NODE_CPUS,
        "mem": NODE_MEMORY // 4,
        "maxmem": NODE_MEMORY,
        "disk": NODE_DISK // 8,
        "maxdisk": NODE_DISK,
    }


def version(number: str) -> Row:
    """Return what GET /version answers. recorded: 01-reads/001."""
    release = number.rpartition(".")[0]
    return {"version": number, "release": release, "repoid": build(number)}


_MACHINE: Mapping[str, object] = {
    # recorded: 01-reads/003, for its keys
    "boot-info": {"mode": "efi"},
    "cpuinfo": {
        "cpus": NODE_CPUS,
        "cores": NODE_CPUS,
        "sockets": 1,
        "model": "Virtual",
        "vendor": "Virtual",
        "family": "1",
        "flags": "",
        "hvm": "",
        "mhz": "1000.000",
        "user_hz": 100,
    },
    "current-kernel": {
        "sysname": "Linux",
        "release": "6.14.0-1-pve",
        "version": "#1 SMP",
        "machine": "x86_64",
    },
    "idle": 0,
    "ksm": {"shared": 0},
    "kversion": "Linux 6.14.0-1-pve #1 SMP",
    "loadavg": ["0.10", "0.10", "0.10"],
    "swap": {"total": 0, "used": 0, "free": 0},
    "wait": 0,
}


def node_status(uptime: int, number: str) -> Row:
    """Return what GET /nodes/N/status answers."""
    free = NODE_DISK * 7 // 8
    memory_free = NODE_MEMORY * 3 // 4
    memory = {"total": NODE_MEMORY, "used": NODE_MEMORY // 4}
    return {
        **_MACHINE,
        "pveversion": f"pve-manager/{number}/{build(number)}",
        "uptime": uptime,
        "cpu": 0,  # what this worker saw since it was asked the last time
        "memory": {**memory, "free": memory_free, "available": memory_free},
        "rootfs": {"total": NODE_DISK, "used": NODE_DISK - free, "free": free, "avail": free},
    }
