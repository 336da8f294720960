"""An action in words, and as the declaration that it fulfils."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.model import (
    ABSENT,
    Action,
    DesiredGuest,
    RunState,
    SetConfig,
    Start,
    Stop,
)


def describe(action: Action) -> str:
    """Given an action, return it in words: "start", "shut down", "set cores: 1 -> 2"."""
    match action:
        case Start():
            return "start"
        case Stop(restart=True):
            return "shut down to restart"
        case Stop():
            return "shut down"
        case SetConfig():
            return "set " + ", ".join(str(change) for change in action.changes)


def as_desired(action: Action) -> DesiredGuest:
    """Given an action, return the declaration that it fulfils."""
    match action:
        case Start():
            return DesiredGuest(action.vmid, action.kind, RunState.RUNNING)
        case Stop():
            return DesiredGuest(action.vmid, action.kind, RunState.STOPPED)
        case SetConfig():
            values = {c.key: c.after for c in action.changes if c.after is not ABSENT}
            gone = frozenset(c.key for c in action.changes if c.after is ABSENT)
            return DesiredGuest(
                action.vmid, action.kind, config=MappingProxyType(values), unset=gone
            )
