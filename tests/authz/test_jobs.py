"""How a signed job stands is its last word, but for a second coming of the same bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.authz.jobs import JobState, statuses_of
from felhom_agent.journal.audit import AuditEntry

NOW = 1_800_000_000.0
ENTRY = AuditEntry(NOW, "accepted", act="guest_destroy", vmid=101, name="web", blob="b" * 64)


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("accepted", JobState.PENDING),
        ("accepted waits/time waits/time", JobState.PENDING),
        ("refused/key", JobState.REFUSED),
        ("refused/time", JobState.REFUSED),
        ("accepted refused/time", JobState.EXPIRED),
        ("waits/time refused/time", JobState.EXPIRED),
        ("accepted refused/time refused/time", JobState.EXPIRED),
        ("accepted refused/state", JobState.REFUSED),
        ("refused/key accepted", JobState.PENDING),
        ("accepted authorized", JobState.RUNNING),
        ("accepted authorized refused/nonce", JobState.RUNNING),
        ("accepted authorized accepted", JobState.RUNNING),
        ("accepted authorized done", JobState.DONE),
        ("accepted authorized failed refused/time", JobState.FAILED),
        ("accepted authorized unknown done", JobState.DONE),
        ("accepted authorized done refused/nonce", JobState.DONE),
        ("accepted something-new", JobState.PENDING),
    ],
)
def test_a_job_is_as_its_decisions_say(words: str, state: JobState) -> None:
    steps = [word.partition("/") for word in words.split()]
    entries = [replace(ENTRY, decision=decision, stage=stage) for decision, _, stage in steps]
    (job,) = statuses_of(entries).values()
    assert job.state is state


def test_jobs_are_told_apart_by_their_bytes_and_stand_in_the_order_of_their_last_words() -> None:
    other = replace(ENTRY, blob="c" * 64)
    done = replace(ENTRY, decision="done", at=NOW + 5)
    found = statuses_of([AuditEntry(NOW, "begun"), ENTRY, other, done])
    assert [(job[0], str(each.state)) for job, each in found.items()] == [
        ("c", "pending"), ("b", "done"),
    ]  # fmt: skip


def test_what_a_later_decision_does_not_tell_is_known_of_an_earlier_one() -> None:
    """A job whose key was taken off the list is refused before anybody reads what it is."""
    refused = AuditEntry(NOW, "refused", "key", "not on the list", blob="b" * 64)
    (job,) = statuses_of([ENTRY, refused]).values()
    assert (job.act, job.guest, job.why) == ("guest_destroy", "101 web", "not on the list")
