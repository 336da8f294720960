"""Nonces, challenges and the highest time outlive everything by which they could matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.durable.line import Record
from felhom_agent.errors import JobRefused, JournalClosed, JournalError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.shape import problem_of
from felhom_agent.journal.signed import (
    CHALLENGE_SECONDS,
    KEPT_AFTER,
    MAX_CHALLENGES,
    Challenge,
    Decision,
    KnownSigners,
    NonceTaken,
    SignedFacts,
    Spent,
    age_of,
    decisions_of,
    retain_signed,
)
from felhom_agent.journal.suspensions import Moment

NOW = 1_800_000_000.0
HERE = Moment(NOW, 1000.0, "a" * 32)
DECISION = Decision(1, "d" * 64)


def spent(number: int = 1, *, until: float = NOW + 600, challenge: str = "") -> Spent:
    return Spent(f"{number:032x}", "b" * 64, until, NOW, challenge)


def challenge(number: int = 1, at: Moment = HERE) -> Challenge:
    return Challenge(f"{number:032x}", 101, "guest_destroy", at)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[JournalLog]:
    found, _ = JournalLog.open(tmp_path)
    yield found
    found.close()


@pytest.fixture
def facts(log: JournalLog) -> SignedFacts:
    return SignedFacts(log, [])


def again(log: JournalLog) -> SignedFacts:
    return SignedFacts(log, read(log.path))


def test_a_nonce_is_burnt_once_and_after_a_replay_too(log: JournalLog, facts: SignedFacts) -> None:
    done = facts.burn(spent(), lambda: DECISION)
    assert done.decision == DECISION
    for each in (facts, again(log)):
        assert each.spent(done.nonce) == done
        assert each.decisions() == (DECISION,)
        with pytest.raises(NonceTaken) as told:
            each.burn(spent(), lambda: DECISION)
        assert told.value.same
        with pytest.raises(NonceTaken) as told:
            each.refuse_spent(done.nonce, "c" * 64)
        assert not told.value.same
    assert decisions_of(read(log.path)) == (DECISION,)


def test_a_nonce_is_taken_while_its_decision_is_made(facts: SignedFacts) -> None:
    def decide() -> Decision:
        with pytest.raises(NonceTaken):
            facts.burn(spent(), lambda: DECISION)
        return DECISION

    facts.burn(spent(), decide)


def test_a_nonce_whose_decision_could_not_be_kept_is_free_again(facts: SignedFacts) -> None:
    facts.remember(challenge(9))

    def fails() -> Decision:
        raise JournalClosed("the disk is full")

    for _ in range(2):
        with pytest.raises(JournalClosed):
            facts.burn(spent(challenge=challenge(9).id), fails)
    facts.burn(spent(challenge=challenge(9).id), lambda: DECISION)


def test_a_nonce_that_may_be_on_the_disk_stays_taken(log: JournalLog, facts: SignedFacts) -> None:
    log.close()
    with pytest.raises(JournalClosed):
        facts.burn(spent(), lambda: DECISION)
    with pytest.raises(NonceTaken):
        facts.burn(spent(), lambda: DECISION)


def test_a_challenge_is_good_for_one_nonce(log: JournalLog, facts: SignedFacts) -> None:
    facts.remember(challenge())
    assert facts.challenge(challenge().id) == again(log).challenge(challenge().id) == challenge()
    facts.burn(spent(challenge=challenge().id), lambda: DECISION)
    for each in (facts, again(log)):
        assert each.challenge(challenge().id) is None
        with pytest.raises(NonceTaken):
            each.burn(spent(2, challenge=challenge().id), lambda: DECISION)


def test_a_challenge_is_taken_while_its_decision_is_made(facts: SignedFacts) -> None:
    facts.remember(challenge(7))

    def decide() -> Decision:
        with pytest.raises(NonceTaken):
            facts.burn(spent(2, challenge=challenge(7).id), lambda: DECISION)
        return DECISION

    facts.burn(spent(challenge=challenge(7).id), decide)
    assert [each.nonce for each in facts.burnt()] == [spent().nonce]


def test_only_so_many_challenges_are_open_and_old_ones_make_room(facts: SignedFacts) -> None:
    for number in range(MAX_CHALLENGES):
        facts.remember(challenge(number))
    with pytest.raises(JobRefused):
        facts.remember(challenge(MAX_CHALLENGES))
    later = replace(HERE, boottime=HERE.boottime + CHALLENGE_SECONDS + 1)
    facts.remember(challenge(MAX_CHALLENGES, later))
    assert facts.challenge(challenge(1).id) is None


def test_the_age_of_a_challenge_is_the_time_since_boot_within_one_boot() -> None:
    moved = Moment(NOW - 10**8, 1500.0, HERE.boot)
    assert age_of(challenge(), moved, NOW) == 500.0
    assert age_of(challenge(), Moment(NOW + 50, 5.0, "b" * 32), NOW) == 50.0
    assert age_of(challenge(), Moment(NOW + 50, 5.0, ""), NOW) == 50.0
    for now, highest in ((NOW - 1, 0.0), (NOW + 50, NOW + 51)):
        with pytest.raises(JournalError):
            age_of(challenge(), Moment(now, 5.0, "b" * 32), highest)


def test_the_highest_time_only_rises_and_is_durable(log: JournalLog, facts: SignedFacts) -> None:
    assert facts.highest() == 0.0
    facts.see(NOW)
    facts.see(NOW - 100)
    assert facts.highest() == again(log).highest() == NOW
    size = log.size
    facts.see(NOW + 10, at_least=3600)
    assert facts.highest() == NOW + 10
    assert log.size == size
    facts.see(NOW + 10)
    assert again(log).highest() == NOW + 10
    facts.burn(replace(spent(), at=NOW + 20), lambda: DECISION)
    assert facts.highest() == again(log).highest() == NOW + 20


def test_what_an_unknown_clock_says_of_signers_is_no_time_that_was_seen(
    log: JournalLog, facts: SignedFacts
) -> None:
    facts.remember_signers(KnownSigners(1, "", NOW + 10**9))
    facts.remember_revocation("c" * 64, NOW + 10**9)
    assert facts.highest() == again(log).highest() == 0.0


def test_of_an_audit_log_that_was_begun_anew_only_its_own_lines_are_known(
    log: JournalLog, facts: SignedFacts
) -> None:
    facts.burn(spent(1), lambda: Decision(7, "a" * 64))
    facts.audit_begun(NOW)
    assert facts.decisions() == ()
    facts.burn(spent(2), lambda: DECISION)
    kept = retain_signed(read(log.path))
    assert retain_signed(kept) == kept
    for each in (facts, again(log), SignedFacts(log, kept)):
        assert each.decisions() == (DECISION,)
        assert len(each.burnt()) == 2, "no nonce is forgotten by that"
    assert decisions_of(kept) == (DECISION,)


def test_of_two_sets_of_one_version_the_later_is_known(log: JournalLog, facts: SignedFacts) -> None:
    for blob in ("b" * 64, "c" * 64):
        facts.remember_signers(KnownSigners(2, blob, NOW))
    kept = SignedFacts(log, retain_signed(read(log.path)))
    assert {f.signers().blob for f in (facts, again(log), kept)} == {"c" * 64}


def test_what_is_written_is_in_shape_and_nothing_else_is(
    log: JournalLog, facts: SignedFacts
) -> None:
    facts.see(NOW)
    facts.remember(challenge())
    facts.burn(spent(challenge=challenge().id), lambda: DECISION)
    records = read(log.path)
    assert len(records) == 3
    for record in records:
        assert problem_of(record) == ""
        for key in record:
            less = {k: v for k, v in record.items() if k != key}
            assert key == "signed" or problem_of(less)
            assert problem_of({**record, key: ["x"]})
            assert problem_of({**record, key: None})
    assert problem_of({"signed": "else"})


def test_nonces_are_kept_until_no_clock_can_make_their_jobs_good() -> None:
    records: list[Record] = [
        {"signed": "time", "at": NOW},
        _nonce(1, until=NOW + 600),
        {"signed": "time", "at": NOW + 600 + KEPT_AFTER},
    ]
    assert _nonces(retain_signed(records)) == [1]
    records.append({"signed": "time", "at": NOW + 601 + KEPT_AFTER})
    kept = retain_signed(records)
    assert _nonces(kept) == []
    assert kept == [{"signed": "time", "at": NOW + 601 + KEPT_AFTER}]


def test_a_challenge_that_was_used_does_not_come_back_with_its_nonce_forgotten() -> None:
    ahead = NOW + 10**8
    records: list[Record] = [
        _challenge(5, wall=ahead),
        _nonce(1, until=NOW, challenge=f"{5:032x}"),
        {"signed": "time", "at": ahead},
    ]
    once = retain_signed(records)
    assert [r["signed"] for r in retain_signed(once)] == ["time"]


def test_the_clock_of_a_compaction_says_nothing_about_nonces() -> None:
    records = [_nonce(1, until=NOW + 600)]
    for clock in (0.0, NOW, NOW + 10**9):
        assert _nonces(retain(records, clock, Limits())) == [1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**7)), max_size=20))
@settings(deadline=None)
def test_retaining_again_changes_nothing(drawn: list[tuple[int, int]]) -> None:
    records: list[Record] = []
    for kind, seconds in drawn:
        if kind < 4:
            records.append({"signed": "time", "at": NOW + seconds})
        elif kind < 7:
            records.append(_nonce(seconds, until=NOW + seconds))
        else:
            records.append(_challenge(seconds, wall=NOW + seconds))
    kept = retain_signed(records)
    assert retain_signed(kept) == kept
    highest = max([r["at"] for r in records if "at" in r], default=0.0)
    missed = set(_nonces(records)) - set(_nonces(kept))
    assert all(NOW + number + KEPT_AFTER < highest for number in missed)


def test_two_agents_of_different_versions_keep_each_other_s_records(tmp_path: Path) -> None:
    log, _ = JournalLog.open(tmp_path)
    log.append({"signed": "time", "at": NOW}, {"something": "else"})
    log.close()
    log, records = JournalLog.open(tmp_path, lambda found: retain(found, NOW, Limits()))
    log.close()
    assert {"something": "else"} in records
    assert {"signed": "time", "at": NOW} in read(tmp_path / NAME)


def _nonce(number: int, *, until: float, challenge: str = "") -> Record:
    return {
        "signed": "nonce", "nonce": f"{number:032x}", "blob": "b" * 64, "until": until,
        "at": NOW, "challenge": challenge, "entry": 1, "head": "d" * 64,
    }  # fmt: skip


def _challenge(number: int, *, wall: float) -> Record:
    return {
        "signed": "challenge", "id": f"{number:032x}", "vmid": 101, "act": "guest_destroy",
        "wall": wall, "boottime": 1.0, "boot": "",
    }  # fmt: skip


def _nonces(records: list[Record]) -> list[int]:
    return [int(r["nonce"], 16) for r in records if r.get("signed") == "nonce"]
