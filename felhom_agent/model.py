"""The vocabulary of felhom-agent, as frozen values.

Every room speaks in these words; this module imports none of them. All values are immutable,
compare by content and can be shared between threads without a lock.

* *desired*: what the operator declared (`Desired`, `DesiredGuest`).
* *actual*: what PVE answered (`Actual`, `ActualGuest`).
* *action*: one reversible act on one guest (`Start`, `Stop`, `SetConfig`).
* *plan*: what would be done to a guest, and what is withheld and why (`GuestPlan`).
* *outcome*: how a look at a guest ended (`Converged`, `Retry`, `Blocked`, `Refused`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, Literal


class Absent(Enum):
    """The type of `ABSENT`: a key that is not there, which is not the same as any value."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent.ABSENT

TypeOfAbsent = Literal[Absent.ABSENT]

Scalar = str | int | float | bool
DeclaredValue = Scalar | tuple[Scalar, ...]
"""A value as an operator writes it in TOML; a TOML array becomes a tuple."""

EMPTY: Final[Mapping[str, object]] = MappingProxyType({})


class Kind(StrEnum):
    """What a guest is; the value is the word of PVE's API paths."""

    QEMU = "qemu"
    LXC = "lxc"

    @property
    def noun(self) -> str:
        """How PVE's own messages call a guest of this kind."""
        return "VM" if self is Kind.QEMU else "CT"


class RunState(StrEnum):
    """Whether a guest runs."""

    RUNNING = "running"
    STOPPED = "stopped"


class Mode(StrEnum):
    """What the agent may do about a guest's drift."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class StopPolicy(StrEnum):
    """What happens to a guest that does not obey a shutdown in time."""

    GRACEFUL = "graceful"
    POWER_OFF = "power-off"


class RestartPolicy(StrEnum):
    """Whether a guest may be restarted for a change that waits for it."""

    NEVER = "never"
    ALLOWED = "allowed"


class Source(StrEnum):
    """Who declared something."""

    FILE = "file"
    HUB = "hub"


@dataclass(frozen=True)
class Place:
    """Where something was declared: a file's path and a line (1-based; 0: the whole file)."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """Something wrong with what was declared, in words, and where; `follows` tells that it is no
    error of its own, and says what comes of others.
    """

    place: Place
    text: str
    follows: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class DesiredGuest:
    """What was declared about one guest; whatever is not named here is unmanaged.

    `identity` confirms which guest is meant where the vmid was given to another one. `source` is
    where it was declared, and so who speaks: a file of the host's owner, or a hub.
    """

    vmid: int
    kind: Kind | None = None
    state: RunState | None = None
    mode: Mode = Mode.ENFORCE
    # Not in `repr`: it holds passwords in clear.
    config: Mapping[str, DeclaredValue] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )
    unset: frozenset[str] = frozenset()
    stop: StopPolicy = StopPolicy.GRACEFUL
    restart: RestartPolicy = RestartPolicy.NEVER
    identity: str = ""
    source: Source = Source.FILE
    place: Place = field(default=Place(), compare=False, repr=False)


@dataclass(frozen=True)
class Desired:
    """The whole desired state in force, with the problems found while reading it.

    `remarks` are on guests whose declaration is good, and more is to be said of it. `held` are
    guests that this source declares in a way that cannot be followed, each with the reason: nothing
    is done to them, and no lesser source may speak for them. `complete` is false while a part of
    the source cannot be read, so that nobody knows which guests it declares.

    `unsettled` names the files that changed just now, whose new text is not believed yet, and
    `settles_in` is in how many seconds the source is worth reading again for them (0: none is).
    `news` is what happened since it was read before: no problem, and said once. `kept` names the
    files of which an earlier version is in force, each with the time of it (seconds since the
    epoch).
    """

    guests: Mapping[int, DesiredGuest] = field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[Problem, ...] = ()
    remarks: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    held: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    complete: bool = True
    unsettled: tuple[str, ...] = ()
    settles_in: float = 0.0
    news: tuple[Problem, ...] = field(default=(), compare=False)
    kept: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def raw(self) -> frozenset[int]:
        """The guests of which lines of LXC itself (`lxc.*`) are declared."""
        guests = self.guests.items()
        return frozenset(v for v, g in guests if any(k.startswith("lxc.") for k in g.config))


@dataclass(frozen=True)
class ActualGuest:
    """One guest as PVE answered: its place, state and configuration.

    `config` is PVE's own answer (JSON types as they came, with the changes that wait for a restart
    merged in); `digest` names the version of it. `config` is `None` where it was not read.
    `ha_disarmed` is HA's resource mode ("freeze", "ignore") where HA manages the guest and is not
    armed, else empty.
    `hung` says how a guest hangs that PVE calls running; empty where it does not. `pending` has,
    for each key that waits for a restart, what is in effect until then. `unread` says why what PVE
    answers about this guest cannot be read or made sense of; such a guest has no `config`.
    """

    vmid: int
    kind: Kind
    node: str
    state: RunState | None
    name: str = ""
    config: Mapping[str, object] | None = None
    digest: str = ""
    lock: str = ""
    template: bool = False
    ha_state: str = ""
    ha_disarmed: str = ""
    paused: bool = False
    hung: str = ""
    pending: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    unread: str = ""


@dataclass(frozen=True)
class Rights:
    """What the token may do: for each path that PVE lists, its privileges, and whether they are
    handed down to the paths below.

    A path that is not listed has what the nearest listed one above it hands down, of those that
    hand anything down. PVE lists no path on which an access rule leaves nothing, so that this tells
    too much there, and never too little.
    """

    paths: Mapping[str, Mapping[str, bool]] = field(default_factory=lambda: MappingProxyType({}))

    def on(self, path: str) -> frozenset[str]:
        """Given a path, return the privileges there."""
        if path in self.paths:
            return frozenset(self.paths[path])
        while path != "/":
            path = path.rpartition("/")[0] or "/"
            # PVE: pve-access-control AccessControl.pm roles: a rule that hands nothing down counts
            # on its own path alone, and leaves those above it in force below
            if down := frozenset(name for name, down in self.paths.get(path, {}).items() if down):
                return down
        return frozenset()


@dataclass(frozen=True)
class Facts:
    """What a comparison depends on and no guest decides: version, host, datacenter.

    `arch` is the host's, as PVE names it; `packages` has the versions of those of PVE's packages
    that are known (qemu-server). `max_workers` is how many guests the datacenter lets be started at
    once; PVE starts 4 where it says nothing. `rights` is what the token may do (`None`: not known),
    `zones` the SDN zone of each virtual network that is known, `bridges` the networks of the node
    that the token may use or see, each with whether it is virtual (`None`: PVE does not tell). A
    tag in `registered_tags` takes a right of its own, and so does any that is not in `free_tags`
    (`None`: all others are free).
    """

    version: tuple[int, ...] = ()
    cgroup: int = 2
    case_sensitive_tags: bool = False
    arch: str = "x86_64"
    packages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    max_workers: int = 4
    rights: Rights | None = None
    zones: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    bridges: Mapping[str, bool] | None = None
    registered_tags: frozenset[str] = frozenset()
    free_tags: frozenset[str] | None = None


@dataclass(frozen=True)
class Actual:
    """A snapshot of one node: its guests, and what is known of those that are not here.

    `elsewhere` has the node of each guest that lives on another one; `offline` the nodes that do
    not answer; `hidden` the guests that the token has no right to see, or of which an answer that
    makes no sense does not tell whether they are there. `timed_out` tells that the node did not
    answer a question in time, so that configurations which it would have had are not read.
    """

    node: str
    guests: Mapping[int, ActualGuest]
    elsewhere: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    offline: frozenset[str] = frozenset()
    hidden: frozenset[int] = frozenset()
    facts: Facts = Facts()
    timed_out: bool = False

    def config_of(self, vmid: int) -> Mapping[str, object]:
        """Given a vmid, return its guest's configuration; empty if it is not here, or not read."""
        guest = self.guests.get(vmid)
        return EMPTY if guest is None or guest.config is None else guest.config


@dataclass(frozen=True)
class Known:
    """Who was known under a vmid.

    `identity` is the text of the witnesses. `born` is when the latest task that made or destroyed
    a guest of that vmid had begun (PVE's clock, seconds; 0: the list had none, None: the list could
    not be read). `gone` tells that the guest was seen gone since.
    """

    identity: str = ""
    born: int | None = None
    gone: bool = False


NOBODY: Final = Known()


@dataclass(frozen=True)
class History:
    """What the node's task list says: per vmid, when the latest task that created, restored or
    destroyed its guest had begun (PVE's clock); `readable` is false where it cannot be read.
    """

    latest: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    readable: bool = False

    def born(self, vmid: int) -> int | None:
        """Return what `Known.born` would be now."""
        return self.latest.get(vmid, 0) if self.readable else None


UNREADABLE: Final = History()


@dataclass(frozen=True)
class Change:
    """One key's difference: what PVE has and what was declared, both in PVE's own wire form.

    `after` is `ABSENT` where the key shall go; `before` is `ABSENT` where it was not there. With
    `reverts` only what waits for a restart goes.
    The values of a secret key are masked in `str` and `repr`.
    """

    key: str
    before: str | TypeOfAbsent
    after: str | TypeOfAbsent
    secret: bool = False
    reverts: bool = False

    def shown(self) -> tuple[str, str]:
        """Return (before, after) as a person may see them."""
        before, after = (
            "(hidden)" if self.secret and value is not ABSENT else _shown(value)
            for value in (self.before, self.after)
        )
        return before, after

    def __str__(self) -> str:
        before, after = self.shown()
        return f"{self.key}: {before} -> {after}"

    __repr__ = __str__


def _shown(value: str | TypeOfAbsent) -> str:
    if value is ABSENT:
        return "(absent)"
    text = value if len(value) <= 60 else value[:57] + "..."
    plain = text and all(c.isprintable() and c not in " \"'" for c in text)
    return text if plain else repr(text)


@dataclass(frozen=True)
class Start:
    """Start a stopped guest."""

    vmid: int
    kind: Kind

    @property
    def words(self) -> str:
        return "start"

    def __str__(self) -> str:
        return f"Start(vmid={self.vmid})"


@dataclass(frozen=True)
class Stop:
    """Shut a running guest down; after the timeout pull the plug only if its policy says so.

    With `restart` it is the first half of one, and a Start follows.
    """

    vmid: int
    kind: Kind
    policy: StopPolicy = StopPolicy.GRACEFUL
    restart: bool = False

    @property
    def words(self) -> str:
        purpose = " to restart" if self.restart else ""
        hard = " (power-off allowed)" if self.policy is StopPolicy.POWER_OFF else ""
        return f"shut down{purpose}{hard}"

    def __str__(self) -> str:
        how = "restart, " if self.restart else ""
        return f"Stop(vmid={self.vmid}, {how}policy={self.policy})"


@dataclass(frozen=True)
class SetConfig:
    """Write changes to a guest's configuration, on top of the version that `digest` names."""

    vmid: int
    kind: Kind
    changes: tuple[Change, ...]
    digest: str = field(default="", compare=False)

    @property
    def words(self) -> str:
        return "set " + ", ".join(map(str, self.changes))

    def __str__(self) -> str:
        return f"SetConfig(vmid={self.vmid}, {'; '.join(str(c) for c in self.changes)})"


Action = Start | Stop | SetConfig


@dataclass(frozen=True)
class Converged:
    """The guest is as declared."""

    def __str__(self) -> str:
        return "as declared"


@dataclass(frozen=True)
class Retry:
    """Not yet; look again after `delay` seconds.

    0 leaves the time to the back-off, which counts a failure; a wait for something that takes its
    time names its own delay, and is no failure. `upid` names the task that failed, if one did.
    """

    delay: float
    why: str
    upid: str = field(default="", compare=False)

    def __str__(self) -> str:
        again = f"in {max(1.0, self.delay):.0f} s" if self.delay else "at the next pass"
        return f"{self.why}; again {again}{_log_of(self.upid)}"


@dataclass(frozen=True)
class Blocked:
    """A person must act first.

    `observed` tells that the guest differs and is to be observed only, so that nobody is waited
    for. `upid` names the task that failed, if one did. `then` is what will be done once the reason
    has passed; that another change would follow is no other outcome.
    """

    why: str
    observed: bool = False
    upid: str = field(default="", compare=False)
    then: str = field(default="", compare=False)

    @property
    def told(self) -> str:
        """Why it is so and what comes after, as plan, status and log say it."""
        return f"{self.why.removeprefix('it is ')}{f'; then {self.then}' if self.then else ''}"

    def __str__(self) -> str:
        word = "differs" if self.observed else "waits"
        return f"{word}: {self.told}{_log_of(self.upid)}"


@dataclass(frozen=True)
class Refused:
    """What was declared is wrong for this guest; nothing will be tried until that, or the guest's
    configuration, changes.
    """

    why: str

    def __str__(self) -> str:
        until = "its declaration or its configuration changes"
        return f"refused: {self.why}; not tried again until {until}"


def _log_of(upid: str) -> str:
    return f". Log: pvenode task log {upid}" if upid else ""


Outcome = Converged | Retry | Blocked | Refused


def why_of(outcome: Outcome | None) -> str:
    """Given an outcome, return why a guest is not as declared; empty if it is, or nobody knows."""
    if outcome is None or isinstance(outcome, Converged):
        return ""
    return outcome.told if isinstance(outcome, Blocked) else outcome.why


def outcome_word(outcome: Outcome) -> str:
    """Return the word for an outcome: "converged", "retry", "blocked" or "refused"."""
    return type(outcome).__name__.lower()


@dataclass(frozen=True)
class GuestPlan:
    """What one look at a guest came to.

    `actions` is what would be done, in order. `withheld` says why nothing is done although the
    guest may differ; `refused` says which declared values are wrong, and holds up no other value.
    `notes` are differences that are only reported (observe mode, or nothing that a configuration
    write could mend). `unread` says why the guest could not be observed this time. `observed` tells
    that the declaration lets the guest be observed only. `then` is what would be done if the reason
    for which it is withheld passed: told, and never acted on; `after` is the same in words.
    `waiting` is what is written already and in effect after the restart that is planned, in words.
    """

    vmid: int
    kind: Kind | None = None
    name: str = ""
    actions: tuple[Action, ...] = ()
    withheld: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()
    unread: str = ""
    observed: bool = False
    then: tuple[Action, ...] = field(default=(), compare=False)
    waiting: str = field(default="", compare=False)
    after: str = field(default="", compare=False)

    @property
    def drifted(self) -> bool:
        """Whether reality differs from what was declared, or cannot be brought there."""
        return bool(self.actions or self.withheld or self.refused or self.notes or self.unread)

    @property
    def begins_restart(self) -> bool:
        """Whether the first action is the Stop that begins a restart."""
        return bool(self.actions) and isinstance(self.actions[0], Stop) and self.actions[0].restart

    @property
    def outcome(self) -> Outcome:
        """What a plan without actions stands for."""
        if self.unread:
            return Retry(0.0, self.unread)
        if self.refused:
            return Refused(self.refused)
        if self.withheld:
            return Blocked(self.withheld, then=self.after)
        if self.notes:
            return Blocked("; ".join(self.notes), observed=self.observed)
        return Converged()


@dataclass(frozen=True)
class GuestStatus:
    """The latest outcome of a guest; it is of that kind since then (seconds since the epoch)."""

    outcome: Outcome
    since: float
