"""What came of a job is its last word, but for a second coming of the same bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.cli.jobstates import KEPT, JobState, jobs_of
from felhom_agent.journal.audit import AuditEntry

NOW = 1_800_000_000.0
ENTRY = AuditEntry(NOW, "accepted", act="guest_destroy", vmid=101, name="web", blob="b" * 64)


def states(*words: str, age: float = 0.0) -> list[str]:
    """Given decisions like `refused/time` on one job, the last so many seconds old, return how the
    job is.
    """
    entries = []
    for word in words:
        decision, _, stage = word.partition("/")
        entries.append(replace(ENTRY, at=NOW - age, decision=decision, stage=stage))
    return [str(job.state) for job in jobs_of(entries, NOW)]


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("accepted", JobState.PENDING),
        ("waits/time", JobState.PENDING),
        ("accepted waits/time waits/time", JobState.PENDING),
        ("refused/key", JobState.REFUSED),
        ("refused/time", JobState.REFUSED),
        ("accepted refused/time", JobState.EXPIRED),
        ("waits/time refused/time", JobState.EXPIRED),
        ("accepted refused/state", JobState.REFUSED),
        ("accepted refused/time refused/time", JobState.EXPIRED),
        ("refused/key accepted", JobState.PENDING),
        ("accepted authorized", JobState.RUNNING),
        ("accepted authorized refused/nonce", JobState.RUNNING),
        ("accepted authorized refused/state", JobState.REFUSED),
        ("accepted authorized accepted", JobState.RUNNING),
        ("accepted authorized done", JobState.DONE),
        ("accepted authorized failed", JobState.FAILED),
        ("accepted authorized unknown", JobState.UNKNOWN),
        ("accepted authorized unknown done", JobState.DONE),
        ("accepted authorized done refused/nonce", JobState.DONE),
        ("accepted authorized failed refused/time", JobState.FAILED),
        ("accepted something-new", JobState.PENDING),
    ],
)
def test_a_job_is_as_its_decisions_say(words: str, state: JobState) -> None:
    assert states(*words.split()) == [state]


def test_jobs_that_ended_are_told_for_seven_days_and_others_until_they_end() -> None:
    assert states("accepted", "authorized", "done", age=KEPT) == ["done"]
    assert states("accepted", "authorized", "done", age=KEPT + 1) == []
    assert states("refused/key", age=KEPT + 1) == []
    assert states("accepted", age=KEPT + 1) == ["pending"]
    assert states("accepted", "authorized", age=10 * KEPT) == ["running"]


def test_a_replay_does_not_make_an_old_job_a_new_one() -> None:
    old = [replace(ENTRY, at=NOW - KEPT - 1, decision=d) for d in ("authorized", "done")]
    assert jobs_of([*old, replace(ENTRY, decision="refused", stage="nonce")], NOW) == ()


def test_jobs_are_told_apart_by_their_bytes_and_are_in_the_order_of_their_last_words() -> None:
    other = replace(ENTRY, blob="c" * 64)
    done = replace(ENTRY, decision="done", at=NOW + 5)
    found = jobs_of([AuditEntry(NOW, "begun"), ENTRY, other, done], NOW + 9)
    assert [(job.entry.blob[0], str(job.state)) for job in found] == [
        ("c", "pending"), ("b", "done"),
    ]  # fmt: skip
    assert found[1].came == NOW


def test_what_a_later_decision_does_not_tell_is_known_of_an_earlier_one() -> None:
    (job,) = jobs_of([ENTRY, AuditEntry(NOW, "waits", "time", blob="b" * 64)], NOW)
    assert (job.entry.act, job.entry.guest) == ("guest_destroy", "101 web")
