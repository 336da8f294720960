"""From (desired, actual) to plans: pure, without clock, network or file.

Given what was declared of a guest and what PVE answered, a plan says what would be done, in order,
or why nothing is done. Order: a graceful stop first where the guest shall be down, then the
configuration, then the start. Nothing at all is planned where a guest is missing, elsewhere, a
template, of another kind than declared, another guest than the one first managed under its number,
locked, paused, or held by HA in a way that would make two hands pull at it. A guest that carries
the tag `felhom-pause` is left alone by its people's word; of it nothing is planned but the start
that ends a restart of ours. Where the reason passes by itself or by a person's hand (a lock, a
pause, HA) the plan tells what comes after it, which is never acted on.

What is written but waits for a restart is reported in one sentence; only where the declaration
allows it is a restart planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from felhom_agent.model import (
    ABSENT,
    EMPTY,
    NOBODY,
    UNREADABLE,
    Action,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    Desired,
    DesiredGuest,
    Facts,
    GuestPlan,
    History,
    Kind,
    Known,
    Mode,
    RestartPolicy,
    RunState,
    SetConfig,
    Start,
    Stop,
    TypeOfAbsent,
)
from felhom_agent.options import Invalid, holds_secrets, lookup, spoken
from felhom_agent.planning.actions import describe
from felhom_agent.planning.bootorder import order_after, order_in_effect
from felhom_agent.planning.compare import (
    Comparison,
    Verdict,
    blank_is_absence,
    compare,
    compare_unset,
    to_wire,
    unset_wire,
)
from felhom_agent.planning.context import Context, context_of
from felhom_agent.planning.dimms import why_not_reached
from felhom_agent.planning.effects import is_at_once
from felhom_agent.planning.foresight import afterwards
from felhom_agent.planning.identity import identity_mismatch
from felhom_agent.planning.lowering import why_not_lowered
from felhom_agent.planning.pausetag import PAUSED_BY_TAG, is_paused_by_tag
from felhom_agent.planning.privileges import lacking, power_of, required, told
from felhom_agent.planning.rawlines import present_value
from felhom_agent.planning.support import unsupported
from felhom_agent.planning.volumes import has_volume
from felhom_agent.planning.withhold import (
    as_let_go,
    passing_reason,
    reason_for_good,
    whereabouts,
)
from felhom_agent.service.origins import described

_HOW_TO_GRANT = "; felhom-agent check tells how to grant it"


def plan(
    desired: Desired,
    actual: Actual,
    identities: Mapping[int, Known] | None = None,
    history: History = UNREADABLE,
    open_restarts: frozenset[int] = frozenset(),
) -> dict[int, GuestPlan]:
    """Given what is desired, a snapshot, who is known under each vmid, what the task list says and
    whom we have shut down for a restart, return the plans.
    """
    known = identities or {}
    plans = {
        vmid: _plan_surely(
            guest, actual, known.get(vmid, NOBODY), history, ends_restart=vmid in open_restarts
        )
        for vmid, guest in desired.guests.items()
    }
    held = {vmid: _plan_held(vmid, why, actual) for vmid, why in desired.held.items()}
    return dict(sorted((held | plans).items()))


def _plan_held(vmid: int, why: str, actual: Actual) -> GuestPlan:
    """Return the plan of a guest whose declaration cannot be followed."""
    guest = actual.guests.get(vmid)
    if guest is None:
        return GuestPlan(vmid, withheld=why)
    return GuestPlan(vmid, guest.kind, guest.name, withheld=why)


def _plan_surely(
    guest: DesiredGuest, actual: Actual, known: Known, history: History, *, ends_restart: bool
) -> GuestPlan:
    """Return a guest's plan; a bug of ours costs this guest its plan and no other."""
    try:
        return plan_guest(guest, actual, known, history, ends_restart=ends_restart)
    except Exception as error:
        words = f"internal error ({described(error)}); please report it"
        return GuestPlan(guest.vmid, guest.kind, withheld=words)


def plan_guest(
    desired: DesiredGuest,
    actual: Actual,
    known: Known = NOBODY,
    history: History = UNREADABLE,
    *,
    ends_restart: bool = False,
) -> GuestPlan:
    """Given a declaration, a snapshot that holds its guest, who that was, what the task list says
    and whether we have shut it down for a restart, return its plan.
    """
    guest = actual.guests.get(desired.vmid)
    if guest is None:
        return GuestPlan(desired.vmid, desired.kind, withheld=whereabouts(desired.vmid, actual))
    if guest.config is None or guest.unread:
        why = f"it could not be read: {guest.unread or 'PVE gave no configuration'}"
        return GuestPlan(desired.vmid, guest.kind, guest.name, unread=why)
    mismatch = identity_mismatch(desired, guest, known, history)
    for_good, passing = reason_for_good(desired, guest), passing_reason(desired, guest)
    why = for_good or passing or mismatch
    if is_paused_by_tag(guest, actual.facts):
        starts = desired.state is RunState.RUNNING and guest.state is RunState.STOPPED
        if ends_restart and starts and not why and desired.mode is Mode.ENFORCE:
            start = Start(guest.vmid, guest.kind)
            return GuestPlan(guest.vmid, guest.kind, guest.name, (start,))
        why = f"{PAUSED_BY_TAG}; {why}" if why else PAUSED_BY_TAG
    if not why:
        return _plan_present(desired, guest, actual)
    let_go = as_let_go(desired, guest)
    found = GuestPlan(desired.vmid, guest.kind, guest.name, withheld=why)
    if for_good or mismatch:
        return found
    later = _plan_present(desired, let_go, actual)
    found = replace(found, then=later.actions, waiting=later.waiting)
    return replace(found, after=afterwards(desired, guest, found, actual.facts))


@dataclass(frozen=True)
class _Note:
    """A difference that is reported and not acted on; `refused` if the declaration is wrong,
    `denied` if the token lacks a privilege.
    """

    text: str
    refused: bool = False
    denied: bool = False


@dataclass(frozen=True)
class _Waiting:
    """A declared value that is written, and in effect after a restart."""

    text: str


_Finding = Change | _Note | _Waiting


def _plan_present(desired: DesiredGuest, guest: ActualGuest, actual: Actual) -> GuestPlan:
    observed = desired.mode is Mode.OBSERVE
    if observed:  # which takes no right to change anything
        actual = replace(actual, facts=replace(actual.facts, rights=None))
    findings = list(_findings(desired, guest, actual))
    changes = tuple(f for f in findings if isinstance(f, Change))
    changes += tuple(_boot_order_after(desired, guest, changes, actual))
    told_of = [f for f in findings if isinstance(f, _Note)]
    notes = tuple(f.text for f in told_of if not (f.refused or f.denied))
    refused = "; ".join(f.text for f in told_of if f.refused)
    waiting = ", ".join(f.text for f in findings if isinstance(f, _Waiting))
    no_power = told(lacking(power_of(guest.vmid), actual.facts))
    restart = bool(waiting) and _may_restart(desired, guest) and not no_power
    if waiting and not restart and (no_power or not _shuts_down(desired, guest)):
        notes = (*notes, f"needs a restart: {waiting}{_why_no_restart(desired, guest, no_power)}")
    # What is wrong with one value holds up no other; a declaration that was made for a guest of
    # another kind is not this guest's at all.
    fits = all(lookup(guest.kind, key) for key in (*desired.config, *desired.unset))
    actions = _actions(desired, guest, changes, restart=restart) if fits else ()
    denied = [f.text for f in told_of if f.denied]
    if no_power and (power := [a for a in actions if not isinstance(a, SetConfig)]):
        actions = tuple(a for a in actions if a not in power)
        denied.append(f"{', '.join(map(describe, power))}: {no_power}")
    if denied:
        notes = (*notes, *denied[:-1], denied[-1] + _HOW_TO_GRANT)
    if observed:
        would = f"observed only; would {', '.join(describe(a) for a in actions)}"
        notes, actions = ((would, *notes) if actions else notes), ()
    return GuestPlan(
        guest.vmid,
        guest.kind,
        guest.name,
        actions,
        refused=refused,
        notes=notes,
        observed=observed,
        waiting=waiting if restart and fits else "",
    )


def _may_restart(desired: DesiredGuest, guest: ActualGuest) -> bool:
    allowed = desired.restart is RestartPolicy.ALLOWED and desired.state is RunState.RUNNING
    # HA would start the guest by itself in between, or take the stop for a failure.
    return allowed and not guest.ha_state


def _shuts_down(desired: DesiredGuest, guest: ActualGuest) -> bool:
    """Return whether a guest is to be shut down, which applies what waits for a restart."""
    return desired.state is RunState.STOPPED and guest.state is RunState.RUNNING


def _why_no_restart(desired: DesiredGuest, guest: ActualGuest, denied: str) -> str:
    """Return why a restart is left to a person, and what that one can do."""
    if denied and _shuts_down(desired, guest):
        return f"; {denied}"
    if desired.restart is RestartPolicy.ALLOWED and guest.ha_state:
        return f"; HA manages it (state {guest.ha_state}), so restart it there"
    if desired.restart is RestartPolicy.ALLOWED and denied:
        return f"; {denied}"
    allow = ', or set restart = "allowed" in its file' if desired.state is RunState.RUNNING else ""
    return f"; restart it{allow}"


def _actions(
    desired: DesiredGuest, guest: ActualGuest, changes: tuple[Change, ...], *, restart: bool
) -> tuple[Action, ...]:
    actions: list[Action] = []
    running = guest.state is RunState.RUNNING
    if _shuts_down(desired, guest):
        actions.append(Stop(guest.vmid, guest.kind, desired.stop))
    if changes:
        actions.append(SetConfig(guest.vmid, guest.kind, changes, guest.digest))
    if restart and running:
        # Last, so that one restart serves all that waits.
        actions.append(Stop(guest.vmid, guest.kind, desired.stop, restart=True))
    if desired.state is RunState.RUNNING and (restart or not running):
        actions.append(Start(guest.vmid, guest.kind))
    return tuple(actions)


def _findings(desired: DesiredGuest, guest: ActualGuest, actual: Actual) -> Iterator[_Finding]:
    context, facts = context_of(desired, guest, actual), actual.facts
    if guest.hung and desired.state is not RunState.STOPPED:
        yield _Note(f"it hangs, though PVE calls it running ({guest.hung})")
    declared: dict[str, DeclaredValue | TypeOfAbsent] = {
        **desired.config,
        **dict.fromkeys(sorted(desired.unset), ABSENT),
    }
    for key, value in declared.items():
        waits = _waits(guest, key, value, context)
        here = replace(context, pending=True) if waits else context
        for finding in _finding(desired, guest, key, value, here):
            known = _unless_out_of_reach(guest, _if_known(guest, finding, facts))
            yield _unless_denied(guest, _unless_lowered(desired, guest, known), facts)


def _boot_order_after(
    desired: DesiredGuest, guest: ActualGuest, changes: tuple[Change, ...], actual: Actual
) -> Iterator[Change]:
    """Yield the boot order as declared, where PVE makes another one of what is written."""
    order = order_after(guest, changes)
    if not order or "boot" not in desired.config or any(c.key == "boot" for c in changes):
        return
    written = {c.key: c.after for c in changes if c.after is not ABSENT}
    config = {**(guest.config or EMPTY), **written, "boot": order}
    pending = {**guest.pending, "boot": order_in_effect(guest)}
    after = replace(guest, config=config, pending=pending)
    for finding in _findings(desired, after, actual):
        if isinstance(finding, Change) and finding.key == "boot":
            yield finding


def _if_known(guest: ActualGuest, finding: _Finding, facts: Facts) -> _Finding:
    """Given a finding, return it, or why this node's PVE cannot take the change yet."""
    if not isinstance(finding, Change) or finding.after is ABSENT:
        return finding
    option = lookup(guest.kind, finding.key)
    before = "" if finding.before is ABSENT else finding.before
    why = unsupported(option, finding.key, finding.after, before, facts) if option else ""
    return _Note(f"{finding.key}: {why}", refused=True) if why else finding


def _unless_lowered(desired: DesiredGuest, guest: ActualGuest, finding: _Finding) -> _Finding:
    why = why_not_lowered(desired, guest, finding) if isinstance(finding, Change) else ""
    return _Note(f"{finding}: {why}") if why else finding


def _unless_out_of_reach(guest: ActualGuest, finding: _Finding) -> _Finding:
    why = why_not_reached(guest, finding) if isinstance(finding, Change) else ""
    return _Note(f"memory: {why}") if why else finding


def _unless_denied(guest: ActualGuest, finding: _Finding, facts: Facts) -> _Finding:
    """Given a finding, return it, or what the token lacks for the change."""
    if not isinstance(finding, Change):
        return finding
    kind, key = guest.kind, finding.key
    needs = required(kind, key, finding.after, finding.before, guest.vmid, facts)
    why = told(lacking(needs, facts))
    return _Note(f"{key}: {why}", denied=True) if why else finding


def _finding(
    desired: DesiredGuest,
    guest: ActualGuest,
    key: str,
    value: DeclaredValue | TypeOfAbsent,
    context: Context,
) -> Iterator[_Finding]:
    """Given a declared value, yield what comes of it: a change, a note, or nothing."""
    comparison = _compare(guest, key, value, present_value(guest, key), context)
    match comparison.verdict:
        case Verdict.EQUAL | Verdict.INCOMPARABLE:
            return
        case Verdict.REJECT:
            yield _Note(spoken(key, comparison.why), refused=True)
        case Verdict.PENDING if _takes_effect_by_a_write(desired, guest, key):
            yield _again(guest, key, value, context)
        case Verdict.PENDING if guest.kind is Kind.LXC or guest.state is RunState.RUNNING:
            yield _Waiting(str(_pending_change(guest, key)).replace(": ", " ", 1))
        case Verdict.PENDING:
            return  # PVE applies it as it starts the VM (qemu-server QemuServer.pm vm_start)
        case Verdict.DRIFT:
            yield _change_or_note(guest, key, value, context)
        case _:
            yield _Note(f"{key}: {comparison.why}")


def _compare(
    guest: ActualGuest,
    key: str,
    value: DeclaredValue | TypeOfAbsent,
    present: object,
    context: Context,
) -> Comparison:
    if present is None:
        return Comparison(Verdict.INCOMPARABLE, "PVE did not tell it")
    if value is not ABSENT:
        return compare(guest.kind, key, value, present, context)
    comparison = compare_unset(guest.kind, key, present, context)
    if comparison.verdict is Verdict.EQUAL and context.pending:
        return Comparison(Verdict.PENDING)
    return comparison


def _waits(
    guest: ActualGuest, key: str, value: DeclaredValue | TypeOfAbsent, context: Context
) -> bool:
    """Return whether what is in effect differs from what is declared and waits for a restart."""
    if key not in guest.pending:
        return False
    in_effect = _in_effect(guest, key)
    return _compare(guest, key, value, in_effect, context).verdict is not Verdict.EQUAL


def _in_effect(guest: ActualGuest, key: str) -> object:
    value = guest.pending.get(key)
    return ABSENT if value is None else value


def _takes_effect_by_a_write(desired: DesiredGuest, guest: ActualGuest, key: str) -> bool:
    """Given a key of which a value waits, return whether PVE brings it into effect when it is
    written again.

    A VM's worker that dies of one key leaves those before it behind, without having looked what of
    them needs no restart. It looks at the next write of them, of the same values too (PVE:
    qemu-server API2/Qemu.pm update_vm_api, $modified); while the VM is off it applies all that
    waits.
    """
    if guest.kind is Kind.LXC:
        return False
    off = guest.state is RunState.STOPPED and desired.state is not RunState.RUNNING
    return off or is_at_once(guest.kind, key)


def _again(
    guest: ActualGuest, key: str, value: DeclaredValue | TypeOfAbsent, context: Context
) -> Change | _Note:
    """Given a declared value that is written and not in effect, return that it is written again, as
    it waits: any other text PVE would take for another volume (update_vm_api,
    vmconfig_register_unused_drive). What would not be written over the value that is in effect is
    not written again either.
    """
    now = _compare(guest, key, value, _in_effect(guest, key), replace(context, pending=False))
    if now.verdict is not Verdict.DRIFT:
        return _Note(f"{key}: {now.why}")
    found = _change_or_note(guest, key, value, context)
    if not isinstance(found, Change):
        return found
    waits = _pending_change(guest, key)
    after = found.after if found.after is ABSENT else waits.after
    return replace(found, before=waits.before, after=after)


def _change_or_note(
    guest: ActualGuest, key: str, value: DeclaredValue | TypeOfAbsent, context: Context
) -> Change | _Note:
    if why := _protected(guest, key):
        return _Note(f"{key}: {why}")
    present = present_value(guest, key)
    try:
        if value is ABSENT:
            after = unset_wire(guest.kind, key, present)
        else:
            after = to_wire(guest.kind, key, value, present, context)
    except Invalid as error:
        return _Note(f"{key}: {str(error).strip()}")
    # A blank text is stored as one blank (recorded: 10-qemu-roundtrip/046), which is not always
    # what absence means.
    gone = not after.strip() and (
        value is ABSENT or blank_is_absence(guest.kind, key, after, context)
    )
    change = _as_change(guest, key, present, ABSENT if gone else after)
    return replace(change, reverts=gone and _only_waits(guest, key))


def _only_waits(guest: ActualGuest, key: str) -> bool:
    """Return whether a value that shall go is one that waits for a restart, and PVE would not drop
    it: a container's deletion leaves it (recorded: calls-9.2/206-digest-pending/025-026). What is
    in effect besides is then for the next plan.
    """
    return guest.kind is Kind.LXC and key in guest.pending and key in (guest.config or EMPTY)


def _pending_change(guest: ActualGuest, key: str) -> Change:
    present = present_value(guest, key)
    after = ABSENT if present is ABSENT else str(present)
    return _as_change(guest, key, _in_effect(guest, key), after)


def _as_change(guest: ActualGuest, key: str, before: object, after: str | TypeOfAbsent) -> Change:
    option = lookup(guest.kind, key)
    secret = option is not None and holds_secrets(option)
    return Change(key, ABSENT if before is ABSENT else str(before), after, secret)


def _protected(guest: ActualGuest, key: str) -> str:
    """Return why a protected guest's volume must stay as it is; empty if it need not."""
    option = lookup(guest.kind, key)
    if option is None or not has_volume(option) or not (guest.config or EMPTY).get("protection"):
        return ""
    return "the guest is protected; its volumes are left as they are"
