"""Several signers: as many different keys as the owner wants, and nobody else's beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.refusals import (
    BadSignature,
    ForeignSignature,
    OperationRefused,
    OutOfBounds,
    RevokedKey,
    TooFewSigners,
    UnknownKey,
    WrongRole,
)
from felhom_agent.authz.request import asked_for_by
from felhom_agent.authz.signerline import Role
from felhom_agent.config.settings import AuthzConfig, KeyRole, Threshold
from tests.authz.desk import (
    Host,
    a_host,
    fingerprint,
    key,
    needs_ssh_keygen,
    raw,
    security_key,
    signed,
    signer_line,
)
from tests.authz.desk import refused as refusal

pytestmark = needs_ssh_keygen

ANNA, BELA, CILI = key(), key(number=1), key(number=2)
STRANGER = key(number=9)
RECOVERY = key(number=5)
TWO = AuthzConfig(threshold=(Threshold("guest_destroy", 2),))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host that wants two of three operators for a destroy."""
    lines = [*map(signer_line, (ANNA, BELA, CILI)), signer_line(RECOVERY, Role.RECOVERY)]
    with a_host(tmp_path, *lines, policy=TWO) as host:
        yield host


def refused(host: Host, job: SignedJob, kind: type[OperationRefused]) -> str:
    return str(refusal(host, job, kind))


def test_two_of_three_are_enough_and_the_audit_log_names_both(host: Host) -> None:
    leave = host.authorize(signed(host.request(), ANNA, CILI))
    assert leave.examined.fingerprint == f"{fingerprint(ANNA)},{fingerprint(CILI)}"


def test_one_is_too_few(host: Host) -> None:
    said = refused(host, signed(host.request()), TooFewSigners)
    assert "must be signed with 2 different keys; 1 key has" in said


def test_one_key_that_signs_twice_is_one(host: Host) -> None:
    refused(host, signed(host.request(), ANNA, ANNA), TooFewSigners)


def test_two_ecdsa_signatures_of_one_key_differ_and_are_one(tmp_path: Path) -> None:
    signer = key("ecdsa", bits=256)
    with a_host(tmp_path, signer_line(signer), signer_line(ANNA), policy=TWO) as host:
        refused(host, signed(host.request(), signer, signer), TooFewSigners)


def test_another_act_needs_one_unless_the_owner_says_so(host: Host) -> None:
    assert host.authorize(signed(host.request("force_stop")))


def test_signatures_over_different_bytes_are_not_counted_together(host: Host) -> None:
    job = signed(host.request(), ANNA)
    other = signed(host.request(), BELA)
    refused(host, replace(job, signatures=(*job.signatures, *other.signatures)), BadSignature)


def test_a_strangers_signature_beside_enough_good_ones_is_refused(host: Host) -> None:
    said = refused(host, signed(host.request(), ANNA, BELA, STRANGER), ForeignSignature)
    assert fingerprint(STRANGER) in said


def test_strangers_alone_are_refused_by_their_keys(host: Host) -> None:
    refused(host, signed(host.request(), STRANGER, key(number=8)), UnknownKey)


def test_a_recovery_key_is_none_of_the_two(host: Host) -> None:
    refused(host, signed(host.request(), ANNA, RECOVERY), WrongRole)


def test_a_revoked_key_among_enough_good_ones_is_refused(host: Host) -> None:
    host.signers.revoke(f"{CILI.line}\n")
    refused(host, signed(host.request(), ANNA, BELA, CILI), RevokedKey)


@pytest.mark.parametrize("count", [0, 9])
def test_no_signature_or_nine_are_out_of_bounds(host: Host, count: int) -> None:
    job = signed(host.request())
    refused(host, replace(job, signatures=job.signatures * count), OutOfBounds)


def test_eight_signatures_are_taken(host: Host) -> None:
    assert host.authorize(signed(host.request(), *([ANNA, BELA] * 4)))


def test_who_asks_is_not_who_approves(tmp_path: Path) -> None:
    policy = AuthzConfig(separate_requester=True)
    with a_host(tmp_path, signer_line(ANNA), signer_line(BELA), policy=policy) as host:
        plain = host.request()
        assert "who asked" in refused(host, signed(plain, ANNA, BELA), TooFewSigners)
        asked = asked_for_by(plain, fingerprint(ANNA))
        assert "must be approved with 1" in refused(host, signed(asked, ANNA), TooFewSigners)
        assert "has not signed" in refused(host, signed(asked, BELA), TooFewSigners)
        assert host.authorize(signed(asked, ANNA, BELA))


def test_a_requester_who_is_named_must_have_signed_on_any_host(host: Host) -> None:
    asked = asked_for_by(host.request(), fingerprint(CILI))
    refused(host, signed(asked, ANNA, BELA), TooFewSigners)
    assert host.authorize(signed(asked, CILI, BELA))


def test_a_role_that_must_be_touched_takes_security_keys_alone(tmp_path: Path) -> None:
    policy = AuthzConfig(touch_required=(KeyRole.OPERATIONAL,))
    hardware = security_key("ssh-ed25519")
    lines = [signer_line(ANNA), signer_line(hardware), signer_line(RECOVERY, Role.RECOVERY)]
    with a_host(tmp_path, *lines, policy=policy) as host:
        assert "no security key" in refused(host, signed(host.request(), ANNA), BadSignature)
        assert host.authorize(signed(host.request(), hardware))
        assert host.authorize(signed(host.thaw(), RECOVERY)), "the other role need not be"


def test_a_security_key_that_was_not_touched_never_counts(tmp_path: Path) -> None:
    untouched = security_key("ssh-ed25519", touch=False)
    with a_host(tmp_path, signer_line(untouched), signer_line(ANNA), policy=TWO) as host:
        refused(host, signed(host.request(), ANNA, untouched), BadSignature)


def test_part_of_a_job_of_several_steps_is_another_job(host: Host) -> None:
    blob = host.request(stop=True).encode()
    assert b'"stop":true' in blob
    job = raw(blob, ANNA, BELA)
    for change in (
        blob.replace(b'"stop":true', b'"stop":false'),
        blob.replace(b'"purge":true', b'"purge":false'),
        blob.replace(b'{"key":"scsi1","size":"8G","volid":"local-lvm:vm-101-disk-1"}', b""),
    ):
        assert change != blob
        refused(host, replace(job, blob=change), BadSignature)
