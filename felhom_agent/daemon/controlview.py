"""What the control socket tells of a running agent, as plain data.

Made on a thread of the server, of snapshots that are replaced as a whole: nothing here waits for
the main loop, and nothing is asked of the node. `docs/control/status.json` is its schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from felhom_agent import __version__
from felhom_agent.daemon.passes import Pass
from felhom_agent.daemon.waiting import Activity
from felhom_agent.desired.hub import HubProvider
from felhom_agent.hub.report import AgentFacts
from felhom_agent.journal.suspensions import Suspension, Suspensions
from felhom_agent.model import Converged, GuestPlan, GuestStatus, outcome_word
from felhom_agent.planning.actions import describe
from felhom_agent.printable import moment_text
from felhom_agent.reconcile.holds import Holds
from felhom_agent.service.names import Names

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
    hub: HubProvider | None = None


def status_of(access: Access) -> dict[str, Any]:
    """Given a running agent, return how it gets on."""
    facts, passed, activity = access.facts(), access.latest(), access.activity()
    return {
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
        "counts": _counts(facts, activity),
        "guests": [
            _guest(vmid, facts.statuses.get(vmid), passed.plans.get(vmid), activity)
            for vmid in sorted(passed.declared | facts.statuses.keys())
        ],
    }


def _pass(passed: Pass) -> dict[str, Any] | None:
    if not passed.begun:
        return None
    return {
        "at": moment_text(passed.begun),
        "seconds": round(passed.seconds, 3),
        "ok": passed.good,
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


def _guest(
    vmid: int, status: GuestStatus | None, plan: GuestPlan | None, activity: Activity
) -> dict[str, Any]:
    outcome = status.outcome if status else None
    at_work = "running" if vmid in activity.running else "queued"
    return {
        "vmid": vmid,
        "kind": str(plan.kind) if plan and plan.kind else None,
        "name": plan.name if plan else "",
        "outcome": outcome_word(status.outcome) if status else None,
        "why": "" if outcome is None or isinstance(outcome, Converged) else outcome.why,
        "since": moment_text(status.since) if status else None,
        "activity": at_work if vmid in activity.running | activity.queued else "idle",
        "plan": list(_words(plan)) if plan else [],
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
