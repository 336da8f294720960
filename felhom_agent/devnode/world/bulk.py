"""All guests at once: what the node's tasks `startall` and `stopall` do, one guest after the other.

A guest that fails costs the task nothing. Guests are in the order of their numbers; the order of
`startup` and several at a time are not imitated. recorded: 170-bulk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from felhom_agent.devnode.world import power
from felhom_agent.devnode.world.guest import NOUN, TASK_PREFIX, Guest
from felhom_agent.devnode.world.power import Host, Order
from felhom_agent.devnode.world.refusal import Refusal
from felhom_agent.devnode.world.tasks import Task
from felhom_agent.devnode.world.worker import Steps

DEFAULT_TIMEOUT = 180.0
"""Seconds that a guest has to shut down if the call says nothing (PVE: API2/Nodes.pm stopall)."""
_POLL = 0.1


class Hosts(Host, Protocol):
    """What the workers need of the world."""

    node: str

    def all_here(self) -> Iterable[Guest]:
        """Return this node's guests."""


@dataclass(frozen=True)
class BulkOrder:
    """What a call asks for: which guests (empty: all), by whom, and how."""

    user: str
    vmids: Collection[int] = ()
    force: bool = False
    timeout: float = DEFAULT_TIMEOUT


def start_all(host: Hosts, order: BulkOrder, task: Task) -> Steps:
    """Start the guests with `onboot`, or all of them by force; yield while they start."""
    for guest in _chosen(host, order):
        if guest.running or guest.template or not (order.force or guest.onboot):
            continue
        task.log.append(f"Starting {NOUN[guest.kind]} {guest.vmid}")
        yield from _child(host, guest, "start", _order(host, guest, order))


def stop_all(host: Hosts, order: BulkOrder, task: Task) -> Steps:
    """Shut the guests down, last ones first; by force where they do not obey."""
    for guest in reversed(_chosen(host, order)):
        if not guest.running:
            continue
        name = f"{NOUN[guest.kind]} {guest.vmid}"
        task.log.append(f"Stopping {name} (timeout = {order.timeout:.0f} seconds)")
        yield from _child(host, guest, "shutdown", _order(host, guest, order))


def _chosen(host: Hosts, order: BulkOrder) -> list[Guest]:
    here = sorted(host.all_here(), key=lambda guest: guest.vmid)
    return [guest for guest in here if not order.vmids or guest.vmid in order.vmids]


def _order(host: Hosts, guest: Guest, order: BulkOrder) -> Order:
    return Order(guest.kind, guest.vmid, host.node, order.user, order.timeout, order.force)


def _child(host: Hosts, guest: Guest, verb: str, order: Order) -> Steps:
    """Do one guest by a task of its own, and wait for that."""
    try:
        power.refuse_early(host, verb, order)
    except Refusal:
        return
    kind = f"{TASK_PREFIX[guest.kind]}{verb}"
    child = host.tasks.start(
        kind, guest.vmid, order.user, lambda task: power.work(host, verb, order, task)
    )
    while child.exitstatus is None:
        yield _POLL
