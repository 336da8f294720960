"""Rotation, revocation, provisioning: who may sign now, and what shows that it was put back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.hostblob import HostOperation
from felhom_agent.authz.operation import Operation
from felhom_agent.authz.refusals import (
    BadSignature,
    ClockUntrusted,
    ForeignSignature,
    NonceSpent,
    OperationRefused,
    OutsideTime,
    RevokedKey,
    SignersExpired,
    SignersUnusable,
    TooFewSigners,
    UnknownKey,
    WrongHost,
    WrongParameters,
    WrongRole,
    WrongVersion,
)
from felhom_agent.authz.rotation import refuse_lock_out, set_of
from felhom_agent.authz.signerline import Role
from felhom_agent.authz.words import with_words, words_of
from felhom_agent.config.settings import AuthzConfig, KeyRole, Threshold
from felhom_agent.journal.audit import verify_audit
from felhom_agent.journal.signed import KnownSigners
from tests.authz.desk import (
    Host,
    Key,
    a_host,
    fingerprint,
    key,
    needs_ssh_keygen,
    security_key,
    signed,
    signer_line,
)
from tests.authz.desk import refused as refusal

pytestmark = needs_ssh_keygen

ANNA, BELA = key(), key(number=1)
SAFE, NEW_SAFE = key(number=5), key(number=6)
OLD = [signer_line(ANNA), signer_line(SAFE, Role.RECOVERY)]
NEW = [signer_line(BELA), signer_line(NEW_SAFE, Role.RECOVERY)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path, *OLD) as host:
        yield host


def refused(host: Host, job: SignedJob, kind: type[OperationRefused]) -> str:
    return str(refusal(host, job, kind))


def do(host: Host, operation: HostOperation, *signers: Key) -> SignedJob:
    """Let a signed operation on the host happen, as its lane does."""
    job = signed(operation, *signers)
    host.authorize(job)
    if operation.act == "key_rotation":
        host.trust.rotate(job, operation)
    else:
        host.trust.revoke(job, operation)
    return job


def rotate(host: Host, version: int = 2) -> SignedJob:
    return do(host, host.rotation(*NEW, version=version), SAFE, NEW_SAFE, BELA)


def may_sign(host: Host, signer: Key) -> bool:
    try:
        host.authorize(signed(host.request(), signer))
    except UnknownKey:
        return False
    return True


class TestRotation:
    def test_after_it_the_new_keys_sign_and_the_old_ones_do_not(self, host: Host) -> None:
        rotate(host)
        assert (may_sign(host, BELA), may_sign(host, ANNA)) == (True, False)
        assert (host.trust.current().version, host.trust.current().is_rotated) == (2, True)

    def test_it_outlives_a_restart_since_its_job_is_kept_and_checked_again(
        self, host: Host
    ) -> None:
        job = rotate(host)
        host.restart()
        assert host.kept.versions()[2].blob == job.blob
        assert (may_sign(host, BELA), may_sign(host, ANNA)) == (True, False)

    def test_two_in_a_row_are_a_chain_from_roots_list(self, host: Host) -> None:
        rotate(host)
        third = [signer_line(ANNA), signer_line(SAFE, Role.RECOVERY)]
        do(host, host.rotation(*third, version=3), NEW_SAFE, SAFE, ANNA)
        host.restart()
        assert host.trust.current().version == 3
        assert (may_sign(host, ANNA), may_sign(host, BELA)) == (True, False)

    @pytest.mark.parametrize("version", [3, 1_000_000_000])
    def test_it_brings_the_next_version_and_no_other(self, host: Host, version: int) -> None:
        job = signed(host.rotation(*NEW, version=version), SAFE, NEW_SAFE, BELA)
        assert "the next one is 2" in refused(host, job, WrongVersion)

    def test_a_version_that_was_in_force_does_not_come_again(self, host: Host) -> None:
        other = signed(host.rotation(*NEW), SAFE, NEW_SAFE, BELA)
        rotate(host)
        refused(host, other, ForeignSignature)
        back = host.rotation(*NEW, version=2)
        refused(host, signed(back, NEW_SAFE, BELA), WrongVersion)

    def test_the_old_set_must_sign_it(self, host: Host) -> None:
        refused(host, signed(host.rotation(*NEW), NEW_SAFE, BELA), UnknownKey)
        refused(host, signed(host.rotation(*NEW), ANNA, NEW_SAFE, BELA), WrongRole)

    def test_the_new_recovery_key_must_sign_it_too(self, host: Host) -> None:
        said = refused(host, signed(host.rotation(*NEW), SAFE, BELA), TooFewSigners)
        assert "new set's recovery keys" in said

    def test_an_operational_key_of_the_new_set_must_show_that_it_can_sign(self, host: Host) -> None:
        said = refused(host, signed(host.rotation(*NEW), SAFE, NEW_SAFE), TooFewSigners)
        assert "operational key of the new set" in said

    def test_a_signature_of_the_new_set_that_is_not_good_is_none(self, host: Host) -> None:
        job = signed(host.rotation(*NEW), SAFE, NEW_SAFE, BELA)
        other = signed(host.rotation(*NEW), BELA)
        mixed = replace(job, signatures=(*job.signatures[:2], *other.signatures))
        refused(host, mixed, BadSignature)

    def test_the_audit_log_has_the_role_that_signs_it_and_the_keys_of_both_sets(
        self, host: Host
    ) -> None:
        keeps = [signer_line(ANNA), *NEW]
        leave = host.authorize(signed(host.rotation(*keeps), ANNA, SAFE, NEW_SAFE))
        assert leave.examined.role is Role.RECOVERY
        last = verify_audit(host.audit.path).entries[-1]
        assert last.role == "recovery"
        named = {fingerprint(each) for each in (ANNA, SAFE, NEW_SAFE)}
        assert set(last.fingerprint.split(",")) == named

    def test_a_key_of_neither_set_signs_nothing(self, host: Host) -> None:
        job = signed(host.rotation(*NEW), SAFE, NEW_SAFE, BELA, key(number=9))
        refused(host, job, ForeignSignature)

    @pytest.mark.parametrize(
        ("lines", "why"),
        [
            ([signer_line(BELA)], "0 recovery keys"),
            ([signer_line(NEW_SAFE, Role.RECOVERY)], "0 operational keys"),
            (["*" + signer_line(BELA)[11:], NEW[1]], "pattern"),
            ([*NEW, signer_line(key("rsa", bits=1024))], "too weak"),
            ([*NEW, "nonsense"], "no line like"),
            ([], "has no key"),
        ],
    )
    def test_a_set_that_would_lock_people_out_is_not_even_asked_for(
        self, host: Host, lines: list[str], why: str
    ) -> None:
        with pytest.raises(WrongParameters, match=why):
            do(host, host.rotation(*lines), SAFE, NEW_SAFE, BELA)

    def test_a_set_with_fewer_keys_than_must_sign_is_refused(self, tmp_path: Path) -> None:
        policy = AuthzConfig(threshold=(Threshold("guest_destroy", 2),))
        with a_host(tmp_path, *OLD, policy=policy) as host:
            job = signed(host.rotation(*NEW), SAFE, NEW_SAFE, BELA)
            assert "lock you out" in refused(host, job, WrongParameters)

    def test_keys_that_cannot_sign_here_are_not_counted_as_those_that_must(
        self, tmp_path: Path
    ) -> None:
        policy = AuthzConfig(threshold=(Threshold("guest_destroy", 2),))
        lost = key(number=7)
        old = [*OLD, signer_line(lost)]
        with a_host(tmp_path, *old, policy=policy) as host:
            do(host, host.revocation(lost), SAFE)
            job = signed(host.rotation(*NEW, signer_line(lost)), SAFE, NEW_SAFE, BELA)
            said = refused(host, job, WrongParameters)
            assert "it has 1 operational keys that count" in said

    def test_where_keys_must_be_touched_others_are_not_counted(self, tmp_path: Path) -> None:
        policy = AuthzConfig(
            threshold=(Threshold("force_stop", 2),), touch_required=(KeyRole.OPERATIONAL,)
        )
        token = security_key("ssh-ed25519")
        with a_host(tmp_path, *OLD, policy=policy) as host:
            lines = [*NEW, signer_line(token)]
            job = signed(host.rotation(*lines), SAFE, NEW_SAFE, token)
            assert "it has 1 operational keys" in refused(host, job, WrongParameters)

    def test_a_key_of_it_that_begins_later_or_ends_is_shown_so(self, host: Host) -> None:
        later = 'operational valid-after="20990101Z",valid-before="20991231Z" ' + ANNA.line
        shown = words_of(host.rotation(*NEW, later))
        (line,) = [line for line in shown if "20990101Z" in line]
        assert line.endswith("from 20990101Z until 20991231Z")

    def test_who_asks_is_a_signer_more_that_the_set_must_have(self, host: Host) -> None:
        policy = AuthzConfig(separate_requester=True)
        with pytest.raises(WrongParameters, match="2 must sign on this host"):
            refuse_lock_out(set_of(host.rotation(*NEW)), (), policy, host.wall())
        two_each = [*NEW, *OLD]
        refuse_lock_out(set_of(host.rotation(*two_each)), (), policy, host.wall())

    def test_the_keys_that_it_takes_back_are_taken_back_with_it(self, host: Host) -> None:
        operation = host.rotation(signer_line(ANNA), *NEW, revoked=f"{ANNA.line}\n")
        do(host, operation, SAFE, NEW_SAFE, BELA)
        for _ in range(2):
            refused(host, signed(host.request(), ANNA), RevokedKey)
            host.restart()

    @pytest.mark.parametrize(
        "given",
        [
            {"revoked": "nonsense\n"}, {"revoked": "# nobody\n"}, {"revoked": "ssh-ed25519 AAAA"},
            {"expires": "soon"}, {"expires": "20301301"}, {"expires": "2030-01-01"},
        ],
    )  # fmt: skip
    def test_a_fault_in_what_it_brings_besides_is_not_even_asked_for(
        self, host: Host, given: dict[str, str]
    ) -> None:
        with pytest.raises(WrongParameters, match="the new set cannot be used"):
            host.rotation(*NEW, **given)  # type: ignore[arg-type]

    def test_a_set_that_has_ended_already_is_refused(self, host: Host) -> None:
        job = signed(host.rotation(*NEW, expires="20200101"), SAFE, NEW_SAFE, BELA)
        assert "ended already" in refused(host, job, WrongParameters)

    def test_the_threshold_of_both_sets_must_sign(self, tmp_path: Path) -> None:
        policy = AuthzConfig(threshold=(Threshold("key_rotation", 2),))
        other, newer = key(number=7), key(number=8)
        old = [*OLD, signer_line(other, Role.RECOVERY)]
        new = [*NEW, signer_line(newer, Role.RECOVERY)]
        with a_host(tmp_path, *old, policy=policy) as host:
            job = host.rotation(*new)
            refused(host, signed(job, SAFE, NEW_SAFE, newer, BELA), TooFewSigners)
            refused(host, signed(job, SAFE, other, NEW_SAFE, BELA), TooFewSigners)
            do(host, job, SAFE, other, NEW_SAFE, newer, BELA)
            host.restart()
            assert host.trust.current().version == 2

    def test_it_is_not_good_on_another_host_nor_twice(self, host: Host) -> None:
        strange = with_words(replace(host.rotation(*NEW), host="f" * 32))
        refused(host, signed(strange, SAFE, NEW_SAFE, BELA), WrongHost)
        keeps = [*OLD, signer_line(BELA)]
        operation = host.rotation(*keeps)
        job = do(host, operation, SAFE, ANNA)
        with pytest.raises((WrongVersion, NonceSpent)):
            host.authorize(job)


class TestProvisioning:
    def test_a_higher_version_in_etc_wins_and_is_logged(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        rotate(host)
        host.signers.allow(*OLD)
        host.signers.about("version = 3\n")
        assert (may_sign(host, ANNA), may_sign(host, BELA)) == (True, False)
        assert "root has provisioned version 3 of the signers" in caplog.text
        host.restart()
        assert (may_sign(host, ANNA), may_sign(host, BELA)) == (True, False)
        assert host.trust.known() == KnownSigners(3, "", host.wall())

    def test_roots_list_may_be_edited_as_long_as_nothing_was_rotated(self, host: Host) -> None:
        assert not may_sign(host, BELA)
        host.signers.allow(*OLD, signer_line(BELA))
        assert may_sign(host, BELA)

    def test_an_edited_list_under_a_rotation_breaks_the_chain_and_says_what_to_do(
        self, host: Host
    ) -> None:
        rotate(host)
        host.signers.allow(*NEW)
        said = refused(host, signed(host.request(), BELA), SignersUnusable)
        assert "signers init --force" in said
        host.signers.about("version = 3\n")
        assert may_sign(host, BELA)

    def test_without_a_list_nobody_signs_whatever_was_rotated(self, host: Host) -> None:
        rotate(host)
        shutil.rmtree(host.signers.directory)
        assert not may_sign(host, BELA)

    @pytest.mark.parametrize(
        "text",
        ["version = 0\n", 'version = "2"\n', "version = true\n", "versoin = 2\n", "version\n",
         "version = 9999999999999\n", 'expires = "soon"\n', "expires = 20270101\n", "\x00"],
    )  # fmt: skip
    def test_a_wrong_word_of_the_set_makes_nobodys_signature_count(
        self, host: Host, text: str
    ) -> None:
        host.signers.about(text)
        assert "set.toml" in refused(host, signed(host.request()), SignersUnusable)

    def test_a_wrong_word_in_roots_list_makes_no_signature_count_whatever_was_rotated(
        self, host: Host
    ) -> None:
        rotate(host)
        host.signers.about("versoin = 1\n")
        assert "set.toml" in refused(host, signed(host.request(), BELA), SignersUnusable)


class TestWhatWasPutBack:
    def test_an_older_copy_of_what_is_kept_is_noticed(self, host: Host) -> None:
        rotate(host)
        host.end()
        shutil.rmtree(host.kept.directory)
        host.begin()
        said = refused(host, signed(host.request(), ANNA), SignersUnusable)
        assert "version 2 by a rotation was in force" in said

    def test_an_older_copy_of_the_journal_is_noticed(self, host: Host) -> None:
        host.authorize(signed(host.request()))
        host.end()
        copy = host.directory / "copy"
        shutil.copytree(host.directory / "journal", copy)
        host.begin()
        rotate(host)
        host.end()
        shutil.rmtree(host.directory / "journal")
        copy.rename(host.directory / "journal")
        host.begin()
        said = refused(host, signed(host.request(), BELA), SignersUnusable)
        assert "put back from a copy" in said

    def test_an_older_list_in_etc_is_noticed(self, host: Host) -> None:
        host.signers.allow(*NEW)
        host.signers.about("version = 7\n")
        assert may_sign(host, BELA)
        host.signers.allow(*OLD)
        host.signers.about("version = 1\n")
        said = refused(host, signed(host.request(), ANNA), SignersUnusable)
        assert "provision version 8" in said

    def test_a_revocation_that_is_gone_is_noticed(self, host: Host) -> None:
        do(host, host.revocation(ANNA), SAFE)
        host.end()
        shutil.rmtree(host.kept.directory / "revoked")
        host.begin()
        said = refused(host, signed(host.request(), ANNA), SignersUnusable)
        assert "gone" in said

    def test_a_higher_version_of_roots_ends_what_a_revocation_that_is_gone_has_held(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        do(host, host.revocation(ANNA), SAFE)
        host.end()
        shutil.rmtree(host.kept.directory / "revoked")
        host.begin()
        refused(host, signed(host.request(), ANNA), SignersUnusable)
        host.signers.allow(*NEW)
        host.signers.about("version = 2\n")
        assert may_sign(host, BELA)
        assert "1 revocation that the journal knew is gone" in caplog.text
        host.restart()
        assert may_sign(host, BELA)

    def test_a_higher_version_of_roots_takes_over_a_revocation_that_the_journal_has_lost(
        self, host: Host
    ) -> None:
        host.authorize(signed(host.request()))
        host.end()
        copy = host.directory / "copy"
        shutil.copytree(host.directory / "journal", copy)
        host.begin()
        do(host, host.revocation(ANNA), SAFE)
        host.end()
        shutil.rmtree(host.directory / "journal")
        copy.rename(host.directory / "journal")
        host.begin()
        refused(host, signed(host.request(), ANNA), SignersUnusable)
        host.signers.allow(*OLD, signer_line(BELA))
        host.signers.about("version = 2\n")
        assert may_sign(host, BELA)
        host.restart()
        assert may_sign(host, BELA)
        refused(host, signed(host.request(), ANNA), RevokedKey)

    @pytest.mark.parametrize("name", ["job", "job.1.sig", "job.2.sig", "job.3.sig"])
    def test_a_kept_set_that_was_changed_is_not_used(self, host: Host, name: str) -> None:
        rotate(host)
        path = host.kept.path_of(2) / name
        path.write_bytes(path.read_bytes().replace(b"A", b"B", 1))
        host.restart()
        refused(host, signed(host.request(), BELA), SignersUnusable)

    def test_a_kept_set_under_the_number_of_another_version_is_not_used(self, host: Host) -> None:
        rotate(host)
        host.end()
        kept = host.kept.directory
        (kept / "2").rename(kept / "3")
        host.begin()
        said = refused(host, signed(host.request(), BELA), SignersUnusable)
        assert "what is kept as version 3 is version 2" in said

    def test_a_set_that_nobody_signed_is_not_used(self, host: Host) -> None:
        rotate(host)
        for signature in host.kept.path_of(2).glob("job.*.sig"):
            signature.unlink()
        host.restart()
        refused(host, signed(host.request(), BELA), SignersUnusable)


class TestWhatACrashLeaves:
    def test_a_set_that_is_kept_and_not_yet_remembered_is_completed(self, host: Host) -> None:
        operation = host.rotation(*NEW)
        job = signed(operation, SAFE, NEW_SAFE, BELA)
        host.authorize(job)
        remember = host.facts.remember_signers
        host.facts.remember_signers = lambda known: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            host.trust.rotate(job, operation)
        host.facts.remember_signers = remember  # type: ignore[method-assign]
        host.restart()
        assert may_sign(host, BELA)
        assert host.trust.known().version == 2

    def test_a_directory_without_its_job_is_nothing(self, host: Host) -> None:
        where = host.kept.path_of(2)
        where.mkdir(parents=True)
        (where / "job.1.sig").write_bytes(b"torn")
        assert may_sign(host, ANNA)
        rotate(host)
        assert may_sign(host, BELA)


class TestRevocation:
    def test_one_recovery_key_takes_a_key_back_at_once_and_for_good(self, host: Host) -> None:
        do(host, host.revocation(ANNA), SAFE)
        refused(host, signed(host.request(), ANNA), RevokedKey)
        host.restart()
        refused(host, signed(host.request(), ANNA), RevokedKey)

    def test_one_is_enough_whatever_a_rotation_needs(self, tmp_path: Path) -> None:
        policy = AuthzConfig(
            threshold=(Threshold("key_rotation", 2), Threshold("thaw", 2)), separate_requester=True
        )
        with a_host(tmp_path, *OLD, policy=policy) as host:
            do(host, host.revocation(ANNA), SAFE)
            refused(host, signed(host.thaw(), SAFE), TooFewSigners)

    def test_of_many_none_is_passed_over(self, host: Host) -> None:
        job = do(host, host.revocation(ANNA), SAFE)
        where = host.kept.directory / "revoked"
        for number in range(600):
            (where / f"{number:064x}").mkdir()
            (where / f"{number:064x}" / "job").write_bytes(b"{}")
        assert len(host.kept.revocations()) == 601
        assert host.trust.has(job.hash)

    def test_an_operational_key_takes_none_back(self, host: Host) -> None:
        refused(host, signed(host.revocation(SAFE), ANNA), WrongRole)

    def test_it_outlives_a_rotation_that_brings_the_key_again(self, host: Host) -> None:
        do(host, host.revocation(ANNA), SAFE)
        both = [*OLD, signer_line(BELA)]
        do(host, host.rotation(*both), SAFE, BELA)
        refused(host, signed(host.request(), ANNA), RevokedKey)
        assert may_sign(host, BELA)

    def test_a_key_that_root_takes_back_counts_under_any_set(self, host: Host) -> None:
        rotate(host)
        host.signers.revoke(f"{BELA.line}\n")
        refused(host, signed(host.request(), BELA), RevokedKey)

    @pytest.mark.parametrize("lines", [(), ("nonsense",), ("ssh-ed25519 AAAA",), ("",)])
    def test_an_empty_list_or_one_with_no_key_in_it_is_an_error(
        self, host: Host, lines: tuple[str, ...]
    ) -> None:
        with pytest.raises(OperationRefused):
            host.for_host("key_revocation", keys=lines)

    def test_a_security_key_is_taken_back_whatever_application_it_names(self, host: Host) -> None:
        do(host, host.revocation(BELA), SAFE)
        host.signers.allow(*OLD, signer_line(BELA))
        refused(host, signed(host.request(), BELA), RevokedKey)


class TestExpiry:
    def test_a_set_that_has_ended_holds_what_is_destructive_and_may_be_rotated(
        self, host: Host
    ) -> None:
        host.signers.about('expires = "20300101"\n')
        host.wall.now = 1_893_456_000.0  # 2030-01-01T00:00:00Z
        job = signed(host.request())
        with pytest.raises(SignersExpired) as found:
            host.authorize(job)
        assert found.value.temporary
        assert host.authorize(signed(host.thaw(), SAFE))
        rotate(host)
        assert may_sign(host, BELA)

    def test_a_clock_that_is_set_back_brings_no_ended_set_back(self, host: Host) -> None:
        host.signers.about('expires = "20300101"\n')
        host.wall.now = 1_893_456_000.0
        host.facts.see(host.wall())
        host.wall.now -= 86400
        with pytest.raises(SignersExpired):
            host.authorize(signed(host.request()))


class TestChallenge:
    @pytest.fixture
    def job(self, host: Host) -> SignedJob:
        return replace(signed(host.thaw(), SAFE), source="hub:x")

    def test_a_job_from_a_hub_with_this_agents_own_challenge_is_good_for_a_day(
        self, host: Host, job: SignedJob
    ) -> None:
        host.pass_by(86_300)
        assert host.authorize(job)

    def test_a_hoarded_one_is_not(self, host: Host, job: SignedJob) -> None:
        host.pass_by(86_402)
        refused(host, job, OutsideTime)

    def test_one_with_the_signers_own_times_is_none(self, host: Host) -> None:
        job = replace(signed(host.timed()), source="hub:x")
        assert "challenge of this agent" in refused(host, job, OutsideTime)

    def test_after_a_boot_the_wall_clock_tells_its_age(self, host: Host, job: SignedJob) -> None:
        host.reboot(off=3600)
        assert host.authorize(job)

    def test_behind_a_boot_it_waits_for_a_clock_that_begins_too_early(
        self, host: Host, job: SignedJob
    ) -> None:
        host.wall.pass_by(-3600)
        host.reboot()
        assert "behind" in refused(host, job, ClockUntrusted)
        host.request()  # which looks for challenges that are over
        host.pass_by(3700)
        assert host.authorize(job)

    def test_so_does_one_that_is_remembered(self, host: Host) -> None:
        job = signed(host.request())
        host.wall.pass_by(-3600)
        host.reboot()
        refused(host, job, ClockUntrusted)
        host.request()
        host.pass_by(3700)
        assert host.authorize(job)

    def test_behind_a_clock_that_stays_behind_it_is_void_after_a_day(
        self, host: Host, job: SignedJob
    ) -> None:
        host.wall.pass_by(-(10**7))
        host.reboot()
        host.pass_by(86_402)
        refused(host, job, OutsideTime)

    def test_a_clock_that_jumps_ahead_and_a_restart_do_not_bring_a_done_job_back(
        self, host: Host, job: SignedJob
    ) -> None:
        host.authorize(job)
        host.wall.pass_by(30 * 86_400)
        host.clock.keep()
        host.restart()
        host.restart()
        assert host.facts.burnt() == (), "its nonce is forgotten"
        refused(host, job, OutsideTime)
        assert host.authorize(signed(host.thaw(), SAFE))

    def test_nor_do_they_where_the_clock_was_ahead_already_when_it_was_given_out(
        self, host: Host
    ) -> None:
        host.wall.pass_by(3 * 86_400)
        job = signed(host.thaw(), SAFE)
        host.wall.pass_by(-3 * 86_400)
        host.authorize(job)
        host.wall.pass_by(9 * 86_400)
        host.clock.keep()
        host.restart()
        with pytest.raises(OperationRefused):
            host.authorize(job)

    def test_a_clock_that_was_ahead_once_makes_no_new_one_void(self, host: Host) -> None:
        host.wall.pass_by(1000 * 86_400)
        host.clock.keep()
        host.wall.pass_by(-1000 * 86_400)
        host.restart()
        assert host.authorize(signed(host.thaw(), SAFE))

    def test_without_the_key_old_challenges_die(self, host: Host, job: SignedJob) -> None:
        (host.directory / "journal" / "challenge-key").unlink()
        host.restart()
        refused(host, job, OutsideTime)

    @pytest.mark.parametrize("place", [0, 9, 20, -1])
    def test_a_changed_one_is_not_this_agents(self, host: Host, place: int) -> None:
        operation = host.thaw()
        text = list(operation.challenge)
        text[place] = "1" if text[place] != "1" else "2"
        changed = with_words(replace(operation, challenge="".join(text)))
        with pytest.raises(OperationRefused):
            host.authorize(signed(changed, SAFE))

    def test_one_for_the_host_is_none_for_a_guest_nor_one_for_an_act_for_another(
        self, host: Host
    ) -> None:
        for token in (host.clock.token("host"), host.clock.token("force_stop", 101),
                      host.clock.token("guest_destroy", 102)):  # fmt: skip
            other: Operation = with_words(replace(host.request(), challenge=token))
            refused(host, signed(other), OutsideTime)
        fitting = with_words(
            replace(host.request(), challenge=host.clock.token("guest_destroy", 101))
        )
        assert host.authorize(signed(fitting))

    def test_many_jobs_may_have_one_and_each_is_done_once(self, host: Host) -> None:
        first = host.thaw()
        second = with_words(replace(host.thaw(), challenge=first.challenge))
        for operation in (first, second):
            job = signed(operation, SAFE)
            host.authorize(job)
            refused(host, job, NonceSpent)
