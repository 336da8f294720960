"""Laws: no changed input is accepted, and no refused input burns a nonce."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from felhom_agent.authz.armor import open_armor
from felhom_agent.authz.canonical import refuse_beyond_bounds
from felhom_agent.authz.check import SignedJob
from felhom_agent.authz.operation import Operation, parse
from felhom_agent.authz.refusals import OperationRefused
from tests.authz.desk import (
    Host,
    Key,
    a_host,
    armored,
    key,
    needs_ssh_keygen,
    pack,
    signed,
    signer_line,
)

pytestmark = needs_ssh_keygen

# Each example may call ssh-keygen; all of these laws together at most 300 times.
FEW = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw what a byte changed, lost, added, doubled or moved makes of some bytes."""
    at = draw(st.integers(0, len(data) - 1))
    to = draw(st.integers(at, min(len(data), at + 40)))
    kind = draw(st.sampled_from(["flip", "cut", "insert", "double", "truncate", "swap"]))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at] + data[to:]
    if kind == "insert":
        return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
    if kind == "double":
        return data[:to] + data[at:]
    if kind == "truncate":
        return data[:at]
    return data[to:] + data[at:to] + data[:at]


@pytest.fixture
def job(host: Host) -> SignedJob:
    """A job that would be done; signed once, and examined in all its changed forms."""
    return signed(host.timed())


def refused(host: Host, job: SignedJob) -> None:
    with pytest.raises(OperationRefused):
        host.authorize(job)
    assert host.facts.decisions() == ()


@given(st.data())
@FEW
def test_no_changed_blob_is_accepted(host: Host, job: SignedJob, data: st.DataObject) -> None:
    blob, armor = job.blob, job.signatures[0]
    changed = data.draw(mutations(blob))
    assume(changed != blob)
    refused(host, SignedJob(changed, (armor,)))


@given(st.data())
@FEW
def test_no_changed_armor_is_accepted(host: Host, job: SignedJob, data: st.DataObject) -> None:
    blob, armor = job.blob, job.signatures[0]
    changed = data.draw(mutations(armor))
    # The newline behind the last line is the one byte that may be missing.
    assume(changed not in (armor, armor.rstrip(b"\n")))
    refused(host, SignedJob(blob, (changed,)))


@given(st.data())
@settings(FEW, max_examples=60)
def test_no_signature_with_changed_bytes_in_a_sound_armor_is_accepted(
    host: Host, job: SignedJob, data: st.DataObject
) -> None:
    blob, armor = job.blob, job.signatures[0]
    body = base64.b64decode(b"".join(armor.split(b"\n")[1:-2]))
    changed = data.draw(mutations(body))
    assume(changed and changed != body)
    refused(host, SignedJob(blob, (armored(changed),)))


@given(st.binary(max_size=400))
def test_no_bytes_are_an_armor_by_chance(data: bytes) -> None:
    for text in (data, armored(data) if data else b"", armored(pack(data))):
        with pytest.raises(OperationRefused):
            open_armor(text)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_are_an_operation_by_chance(data: bytes) -> None:
    with pytest.raises(OperationRefused):
        read(data)


def read(data: bytes) -> Operation:
    refuse_beyond_bounds(data)
    return parse(data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_operation_is_refused_or_says_what_its_bytes_say(data: st.DataObject) -> None:
    blob = data.draw(mutations(data.draw(st.sampled_from([BLOB, HOST_BLOB]))))
    try:
        found = parse(blob)
    except OperationRefused:
        return
    # Whoever reads these bytes reads the same: they are the one form of what they say.
    assert found.encode() == blob


BLOB = (
    b'{"act":"guest_destroy","born":1700000000,"challenge":"'
    + b"c" * 32
    + b'","digest":"'
    + b"a" * 40
    + b'","expires":null,"host":"'
    + b"0" * 32
    + b'","identity":"uuid=1;ctime=2","issued":null,"kind":"qemu","name":"web","nonce":"'
    + b"1" * 32
    + b'","not_before":null,"params":{"purge":true},"requester":"","resume":false,"schema":1,'
    + b'"shown":"'
    + b"e" * 64
    + b'","snapshots":[{"name":"before","snaptime":5}],"stop":false,"vmid":101,"volumes":'
    + b'[{"key":"scsi0","size":"32G","volid":"local-lvm:vm-101-disk-0"}]}'
)


HOST_BLOB = (
    b'{"act":"key_revocation","challenge":"'
    + b"c" * 32
    + b'","expires":null,"host":"'
    + b"0" * 32
    + b'","issued":null,"nonce":"'
    + b"1" * 32
    + b'","not_before":null,"params":{"keys":["ssh-ed25519 AAAA"]},"requester":"","schema":1,'
    + b'"shown":"'
    + b"e" * 64
    + b'"}'
)


def test_the_operations_that_are_changed_are_some() -> None:
    for blob in (BLOB, HOST_BLOB):
        assert parse(blob).encode() == blob


def test_two_ecdsa_signatures_of_one_blob_are_one_job(tmp_path: Path) -> None:
    signer: Key = key("ecdsa", bits=256)
    with a_host(tmp_path, signer_line(signer)) as host:
        blob = host.timed().encode()
        first, second = (signer.sign(blob, "felhom-op-v1") for _ in range(2))
        assert first != second
        assert host.authorize(SignedJob(blob, (first,)))
        with pytest.raises(OperationRefused):
            host.authorize(SignedJob(blob, (second,)))
