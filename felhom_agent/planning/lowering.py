"""What a hub does not take away from a guest while it runs: the memory of a container.

The kernel applies a container's new limit at once, and kills what does not fit; nobody can undo
that. A VM gets less memory when it is started again, or gives it back by itself (ballooning).
"""

from __future__ import annotations

from decimal import Decimal

from felhom_agent.model import (
    ABSENT,
    EMPTY,
    Action,
    ActualGuest,
    Change,
    DesiredGuest,
    Kind,
    RunState,
    SetConfig,
    Source,
)
from felhom_agent.options import lookup


def why_not_lowered(desired: DesiredGuest, guest: ActualGuest, change: Change) -> str:
    """Given a change of a guest's configuration, return why it is withheld from a hub; empty if it
    is not.
    """
    if desired.source is not Source.HUB or guest.kind is not Kind.LXC or change.key != "memory":
        return ""
    if guest.state is RunState.STOPPED or _number(change.after) >= _in_effect(guest):
        return ""
    return "a hub does not lower the memory of a container that runs"


def only_while_stopped(desired: DesiredGuest, action: Action) -> bool:
    """Given an action planned for a declaration, return whether it may be one that is only done
    while the guest is stopped. PVE's digest does not tell: a start changes no configuration.
    """
    return (
        desired.source is Source.HUB
        and isinstance(action, SetConfig)
        and action.kind is Kind.LXC
        and any(change.key == "memory" for change in action.changes)
    )


def _in_effect(guest: ActualGuest) -> Decimal:
    present = (guest.config or EMPTY).get("memory", ABSENT)
    text = guest.pending.get("memory") if "memory" in guest.pending else present
    return _number(ABSENT if text is None else text)


def _number(text: object) -> Decimal:
    """Return a limit; where none is named, PVE's default."""
    option = lookup(Kind.LXC, "memory")
    return Decimal(str(option.default if option and text is ABSENT else text))
