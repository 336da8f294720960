"""Putting an agent together, and taking it apart in the right order.

The order matters in both directions: the lock before the journal, the journal before anything that
may act; and at the end first the lanes (they still write), then the journal, then the connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from felhom_agent.config import Config
from felhom_agent.desired.directory import TomlDirectoryProvider
from felhom_agent.desired.provider import DesiredProvider, EmptyProvider
from felhom_agent.journal.identities import Identities
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.operations import Operations
from felhom_agent.proxmox.node import Node
from felhom_agent.reconcile.backoff import Backoff
from felhom_agent.reconcile.engine import Engine
from felhom_agent.reconcile.queue import LaneQueue
from felhom_agent.service import lock
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a running agent is made of."""

    node: Node
    operations: Operations
    identities: Identities
    engine: Engine


def provider_for(config: Config) -> DesiredProvider:
    """Given the configuration, return where its intent comes from."""
    directory = config.desired.directory
    return TomlDirectoryProvider(directory) if directory else EmptyProvider()


@contextmanager
def assembled(
    config: Config, chance: Callable[[], float], clock: Callable[[], float] = time.time
) -> Iterator[Parts]:
    """Hold a running agent's parts for the length of a block; drain and close on the way out.

    `clock` tells the seconds since the epoch at which operations begin and end.

    Raise ConfigError, AlreadyRunning or JournalError if the agent cannot begin.
    """
    settings = config.reconcile
    node = Node.connect(config.proxmox)
    with lock.held(config.journal.directory):
        journal, records = JournalLog.open(config.journal.directory)
        operations = Operations(journal, records, clock)
        identities = Identities(journal, records)
        backoff = Backoff(settings.backoff_first, settings.backoff_cap, settings.jitter, chance)
        engine = Engine(node, operations, identities, LaneQueue(), settings, backoff)
        try:
            yield Parts(node, operations, identities, engine)
        finally:
            drained = engine.close()
            journal.close()
            node.client.close()
            _farewell(operations, drained=drained)


def _farewell(operations: Operations, *, drained: bool) -> None:
    left = operations.in_flight()
    for operation in left:
        extra = fields(vmid=operation.vmid, op=operation.op_id, upid=operation.upid)
        _log.warning("guest %d: left in flight: %s", operation.vmid, operation.text, extra=extra)
    _log.info("stopped", extra=fields(drained="yes" if drained else "no", in_flight=len(left)))
