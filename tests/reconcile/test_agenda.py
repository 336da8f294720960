"""When a guest that differs gets a turn."""

from __future__ import annotations

import math

from felhom_agent.model import Blocked, Converged, Outcome, Refused, Retry
from felhom_agent.reconcile.agenda import Agenda

PLAN, OTHER_PLAN = "cores 1 -> 2", "cores 1 -> 4"


def after(outcome: Outcome) -> Agenda:
    """Return the agenda after a turn about PLAN that ended at time 1000."""
    agenda = Agenda(longest=600.0)
    agenda.begins(101, PLAN)
    agenda.ended(101, outcome, now=1000.0)
    return agenda


def test_a_guest_without_a_past_is_due() -> None:
    assert Agenda(600.0).is_due(101, PLAN, now=0.0)


def test_a_retry_is_due_once_its_delay_is_over() -> None:
    agenda = after(Retry(30.0, "busy"))
    assert not agenda.is_due(101, PLAN, now=1029.9)
    assert agenda.is_due(101, PLAN, now=1030.0)
    assert agenda.next_retry() == 1030.0


def test_a_due_retry_is_taken_once() -> None:
    agenda = after(Retry(30.0, "busy"))
    assert agenda.take_retries(now=1029.0) == []
    assert agenda.take_retries(now=1030.0) == [101]
    assert agenda.take_retries(now=1030.0) == []


def test_a_blocked_guest_is_tried_again_after_the_longest_backoff() -> None:
    agenda = after(Blocked("does not shut down"))
    assert not agenda.is_due(101, PLAN, now=1599.0)
    assert agenda.is_due(101, PLAN, now=1600.0)
    assert agenda.next_retry() == math.inf


def test_a_refused_guest_is_never_due_as_it_is() -> None:
    assert not after(Refused("cores")).is_due(101, PLAN, now=1e12)


def test_whatever_stood_in_the_way_a_changed_plan_is_due_at_once() -> None:
    for outcome in (Retry(30.0, ""), Blocked(""), Refused("")):
        assert after(outcome).is_due(101, OTHER_PLAN, now=1000.0)


def test_a_converged_or_forgotten_guest_has_no_past() -> None:
    assert after(Converged()).is_due(101, PLAN, now=1000.0)
    agenda = after(Refused(""))
    agenda.forget(101)
    assert agenda.is_due(101, PLAN, now=1000.0)


def test_a_fresh_look_lets_every_guest_be_due() -> None:
    agenda = after(Refused(""))
    agenda.clear()
    assert agenda.is_due(101, PLAN, now=1000.0)
