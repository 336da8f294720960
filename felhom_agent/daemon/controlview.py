"""What the control socket tells of a running agent, as plain data.

Made on a thread of the server, of snapshots that are replaced as a whole: nothing here waits for
the main loop, and nothing is asked of the node. `docs/control/status.json` and
`docs/control/events.json` are its schemas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from felhom_agent import __version__
from felhom_agent.daemon.eyes import Eyes
from felhom_agent.daemon.passes import Pass
from felhom_agent.daemon.signing import Signing
from felhom_agent.daemon.waiting import Activity
from felhom_agent.desired.hub import HubProvider
from felhom_agent.desired.told import told
from felhom_agent.hub.report import AgentFacts
from felhom_agent.journal.operations import Operations
from felhom_agent.journal.suspensions import Suspension, Suspensions
from felhom_agent.model import (
    ActualGuest,
    Blocked,
    Converged,
    GuestPlan,
    Mode,
    Outcome,
    Problem,
    Retry,
    outcome_word,
    why_of,
)
from felhom_agent.planning.actions import describe
from felhom_agent.printable import moment_text
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.brake import HeldPlan
from felhom_agent.reconcile.holds import Holds
from felhom_agent.service.counters import Counters
from felhom_agent.service.names import Names
from felhom_agent.service.ring import EventEntry, Excerpt

SCHEMA = 1
"""Of both answers; it is another one once a member is taken away or changes its meaning."""

_OUTCOMES = ("converged", "retry", "blocked", "refused")

Approve = Callable[[str], int]
"""Given a plan's id, lets what is held under it pass; returns of how many guests that is."""


@dataclass(frozen=True)
class Access:
    """What of a running agent may be used from any thread."""

    facts: Callable[[], AgentFacts]
    latest: Callable[[], Pass]
    activity: Callable[[], Activity]
    number: Callable[[], int]
    holds: Holds
    suspensions: Suspensions
    wake: Callable[[], None]
    approve: Approve
    names: Names
    apply: Callable[[Mapping[int, frozenset[str]], str], str]
    """Given guests with the acts that were agreed to, and who agreed, carries them out; returns the
    apply's name. Raises TooManyApplies.
    """
    applies: Applies
    held: Callable[[], HeldPlan]
    next_pass: Callable[[], float]
    """Returns when the next pass begins at the latest, in seconds since the epoch."""
    signing: Signing
    eyes: Eyes
    operations: Operations
    counters: Counters
    pve: Callable[[], tuple[int, ...]]
    """Returns the node's release of PVE, as it was seen last; empty: not yet."""
    hub: HubProvider | None = None


def status_of(access: Access) -> dict[str, Any]:
    """Given a running agent, return how it gets on."""
    facts, passed, activity = access.facts(), access.latest(), access.activity()
    return {
        "schema": SCHEMA,
        "version": __version__,
        "node": facts.node,
        "started": moment_text(facts.started),
        "mode": "enforce" if facts.enforces else "observe",
        "holds": [
            {
                "name": hold.name,
                "vmid": hold.vmid,
                "why": hold.reason,
                "since": moment_text(hold.since),
                "by": hold.by,
            }
            for hold in access.holds.listed()
        ],
        "suspensions": [_suspension(each) for each in access.suspensions.all()],
        "last_pass": _pass(passed),
        "next_pass": moment_text(access.next_pass()),
        "counts": _counts(facts, activity),
        "guests": [
            _guest(vmid, facts, passed, activity)
            for vmid in sorted(passed.declared | facts.statuses.keys())
        ],
        "others": _others(facts, passed),
        "problems": [_problem(each) for each in told(passed.desired)],
        "held": _held(access.held()),
        "hub": _hub(access.hub),
        "trouble": passed.trouble,
        "hints": _hints(access.eyes),
    }


def events_of(found: Excerpt, access: Access | None) -> dict[str, Any]:
    """Given some events, and the agent that runs at present, return them with the guests' names
    as they are known now.
    """
    names = names_of(access.latest()) if access else {}
    return {
        "schema": SCHEMA,
        "run": found.run,
        "started": moment_text(found.started),
        "oldest": found.oldest,
        "newest": found.newest,
        "events": [_event(each, names) for each in found.entries],
    }


def names_of(passed: Pass) -> dict[int, str]:
    """Given a pass, return the names of all guests that it knows, declared or not."""
    planned = {vmid: plan.name for vmid, plan in passed.plans.items() if plan.name}
    here = passed.here or {}
    return planned | {vmid: guest.name for vmid, guest in here.items() if guest.name}


def _event(entry: EventEntry, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": moment_text(entry.at),
        "level": entry.level,
        "event": entry.event,
        "vmid": entry.vmid,
        "name": names.get(entry.vmid, "") if entry.vmid else "",
        "text": entry.text,
        "fields": dict(entry.fields),
    }


def _pass(passed: Pass) -> dict[str, Any] | None:
    if not passed.begun:
        return None
    return {
        "at": moment_text(passed.begun),
        "seconds": round(passed.seconds, 3),
        "ok": passed.good,
        "why": "" if passed.good else passed.trouble,
    }


def _counts(facts: AgentFacts, activity: Activity) -> dict[str, int]:
    outcomes = Counter(outcome_word(status.outcome) for status in facts.statuses.values())
    return {
        "declared": len(facts.managed),
        **{word: outcomes[word] for word in _OUTCOMES},
        "running": len(activity.running),
        "queued": len(activity.queued),
        "in_flight": facts.in_flight,
        "unknown": facts.unknown,
    }


def _guest(vmid: int, facts: AgentFacts, passed: Pass, activity: Activity) -> dict[str, Any]:
    status, plan = facts.statuses.get(vmid), passed.plans.get(vmid)
    declared, here = passed.desired.guests.get(vmid), (passed.here or {}).get(vmid)
    outcome = status.outcome if status else None
    at_work = "running" if vmid in activity.running else "queued"
    idle = vmid not in activity.running | activity.queued
    kind = plan.kind if plan and plan.kind else here.kind if here else None
    return {
        "vmid": vmid,
        "kind": str(kind) if kind else None,
        "name": plan.name if plan and plan.name else here.name if here else "",
        "state": _state(vmid, facts, passed),
        "mode": str(declared.mode if declared else Mode.ENFORCE),
        "outcome": outcome_word(outcome) if outcome else None,
        "why": why_of(outcome),
        "since": moment_text(status.since) if status else None,
        "activity": "idle" if idle else at_work,
        "next": _next(outcome, activity.due.get(vmid)) if idle else None,
        "plan": list(_words(plan)) if plan else [],
    }


def _state(vmid: int, facts: AgentFacts, passed: Pass) -> str | None:
    """Return whether a guest runs, as it was seen last."""
    status, declared = facts.statuses.get(vmid), passed.desired.guests.get(vmid)
    since_then = (
        status is not None and status.since > passed.begun and isinstance(status.outcome, Converged)
    )
    if since_then and declared and declared.state:
        # Its lane has read it back after the pass had seen it.
        return str(declared.state)
    return _seen((passed.here or {}).get(vmid))


def _seen(guest: ActualGuest | None) -> str | None:
    return str(guest.state) if guest and guest.state else None


def _next(outcome: Outcome | None, due: float | None) -> str | None:
    """Return when a guest is tried again; None if that is not a matter of time."""
    waits = isinstance(outcome, Retry | Blocked)
    return moment_text(due) if waits and due is not None else None


def _others(facts: AgentFacts, passed: Pass) -> list[dict[str, Any]] | None:
    """Return the guests of the node that are not declared; None if they are not known."""
    if passed.here is None:
        return None
    declared = passed.declared | facts.statuses.keys()
    return [
        {"vmid": vmid, "kind": str(guest.kind), "name": guest.name, "state": _seen(guest)}
        for vmid, guest in sorted(passed.here.items())
        if vmid not in declared
    ]


def _problem(found: Problem) -> dict[str, Any]:
    return {
        "file": found.place.file,
        "line": found.place.line,
        "text": found.text,
        "follows": found.follows,
    }


def _held(found: HeldPlan) -> dict[str, Any] | None:
    return {"plan": found.plan_id, "vmids": sorted(found.vmids)} if found.plan_id else None


def _hints(eyes: Eyes) -> dict[str, Any] | None:
    # Both are replaced as a whole by the main thread.
    return {"working": eyes.working, "missed": eyes.missed} if eyes.listens else None


def _hub(hub: HubProvider | None) -> dict[str, Any] | None:
    if hub is None:
        return None
    return {
        "generation": hub.kept.generation,
        "blocked": hub.kept.blocked,
        "reported": moment_text(hub.reported) if hub.reported else None,
    }


def _words(plan: GuestPlan) -> Iterator[str]:
    """Yield what a plan would do, withholds, refuses and only notes, in words."""
    yield from (describe(action) for action in plan.actions)
    found: Mapping[str, str] = {
        "withheld": plan.withheld, "refused": plan.refused, "unread": plan.unread
    }  # fmt: skip
    yield from (f"{name}: {text}" for name, text in found.items() if text)
    yield from (f"noted: {note}" for note in plan.notes)


def _suspension(found: Suspension) -> dict[str, Any]:
    return {
        "vmid": found.vmid,
        "freeze": found.freeze,
        "since": moment_text(found.since),
        "left": None if found.left is None else round(found.left, 1),
        "why": found.why,
        "by": found.by,
    }
