"""A job is done at most once, whatever happens; and every decision is written down first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.examiner import Authorization
from felhom_agent.authz.refusals import (
    BadSignature,
    ClockUntrusted,
    NonceSpent,
    OutsideTime,
    RevokedKey,
    StateChanged,
    UnknownKey,
    WrongGuest,
)
from felhom_agent.authz.words import with_words
from felhom_agent.errors import JournalClosed
from felhom_agent.journal.audit import AUDIT_NAME, AuditEntry, verify_audit
from felhom_agent.journal.retention import Limits, retain
from felhom_agent.journal.signed import Decision
from tests.authz.desk import GUEST, Host, at_once, key, needs_ssh_keygen, signed, signer_line

pytestmark = needs_ssh_keygen
DAY = 86400.0


@pytest.mark.parametrize("how", ["timed", "request"])
def test_a_job_is_authorized_once_in_a_process(host: Host, how: str) -> None:
    job = signed(getattr(host, how)())
    assert host.examiner.examine(job, host.observe)
    assert host.authorize(job)
    with pytest.raises((NonceSpent, OutsideTime)):
        host.authorize(job)
    with pytest.raises((NonceSpent, OutsideTime)):
        host.examiner.examine(job, host.observe)
    assert len(host.facts.decisions()) == 1


@pytest.mark.parametrize("how", ["timed", "request"])
def test_a_replay_after_a_restart_and_after_compaction_is_refused(host: Host, how: str) -> None:
    job = signed(getattr(host, how)())
    assert host.authorize(job)
    for _ in range(3):
        host.restart()
        host.log.compact(lambda found: retain(found, host.wall(), Limits()))
        with pytest.raises((NonceSpent, OutsideTime)):
            host.authorize(job)


@pytest.mark.parametrize("how", ["timed", "request"])
def test_of_two_at_once_one_is_authorized(host: Host, how: str) -> None:
    for _ in range(5):
        job = signed(getattr(host, how)())
        found = at_once(*[lambda job=job: host.authorize(job)] * 4)
        assert [type(each) for each in found].count(Authorization) == 1
        others = [each for each in found if not isinstance(each, Authorization)]
        assert all(isinstance(each, (NonceSpent, OutsideTime)) for each in others)


def test_of_two_blobs_with_one_nonce_one_is_authorized(host: Host) -> None:
    first = host.timed()
    second = with_words(replace(host.timed(params={"purge": False}), nonce=first.nonce))
    assert host.authorize(signed(first))
    with pytest.raises(NonceSpent, match="another job"):
        host.authorize(signed(second))


def test_of_two_jobs_with_one_challenge_one_is_authorized(host: Host) -> None:
    first = host.request()
    second = with_words(replace(host.request(), challenge=first.challenge))
    found = at_once(lambda: host.authorize(signed(first)), lambda: host.authorize(signed(second)))
    assert [type(each) for each in found].count(Authorization) == 1
    host.restart()
    for operation in (first, second):
        with pytest.raises((NonceSpent, OutsideTime)):
            host.authorize(signed(operation))


def test_a_job_that_was_refused_burns_no_nonce_and_is_good_once_the_reason_is_gone(
    host: Host,
) -> None:
    job = signed(host.timed())
    host.guest = replace(GUEST, digest="b" * 40)
    with pytest.raises(StateChanged):
        host.authorize(job)
    host.guest = GUEST
    assert host.authorize(job)


def test_a_key_taken_away_between_arrival_and_the_act_counts_no_more(host: Host) -> None:
    job = signed(host.request())
    assert host.examiner.examine(job, host.observe)
    host.signers.allow(signer_line(key(number=1)))
    with pytest.raises(UnknownKey):
        host.authorize(job)
    host.signers.allow(signer_line(key()))
    host.signers.revoke(key().public)
    with pytest.raises(RevokedKey):
        host.authorize(job)


def test_a_clock_that_goes_back_makes_no_old_job_good(host: Host) -> None:
    job = signed(host.timed())
    host.pass_by(3600)
    with pytest.raises(OutsideTime):
        host.authorize(job)
    host.wall.now -= 3600
    for _ in range(2):
        with pytest.raises(ClockUntrusted):
            host.authorize(job)
        # What was seen is durable.
        host.reboot()


def test_a_nonce_outlives_every_clock(host: Host) -> None:
    begin = host.wall()
    job = signed(host.timed())
    assert host.authorize(job)
    for ahead in (3 * DAY, 30 * DAY, 4000 * DAY):
        host.wall.now = begin + ahead
        host.clock.keep()
        host.restart()
        host.wall.now = begin
        host.restart()
        with pytest.raises((NonceSpent, OutsideTime, ClockUntrusted)):
            host.authorize(job)


def test_an_unsynchronised_clock_forgets_nothing(host: Host) -> None:
    begin = host.wall()
    job = signed(host.timed())
    assert host.authorize(job)
    host.synchronised, host.wall.now = False, begin + 4000 * DAY
    host.clock.keep()
    host.restart()
    host.synchronised, host.wall.now = True, begin
    with pytest.raises(NonceSpent):
        host.authorize(job)


def test_after_a_clock_that_was_ahead_a_challenge_is_the_way(host: Host) -> None:
    host.wall.pass_by(4000 * DAY)
    host.clock.keep()
    host.wall.pass_by(-4000 * DAY)
    with pytest.raises(ClockUntrusted):
        host.authorize(signed(host.timed()))
    assert host.authorize(signed(host.request()))


def test_a_decision_that_is_not_durable_is_no_decision(host: Host) -> None:
    job = signed(host.timed())
    (host.directory / "journal" / AUDIT_NAME).unlink()
    for _ in range(2):
        with pytest.raises(JournalClosed):
            host.authorize(job)
    assert host.facts.decisions() == ()
    host.restart()
    # It was not burnt, so it is done once the log is back.
    assert host.authorize(job)


def test_a_nonce_that_is_not_durable_is_no_authorization(host: Host) -> None:
    job = signed(host.timed())
    host.trust.current()  # which set is in force is remembered by then
    append = host.audit.append

    def last_words(entry: AuditEntry) -> Decision:
        decision = append(entry)
        host.log.close()
        return decision

    host.audit.append = last_words  # type: ignore[method-assign]
    with pytest.raises(JournalClosed):
        host.authorize(job)
    with pytest.raises(NonceSpent):
        host.authorize(job)
    host.restart()
    words = [e.decision for e in verify_audit(host.audit.path).entries]
    assert words[:3] == ["begun", "authorized", "failed"]


def test_a_journal_that_is_closed_already_costs_no_job_its_one_try(host: Host) -> None:
    job = signed(host.timed())
    host.trust.current()
    host.log.close()
    for _ in range(2):
        with pytest.raises(JournalClosed):
            host.authorize(job)
    assert [e.decision for e in verify_audit(host.audit.path).entries] == ["begun"]
    host.restart()
    assert host.authorize(job)


def test_every_decision_is_in_the_audit_log(host: Host) -> None:
    job = signed(host.request())
    with pytest.raises(UnknownKey):
        host.authorize(signed(host.request(), key(number=1)))
    host.examiner.examine(job, host.observe)
    done = host.authorize(job)
    host.examiner.settled(done, "done", upid="UPID:pve1:1:", exit_status="OK")
    report = verify_audit(host.audit.path, host.facts.decisions(), host.audit.last.head)
    assert report.problems == ()
    words = [e.decision for e in report.entries]
    assert words == ["begun", "refused", "accepted", "authorized", "done"]
    _, refusal, _, authorized, settled = report.entries
    assert (refusal.stage, refusal.fingerprint, refusal.vmid) == ("key", "", 0)
    assert authorized.guest == "101 web"
    assert authorized.fingerprint.startswith("SHA256:")
    assert authorized.digest == GUEST.digest
    assert settled.upid == "UPID:pve1:1:"
    assert done.decision in host.facts.decisions()


def test_whose_key_it_is_is_written_down_once_the_signature_is_good(host: Host) -> None:
    job, other = signed(host.request()), signed(host.request())
    with pytest.raises(BadSignature):
        host.authorize(replace(job, signatures=(other.signatures[0],)))
    found = verify_audit(host.audit.path).entries[-1]
    assert (found.stage, found.fingerprint, found.role, found.vmid) == ("signature", "", "", 0)
    host.guest = None
    with pytest.raises(WrongGuest):
        host.authorize(job)
    found = verify_audit(host.audit.path).entries[-1]
    assert (found.stage, found.role, found.vmid) == ("host", "operational", 101)


def test_a_job_that_waits_is_written_down_once(host: Host) -> None:
    job = signed(host.timed())
    host.synchronised = False
    for _ in range(5):
        with pytest.raises(ClockUntrusted):
            host.authorize(job)
    host.synchronised = True
    host.authorize(job)
    found = verify_audit(host.audit.path).entries
    assert [e.decision for e in found] == ["begun", "waits", "authorized"]


def test_whatever_observing_raises_burns_nothing(host: Host) -> None:
    job = signed(host.request())

    def fails(_: object) -> None:
        raise TimeoutError("the node does not answer")

    with pytest.raises(TimeoutError):
        host.examiner.authorize(job, fails)
    assert host.authorize(job)


def test_a_challenge_ends_after_a_day_by_the_time_since_boot(host: Host) -> None:
    job = signed(host.request())
    late = signed(host.request())
    host.boottime.pass_by(DAY - 1)
    assert host.authorize(job)
    host.boottime.pass_by(2)
    with pytest.raises(OutsideTime):
        host.authorize(late)


def test_a_challenge_outlives_a_boot_by_the_wall_clock(host: Host) -> None:
    job, late = signed(host.request()), signed(host.request())
    host.reboot(off=DAY - 100)
    assert host.authorize(job)
    host.reboot(off=200)
    with pytest.raises(OutsideTime):
        host.authorize(late)


def test_after_a_boot_with_a_clock_that_is_behind_a_challenge_is_refused(host: Host) -> None:
    job = signed(host.request())
    host.reboot(off=-7200)
    with pytest.raises(OutsideTime, match="behind"):
        host.authorize(job)


def test_no_file_of_a_check_is_left_behind(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    host.authorize(signed(host.request()))
    assert list(place.iterdir()) == []
