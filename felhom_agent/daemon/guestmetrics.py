"""The samples of guests: who they are, how they are, and how far they are from what is declared.

Of declared guests alone. What the latest pass saw of a guest is overtaken where its lane has found
it as declared since.

Threads: any thread may ask; it reads immutable snapshots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from felhom_agent.daemon.passes import Pass
from felhom_agent.hub.report import AgentFacts
from felhom_agent.model import (
    ActualGuest,
    Blocked,
    Converged,
    DesiredGuest,
    GuestPlan,
    GuestStatus,
    RunState,
    SetConfig,
    outcome_word,
)
from felhom_agent.redaction import safe_text
from felhom_agent.service.counters import Labels
from felhom_agent.service.families import (
    GUEST_CHANGED,
    GUEST_DRIFT,
    GUEST_INFO,
    GUEST_OUTCOME,
    GUEST_RESTART,
    GUEST_SINCE,
    GUESTS,
    UNDECLARED,
    Family,
)

OUTCOMES: Final = ("converged", "retry", "blocked", "refused", "observed")
"""Every outcome; `observed` is a guest that differs and waits for nobody."""
NONE: Final = "none"
_MAX_NAME: Final = 255

_Samples = Iterator[tuple[Family, Labels, float]]


def of_guests(facts: AgentFacts, passed: Pass, changed: Mapping[int, float]) -> _Samples:
    """Given how the agent gets on, its latest pass, and when it last changed which guest, yield the
    samples of its guests.
    """
    declared = passed.declared | facts.statuses.keys()
    for vmid in sorted(declared):
        yield from _of_guest(vmid, facts.statuses.get(vmid), passed)
        if vmid in changed:
            yield GUEST_CHANGED, (str(vmid),), changed[vmid]
    words = [_word(facts.statuses.get(vmid)) for vmid in declared]
    counts = Counter(words)
    for word in (*OUTCOMES, NONE):
        yield GUESTS, (word,), counts[word]
    if passed.here is not None:
        yield UNDECLARED, (), len(passed.here.keys() - declared)


def _of_guest(vmid: int, status: GuestStatus | None, passed: Pass) -> _Samples:
    label, plan, here = str(vmid), passed.plans.get(vmid), (passed.here or {}).get(vmid)
    name = plan.name if plan and plan.name else here.name if here else ""
    kind = plan.kind if plan and plan.kind else here.kind if here else ""
    yield GUEST_INFO, (label, safe_text(name, _MAX_NAME), str(kind)), 1
    if status is not None:
        for word in OUTCOMES:
            yield GUEST_OUTCOME, (label, word), word == _word(status)
        yield GUEST_SINCE, (label,), status.since
    settled = _is_settled(status, passed)
    if plan is not None and (settled or not plan.observed):
        yield GUEST_DRIFT, (label,), 0 if settled else len(_keys(plan))
    wanted = passed.desired.guests.get(vmid)
    if wanted is not None and here is not None and here.config is not None:
        yield GUEST_RESTART, (label,), not settled and _waits_for_restart(wanted, here)


def _word(status: GuestStatus | None) -> str:
    if status is None:
        return NONE
    outcome = status.outcome
    observed = isinstance(outcome, Blocked) and outcome.observed
    return "observed" if observed else outcome_word(outcome)


def _is_settled(status: GuestStatus | None, passed: Pass) -> bool:
    """Return whether a lane has found a guest as declared since the pass had looked."""
    found = status is not None and isinstance(status.outcome, Converged)
    return found and status is not None and status.since > passed.begun


def _keys(plan: GuestPlan) -> set[str]:
    """Return the options that would be set, now or once what withholds it has passed."""
    acts = [act for act in (*plan.actions, *plan.then) if isinstance(act, SetConfig)]
    return {change.key for act in acts for change in act.changes}


def _waits_for_restart(wanted: DesiredGuest, here: ActualGuest) -> bool:
    declared = wanted.config.keys() | wanted.unset
    return here.state is RunState.RUNNING and not declared.isdisjoint(here.pending)
