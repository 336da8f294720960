"""The gate: the one place where a call that changes a guest is permitted.

A lane brings a `Proposal`, what it is about to do and what that rests on, immediately before the
intent is written and again immediately before the call. The gate asks, in this order: is the
declaration still in force, does a hold stand in the way (`holds`), was it shown to the person who
told the agent to apply it (`applies`), can it be undone (`planning/gate.py`), is it too much at
once (`brake`). Only then it makes a `Permit`, which lets that one action be asked for once.

What cannot be undone waits for a signature, and the error says what would be signed. It passes only
with the `leave` of one signed operation, whose nonce is burnt by then, and only if it is one of the
acts that were signed. Then a hold is asked for, and nothing else: not the declaration, which knows
nothing of it, nor the brake, since a person looked at that one act.

Threads: the gate keeps nothing; it answers from any lane under the rules of what it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from felhom_agent.authz.acts import acts_of
from felhom_agent.authz.examiner import Authorization
from felhom_agent.errors import Changed, FelhomError, Held, Interrupted, NotShown, Unsigned
from felhom_agent.irreversible import Act
from felhom_agent.model import EMPTY, DesiredGuest, SetConfig, Source, Start, Stop, StopPolicy
from felhom_agent.planning.gate import classify
from felhom_agent.proxmox.permit import Permit
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.brake import Brake
from felhom_agent.reconcile.holds import Holds
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import GATE


@dataclass(frozen=True)
class Proposal:
    """What a lane is about to do.

    `would` is all that the guest would be done to, in words; `declared` the guest's declaration in
    force (None: there is none, as for a job), `present` its configuration as it was last read.
    `ends_restart` tells that this is the Start that ends a restart of ours. `is_in_force` tells
    whether the declaration that asks for it still is. `name` is the guest's, for the journal.
    `leave` is the signed operation that it is done for, if it is.
    """

    action: Act
    would: str
    declared: DesiredGuest | None = None
    present: Mapping[str, object] = field(default_factory=lambda: EMPTY, repr=False)
    ends_restart: bool = False
    is_in_force: Callable[[], bool] = lambda: True
    name: str = ""
    leave: Authorization | None = None


class Gate:
    """Permits what may be done now."""

    def __init__(
        self,
        holds: Holds,
        brake: Brake,
        applies: Applies | None = None,
        counters: Counters | None = None,
    ) -> None:
        self._holds = holds
        self._counters = counters or Counters()
        self._brake = brake
        self._applies = applies or Applies()

    def ask(self, proposal: Proposal) -> Permit:
        """Given what is about to be done, return the permit for it.

        Raise Changed if the declaration is not in force any more, Interrupted if the agent is
        stopping, Held if there is another hold or it is too much at once, NotShown if a person has
        told to apply something else, Unsigned if it cannot be undone.
        """
        kind = type(proposal.action).__name__
        try:
            permit = self._judge(proposal)
        except FelhomError as error:
            self._counters.add(GATE, kind, _DECISIONS.get(type(error), "held"))
            raise
        self._counters.add(GATE, kind, "permitted")
        return permit

    def _judge(self, proposal: Proposal) -> Permit:
        if proposal.leave is not None:
            return self._ask_signed(proposal, proposal.leave)
        if not proposal.is_in_force():
            raise Changed("its declaration was changed or withdrawn")
        action = proposal.action
        why = self._holds.may_change(action.vmid, ends_restart=proposal.ends_restart)
        if why and self._holds.closing:
            raise Interrupted(why)
        if why:
            observed = self._holds.only_observes(action.vmid)
            raise Held(f"{why}; would {proposal.would}", observed=observed)
        if not isinstance(action, Start | Stop | SetConfig):
            raise Unsigned(f"pending signature: {classify(action, source='')}")
        if not proposal.ends_restart and (why := self._applies.objection(action)):
            raise NotShown(f"{why}; would {proposal.would}")
        _raise_if_destructive(proposal)
        # Last, since what is asked here counts as done.
        if proposal.declared and (why := self._too_much(action, proposal.declared.source)):
            raise Held(f"{why}; would {proposal.would}")
        return Permit(action)

    def _ask_signed(self, proposal: Proposal, leave: Authorization) -> Permit:
        """As `_judge`, for what is done by a signed operation's leave."""
        action, (operation, _) = proposal.action, leave.examined.on_guest()
        if action not in acts_of(operation):
            raise Unsigned(f"pending signature: {action} is none of what was signed")
        if why := self._holds.may_do_signed(action.vmid):
            if self._holds.closing:
                raise Interrupted(why)
            raise Held(f"{why}; would {proposal.would}")
        return Permit(action)

    def _too_much(self, action: Start | Stop | SetConfig, source: Source) -> str:
        """Count what is about to be done; return why it is too much, empty if it is not."""
        return self._brake.ask(action, source, applied=self._applies.covers(action))


_DECISIONS: Final = MappingProxyType(
    {
        Changed: "withdrawn",
        Interrupted: "interrupted",
        NotShown: "not_shown",
        Unsigned: "unsigned",
    }
)


def _raise_if_destructive(proposal: Proposal) -> None:
    declared = proposal.declared
    found = classify(
        proposal.action,
        source=declared.source if declared else "",
        stop=declared.stop if declared else StopPolicy.GRACEFUL,
        present=proposal.present,
    )
    if not found.reversible:
        raise Unsigned(f"pending signature: {found}")
