"""From what happened to the four outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.errors import (
    Busy,
    Denied,
    FelhomError,
    JournalClosed,
    Missing,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Stale,
    StillRunning,
    TaskFailed,
    Unanswered,
)
from felhom_agent.model import (
    Action,
    Blocked,
    Converged,
    GuestPlan,
    Kind,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Start,
    Stop,
    outcome_word,
)
from felhom_agent.reconcile import outcomes

LOCKED = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"

START, STOP = Start(100, Kind.QEMU), Stop(100, Kind.QEMU)
CHANGE = SetConfig(100, Kind.QEMU, ())


def task(text: str, *log: str) -> TaskFailed:
    return TaskFailed(text, upid="UPID:x", log=log)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotSent("no connection"), Retry),
        (Unanswered("596"), Retry),
        (Busy(LOCKED), Retry),
        (Stale("checksum mismatch"), Retry),
        (Missing("gone"), Retry),
        (OutcomeUnknown("596"), Retry),
        (StillRunning("still"), Retry),
        (Rejected("cores: too many", status=400, final=True), Refused),
        (Rejected("VM is locked (backup)", status=500), Blocked),
        (Rejected("CT 200 not running", status=500), Retry),
        (Denied("Permission check failed"), Blocked),
        (JournalClosed("full"), Blocked),
        (task("VM is locked (backup)"), Blocked),
        (task(LOCKED), Retry),
        (task("got no worker upid - start worker failed"), Retry),
        (task("unexpected status"), Retry),
        (task("storage 'x' does not exist"), Retry),
    ],
)
def test_each_error_has_its_outcome(error: FelhomError, outcome: type[Outcome]) -> None:
    assert type(outcomes.of_error(error)) is outcome


def test_a_lock_timeout_of_a_task_is_somebody_elses_turn() -> None:
    """The same words come as an answer and as a task's end (recorded: 40-tasks-qemu/049-051)."""
    outcome = outcomes.of_error(task(LOCKED))
    assert isinstance(outcome, Retry)
    assert outcome.why == f"another task holds the guest: {LOCKED}"
    assert outcome == outcomes.of_error(Busy(LOCKED))


@pytest.mark.parametrize("error", [Busy(LOCKED), task(LOCKED)])
def test_what_somebody_else_holds_is_tried_again_in_steps_that_do_not_grow(
    error: FelhomError,
) -> None:
    """A delay of its own leaves the back-off alone (recorded: calls-9.2/208-lock-after-restart)."""
    outcome = outcomes.of_error(error)
    assert isinstance(outcome, Retry)
    assert 0 < outcome.delay <= 30


def test_a_task_that_lacked_a_privilege_comes_with_the_line_that_grants_it() -> None:
    outcome = outcomes.of_error(task("403 Permission check failed (/storage/a, Datastore.Audit)"))
    assert isinstance(outcome, Blocked)
    assert "lacks Datastore.Audit on /storage/a;" in outcome.why


@pytest.mark.parametrize(
    "text",
    [
        "VM quit/powerdown failed - got timeout",
        "VM quit/powerdown failed",
        "container did not stop",
    ],
)
def test_a_guest_that_does_not_shut_down_needs_a_person(text: str) -> None:
    stopped = outcomes.of_error(task(text), STOP)
    assert isinstance(stopped, Blocked)
    assert 'stop = "power-off"' in stopped.why
    assert isinstance(outcomes.of_error(task(text)), Retry)


def test_a_failed_task_shows_the_end_of_its_log_without_saying_it_twice() -> None:
    failed = task("start failed", "kvm: no memory", "TASK ERROR: start failed")
    outcome = outcomes.of_error(failed)
    assert outcome == Retry(0.0, "its task failed: start failed [kvm: no memory]")


@pytest.mark.parametrize(
    ("doing", "text", "words"),
    [
        (START, "start failed: QEMU exited with code 1", "start failed: QEMU exited with code 1"),
        (START, "command 'lxc-start' failed: exit code 1",
         "start failed: command 'lxc-start' failed: exit code 1"),
        (STOP, "unexpected status", "shutdown failed: unexpected status"),
        (CHANGE, "storage 'x' does not exist", "change failed: storage 'x' does not exist"),
    ],
)  # fmt: skip
def test_a_failed_task_says_what_failed_when_it_is_tried_again_and_where_its_log_is(
    doing: Action, text: str, words: str
) -> None:
    outcome = outcomes.of_error(task(text), doing)
    assert isinstance(outcome, Retry)
    assert outcome.why == words
    again = replace(outcome, delay=5.0)
    assert str(again) == f"{words}; again in 5 s. Log: pvenode task log UPID:x"


@pytest.mark.parametrize("doing", [None, START, STOP, CHANGE])
@pytest.mark.parametrize("guest", ["VM", "CT"])
def test_a_lock_is_told_in_a_plans_words(doing: Action | None, guest: str) -> None:
    said = f"{guest} is locked (snapshot-delete)"
    for error in (task(said), Rejected(said, status=500)):
        assert str(outcomes.of_error(error, doing)) == "waits: locked (snapshot-delete)"


def test_a_refusal_says_what_was_refused_and_what_must_change() -> None:
    refused = outcomes.of_error(Rejected("cores: too many", status=400, final=True), CHANGE)
    assert str(refused) == (
        "refused: PVE refuses the change: cores: too many; "
        "not tried again until its declaration or its configuration changes"
    )


def test_what_is_only_observed_differs_and_waits_for_nobody() -> None:
    plan = GuestPlan(100, notes=("observed only; would start",), observed=True)
    assert str(plan.outcome) == "differs: observed only; would start"
    assert outcome_word(plan.outcome) == "blocked", "the field that scripts read stays"


def test_a_denial_comes_with_the_line_that_grants_it() -> None:
    denied = Denied("no", path="/vms/100", privilege="VM.Config.CPU|VM.Config.Memory")
    outcome = outcomes.of_error(denied, token_id="a@pve!t")  # an id, no secret
    assert "pveum role add FelhomAgentGuest-" in str(outcome)
    assert "--privs VM.Config.CPU" in str(outcome)
    for who in ("--users a@pve", "--tokens 'a@pve!t'"):
        assert f"pveum acl modify /vms/100 {who} --roles FelhomAgent" in str(outcome)
    assert "felhom-agent check tells how to grant it" in str(outcomes.of_error(denied))


@pytest.mark.parametrize(
    ("plan", "outcome"),
    [
        (GuestPlan(100), Converged()),
        (GuestPlan(100, withheld="locked"), Blocked("locked")),
        (GuestPlan(100, refused="cores"), Refused("cores")),
        (GuestPlan(100, notes=("a", "b")), Blocked("a; b")),
    ],
)
def test_a_plan_without_actions_has_its_outcome(plan: GuestPlan, outcome: Outcome) -> None:
    assert plan.outcome == outcome


def test_a_task_that_takes_its_time_is_waited_for_and_is_no_failure() -> None:
    """A delay of its own leaves the back-off alone."""
    outcome = outcomes.of_error(StillRunning("it goes on"))
    assert isinstance(outcome, Retry)
    assert outcome.delay > 0
    assert outcomes.of_error(StillRunning("soon", retry_after=65.0)) == Retry(65.0, "soon")


@pytest.mark.parametrize(
    ("error", "doing", "outcome"),
    [
        (StillRunning("still"), START, Retry(5.0, "still")),
        (StillRunning("still", retry_after=7.5), START, Retry(7.5, "still")),
        (Busy(LOCKED), START, Retry(10.0, f"another task holds the guest: {LOCKED}")),
        (Rejected("no", status=500), START, Retry(0.0, "PVE refuses the start: no")),
        (Rejected("no", status=500), None, Retry(0.0, "PVE refuses it: no")),
        (NotSent("no connection"), START, Retry(0.0, "no connection")),
        (OutcomeUnknown("596"), None, Retry(0.0, "596")),
        (OutcomeUnknown("596"), START,
         Retry(0.0, "the answer to the start was lost, and it is looked up: 596")),
        (OutcomeUnknown("no space", ended=True), CHANGE,
         Retry(0.0, "the change failed, and a part of it may be done: no space")),
    ],
)  # fmt: skip
def test_when_it_is_tried_again_and_in_which_words(
    error: FelhomError, doing: Action | None, outcome: Outcome
) -> None:
    assert outcomes.of_error(error, doing) == outcome
