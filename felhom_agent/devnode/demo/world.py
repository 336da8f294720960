"""The demo's world: four virtual machines and four containers of a small household.

The demo command and `python -m felhom_agent.devnode` show the same guests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle

from felhom_agent.devnode.world.guest import Behaviour
from felhom_agent.devnode.world.release import OLDEST
from felhom_agent.devnode.world.world import World

TOKEN = "felhom-agent@pve!agent"

_LIVELY = Behaviour(start_seconds=1.0, shutdown_seconds=2.0)
_STUBBORN = Behaviour(start_seconds=1.0, obeys_shutdown=False)

Spec = tuple[str, int, bool, Behaviour, dict[str, object]]


def _vm(name: str, memory: int, cores: int, **more: object) -> dict[str, object]:
    vm: dict[str, object] = {
        "name": name,
        "memory": memory,
        "cores": cores,
        "sockets": 1,
        "ostype": "l26",
        "scsihw": "virtio-scsi-single",
        "boot": "order=scsi0",
    }
    return {**vm, **more}


def _ct(hostname: str, memory: int, cores: int, **more: object) -> dict[str, object]:
    ct: dict[str, object] = {
        "hostname": hostname,
        "memory": memory,
        "cores": cores,
        "swap": 256,
        "arch": "amd64",
        "ostype": "debian",
        "unprivileged": 1,
    }
    return {**ct, **more}


def _disk(vmid: int, size: str) -> str:
    return f"local-lvm:vm-{vmid}-disk-0,size={size}"


def _card(number: int) -> str:
    return f"virtio=BC:24:11:00:01:{number:02X},bridge=vmbr0"


_GUESTS: tuple[Spec, ...] = (
    ("qemu", 100, True, _LIVELY, _vm("router", 1024, 1, onboot=1, tags="infra",
                                     scsi0=_disk(100, "8G"), net0=_card(1))),
    ("qemu", 101, True, _LIVELY, _vm("web", 2048, 2, onboot=1, tags="public;web",
                                     scsi0=_disk(101, "32G"), net0=_card(2))),
    ("qemu", 102, False, _LIVELY, _vm("build", 8192, 4, description="Builds at night.",
                                      scsi0=_disk(102, "64G"), net0=_card(3))),
    ("qemu", 103, True, _STUBBORN, _vm("legacy", 4096, 2, tags="old",
                                       scsi0=_disk(103, "40G"), net0=_card(4))),
    ("lxc", 200, True, _LIVELY, _ct("dns", 256, 1, onboot=1, tags="infra",
                                    rootfs=_disk(200, "4G"))),
    ("lxc", 201, True, _LIVELY, _ct("db", 2048, 2, onboot=1, protection=1,
                                    rootfs=_disk(201, "16G"))),
    ("lxc", 202, False, _LIVELY, _ct("wiki", 512, 1, rootfs=_disk(202, "8G"))),
    ("lxc", 203, True, _LIVELY, _ct("monitor", 512, 1, tags="infra", rootfs=_disk(203, "8G"))),
)  # fmt: skip


def demo_world(
    now: Callable[[], float] = time.time, *, guests: int = len(_GUESTS), version: str = OLDEST
) -> World:
    """Given a clock, how many guests there shall be and the version of PVE that it answers as,
    return the demo's world.

    Guests beyond the eight are copies of them under numbers of their own, from 1000 on.
    """
    world = World("pve1", now, version=version)
    for index, spec in zip(range(guests), cycle(_GUESTS), strict=False):
        kind, vmid, running, behaviour, config = spec
        number = vmid if index < len(_GUESTS) else 1000 + index
        world.add(kind, number, config, running=running, behaviour=behaviour)
    return world
