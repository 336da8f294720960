"""From (desired, actual) to plans: pure, without clock, network or file.

Given what was declared of a guest and what PVE answered, a plan says what would be done, in order,
or why nothing is done. Order: a graceful stop first where the guest shall be down, then the
configuration, then the start. Nothing at all is planned where a guest is missing, elsewhere, a
template, of another kind than declared, locked, paused, or held by HA in a way that would make
two hands pull at it.
"""

from __future__ import annotations

from collections.abc import Iterator

from felhom_agent.model import (
    ABSENT,
    EMPTY,
    Action,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    Desired,
    DesiredGuest,
    GuestPlan,
    Mode,
    RunState,
    SetConfig,
    Start,
    Stop,
    TypeOfAbsent,
)
from felhom_agent.options import Invalid, lookup
from felhom_agent.reconcile.normalize import (
    Comparison,
    Context,
    Verdict,
    compare,
    compare_unset,
    to_wire,
)


def plan(desired: Desired, actual: Actual) -> dict[int, GuestPlan]:
    """Given what is desired and a snapshot of the node, return each declared guest's plan."""
    return {vmid: plan_guest(guest, actual) for vmid, guest in sorted(desired.guests.items())}


def plan_guest(desired: DesiredGuest, actual: Actual) -> GuestPlan:
    """Given one guest's declaration and a snapshot that holds it, return its plan."""
    guest = actual.guests.get(desired.vmid)
    if guest is None:
        return GuestPlan(desired.vmid, desired.kind, withheld=_whereabouts(desired.vmid, actual))
    if why := _reason_to_withhold(desired, guest):
        return GuestPlan(desired.vmid, guest.kind, guest.name, withheld=why)
    return _plan_present(desired, guest)


def _plan_present(desired: DesiredGuest, guest: ActualGuest) -> GuestPlan:
    findings = list(_findings(desired, guest))
    changes = tuple(f for f in findings if isinstance(f, Change))
    notes = tuple(f.text for f in findings if isinstance(f, _Note) and not f.refused)
    refused = "; ".join(f.text for f in findings if isinstance(f, _Note) and f.refused)
    actions = () if refused else _actions(desired, guest, changes)
    if desired.mode is Mode.OBSERVE:
        would = f"observed only; would {', '.join(describe(a) for a in actions)}"
        notes, actions = ((would, *notes) if actions else notes), ()
    return GuestPlan(guest.vmid, guest.kind, guest.name, actions, refused=refused, notes=notes)


def _actions(
    desired: DesiredGuest, guest: ActualGuest, changes: tuple[Change, ...]
) -> tuple[Action, ...]:
    actions: list[Action] = []
    if desired.state is RunState.STOPPED and guest.state is RunState.RUNNING:
        actions.append(Stop(guest.vmid, guest.kind, desired.stop))
    if changes:
        actions.append(SetConfig(guest.vmid, guest.kind, changes, guest.digest))
    if desired.state is RunState.RUNNING and guest.state is RunState.STOPPED:
        actions.append(Start(guest.vmid, guest.kind))
    return tuple(actions)


def describe(action: Action) -> str:
    """Given an action, return it in words: "start", "shut down", "set cores: 1 -> 2"."""
    match action:
        case Start():
            return "start"
        case Stop():
            return "shut down"
        case SetConfig():
            return "set " + ", ".join(str(change) for change in action.changes)


def _whereabouts(vmid: int, actual: Actual) -> str:
    if other := actual.elsewhere.get(vmid):
        return f"it is on node {other}, not on {actual.node}"
    return f"no such guest is known, or the token may not see it (it needs VM.Audit on /vms/{vmid})"


def _reason_to_withhold(desired: DesiredGuest, guest: ActualGuest) -> str:
    """Return why nothing may be done to a guest that is here; empty if something may."""
    if guest.config is None:
        return "its configuration could not be read"
    if guest.state is None:
        return "PVE does not know its state"
    if desired.kind and desired.kind is not guest.kind:
        return f"declared as {desired.kind}, but vmid {guest.vmid} is {guest.kind}"
    if guest.template:
        return "it is a template"
    if guest.lock:
        return f"it is locked ({guest.lock})"
    if guest.paused:
        return "it is paused; resume or stop it by hand"
    if guest.ha_state and desired.state not in (None, guest.state):
        return f"HA manages it (state {guest.ha_state}); set its state there, or undeclare it here"
    return ""


class _Note:
    """A difference that is reported and not acted on; `refused` if the declaration is wrong."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        self.text = text
        self.refused = refused


def _findings(desired: DesiredGuest, guest: ActualGuest) -> Iterator[Change | _Note]:
    context = _context(guest)
    for key, value in desired.config.items():
        present = _present(guest, key)
        verdict = compare(guest.kind, key, value, present, context)
        yield from _finding(guest, key, value, verdict, context)
    for key in sorted(desired.unset):
        verdict = compare_unset(guest.kind, key, _present(guest, key), context)
        yield from _finding(guest, key, ABSENT, verdict, context)


def _finding(
    guest: ActualGuest,
    key: str,
    value: DeclaredValue | TypeOfAbsent,
    comparison: Comparison,
    context: Context,
) -> Iterator[Change | _Note]:
    """Given a comparison, yield what comes of it: a change, a note, or nothing."""
    match comparison.verdict:
        case Verdict.EQUAL | Verdict.INCOMPARABLE:
            return
        case Verdict.REJECT:
            yield _Note(f"{key}: {comparison.why}", refused=True)
        case Verdict.DRIFT:
            try:
                yield _change(guest, key, value, context)
            except Invalid as error:
                yield _Note(f"{key}: {error}")
        case _:
            yield _Note(f"{key}: {comparison.why}")


def _change(
    guest: ActualGuest, key: str, value: DeclaredValue | TypeOfAbsent, context: Context
) -> Change:
    present = _present(guest, key)
    option = lookup(guest.kind, key)
    secret = option is not None and option.secret
    before = ABSENT if present is ABSENT else str(present)
    after = ABSENT if value is ABSENT else to_wire(guest.kind, key, value, present, context)
    return Change(key, before, after, secret)


def _present(guest: ActualGuest, key: str) -> object:
    return (guest.config or EMPTY).get(key, ABSENT)


def _context(guest: ActualGuest) -> Context:
    return Context(vmid=guest.vmid, config=guest.config or EMPTY)
