"""The routes of the control socket for an apply: telling it, how it gets on, withdrawing it.

`docs/control/apply.json` is the schema of how it gets on. That is made on a thread of the server,
of snapshots: nothing here waits for the main loop or for PVE.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from felhom_agent.daemon.controlanswers import done, tell
from felhom_agent.daemon.controlview import Access
from felhom_agent.daemon.waiting import Activity
from felhom_agent.journal.operation import Operation
from felhom_agent.model import outcome_word, why_of
from felhom_agent.printable import moment_text
from felhom_agent.reconcile.applies import AppliedGuest, TooManyApplies
from felhom_agent.service.control import ControlAnswer
from felhom_agent.service.request import ControlError

MAX_GUESTS = 5000
"""How many guests one apply may name."""
MAX_ACTS = 500
"""How many acts of one guest it may name."""

_MAX_NAMED = 10
_NO_APPLY = "there is no such apply; the agent forgets them when it begins anew"
_PRINT = re.compile(r"[0-9a-f]{32}")
# PVE: pve-common JSONSchema.pm pve_verify_vmid
_VMIDS = range(100, 1_000_000_000)


def apply(access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
    """Given guests with the fingerprints of what was agreed to, carry that out; answer how it gets
    on. Raise ControlError if it cannot be taken.
    """
    acts = _acts(given["guests"])
    try:
        name = access.apply(acts, by)
    except TooManyApplies as error:
        raise ControlError(409, str(error)) from None
    are = "guest is" if len(acts) == 1 else "guests are"
    tell(f"{len(acts)} {are} applied: {_some(acts)}", by)
    return ControlAnswer(202, _progress(access, name))


def applied(access: Access, given: dict[str, Any], _by: str) -> ControlAnswer:
    """Given an apply's name, answer how it gets on. Raise ControlError if there is none."""
    return ControlAnswer(200, _progress(access, str(given["apply"])))


def withdraw(access: Access, given: dict[str, Any], by: str) -> ControlAnswer:
    """Given an apply's name, begin nothing more of it. Raise ControlError if there is none."""
    name = str(given["apply"])
    withdrawn = access.applies.end(name)
    if withdrawn is None:
        raise ControlError(404, _NO_APPLY)
    if withdrawn:
        guests = "guest" if withdrawn == 1 else "guests"
        tell(f"an apply is withdrawn from {withdrawn} {guests}", by)
    return done("What has not begun is not begun any more.", done=bool(withdrawn))


def _progress(access: Access, name: str) -> dict[str, Any]:
    """Return how an apply gets on. Raise ControlError if there is none of that name."""
    parts = access.applies.parts(name)
    if parts is None:
        raise ControlError(404, _NO_APPLY)
    activity = access.activity()
    return {
        "schema": 1,
        "apply": name,
        "open": any(part.outcome is None for part in parts),
        "guests": [_guest(part, activity) for part in parts],
    }


def _guest(part: AppliedGuest, activity: Activity) -> dict[str, Any]:
    outcome = part.outcome
    at_work = "running" if part.vmid in activity.running else "queued"
    idle = outcome is not None or part.vmid not in activity.running | activity.queued
    return {
        "vmid": part.vmid,
        "activity": "idle" if idle else at_work,
        "outcome": outcome_word(outcome) if outcome else None,
        "why": why_of(outcome),
        "steps": [_step(part.operations[op_id]) for op_id in sorted(part.operations)],
    }


def _step(operation: Operation) -> dict[str, Any]:
    return {
        "op": operation.op_id,
        "what": operation.text,
        "state": str(operation.state),
        "begun": moment_text(operation.begun),
        "ended": moment_text(operation.ended) if operation.ended else None,
        "seconds": round(operation.ended - operation.begun, 3) if operation.ended else None,
        "upid": operation.upid,
        "why": operation.why,
    }


def _acts(guests: object) -> dict[int, frozenset[str]]:
    """Return the acts of each guest that shall be applied. Raise ControlError if they are none."""
    if not isinstance(guests, dict) or not guests or len(guests) > MAX_GUESTS:
        raise ControlError(400, f"guests: must be an object of 1 to {MAX_GUESTS} guests")
    return {_vmid_of(name): _prints(prints) for name, prints in guests.items()}


def _vmid_of(name: str) -> int:
    if not name.isascii() or not name.isdecimal() or len(name) > 9 or int(name) not in _VMIDS:
        raise ControlError(400, "guests: each is named by its vmid, from 100 to 999999999")
    return int(name)


def _prints(prints: object) -> frozenset[str]:
    if not isinstance(prints, list) or len(prints) > MAX_ACTS:
        raise ControlError(400, f"guests: each has a list of at most {MAX_ACTS} fingerprints")
    if not all(isinstance(each, str) and _PRINT.fullmatch(each) for each in prints):
        raise ControlError(400, "guests: a fingerprint is 32 hexadecimal digits")
    return frozenset(prints)


def _some(vmids: Iterable[int]) -> str:
    """Return some of many guests, in words."""
    named = [str(vmid) for vmid in sorted(vmids)]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return ", ".join(named[:_MAX_NAMED]) + more
