"""What the demo's operator declares of the demo's world, and what PVE must answer in the end.

The answers are written down in PVE's own forms, apart from the agent's idea of them, so that the
demo can judge the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GUEST_FILE: Final = """\
# Guests of the demo. Whatever is not named here is left as it is.

[guest.100]                     # a router that must never be touched in its run state
kind = "qemu"
[guest.100.config]
onboot = true
tags = ["infra", "Router"]

[guest.101]
kind = "qemu"
state = "running"
[guest.101.config]
cores = 2
memory = 2048
description = \"\"\"
Shop front.
Owner: Anna\"\"\"
tags = ["web", "public"]

[guest.102]                     # shall run, and with less memory than it has
kind = "qemu"
state = "running"
[guest.102.config]
memory = 4096
onboot = true

[guest.103]                     # does not listen to a shutdown; its owner allows the hard stop
kind = "qemu"
state = "stopped"
stop = "power-off"
[guest.103.config]
onboot = false

[guest.200]
kind = "lxc"
state = "running"
[guest.200.config]
description = "DNS"
cores = 2
memory = 512
onboot = true
tags = ["dns", "infra"]

[guest.201]
kind = "lxc"
mode = "observe"                # tell me, but do not touch
[guest.201.config]
cores = 4

[guest.202]
kind = "lxc"
state = "running"
unset = ["swap"]
[guest.202.config]
hostname = "wiki"
memory = 1024

[guest.203]
kind = "lxc"
state = "stopped"
[guest.203.config]
onboot = false
"""

RUNNING: Final = "running"
"""The key under which `ANSWERS` has whether a guest runs; no option of PVE's is called so."""

ANSWERS: Final[Mapping[int, Mapping[str, object]]] = {
    100: {RUNNING: True, "onboot": 1, "tags": "infra;router", "cores": 1},
    101: {
        RUNNING: True,
        "cores": 2,
        "memory": "2048",
        "description": "Shop front.\nOwner: Anna",
        "tags": "public;web",
    },
    102: {RUNNING: True, "memory": "4096", "onboot": 1, "cores": 4},
    103: {RUNNING: False, "memory": "4096"},
    200: {
        RUNNING: True,
        "description": "DNS\n",
        "cores": 2,
        "memory": 512,
        "onboot": 1,
        "tags": "dns;infra",
    },
    201: {RUNNING: True, "cores": 2, "onboot": 1},
    202: {RUNNING: True, "hostname": "wiki", "memory": 1024, "swap": None},
    203: {RUNNING: False, "tags": "infra"},
}
"""Per guest what `GET config` must answer; None for a key that must be absent."""
