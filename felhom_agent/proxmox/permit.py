"""The right to ask PVE for one action, once.

Whatever changes a guest takes a `Permit`, so that no call reaches PVE by a way around the gate:
`reconcile/gate.py` alone makes one, right before the call, and a test over the source sees to it.
A permit is for one action, that very value; with another one, on another guest's path, or a second
time it is an error of ours, which is never sent. It holds no reasons and is never kept.

Threads: made and spent on one lane. The lock is taken once and never given back, so that of two
threads with one permit only the first gets through.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from felhom_agent.irreversible import Act, DeleteSnapshot, Destroy, PullPlug, Rollback
from felhom_agent.model import SetConfig, Start, Stop

_CHANGING: Final = ("POST", "PUT")


def _call_of(action: Act) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return by which methods, and under which path of the guest, an action is asked for."""
    match action:
        case Start():
            return ("POST",), ("status", "start")
        case Stop():
            return ("POST",), ("status", "shutdown")
        case SetConfig():
            return _CHANGING, ("config",)
        case PullPlug():
            return ("POST",), ("status", "stop")
        case Rollback():
            return ("POST",), ("snapshot", action.snapshot, "rollback")
        case DeleteSnapshot():
            return ("DELETE",), ("snapshot", action.snapshot)
        case Destroy():
            return ("DELETE",), ()


class PermitError(RuntimeError):
    """A call was about to be made that nobody permitted: an error of this program."""


class Permit:
    """Lets one action be asked for, once."""

    __slots__ = ("_spent", "action")

    def __init__(self, action: Act) -> None:
        self.action = action
        self._spent = threading.Lock()

    def __repr__(self) -> str:
        return f"Permit({self.action})"

    def spend(self, method: str, path: Sequence[str | int]) -> None:
        """Given the method and the path of the call that is to be made, use the permit up. Raise
        PermitError if it was used before, or is for another call or guest.
        """
        action, (methods, call) = self.action, _call_of(self.action)
        # "nodes", the node's name, and then what is ours to say
        if method not in methods or tuple(path[2:]) != (action.kind, action.vmid, *call):
            asked = f"{method} /{'/'.join(map(str, path))}"
            raise PermitError(f"a permit for {action} is none for {asked}")
        if not self._spent.acquire(blocking=False):
            raise PermitError(f"the permit for {action} was used before")


def require(permit: Permit, action: Act) -> None:
    """Given what a caller brings, return if it is a permit for that very action. Raise PermitError
    if not.
    """
    if present(permit).action is not action:
        raise PermitError(f"a permit for {permit.action} is none for {action}")


def present(permit: Permit) -> Permit:
    """Given what a caller brings, return it. Raise PermitError if it is no permit."""
    if type(permit) is not Permit:
        raise PermitError("a guest is never changed without a permit")
    return permit
