"""An action in words, as the declaration that it fulfils, and by what it needs."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, auto
from types import MappingProxyType

from felhom_agent.irreversible import Act
from felhom_agent.model import (
    ABSENT,
    Action,
    DesiredGuest,
    RunState,
    SetConfig,
    Start,
    Stop,
)


class Need(IntEnum):
    """What a guest's place must allow; each includes the ones before."""

    CHANGE = auto()
    """To write its configuration."""
    POWER = auto()
    """To start it, or to shut it down."""
    RESTART = auto()
    """To shut it down and start it again."""


def need_of(actions: Iterable[Action]) -> Need:
    """Given actions in their order, return what they need, as far as the first restart."""
    need = Need.CHANGE
    for number, action in enumerate(actions):
        if isinstance(action, Stop) and action.restart:
            return Need.POWER if number else Need.RESTART
        if not isinstance(action, SetConfig):
            need = Need.POWER
    return need


def describe(action: Act) -> str:
    """Given an action, return it in words: "start", "shut down", "set cores: 1 -> 2"."""
    return action.words


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
