"""A guest of the node: its file, whether it runs, and how it behaves.

`Behaviour` is what a test or a demo chooses; everything else is state that calls change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from felhom_agent.devnode.world.conf import Conf
from felhom_agent.devnode.world.worker import Flock

NOUN = {"qemu": "VM", "lxc": "CT"}
TASK_PREFIX = {"qemu": "qm", "lxc": "vz"}
_CONF_DIRECTORY = {"qemu": "qemu-server", "lxc": "lxc"}
_LOCK_FILE = {
    "qemu": "/var/lock/qemu-server/lock-{}.conf",
    "lxc": "/run/lock/lxc/pve-config-{}.lock",
}


@dataclass(frozen=True)
class Behaviour:
    """How a guest answers to what is done to it. All durations are in seconds, `inf` is for ever.

    `shutdown_seconds` counts only where `obeys_shutdown`; `stop_seconds` is how long a guest runs
    on that is stopped without being asked. `config_seconds` is how long the task of an
    asynchronous config write takes; a synchronous write takes no time. With `start_error`,
    `stop_error` or `config_error` every such task fails with that text, and nothing is done but
    that the keys in `config_written` are written first (recorded: calls-9.2/200b/065).
    `snapshot_seconds` is how long the volumes take that are snapshotted, rolled back, or rid of a
    snapshot, and with `snapshot_error` the first of them fails with that text, which leaves behind
    what PVE leaves behind. `destroy_seconds` is how long it takes to destroy the guest's volumes,
    one after the other; with `destroy_error` it fails before the first. `warnings` is how many a
    successful start logs. A VM that is started within `cleanup_gap` of its stop has its
    configuration locked for 30 s; None: as the version of PVE has it.
    """

    start_seconds: float = 0.0
    shutdown_seconds: float = 0.0
    obeys_shutdown: bool = True
    stop_seconds: float = 0.0
    config_seconds: float = 0.0
    start_error: str = ""
    stop_error: str = ""
    config_error: str = ""
    config_written: tuple[str, ...] = ()
    warnings: int = 0
    snapshot_seconds: float = 0.0
    snapshot_error: str = ""
    destroy_seconds: float = 0.0
    destroy_error: str = ""
    cleanup_gap: float | None = None


@dataclass
class Guest:
    """One guest; `since` is when it was started, `run` counts its runs.

    `hung` is QEMU's word for how it hangs ("io-error"); empty where it does not.
    """

    vmid: int
    kind: str
    node: str
    conf: Conf
    behaviour: Behaviour
    flock: Flock
    running: bool = False
    paused: bool = False
    hung: str = ""
    since: float = 0.0
    stopped_at: float = -math.inf
    run: int = 0
    ha: str = ""
    pool: str = ""
    sizes: dict[str, str] = field(default_factory=dict)

    @property
    def lock(self) -> str:
        """The word of the `lock:` line; "" if there is none."""
        return self.conf.values.get("lock", "")

    @property
    def locked_text(self) -> str:
        """PVE's words for a locked guest."""
        return f"{NOUN[self.kind]} is locked ({self.lock})"

    @property
    def onboot(self) -> bool:
        """Whether it is started with the node."""
        return self.conf.values.get("onboot", "0") == "1"

    @property
    def template(self) -> bool:
        """Whether it is a template, which never runs."""
        return self.conf.values.get("template", "0") == "1"

    @property
    def managed(self) -> bool:
        """Whether the HA manager decides about its state. recorded: 140-ha-no-crm/051-057."""
        return self.ha not in ("", "ignored")

    def started(self, moment: float) -> None:
        """Let it run from that moment on."""
        self.running, self.paused, self.hung = True, False, ""
        self.since = moment
        self.run += 1

    def stopped(self) -> None:
        """Let it be off; what waited for this waits still (see `volumes.switched_off`)."""
        self.running, self.paused, self.hung = False, False, ""


def missing(kind: str, vmid: int, node: str) -> str:
    """Given a guest that is not there, return PVE's words for it."""
    return f"Configuration file 'nodes/{node}/{_CONF_DIRECTORY[kind]}/{vmid}.conf' does not exist"


def lock_file(kind: str, vmid: int) -> str:
    """Given a guest, return the path of its configuration lock."""
    return _LOCK_FILE[kind].format(vmid)


def file_text(value: object) -> str:
    """Given a value of a world's description, return it as it stands in the file."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def behaviour_from(spec: Mapping[str, object]) -> Behaviour:
    """Given a JSON object, return the behaviour. Raise `TypeError` for an unknown word."""
    return Behaviour(**spec)  # type: ignore[arg-type]  # JSON: checked by the constructor's names
