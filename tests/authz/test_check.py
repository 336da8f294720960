"""Each attack of the list ends at its own stage, and burns no nonce."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.blob import SignedOperation, SignedSnapshot, SignedVolume
from felhom_agent.authz.canonical import encode
from felhom_agent.authz.check import STAGES, SignedJob
from felhom_agent.authz.form import SignedTimes
from felhom_agent.authz.rate import BURST, Rate
from felhom_agent.authz.refusals import (
    BadArmor,
    BadSignature,
    ClockUntrusted,
    NoSigners,
    NotCanonical,
    NotSupported,
    OtherIdentity,
    OutOfBounds,
    OutsideTime,
    RevokedKey,
    SignersUnusable,
    StateChanged,
    TooEarly,
    TooManyJobs,
    UnknownKey,
    WrongGuest,
    WrongHost,
    WrongNamespace,
    WrongParameters,
    WrongRole,
)
from felhom_agent.authz.signerline import Role
from felhom_agent.authz.words import with_words
from felhom_agent.model import Kind
from tests.authz.desk import (
    CONTAINER,
    GUEST,
    Host,
    Key,
    a_host,
    key,
    needs_ssh_keygen,
    raw,
    refused,
    security_key,
    signed,
    signer_line,
)
from tests.conftest import Clock

pytestmark = needs_ssh_keygen

KINDS: list[Callable[[], Key]] = [
    lambda: key("ed25519"),
    lambda: key("ecdsa", bits=256),
    lambda: key("ecdsa", bits=384),
    lambda: key("ecdsa", bits=521),
    lambda: key("rsa", bits=3072),
    lambda: security_key("ssh-ed25519"),
    lambda: security_key("ecdsa-sha2-nistp256"),
]
NAMES = ["ed25519", "nistp256", "nistp384", "nistp521", "rsa", "sk-ed25519", "sk-nistp256"]


@pytest.mark.parametrize("maker", KINDS, ids=NAMES)
def test_a_key_of_every_type_signs(tmp_path: Path, maker: Callable[[], Key]) -> None:
    signer = maker()
    with a_host(tmp_path, signer_line(signer)) as host:
        job = signed(host.request(), signer)
        assert host.examiner.examine(job, host.observe).role is Role.OPERATIONAL
        assert host.authorize(job).examined.operation.vmid == 101


@pytest.mark.parametrize("maker", KINDS, ids=NAMES)
def test_a_changed_blob_is_refused_whatever_the_type_of_the_key(
    tmp_path: Path, maker: Callable[[], Key]
) -> None:
    signer = maker()
    with a_host(tmp_path, signer_line(signer)) as host:
        job = signed(host.request(), signer)
        changed = replace(job, blob=job.blob.replace(b'"vmid":101', b'"vmid":102'))
        refused(host, changed, BadSignature)


def test_the_stages_are_in_the_order_of_the_docstring() -> None:
    import felhom_agent.authz

    text = felhom_agent.authz.__doc__ or ""
    numbered = [line.split()[1] for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert numbered == [stage.name for stage in STAGES]


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_security_key_that_nobody_touched_is_refused(tmp_path: Path, kind: str) -> None:
    signer = security_key(kind, touch=False)
    with a_host(tmp_path, signer_line(signer)) as host:
        assert "touched" in str(refused(host, signed(host.request(), signer), BadSignature))


def test_a_key_that_is_not_on_the_list_is_refused(host: Host) -> None:
    refused(host, signed(host.request(), key(number=1)), UnknownKey)


def test_a_signature_that_names_a_listed_key_and_is_another_s_is_refused(host: Host) -> None:
    job = signed(host.request())
    other = signed(host.request())
    refused(host, replace(job, signatures=(other.signatures[0],)), BadSignature)


def test_without_signers_nothing_is_signed(host: Host) -> None:
    (host.signers.directory / "allowed_signers").unlink()
    refused(host, signed(host.request()), NoSigners)


@pytest.mark.parametrize(
    "line",
    [
        "* {}",
        "oper* {}",
        "!recovery,operational {}",
        "operational,recovery {}",
        "anna@desk {}",
        "operational cert-authority {}",
        'operational namespaces="file" {}',
        "operational no-such-option {}",
        "ssh-ed25519 AAAA",
        "operational {}A",
    ],
)
def test_one_bad_line_makes_the_whole_list_count_for_nothing(host: Host, line: str) -> None:
    host.signers.allow(signer_line(key()), line.format(key(number=1).line))
    error = refused(host, signed(host.request()), SignersUnusable)
    assert "allowed_signers:2" in str(error)


def test_a_weak_key_makes_the_list_count_for_nothing(host: Host) -> None:
    weak = key("rsa", bits=2048)
    host.signers.allow(signer_line(weak))
    assert "2048 bits" in str(refused(host, signed(host.request(), weak), SignersUnusable))


def test_a_revoked_key_is_refused(host: Host) -> None:
    host.signers.revoke(key().public)
    refused(host, signed(host.request()), RevokedKey)


def test_who_is_not_revoked_signs_beside_a_list_of_revoked_keys(host: Host) -> None:
    host.signers.revoke(key(number=1).public)
    assert host.authorize(signed(host.request()))


@pytest.mark.parametrize(
    "text", ["", "\n", "# none\n", "ssh-ed25519 AAAAC3Nz\n", "ssh-ed25519\n", "{}"]
)
def test_an_empty_or_truncated_list_of_revoked_keys_is_a_fault(host: Host, text: str) -> None:
    host.signers.revoke(text.replace("{}", key(number=1).public.rstrip("\n")))
    refused(host, signed(host.request()), SignersUnusable)


def test_a_key_whose_time_is_over_is_refused(host: Host) -> None:
    host.signers.allow(f'operational valid-before="20200101Z" {key().line}')
    assert "expired" in str(refused(host, signed(host.request()), BadSignature))


def test_a_key_whose_time_has_not_begun_is_refused(host: Host) -> None:
    host.signers.allow(f'operational valid-after="20990101Z" {key().line}')
    refused(host, signed(host.request()), BadSignature)


def test_a_clock_that_is_set_back_makes_no_key_good_again(host: Host) -> None:
    host.signers.allow(f'operational valid-before="20270201Z" {key().line}')
    job = signed(host.request())
    host.facts.see(host.wall() + 365 * 86400.0)
    refused(host, job, BadSignature)


def test_a_signature_for_another_purpose_is_refused(host: Host) -> None:
    job = raw(host.request().encode(), namespace="file")
    refused(host, job, WrongNamespace)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"x"),
        (b"", b"\n\n"),
        (b"", b"\0"),
        (b"\n", b""),
        (b"# a comment\n", b""),
    ],
)
def test_bytes_around_the_armor_are_refused(host: Host, before: bytes, after: bytes) -> None:
    job = signed(host.request())
    refused(host, replace(job, signatures=(before + job.signatures[0] + after,)), BadArmor)


def test_a_second_signature_behind_the_first_is_refused(host: Host) -> None:
    job = signed(host.request())
    refused(host, replace(job, signatures=(job.signatures[0] + job.signatures[0],)), BadArmor)


def test_too_large_too_deep_or_too_many_is_refused_before_any_process(host: Host) -> None:
    armor = signed(host.request()).signatures[0]
    blobs = [b"", b"x" * 65_537, b"[" * 50 + b"]" * 50, b'{"a":[' + b"1," * 5000 + b"1]}"]
    for blob in blobs:
        refused(host, SignedJob(blob, (armor,)), OutOfBounds)
    for bad in (b"", b"y" * 16_385):
        refused(host, SignedJob(host.request().encode(), (bad,)), OutOfBounds)


def test_a_flood_is_told_to_come_again_and_another_source_is_heard(host: Host) -> None:
    examiner = host.examiner_with(Rate(Clock()))
    job = SignedJob(b"", (b"",), "hub")
    for _ in range(BURST):
        with pytest.raises(OutOfBounds):
            examiner.examine(job, host.observe)
    lines = host.audit.last.entry
    with pytest.raises(TooManyJobs) as told:
        examiner.examine(job, host.observe)
    assert told.value.temporary
    assert host.audit.last.entry == lines
    assert examiner.examine(signed(host.request()), host.observe)


@pytest.mark.parametrize(
    "change",
    [
        lambda blob: b" " + blob,
        lambda blob: blob + b"\n",
        lambda blob: blob.replace(b":", b": ", 1),
        lambda blob: blob.replace(b'{"act"', b'{"act":"force_stop","act"', 1),
        lambda blob: blob.replace(b"web", b"w\\u0065b"),
        lambda blob: blob.replace(b"web", b"w\xffb"),
        lambda blob: blob.replace(b"web", b"w\\ud800b"),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":101.0'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":1e2'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":NaN'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":true'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":"101"'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":99'),
        lambda blob: blob.replace(b'"vmid":101', b'"vmid":' + b"1" * 5000),
        lambda blob: blob.replace(b'"web"', b'"w\\nb"'),
        lambda blob: blob.replace(b'"web"', b'"--force"'),
        lambda blob: blob.replace(b'"web"', '"w\u202eb"'.encode()),
        lambda blob: blob.replace(b"guest_destroy", b"guest_explode"),
        lambda blob: blob.replace(b'"schema":1', b'"schema":2'),
        lambda blob: blob[:-1] + b',"zzz":1}',
        lambda blob: blob[:-1],
        lambda _: b"[]",
        lambda _: b"null",
        lambda _: b"{}",
    ],
)
def test_what_is_not_the_one_form_is_refused_though_it_is_signed(
    host: Host, change: Callable[[bytes], bytes]
) -> None:
    refused(host, raw(change(host.request().encode())), NotCanonical)


@pytest.mark.parametrize("field", sorted(json.loads(
    SignedOperation("force_stop", 101, Kind.QEMU, "web", "", "", 0, "", "").to_json().__repr__()
    .replace("'", '"').replace("None", "null").replace("False", "false")
)))  # fmt: skip
def test_an_operation_without_one_of_its_fields_is_refused(host: Host, field: str) -> None:
    found = host.request().to_json()
    del found[field]
    refused(host, raw(encode(found)), NotCanonical)


def test_volumes_and_snapshots_stand_in_their_order_each_once(host: Host) -> None:
    for name in ("volumes", "snapshots"):
        found = host.request().to_json()
        found[name] = found[name][::-1]
        refused(host, raw(encode(found)), NotCanonical)
        found[name] = [found[name][0]] * 2
        refused(host, raw(encode(found)), NotCanonical)


def test_a_recovery_key_signs_nothing_that_is_done_to_a_guest(tmp_path: Path) -> None:
    with a_host(tmp_path, signer_line(key(), Role.RECOVERY)) as host:
        assert "recovery" in str(refused(host, signed(host.request()), WrongRole))


def test_an_operational_key_rotates_no_keys(host: Host) -> None:
    assert "recovery" in str(refused(host, signed(host.thaw()), WrongRole))


@pytest.mark.parametrize("act", ["storage_wipe", "restore_overwrite"])
def test_what_this_version_does_not_do_is_refused_by_name(host: Host, act: str) -> None:
    assert act in str(refused(host, signed(replace(host.request(), act=act)), NotSupported))


def test_a_job_for_another_host_is_refused_and_its_guest_not_looked_at(host: Host) -> None:
    job = signed(with_words(replace(host.request(), host="f" * 32)))
    refused(host, job, WrongHost)
    assert host.looks == 0


def test_nobody_looks_at_a_guest_for_a_job_that_nobody_signed(host: Host) -> None:
    job = signed(host.request(), key(number=1))
    refused(host, job, UnknownKey)
    assert host.looks == 0


def test_a_guest_that_is_gone_or_of_another_kind_is_refused(host: Host) -> None:
    job = signed(host.request())
    for guest in (None, replace(GUEST, kind=Kind.LXC), replace(GUEST, vmid=102)):
        host.guest = guest
        refused(host, job, WrongGuest)


def test_a_recycled_vmid_is_another_guest(host: Host) -> None:
    job = signed(host.request())
    assert host.examiner.examine(job, host.observe)
    other = "uuid=99999999-2222-3333-4444-555555555555;ctime=1700000000"
    for guest in (
        replace(GUEST, identity=other),
        replace(GUEST, identity=GUEST.identity.replace("1700000000", "1700000001")),
        replace(GUEST, identity="uuid=11111111-2222-3333-4444-555555555555"),
        replace(GUEST, identity=""),
        replace(GUEST, born=1_700_000_001),
        replace(GUEST, born=None),
    ):
        host.guest = guest
        refused(host, job, OtherIdentity)


def test_a_container_created_again_is_told_by_the_task_list_alone(host: Host) -> None:
    host.guest = CONTAINER
    job = signed(host.request("force_stop"))
    host.guest = replace(CONTAINER, born=1_700_000_001)
    refused(host, job, OtherIdentity)
    host.guest = replace(CONTAINER, born=None)
    refused(host, job, OtherIdentity)
    unread = signed(host.request("force_stop"))
    refused(host, unread, OtherIdentity)
    host.guest = replace(CONTAINER, born=0)
    assert host.authorize(job)


@pytest.mark.parametrize(
    "guest",
    [
        replace(GUEST, digest="b" * 40),
        replace(GUEST, name="mail"),
        replace(GUEST, running=True),
        replace(GUEST, running=None),
        replace(GUEST, snapshots=(*GUEST.snapshots, SignedSnapshot("z", 1_799_000_000))),
        replace(GUEST, snapshots=GUEST.snapshots[:1]),
        replace(GUEST, snapshots=(SignedSnapshot("before", 1), GUEST.snapshots[1])),
        replace(GUEST, volumes=GUEST.volumes[:1]),
        replace(GUEST, volumes=(*GUEST.volumes, SignedVolume("scsi2", "a:b", "1G"))),
        replace(GUEST, volumes=(replace(GUEST.volumes[0], size="64G"), GUEST.volumes[1])),
    ],
)
def test_a_guest_that_was_changed_since_is_left_alone(host: Host, guest: object) -> None:
    job = signed(host.request())
    host.guest = guest  # type: ignore[assignment]
    refused(host, job, StateChanged)


def test_a_running_guest_is_destroyed_only_with_a_signed_stop(host: Host) -> None:
    host.guest = replace(GUEST, running=True)
    assert host.authorize(signed(host.request(stop=True)))


@pytest.mark.parametrize(
    ("act", "params"),
    [
        ("guest_destroy", {}),
        ("guest_destroy", {"purge": "yes"}),
        ("guest_destroy", {"purge": True, "skiplock": True}),
        ("snapshot_rollback", {}),
        ("snapshot_rollback", {"snapshot": "no-such"}),
        ("snapshot_rollback", {"snapshot": "current"}),
        ("snapshot_delete", {"snapshot": True}),
        ("snapshot_delete", {"snapshot": "../weekly"}),
        ("force_stop", {"timeout": "0"}),
        ("disk_detach", {"key": "scsi7"}),
        ("disk_detach", {"key": ""}),
        ("disk_detach", {"snapshot": "weekly"}),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    host: Host, act: str, params: dict[str, str | bool]
) -> None:
    good = host.request("force_stop")
    challenge = host.request(act, params=GOOD[act]).challenge
    bad = with_words(replace(good, act=act, params=params, challenge=challenge))
    refused(host, signed(bad), WrongParameters)


GOOD: dict[str, dict[str, str | bool]] = {
    "guest_destroy": {"purge": False},
    "snapshot_rollback": {"snapshot": "weekly"},
    "snapshot_delete": {"snapshot": "before"},
    "force_stop": {},
    "disk_detach": {"key": "scsi1"},
}


@pytest.mark.parametrize("act", GOOD)
def test_each_act_that_is_done_can_be_signed(host: Host, act: str) -> None:
    assert host.authorize(signed(host.request(act, params=GOOD[act])))


def test_a_stop_or_a_resume_where_there_is_none_is_refused(host: Host) -> None:
    forced = host.request("force_stop")
    refused(host, signed(with_words(replace(forced, stop=True))), WrongParameters)
    destroy = host.request()
    refused(host, signed(with_words(replace(destroy, resume=True))), WrongParameters)


def test_words_that_are_not_the_operation_s_are_refused(host: Host) -> None:
    refused(host, signed(replace(host.request(), shown="0" * 64)), WrongParameters)
    refused(host, signed(replace(host.request(), shown="")), WrongParameters)


def test_times_that_are_over_too_long_or_out_of_order_are_refused(host: Host) -> None:
    now = int(host.wall())
    for times in (
        SignedTimes(now - 601, now - 601, now - 1),
        SignedTimes(now - 600, now - 600, now),
        SignedTimes(now, now, now + 601),
        SignedTimes(now - 86400, now, now + 600),
        SignedTimes(now, now + 10, now + 5),
        SignedTimes(now + 10, now, now + 60),
        SignedTimes(now, now, now),
    ):
        operation = replace(host.timed(), times=times)
        refused(host, signed(with_words(operation)), OutsideTime)


def test_two_minutes_are_forgiven_for_not_yet_and_none_for_over(host: Host) -> None:
    now = int(host.wall())
    early = with_words(replace(host.timed(), times=SignedTimes(now + 121, now + 121, now + 300)))
    assert refused(host, signed(early), TooEarly).temporary
    good = with_words(replace(host.timed(), times=SignedTimes(now + 120, now + 120, now + 300)))
    assert host.examiner.examine(signed(good), host.observe)
    host.pass_by(300)
    refused(host, signed(good), OutsideTime)


def test_times_of_the_signer_s_wait_for_a_synchronised_clock(host: Host) -> None:
    job = signed(host.timed())
    host.synchronised = False
    assert refused(host, job, ClockUntrusted).temporary
    host.synchronised = True
    assert host.authorize(job)


def test_a_challenge_needs_no_synchronised_clock(host: Host) -> None:
    host.synchronised = False
    assert host.authorize(signed(host.request()))


def test_a_challenge_of_another_agent_guest_or_act_is_refused(host: Host) -> None:
    strange = replace(host.request(), challenge="e" * 32)
    refused(host, signed(strange), OutsideTime)
    other = host.request("force_stop").challenge
    refused(host, signed(replace(host.request(), challenge=other)), OutsideTime)
    host.guest = CONTAINER
    elsewhere = host.request().challenge
    host.guest = GUEST
    refused(host, signed(replace(host.request(), challenge=elsewhere)), OutsideTime)


def test_a_challenge_and_times_together_are_no_form(host: Host) -> None:
    found = host.timed().to_json()
    found["challenge"] = host.request().challenge
    refused(host, raw(encode(found)), NotCanonical)
    found["challenge"], found["issued"] = "", None
    refused(host, raw(encode(found)), NotCanonical)


def test_each_stage_tells_what_it_found(host: Host) -> None:
    job = signed(host.request())
    host.guest = replace(GUEST, digest="b" * 40)
    reports = host.examiner.report(job, host.observe)
    assert [each.stage for each in reports] == list(STAGES)
    assert [each.passed for each in reports] == [True] * 12 + [False] + [None] * 2
    host.guest = GUEST
    assert all(each.passed for each in host.examiner.report(job, host.observe))
    assert host.audit.last.entry == 1
