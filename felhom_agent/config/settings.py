"""The settings: how this agent reaches its node, and how it goes about its work.

Frozen dataclasses whose fields carry their own documentation; the reference manual is made from it.
`agentfile` reads them. No secret is ever part of them: each is read from a file of its own when a
client is made (`secret`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from felhom_agent.config.huboptions import DEFAULTS, Grant
from felhom_agent.config.notifywords import DEFAULT_EVENTS, Preset
from felhom_agent.config.place import DEFAULT_PATH
from felhom_agent.model import Mode


def _between(low: float, high: float, default: Any) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class ProxmoxConfig:
    """The node's API and how to trust it."""

    endpoint: str = "https://localhost:8006"
    """URL of the PVE API: https, a host and a port."""
    node: str = ""
    """Name of the node whose guests are managed. Default: this host's own short name."""
    token_id: str = ""
    """API token's id, as `pveum` shows it: `user@realm!name`. Required."""
    token_file: Path = Path("/etc/felhom-agent/token")
    """File that holds the API token's secret and nothing else; must not be readable by others.
    Unless it is set here, the service's credential `token` goes before it."""
    ca_file: Path = Path("/etc/pve/pve-root-ca.pem")
    """CA that signed the API's certificate. Unless it is set here, the service's credential
    `pve-root-ca.pem` goes before it."""
    fingerprint: str = ""
    """SHA-256 fingerprint of the API's certificate (`AA:BB:...`), trusted instead of a CA. After
    the certificate was renewed `felhom-agent trust` shows the new one, and writes it here."""
    insecure: bool = False
    """Trust any certificate. Whoever can answer in the node's place then gets the token."""
    connect_timeout: float = _between(0.1, 300, 10.0)
    """Seconds that connecting may take, the TLS handshake included."""
    read_timeout: float = _between(0.1, 600, 30.0)
    """Seconds that the whole answer to a question may take, to its last byte."""
    write_timeout: float = _between(0.1, 600, 60.0)
    """Seconds that the whole answer to a change may take; PVE itself may wait 10 s for a guest's
    lock."""


@dataclass(frozen=True)
class DesiredConfig:
    """Where intent comes from."""

    directory: Path | None = None
    """Directory of guest files (`*.toml`). Without it nothing is desired and nothing is done."""
    settle: float = _between(0, 60, 2.0)
    """Seconds for which a changed file must be left alone before it is believed, so that none is
    obeyed that is half written."""


@dataclass(frozen=True)
class ReconcileConfig:
    """The pace, and the limits."""

    interval: float = _between(1, 86400, 60.0)
    """Seconds from one look at the whole node to the next."""
    jitter: float = _between(0, 1, 0.1)
    """Share of every interval and back-off that is drawn by chance, so that hosts spread out."""
    parallel: int = _between(0, 64, 0)
    """How many guests may be started or stopped at the same time. Default (0): as many as the
    datacenter's `max_workers` allows, and 4 where it says nothing."""
    mode: Mode = Mode.ENFORCE
    """What the agent may do about drift on this host: `enforce`, or `observe`, which plans and
    reports and changes nothing. A guest's own `mode` can only take away from it."""
    start_timeout: float = _between(1, 86400, 300.0)
    """Seconds a guest's start may take before the agent stops waiting for it."""
    stop_timeout: float = _between(1, 86400, 180.0)
    """Seconds a guest has to shut down after it was asked to."""
    config_timeout: float = _between(1, 86400, 120.0)
    """Seconds a configuration change may take before the agent stops waiting for it."""
    backoff_first: float = _between(0.01, 3600, 5.0)
    """Seconds until a guest that could not be brought in line is looked at again."""
    backoff_cap: float = _between(0.01, 86400, 600.0)
    """Longest time between two such looks; the wait doubles until it gets there."""
    drain_timeout: float = _between(0, 3600, 20.0)
    """Seconds that a stopping agent waits for what it has begun; the journal keeps the rest."""


@dataclass(frozen=True)
class LimitsConfig:
    """How much may be done within an hour before a person has to look."""

    changed: int = _between(1, 100000, 10)
    """How many guests may be changed for one source of intent in any case. Beyond it and beyond
    `changed_percent`, what a hub asks for is held, and the files on this host are warned of."""
    changed_percent: float = _between(0, 100, 30.0)
    """Share of the guests that a source declares of which may be changed for it; of a hub's, those
    that are there."""
    stopped: int = _between(0, 100000, 5)
    """How many guests may be shut down for one source; what is beyond is held."""
    restarted: int = _between(0, 100000, 3)
    """How many guests may be restarted for one source; what is beyond is held."""


@dataclass(frozen=True)
class JournalConfig:
    """The agent's memory."""

    directory: Path = Path("/var/lib/felhom-agent/journal")
    """Directory of the journal; only the agent may write there."""
    keep_days: float = _between(1, 36500, 90.0)
    """Days for which finished operations are remembered."""
    max_megabytes: float = _between(0.1, 200, 8.0)
    """Size, in millions of bytes, from which the journal is made smaller before its days are over.
    Operations in flight and one-shot jobs are kept whatever it says."""


@dataclass(frozen=True)
class HubConfig:
    """The provider's hub, if there is one. The agent calls it, never the other way round."""

    url: str = ""
    """URL of the hub: https, except towards this host. Without it there is no hub."""
    host_id: str = ""
    """Name of this host at the hub. Default: the node's name."""
    key_file: Path = Path("/etc/felhom-agent/hub-key")
    """File that holds this host's key for the hub and nothing else. Unless it is set here, the
    service's credential `hub-key` goes before it."""
    ca_file: Path | None = None
    """CA that signed the hub's certificate. Default: those that this host trusts."""
    connect_timeout: float = _between(0.1, 300, 10.0)
    """Seconds to wait for a connection."""
    read_timeout: float = _between(0.1, 600, 30.0)
    """Seconds to wait for each piece of an answer; a whole call may take twice this, and the time
    for its connection, however slowly it drips."""
    guests: tuple[range, ...] = ()
    """Guests that the hub may speak for, and whose configuration it sees: vmids and ranges, like
    `[101, "200-299"]`. Files on this host go before it. Default: none."""
    max_guests: int = _between(1, 5000, 500)
    """How many guests the hub may declare; a generation with more is refused."""
    options: tuple[Grant, ...] = DEFAULTS
    """What the hub may declare of them, as a table `[hub.options]`: the name of an option (`net`
    for all cards, `net0` for one) is `true`, `false` or, for a number, a range like
    `"512..16384"`. What the table does not name stays as it is by default; every other option is
    `false`. `state` is `state = "running"` alone, `unset` is the list of options that shall be
    absent, each of which must be allowed, too. Never allowed: what can lose data or reaches the
    host (docs/hub.md)."""
    may_stop: bool = False
    """Whether the hub may declare `state = "stopped"`: a graceful shutdown, never a pulled plug."""
    stops_per_hour: int = _between(0, 1000, 5)
    """How many guests the hub may stop within any hour; a stop and a start in two generations is a
    restart, and counts as one."""

    def names(self, vmid: int) -> bool:
        """Return whether the owner named a guest for the hub."""
        return any(vmid in some for some in self.guests)


@dataclass(frozen=True)
class ControlConfig:
    """Where people and programs on this host speak to the running agent."""

    socket: Path | None = field(
        default=Path("/run/felhom-agent/control.sock"), metadata={"may_be_empty": True}
    )
    """Path of the control socket, for root and members of the group `felhom-admin`; `""`: none."""


SIGNED_ACTS: Final = (
    "guest_destroy",
    "snapshot_rollback",
    "snapshot_delete",
    "force_stop",
    "disk_detach",
    "key_rotation",
    "thaw",
)
"""The classes of signed acts that may need more than one signer."""
MAX_SIGNATURES: Final = 8


class ClockTrust(StrEnum):
    """When this host's clock counts, where a signer chose a time."""

    SYNCHRONISED = "synchronised"
    TRUST = "trust"


class KeyRole(StrEnum):
    """What a signer's key is for."""

    OPERATIONAL = "operational"
    RECOVERY = "recovery"


@dataclass(frozen=True)
class Threshold:
    """How many signers a class of signed acts needs."""

    act: str
    keys: int


@dataclass(frozen=True)
class AuthzConfig:
    """Who may sign what cannot be undone, and where signed jobs come in
    (docs/signed-operations.md).
    """

    signers: Path = Path("/etc/felhom-agent/signers")
    """Directory of the lists of signers and of revoked keys; it must be root's alone. Without it
    nothing that cannot be undone is done."""
    clock: ClockTrust = ClockTrust.SYNCHRONISED
    """When a signature counts whose time the signer chose: `synchronised`, while this host's clock
    is known to be, or `trust`, always. One of a request of this host's own needs no clock."""
    spool: Path | None = field(
        default=Path("/var/spool/felhom-agent"), metadata={"may_be_empty": True}
    )
    """Directory of root's from which signed jobs are taken, besides the control socket; `""`:
    none."""
    threshold: tuple[Threshold, ...] = ()
    """How many different keys must sign, class by class, as a table `[authz.threshold]` with 1 to 8
    for each of: `guest_destroy`, `snapshot_rollback`, `snapshot_delete`, `force_stop`,
    `disk_detach`, `key_rotation`, `thaw`. Default: 1. One recovery key is always enough to take a
    key back."""
    separate_requester: bool = False
    """Whether who asks for an act must be another person than those who approve it: the request
    names the key of who asks, who signs it, too, and is not counted (`sign --as-requester`)."""
    touch_required: tuple[KeyRole, ...] = ()
    """Roles whose keys count only as security keys that were touched for the signature, of
    `operational` and `recovery`. A security key that was not touched never counts."""
    kept: Path | None = None
    """Directory of the agent's own where it keeps the sets of signers that came by signature, and
    the keys that were taken back. Default: `signers` beside the journal's directory."""

    def kept_beside(self, journal: Path) -> Path:
        """Given the journal's directory, return where sets of signers are kept."""
        return self.kept or journal.parent / "signers"

    def keys_for(self, act: str) -> int:
        """Given a class of signed acts, return how many different keys must sign it."""
        return next((each.keys for each in self.threshold if each.act == act), 1)


@dataclass(frozen=True)
class HintsConfig:
    """What this host tells of its guests, so that nothing is asked while nothing happens."""

    directory: Path | None = field(
        default=Path("/run/felhom-agent-hints"), metadata={"may_be_empty": True}
    )
    """Where felhom-agent-hints.service writes what pmxcfs tells; `""`: nothing is listened to, and
    each pass reads every guest."""
    cgroups: Path = Path("/sys/fs/cgroup")
    """Where the control groups are mounted, which tell of each guest that starts or stops."""
    settle: float = _between(0, 3600, 30.0)
    """Seconds for which a guest is left alone that somebody else has started or stopped, while the
    host is listened to."""


@dataclass(frozen=True)
class NotifyConfig:
    """Whom the agent tells of events at once. Without `url` and `command` that is nobody."""

    url: str = ""
    """URL of a receiver, to which each message is posted as it stands here: https, except towards
    this host. Without it there is none."""
    preset: Preset = Preset.JSON
    """In which form: `json`, `gotify` (URL of its `/message`), `ntfy` (URL of a topic) or `pve`,
    with the names that a webhook target of PVE has (docs/notifications.md)."""
    token_file: Path | None = field(default=None, metadata={"may_be_empty": True})
    """File that holds the receiver's token and nothing else. Default:
    `/etc/felhom-agent/notify-token`, which the service gets as its credential `notify-token`; where
    that file is not there no token is sent."""
    ca_file: Path | None = None
    """CA that signed the receiver's certificate. Default: those that this host trusts."""
    timeout: float = _between(0.3, 60, 15.0)
    """Seconds that one call may take, to its last byte."""
    events: tuple[str, ...] = DEFAULT_EVENTS
    """Names of the events that are told, of those in felhom-agent(1). Default: those at which a
    person must act."""
    per_hour: int = _between(1, 1000, 20)
    """How many messages may be sent within any hour; what is beyond follows as one message."""
    command: bool = False
    """Whether each message is handed to felhom-agent-notify.service, too, which starts the commands
    in /etc/felhom-agent/notify.d with it."""
    spool: Path = Path("/run/felhom-agent-notify")
    """Directory in which messages wait for that service."""

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return bool(self.url) or self.command


@dataclass(frozen=True)
class MetricsConfig:
    """Metrics for Prometheus (docs/metrics.md). They need python3-prometheus-client."""

    textfile: Path | None = field(default=None, metadata={"may_be_empty": True})
    """Path of a file for node_exporter's textfile collector, like
    `/var/lib/prometheus/node-exporter/felhom-agent.prom`; it must end in `.prom`. It is written
    anew after each pass, and once a minute at least; the agent's user must be allowed to.
    Default: none."""


@dataclass(frozen=True)
class Config:
    """All of `agent.toml`."""

    proxmox: ProxmoxConfig
    desired: DesiredConfig = DesiredConfig()
    reconcile: ReconcileConfig = ReconcileConfig()
    limits: LimitsConfig = LimitsConfig()
    journal: JournalConfig = JournalConfig()
    hub: HubConfig = HubConfig()
    control: ControlConfig = ControlConfig()
    authz: AuthzConfig = AuthzConfig()
    hints: HintsConfig = HintsConfig()
    notify: NotifyConfig = NotifyConfig()
    metrics: MetricsConfig = MetricsConfig()
    path: Path = DEFAULT_PATH


SECTIONS: dict[str, type] = {
    "proxmox": ProxmoxConfig,
    "desired": DesiredConfig,
    "reconcile": ReconcileConfig,
    "limits": LimitsConfig,
    "journal": JournalConfig,
    "hub": HubConfig,
    "control": ControlConfig,
    "authz": AuthzConfig,
    "hints": HintsConfig,
    "notify": NotifyConfig,
    "metrics": MetricsConfig,
}
