"""Putting an agent together, and taking it apart in the right order.

The order matters in both directions: the lock before the journal, the journal before anything that
may act; and at the end first the lanes (they still write), then the journal, then the connections.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from felhom_agent.config.secret import read_key
from felhom_agent.config.settings import Config, JournalConfig
from felhom_agent.daemon.eyes import Host
from felhom_agent.daemon.signedhub import SignedForHub
from felhom_agent.daemon.signing import NO_SIGNING, Signing, signing_for
from felhom_agent.desired.claims import Claims
from felhom_agent.desired.directory import Forbids, TomlDirectoryProvider
from felhom_agent.desired.hub import HubProvider
from felhom_agent.desired.lastgood import DIRECTORY, LastGood
from felhom_agent.desired.merged import MergedProvider
from felhom_agent.desired.provider import DesiredProvider, EmptyProvider
from felhom_agent.desired.settle import load_settled
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.durable.line import Record
from felhom_agent.errors import JournalClosed
from felhom_agent.hub.client import HubClient
from felhom_agent.hub.loop import HubLoop
from felhom_agent.hub.report import AgentFacts
from felhom_agent.journal import lock
from felhom_agent.journal.identities import Identities
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operation import Operation
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.suspensions import Suspensions
from felhom_agent.model import Desired, Mode
from felhom_agent.proxmox.hints import Hints
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.nodereport import Reporter
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.brake import Brake
from felhom_agent.reconcile.bulk import BulkTasks
from felhom_agent.reconcile.engine import Engine
from felhom_agent.reconcile.holds import Holds, InForce
from felhom_agent.reconcile.planner import Planner
from felhom_agent.reconcile.queue import LaneQueue
from felhom_agent.reconcile.quorum import Quorum
from felhom_agent.service.boot import since_boot
from felhom_agent.service.counters import Counters
from felhom_agent.service.events import AGENT_STOPPED, IN_FLIGHT
from felhom_agent.service.families import ACTIONS, OPERATION_SECONDS, OPERATIONS, OTHER
from felhom_agent.service.flag import Flag
from felhom_agent.service.logging import fields
from felhom_agent.service.manager import ServiceManager
from felhom_agent.service.names import Names
from felhom_agent.service.watchdog import Watchdog

_log = logging.getLogger(__name__)

OBSERVING = "nothing is changed in observe mode"


@dataclass(frozen=True)
class Parts:
    """What a running agent is made of."""

    node: Node
    operations: Operations
    identities: Identities
    suspensions: Suspensions
    planner: Planner
    holds: Holds
    brake: Brake
    quorum: Quorum
    bulk: BulkTasks
    applies: Applies
    engine: Engine
    names: Names
    signing: Signing
    hints: Host | None
    counters: Counters
    journal_opens: Callable[[], bool]
    """Tells whether a journal that was closed by a failure could be opened again by now."""


def provider_for(
    config: Config,
    hub: HubProvider | None = None,
    between: Callable[[], None] = lambda: None,
    *,
    keeps: bool = True,
    forbids: Forbids = lambda _: "",
    names: Names | None = None,
) -> DesiredProvider:
    """Given the configuration, and the hub's desired state if there is a hub, return where its
    intent comes from; `between` is called between two files that are read. Without `keeps` nothing
    is written: for who only looks, beside a running agent or not; he may also see more than the
    agent does, which `forbids` tells. `names` tell what guests are called.
    """
    wanted = config.desired
    local: DesiredProvider = EmptyProvider()
    if wanted.directory:
        last_good = LastGood(config.journal.directory / DIRECTORY, wanted.directory, keeps=keeps)
        local = TomlDirectoryProvider(
            wanted.directory,
            wanted.settle,
            between=between,
            last_good=last_good,
            forbids=forbids,
            called=(names or Names()).guest,
        )
    if hub is None:
        return local
    return MergedProvider(local, hub, Claims(config.journal.directory, keeps=keeps))


def desired_now(config: Config, forbids: Forbids = lambda _: "") -> Desired:
    """Given the configuration, and what the agent may not read that this process may, return what
    is desired once the files have been left alone.

    It writes nothing. Raise FelhomError if what was kept of the hub cannot be read.
    """
    hub = hub_provider(config, keeps=False)
    provider = provider_for(config, hub, keeps=False, forbids=forbids)
    return load_settled(provider, threading.Event().wait)


def hub_provider(config: Config, *, keeps: bool = True) -> HubProvider | None:
    """Given the configuration, return what its hub last desired; None if it has no hub.

    Without `keeps` nothing is written: for who only looks, beside a running agent or not.
    """
    if not config.hub.url:
        return None
    return HubProvider(config.journal.directory, config.hub, keeps=keeps)


def hub_loop(
    config: Config,
    reporter: Reporter,
    hub: HubProvider,
    facts: Callable[[], AgentFacts],
    wake: Callable[[], None],
    watchdog: Watchdog | None = None,
    signing: Signing = NO_SIGNING,
    counters: Counters | None = None,
) -> HubLoop:
    """Given the settings and what the loop needs, return the loop to the hub, not yet begun;
    `watchdog` hears of its calls, `signing` does the jobs that it carries, and `counters` count.

    Raise ConfigError if the key for the hub cannot be read.
    """
    client = HubClient(config.hub, read_key(config.hub), watchdog, counters=counters)
    ready = signing.ready
    signed = SignedForHub(ready, hub.speaks_for) if ready is not None else None
    return HubLoop(
        client, reporter, hub, config.hub.host_id, facts, wake, random.random, signed=signed
    )


def limits_of(config: JournalConfig) -> Limits:
    """Given the settings, return how much of the past the journal keeps."""
    return Limits(config.keep_days, int(config.max_megabytes * 1_000_000))


def open_journal(
    config: JournalConfig,
    clock: Callable[[], float],
    disk: Disk,
    watchdog: Watchdog | None = None,
    counters: Counters | None = None,
) -> tuple[JournalLog, list[Record]]:
    """Given the settings, return the open journal and its records. Raise JournalError if it
    cannot be opened.
    """
    limits = limits_of(config)
    return JournalLog.open(
        config.directory, lambda found: retain(found, clock(), limits), disk, watchdog, counters
    )


@contextmanager
def assembled(
    config: Config,
    clock: Callable[[], float] = time.time,
    disk: Disk = DISK,
    shutting_down: Flag | None = None,
    manager: ServiceManager | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    boottime: Callable[[], float] = since_boot,
    names: Names | None = None,
    goes_on: Callable[[], bool] = lambda: False,
    counters: Counters | None = None,
) -> Iterator[Parts]:
    """Hold a running agent's parts for the length of a block; drain and close on the way out.

    `clock` tells the seconds since the epoch at which operations begin and end; the journal lives
    on `disk`; once `shutting_down` is set, no look is begun any more. `manager` hears how it
    goes. `monotonic` tells how long operations have been in flight, `boottime` the seconds since
    this boot. `names` are what guests are called; `goes_on` tells, when all is taken apart, whether
    the process puts it together again, so that nothing has ended that people must hear of;
    `counters` count what happens.

    Raise ConfigError, AlreadyRunning or JournalError if the agent cannot begin.
    """
    settings = config.reconcile
    manager, names = manager or ServiceManager(), names or Names()
    counters = counters or Counters()
    node = Node.connect(config.proxmox, shutting_down, manager, counters)
    with lock.held(config.journal.directory):
        journal, records = open_journal(config.journal, clock, disk, manager.watchdog, counters)
        operations = Operations(journal, records, clock, limits_of(config.journal), monotonic)
        identities = Identities(journal, records)
        suspensions = Suspensions(journal, records, clock, boottime, names=names)
        planner, holds = Planner(identities, operations.open_restarts), Holds(clock)
        quorum, bulk = Quorum(node.client), BulkTasks(node.client, monotonic)
        brake = Brake(config.limits, monotonic, config.hub.stops_per_hour, counters)
        applies = Applies(lambda: engine.settings.mode is Mode.OBSERVE)
        signing = signing_for(config, node, journal, records, operations, suspensions, holds, disk)
        operations.heard = lambda operation: _hear(operation, applies, signing, counters)
        engine = Engine(
            node, operations, planner, LaneQueue(), holds, brake, quorum, bulk, settings, names,
            applies=applies, counters=counters,
        )  # fmt: skip
        hints = _hints_of(config)
        parts = Parts(
            node, operations, identities, suspensions, planner, holds, brake, quorum, bulk,
            applies, engine, names, signing, hints, counters,
            lambda: _reopens(journal, config, clock),
        )  # fmt: skip
        _register_holds(parts)
        try:
            yield parts
        finally:
            drained = engine.close()
            if hints is not None:
                hints.close()
            if signing.ready is not None:
                signing.ready.close()
            journal.close()
            node.client.close()
            if not goes_on():
                _farewell(operations, names, drained=drained)


def _hints_of(config: Config) -> Host | None:
    directory = config.hints.directory
    return Hints(directory, config.proxmox.node, config.hints.cgroups) if directory else None


def _hear(operation: Operation, applies: Applies, signing: Signing, counters: Counters) -> None:
    applies.heard(operation)
    signing.heard(operation)
    if not operation.in_flight:
        # Another version of the agent may have begun it.
        action = operation.action if operation.action in ACTIONS else OTHER
        counters.add(OPERATIONS, action, str(operation.state))
        counters.observe(OPERATION_SECONDS, operation.ended - operation.begun, action)


def _register_holds(parts: Parts) -> None:
    """Let everything hold that is a reason to change nothing."""
    holds, engine = parts.holds, parts.engine
    # What a person said is told first.
    _register_suspensions(holds, parts.suspensions)
    holds.register(
        "mode",
        lambda vmid: _observing(engine, parts.applies, vmid),
        by="agent.toml",
        observes=True,
        yields=True,
    )
    holds.register("quorum", lambda _: parts.quorum.reason(), by="the cluster")
    holds.register("bulk", lambda _: parts.bulk.reason(), by="the node")
    holds.register("journal", lambda _: _journal_trouble(parts.operations), absolute=True)


def _register_suspensions(holds: Holds, suspensions: Suspensions) -> None:
    """Let freezes and pauses hold; a freeze holds whatever else would be done."""

    def listed(*, freeze: bool) -> list[InForce]:
        found = (each for each in suspensions.all() if each.freeze is freeze)
        return [
            InForce("freeze" if freeze else "pause", suspensions.text(each), each.since, each.by,
                    each.vmid)
            for each in found
        ]  # fmt: skip

    holds.register(
        "freeze",
        lambda _: suspensions.frozen(),
        absolute=True,
        each=lambda: listed(freeze=True),
    )
    holds.register("pause", suspensions.reason, each=lambda: listed(freeze=False), yields=True)


def _observing(engine: Engine, applies: Applies, vmid: int) -> str:
    """Return that a guest is only observed; empty if it is not, or a person applies what is
    declared of it.
    """
    observes = engine.settings.mode is Mode.OBSERVE and not applies.is_open(vmid)
    return OBSERVING if observes else ""


def _journal_trouble(operations: Operations) -> str:
    """Return why nothing can be written down; empty if it can."""
    try:
        operations.check()
    except JournalClosed:
        return "nothing is changed while the journal cannot be written"
    return ""


def _reopens(journal: JournalLog, config: Config, clock: Callable[[], float]) -> bool:
    limits = limits_of(config.journal)
    return journal.reopens(lambda found: retain(found, clock(), limits))


def last_word(operations: Operations) -> str:
    """Given what is known of operations, return how it stands when the agent stops."""
    left = len(operations.in_flight())
    if not left:
        return "stopped; nothing is in flight"
    tasks = "task goes" if left == 1 else "tasks go"
    return f"stopped; {left} {tasks} on in PVE"


def _farewell(operations: Operations, names: Names, *, drained: bool) -> None:
    left = operations.in_flight()
    for operation in left:
        extra = fields(IN_FLIGHT, vmid=operation.vmid, op=operation.op_id, upid=operation.upid)
        text = "%s: left in flight: %s; the next start finds out how it ended"
        _log.warning(text, names.guest(operation.vmid), operation.text, extra=extra)
    extra = fields(AGENT_STOPPED, drained="yes" if drained else "no", in_flight=len(left))
    _log.info("%s", last_word(operations), extra=extra)
