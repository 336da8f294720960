"""What is known of one guest between two passes, and what resets it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from felhom_agent.daemon.record import GuestRecord
from felhom_agent.model import (
    Action,
    Actual,
    Blocked,
    Change,
    Converged,
    DesiredGuest,
    GuestPlan,
    GuestStatus,
    Kind,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Start,
)
from felhom_agent.planning.actions import Need
from felhom_agent.planning.startup import StartRank
from felhom_agent.reconcile.reconciliation import Seen

START: tuple[Action, ...] = (Start(100, Kind.QEMU),)


def worn() -> GuestRecord:
    """Return the record of a guest of which everything is known that can be."""
    return GuestRecord(
        100,
        declared=DesiredGuest(100),
        status=GuestStatus(Converged(), 1.0),
        not_before=math.inf,
        failures=3,
        restart_in_vain=True,
        attempted=START,
        queued_at=2.0,
        need=Need.RESTART,
        startup=StartRank(order=1),
        seen=Seen(DesiredGuest(100), Actual("pve1", {}), GuestPlan(100), 1.0),
        acted=5.0,
    )


def test_a_new_record_is_due_and_nothing_runs_or_waits() -> None:
    record = GuestRecord(100)
    assert record.is_due((), 0.0)
    assert record.is_due(START, 0.0)
    assert (record.failures, record.restart_in_vain) == (0, False)
    assert (record.queued, record.need) == (False, Need.POWER)
    assert record.acted < 0.0


def test_another_declaration_resets_failures_wait_and_a_restart_in_vain_and_nothing_else() -> None:
    record, declared = worn(), DesiredGuest(100, identity="uuid=1")
    record.declare(declared)
    assert record == replace(
        worn(),
        declared=declared,
        not_before=-math.inf,
        failures=0,
        restart_in_vain=False,
        attempted=(),
    )


def test_a_reset_lets_the_guest_be_tried_and_counts_failures_on() -> None:
    record = worn()
    record.reset()
    assert record == replace(worn(), not_before=-math.inf, attempted=())


def test_a_guest_that_is_as_declared_has_no_failures_and_needs_no_restart() -> None:
    record = worn()
    record.settle()
    assert record == replace(
        worn(),
        not_before=-math.inf,
        failures=0,
        restart_in_vain=False,
        attempted=(),
        need=Need.POWER,
        startup=None,
    )


def test_a_guest_is_due_once_its_wait_is_over_or_something_else_is_to_be_done() -> None:
    record = GuestRecord(100, attempted=START)
    record.wait(10.0)
    assert not record.is_due(START, 9.9)
    assert record.is_due(START, 10.0)
    assert record.is_due((), 9.9)


def test_what_was_refused_is_due_once_something_else_is_to_be_done_or_the_file_is_another() -> None:
    change = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),), "d1")
    record = GuestRecord(100, attempted=(change,))
    assert not record.is_refused((change,)), "nobody has refused it"
    record.wait(math.inf)
    assert record.is_refused((change,))
    assert not record.is_due((change,), 1e9)
    other = replace(change, changes=(Change("memory", "512", "1024"),))
    for something_else in (other, replace(change, digest="d2")):
        assert not record.is_refused((something_else,))
        assert record.is_due((something_else,), 0.0)


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [
        (None, Converged(), False),
        (None, Blocked("a"), True),
        (Converged(), Converged(), False),
        (Blocked("a"), Converged(), True),
        (Converged(), Blocked("a"), True),
        (Blocked("a"), Blocked("a"), False),
        (Blocked("a"), Blocked("b"), True),
        (Blocked("a"), Refused("a"), True),
        # Every try has its own delay, which is no news.
        (Retry(5.0, "a"), Retry(10.0, "a"), False),
        (Retry(5.0, "a"), Retry(5.0, "b"), True),
        (Retry(5.0, "a"), Blocked("a"), True),
        (Blocked("a"), Retry(5.0, "a"), True),
        (Retry(5.0, "a"), Converged(), True),
    ],
)
def test_an_outcome_is_news_if_it_says_something_else_and_stands_since_then(
    before: Outcome | None, now: Outcome, *, news: bool
) -> None:
    record = GuestRecord(100)
    if before is not None:
        record.note(before, 7.0)
    assert record.note(now, 9.0) is news
    assert record.status == GuestStatus(now, 7.0 if before and not news else 9.0)
