"""A request tells a desk what would be signed, and nothing that cannot be signed leaves a host."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.authz.canonical import encode
from felhom_agent.authz.operation import parse
from felhom_agent.authz.refusals import (
    NotCanonical,
    NotSupported,
    OperationRefused,
    OtherIdentity,
    OutOfBounds,
    WrongParameters,
)
from felhom_agent.authz.request import (
    Circumstances,
    SignedRequest,
    compose,
    parse_request,
    with_times,
)
from felhom_agent.authz.words import shown_hash
from tests.authz.desk import CONTAINER, GUEST, HOST

CHALLENGE = "c" * 32


def request(**given: Any) -> SignedRequest:
    operation = compose(
        given.pop("act", "guest_destroy"),
        given.pop("guest", GUEST),
        HOST,
        CHALLENGE,
        params=given.pop("params", {"purge": True}),
        **given,
    )
    told = Circumstances("pve1", "2026-11-25 02:00", 3 * 3600 + 120, "started", 1_800_086_400)
    return SignedRequest(operation, told)


def test_a_request_is_read_back_as_it_was_written() -> None:
    found = request(stop=True)
    assert parse_request(found.encode()) == found
    assert parse(found.operation.encode()) == found.operation
    assert found.operation.shown == shown_hash(found.operation)


def test_each_request_has_a_nonce_of_its_own() -> None:
    assert len({request().operation.nonce for _ in range(50)}) == 50


def test_a_request_tells_in_plain_words_what_will_happen() -> None:
    lines = request(stop=True).lines()
    text = "\n".join(lines)
    assert lines[0] == "DESTROY VM 101 web"
    for part in (
        "local-lvm:vm-101-disk-0  32G",
        "snapshot before of 2026-09-21",
        "purge",
        "it is stopped",
        "Latest backup: 2026-11-25 02:00",
        "Runs since: 3 h 2 min",
        "HA: started",
        "Node: pve1",
        "Good for a day",
    ):
        assert part in text
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("act", "params", "said"),
    [
        (
            "snapshot_rollback",
            {"snapshot": "weekly"},
            "ROLL BACK VM 101 web to its snapshot weekly",
        ),
        ("snapshot_delete", {"snapshot": "weekly"}, "DELETE the snapshot weekly of VM 101 web"),
        ("force_stop", {}, "PULL THE PLUG of VM 101 web"),
        ("disk_detach", {"key": "scsi1"}, "TAKE scsi1 AWAY from VM 101 web"),
    ],
)
def test_each_act_has_words_of_its_own(act: str, params: dict[str, str], said: str) -> None:
    left = request(act=act, params=params).lines()
    assert left[0] == said
    assert any("left alone until somebody resumes" in line for line in left)
    on = request(act=act, params=params, resume=True).lines()
    assert any("goes on with the guest" in line for line in on)
    assert any("lose" in line.lower() or "lost" in line.lower() for line in left)


def test_a_container_and_a_guest_without_volumes_have_words() -> None:
    assert request(guest=CONTAINER).lines()[0] == "DESTROY container 201 db"
    bare = replace(GUEST, volumes=(), snapshots=())
    assert "  no volume, no snapshot" in request(guest=bare).lines()


def test_each_part_of_an_operation_changes_its_words() -> None:
    first = request().operation
    changes: list[dict[str, Any]] = [
        {"vmid": 102}, {"name": "mail"}, {"host": "d" * 32}, {"stop": True}, {"digest": "b" * 40},
        {"identity": "uuid=x"}, {"volumes": ()}, {"snapshots": ()}, {"params": {"purge": False}},
        {"act": "force_stop"}, {"challenge": "", "times": with_times(first, 1, 2).times},
    ]  # fmt: skip
    for change in changes:
        assert shown_hash(replace(first, **change)) != shown_hash(first), change


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"act": "storage_wipe", "params": {}}, NotSupported),
        ({"act": "decommission", "params": {}}, NotSupported),
        ({"act": "rm -rf", "params": {}}, NotSupported),
        ({"params": {}}, WrongParameters),
        ({"act": "disk_detach", "params": {"key": "rootfs"}, "guest": CONTAINER}, WrongParameters),
        ({"resume": True}, WrongParameters),
        ({"guest": replace(GUEST, identity="")}, OtherIdentity),
        ({"guest": replace(GUEST, name="a\nb")}, NotCanonical),
        ({"guest": replace(GUEST, name="-x")}, NotCanonical),
        ({"guest": replace(GUEST, digest="")}, NotCanonical),
        ({"guest": replace(GUEST, vmid=1)}, NotCanonical),
    ],
)
def test_what_cannot_be_done_or_signed_is_refused_before_it_is_signed(
    given: dict[str, Any], kind: type[OperationRefused]
) -> None:
    with pytest.raises(kind):
        request(**given)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "felhom-request-v2"},
        {"operation": None},
        {"circumstances": []},
        {"more": 1},
        {"circumstances": {"node": "pve1"}},
        {"circumstances": {"node": "p\x1b", "backup": "", "uptime": 1, "ha": "", "expires": 1}},
        {"circumstances": {"node": "p", "backup": "", "uptime": "1", "ha": "", "expires": 1}},
        {"circumstances": {"node": "p", "backup": "", "uptime": 1, "ha": "", "expires": None}},
    ],
)
def test_a_file_that_is_no_request_is_refused(change: dict[str, Any]) -> None:
    found = json.loads(request().encode()) | change
    with pytest.raises(NotCanonical):
        parse_request(encode(found))


def test_a_request_whose_words_are_not_ours_is_not_signed() -> None:
    found = json.loads(request().encode())
    found["operation"]["vmid"] = 102
    with pytest.raises(NotCanonical, match="same version"):
        parse_request(encode(found))


def test_a_request_is_bounded() -> None:
    for data in (b"", b"{" * 100, b"x" * 70_000):
        with pytest.raises(OutOfBounds):
            parse_request(data)


def test_a_request_may_be_made_good_for_minutes_instead_of_a_challenge() -> None:
    found = with_times(request().operation, 1_800_000_000, 600)
    assert not found.challenge
    assert parse(found.encode()) == found
    assert any("Good from 2027-01-15" in line for line in SignedRequest(found).lines())
