"""What a person is shown before anything is done: plans, what they lead to, and what is in force.

`plan` prints it, `apply` prints it and asks. It is made by this process, by a look of its own at
files and node; a running agent is asked what holds and when it will act, and is not needed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from felhom_agent.cli.agentstate import AgentState, GuestNow, agent_state
from felhom_agent.cli.inforce import desired_in_force
from felhom_agent.config.settings import Config
from felhom_agent.daemon.history import HistoryReader
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.identities import known
from felhom_agent.model import (
    Action,
    Actual,
    Desired,
    DesiredGuest,
    GuestPlan,
    Mode,
    Start,
    Stop,
)
from felhom_agent.planning.actions import describe
from felhom_agent.planning.foresight import Foresight, foresee
from felhom_agent.planning.plan import plan
from felhom_agent.proxmox.node import Node


@dataclass(frozen=True)
class GuestOutlook:
    """One guest: its plan, what carrying it out leads to, and how it is declared (None: in a way
    that cannot be followed). `would` is the plan of a guest that is only observed, were it not;
    `now` is how the agent stands to it, `by_hand` whether nothing is done but by `apply`.
    """

    plan: GuestPlan
    foresight: Foresight
    declared: DesiredGuest | None = None
    would: GuestPlan | None = None
    now: GuestNow = field(default_factory=GuestNow)
    by_hand: bool = True

    @property
    def acts(self) -> tuple[Action, ...]:
        """All that would be done, with the restart that is foreseen."""
        restart: tuple[Action, ...] = ()
        declared, kind = self.declared, self.plan.kind
        if (self.foresight.restarts or self.foresight.may_restart) and declared and kind:
            restart = (
                Stop(declared.vmid, kind, declared.stop, restart=True),
                Start(declared.vmid, kind),
            )
        return (*self.plan.actions, *(act for act in restart if act not in self.plan.actions))

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.plan.actions)

    @property
    def would_change(self) -> bool:
        """Whether it would be done: by the agent, or by `apply` where that is the hand."""
        return self.changes and (self.now.acts or (self.by_hand and self.now.by_hand))

    @property
    def differs(self) -> bool:
        """Whether it differs, and nothing would be done, or something is wrong besides."""
        found = self.plan
        held = self.changes and not self.would_change
        return bool(held or found.withheld or found.refused or found.notes)


@dataclass(frozen=True)
class Outlook:
    """All that is shown: when the node was looked at (seconds since the epoch), what is desired,
    each guest, how many guests of the node are not declared, and what is in force.
    """

    node: str
    at: float
    desired: Desired
    guests: Mapping[int, GuestOutlook]
    undeclared: int
    agent: AgentState

    @property
    def failed(self) -> bool:
        """Whether a file has an error, or a guest could not be read."""
        return bool(self.desired.problems) or any(g.plan.unread for g in self.guests.values())


def look(config: Config, node: Node, vmids: Collection[int] = ()) -> Outlook:
    """Given the configuration, the node and perhaps the only guests to look at, return what a
    person is shown. Raise FelhomError if one of them is not declared, or something cannot be read.
    """
    whole = desired_in_force(config)
    desired = _only(whole, vmids)
    # Who was managed under each vmid, and what is paused, if an agent has kept a journal here.
    records = read(config.journal.directory / NAME, absent_ok=True)
    actual = node.observer.snapshot(desired.guests.keys(), desired.raw)
    history = HistoryReader(node.client).read()
    identities = known(records)
    agent = agent_state(config, records)
    plans = plan(desired, actual, identities, history)
    observed = plan(_enforced(desired), actual, identities, history)
    return Outlook(
        node=config.proxmox.node,
        at=time.time(),
        desired=desired,
        guests={
            vmid: _guest(found, desired.guests.get(vmid), observed.get(vmid), actual, agent)
            for vmid, found in plans.items()
        },
        undeclared=len(actual.guests.keys() - whole.guests.keys() - whole.held.keys()),
        agent=agent,
    )


def _guest(
    found: GuestPlan,
    declared: DesiredGuest | None,
    would: GuestPlan | None,
    actual: Actual,
    agent: AgentState,
) -> GuestOutlook:
    now = agent.of(found.vmid, [describe(action) for action in found.actions])
    if declared is None:
        return GuestOutlook(found, Foresight(withheld=found.withheld), now=now)
    guest = actual.guests.get(found.vmid)
    foresight = foresee(declared, guest, would or found, actual.facts)
    return GuestOutlook(found, foresight, declared, would, now, agent.by_hand)


def _enforced(desired: Desired) -> Desired:
    """Return the guests that are only observed, as if they were not."""
    guests = {
        vmid: dataclasses.replace(guest, mode=Mode.ENFORCE)
        for vmid, guest in desired.guests.items()
        if guest.mode is Mode.OBSERVE
    }
    return Desired(MappingProxyType(guests))


def _only(desired: Desired, vmids: Collection[int]) -> Desired:
    """Return the desired state of some guests. Raise FelhomError if one is not declared."""
    if not vmids:
        return desired
    declared = desired.guests.keys() | desired.held.keys()
    if unknown := sorted(set(vmids) - declared):
        raise FelhomError(_not_declared(unknown, desired))
    return dataclasses.replace(
        desired,
        guests=MappingProxyType({v: desired.guests[v] for v in vmids if v in desired.guests}),
        held=MappingProxyType({v: desired.held[v] for v in vmids if v in desired.held}),
    )


def _not_declared(unknown: Iterable[int], desired: Desired) -> str:
    named = ", ".join(map(str, unknown))
    if desired.problems:
        return f"not declared: {named}; a guest file has an error: {desired.problems[0]}"
    adopt = f"felhom-agent adopt {' '.join(map(str, unknown))}"
    return f"not declared in any guest file: {named}; `{adopt}` declares what the node has"
