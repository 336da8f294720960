"""The guests of the long run: what is declared of each, and the hands that keep spoiling it.

A household is made as it is declared. What the world says of it at that moment, down to the last
key, is what it must say in the end: so a value that the agent wrote without being asked is seen
as well. A hand that changes what nobody declared changes that expectation with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from felhom_agent.devnode import Behaviour, Fault, World
from felhom_agent.devnode.http.faults import Faults

Value = str | int | bool

# The share of faults on the wire among all that is done.
_FAULTS = 0.1
_ACTIONS = ("reset-before", "reset-after", "status:596", "status:595", "not-json")
_WAYS = (("", ""), ("GET", ""), ("PUT", "/config$"), ("POST", "/config$"), ("POST", "/status/"))
# How often each deed is done: turn over, edit, edit what is not declared, lock.
_WEIGHTS = (40, 35, 8, 7)
# Most guests of a host run; of a few nobody declares whether they do.
_STATES = ("running", "running", "running", "stopped", "running", "")
_HARDWARE = frozenset({"memory", "cores"})
_SLOWEST = 0.5
_LONGEST_LOCK = 5.0
# One guest in so many is locked at the same time at most.
_LOCKED_SHARE = 10
# The agent refuses for good what waits for a restart again at the end of the turn that restarted
# the guest. So a second change of that sort waits until the first has surely been healed.
_HARDWARE_RESTS = 20.0


@dataclass(frozen=True)
class Resident:
    """One guest; `declared` is what its guest file says, `rest` what nobody speaks of."""

    vmid: int
    kind: str
    state: str
    restart: bool
    declared: Mapping[str, Value]
    rest: Mapping[str, Value]

    def text(self) -> str:
        """Return its part of the guest file. A JSON scalar is a TOML one."""
        lines = [f"[guest.{self.vmid}]", f'kind = "{self.kind}"']
        lines += [f'state = "{self.state}"'] if self.state else []
        lines += ['restart = "allowed"'] if self.restart else []
        lines += [f"[guest.{self.vmid}.config]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in self.declared.items()]
        return "\n".join([*lines, ""])


class Household:
    """A world of guests, what it must look like, and everything that people do to it."""

    def __init__(self, guests: int, rng: Random, clock: Callable[[], float] = time.monotonic):
        self._rng = rng
        self._clock = clock
        self.residents = [_resident(100 + number, rng) for number in range(guests)]
        self.world = World(now=time.time)
        for one in self.residents:
            config = {**one.declared, **one.rest}
            running = one.state == "running"
            self.world.add(one.kind, one.vmid, config, running=running, behaviour=_pace(rng))
        self._wanted = {one.vmid: self._seen(one.vmid) for one in self.residents}
        self._locked: dict[int, float] = {}
        self._rests: dict[int, float] = {}

    def text(self) -> str:
        """Return the guest file."""
        return "\n".join(one.text() for one in self.residents)

    def differences(self) -> dict[int, str]:
        """Return, for each guest that is not as it must be, how it is and how it must be."""
        found = {}
        for vmid, wanted in self._wanted.items():
            if (seen := self._seen(vmid)) != wanted:
                keys = sorted(k for k in seen | wanted if seen.get(k) != wanted.get(k))
                found[vmid] = ", ".join(f"{k} {seen.get(k)!r} not {wanted.get(k)!r}" for k in keys)
        return found

    def spoil_all(self) -> None:
        """Do something to every guest that only the agent can mend."""
        for one in self.residents:
            if one.state and self._rng.random() < 0.5:
                self._turn_over(one)
            else:
                self._edit(one)

    def spoil(self, faults: Faults) -> None:
        """Do one thing to a guest, or to the wire."""
        self._unlock(self._clock())
        if self._rng.random() < _FAULTS:
            method, path = self._rng.choice(_WAYS)
            faults.add(Fault(method, path, self._rng.choice(_ACTIONS)))
            return
        deeds = [self._turn_over, self._edit, self._edit_undeclared, self._lock]
        self._rng.choices(deeds, _WEIGHTS)[0](self._rng.choice(self.residents))

    def leave_alone(self, faults: Faults) -> None:
        """Take all locks away, and let the wire be whole."""
        self._unlock(float("inf"))
        faults.clear()

    def _seen(self, vmid: int) -> dict[str, object]:
        with self.world.guard:
            config = dict(self.world.config(vmid))
            del config["digest"]
            guest = self.world.guests[vmid]
            waits = sorted([*guest.conf.pending, *guest.conf.unset])
            return {**config, "(running)": guest.running, "(waiting)": waits}

    def _turn_over(self, one: Resident) -> None:
        running = self.world.running(one.vmid)
        (self.world.stop if running else self.world.start)(one.vmid)
        if not one.state:
            self._wanted[one.vmid]["(running)"] = not running

    def _edit(self, one: Resident) -> None:
        rests = _HARDWARE if self._clock() < self._rests.get(one.vmid, 0.0) else frozenset()
        key = self._rng.choice([key for key in one.declared if key not in rests])
        if one.restart and key in _HARDWARE:
            self._rests[one.vmid] = self._clock() + _HARDWARE_RESTS
        # PVE: giving a guest a bridge again needs SDN.Use, which the agent's role has not.
        if key != "net0" and self._rng.random() < 0.25:
            self.world.edit(one.vmid, {}, delete=[key])
        else:
            self.world.edit(one.vmid, {key: _spoilt(key, one.declared[key], self._rng)})

    def _edit_undeclared(self, one: Resident) -> None:
        text = f"order={self._rng.randrange(1, 100)}"
        self.world.edit(one.vmid, {"startup": text})
        self._wanted[one.vmid]["startup"] = text

    def _lock(self, one: Resident) -> None:
        if len(self._locked) * _LOCKED_SHARE < len(self.residents):
            self.world.lock(one.vmid, self._rng.choice(["backup", "snapshot", "migrate"]))
            self._locked[one.vmid] = self._clock() + self._rng.uniform(0.5, _LONGEST_LOCK)

    def _unlock(self, now: float) -> None:
        for vmid in [v for v, until in self._locked.items() if until <= now]:
            self.world.unlock(vmid)
            del self._locked[vmid]


def _resident(vmid: int, rng: Random) -> Resident:
    return _vm(vmid, rng) if rng.random() < 0.5 else _container(vmid, rng)


def _vm(vmid: int, rng: Random) -> Resident:
    state = rng.choice(_STATES)
    restart = state == "running" and rng.random() < 0.4
    hardware: dict[str, Value] = {
        "memory": str(rng.choice([1024, 2048, 4096])),
        "cores": rng.choice([2, 4]),
    }
    more: dict[str, Value] = {
        "cpulimit": rng.choice([1, 2]),
        "net0": f"virtio=BC:24:11:00:{vmid >> 8:02X}:{vmid & 255:02X},bridge=vmbr0",
    }
    # What waits for a restart is only declared where the agent may do one.
    declared = {"name": f"vm{vmid}", **_common(vmid, rng), **_some(more, rng)}
    rest: dict[str, Value] = {
        "sockets": 1,
        "ostype": "l26",
        "scsihw": "virtio-scsi-single",
        "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=8G",
        "boot": "order=scsi0",
        "smbios1": f"uuid=6f6b1d0e-7b6c-4b6b-8f62-{vmid:012x}",
    }
    if restart:
        return Resident(vmid, "qemu", state, restart, {**declared, **hardware}, rest)
    return Resident(vmid, "qemu", state, restart, declared, {**rest, **hardware})


def _container(vmid: int, rng: Random) -> Resident:
    more: dict[str, Value] = {
        "memory": rng.choice([256, 1024, 2048]),
        "swap": rng.choice([128, 256]),
        "cores": rng.choice([2, 4]),
        "net0": f"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:01:{vmid >> 8:02X}:{vmid & 255:02X},"
        "ip=dhcp,type=veth",
    }
    rest: dict[str, Value] = {
        "arch": "amd64",
        "ostype": "debian",
        "unprivileged": 1,
        "rootfs": f"local-lvm:vm-{vmid}-disk-0,size=4G",
    }
    declared = {"hostname": f"ct{vmid}", **_common(vmid, rng), **_some(more, rng)}
    return Resident(vmid, "lxc", rng.choice(_STATES), False, declared, rest)


def _common(vmid: int, rng: Random) -> dict[str, Value]:
    return _some(
        {
            "onboot": True,
            "description": f"Guest {vmid}.\nOwner: {rng.choice(['Anna', 'Béla', 'Zoë'])}",
            "tags": rng.choice(["infra", "infra;web", "db;prod;web"]),
        },
        rng,
    )


def _some(options: Mapping[str, Value], rng: Random) -> dict[str, Value]:
    return {key: value for key, value in options.items() if rng.random() < 0.7}


def _pace(rng: Random) -> Behaviour:
    return Behaviour(
        start_seconds=rng.uniform(0.05, _SLOWEST),
        shutdown_seconds=rng.uniform(0.05, _SLOWEST),
        config_seconds=rng.uniform(0.0, 0.2),
    )


def _spoilt(key: str, value: Value, rng: Random) -> Value:
    """Given a declared value, return another one for that key."""
    number = rng.randrange(1, 1000)
    match key:
        case "name" | "hostname":
            return f"odd{number}"
        case "net0":
            return f"{value},firewall=1"
        case "description":
            return f"out of order, {number}"
        case "tags":
            return f"odd;t{number}"
        case "onboot":
            return 0
        case _:
            return int(value) + 1
