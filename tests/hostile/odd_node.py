"""What a node answers, path by path: a small sound world, of which a test spoils a part."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Json = Any
DIGEST = "d" * 40

RESOURCES = "/cluster/resources"
QEMU, LXC = "/nodes/pve1/qemu", "/nodes/pve1/lxc"
PERMISSIONS = "/access/permissions"

_SOUND: Mapping[str, Json] = {
    "/version": {"version": "9.1.7", "release": "9.1"},
    "/cluster/options": {"tag-style": "case-sensitive=1"},
    RESOURCES: [
        {"type": "node", "node": "pve1", "status": "online", "cgroup-mode": 2},
        {"type": "qemu", "vmid": 100, "node": "pve1", "status": "stopped"},
        {"type": "qemu", "vmid": 101, "node": "pve1", "status": "running"},
        {"type": "lxc", "vmid": 200, "node": "pve1", "status": "stopped"},
        {"type": "lxc", "vmid": 201, "node": "pve2", "status": "stopped"},
        {"type": "storage", "storage": "local", "node": "pve1"},
    ],
    QEMU: [
        {"vmid": 100, "status": "stopped", "name": "web"},
        {"vmid": 101, "status": "running", "name": "db"},
    ],
    LXC: [{"vmid": 200, "status": "stopped", "name": "dns", "type": "lxc"}],
    f"{QEMU}/100/pending": [
        {"key": "cores", "value": 1},
        {"key": "name", "value": "web"},
        {"key": "digest", "value": DIGEST},
    ],
    f"{QEMU}/101/pending": [
        {"key": "cores", "value": 1, "pending": 2},
        {"key": "vga", "value": "std", "delete": 1},
        {"key": "digest", "value": DIGEST},
    ],
    f"{LXC}/200/config": {"cores": 1, "hostname": "dns", "digest": DIGEST},
    f"{QEMU}/100/status/current": {"status": "stopped", "ha": {"managed": 0}},
    f"{QEMU}/101/status/current": {"status": "running", "qmpstatus": "running"},
    f"{LXC}/200/status/current": {"status": "stopped", "ha": {"managed": 0}},
    PERMISSIONS: {"/": {"VM.Audit": 1, "Sys.Audit": 1}, "/vms": {"VM.Audit": 1}},
}


class OddNode:
    """The answers of a node; `asked` has the paths that it was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, Json] = copy.deepcopy(dict(_SOUND))
        self.asked: list[str] = []

    def __call__(self, path: str) -> Json:
        """Given a path, return its data."""
        bare = path.partition("?")[0]
        self.asked.append(bare)
        return self.answers.get(bare, [])
