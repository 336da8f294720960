"""Every field of an operation is judged, and what may be shown or passed on is plain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.authz.blob import MAX_LISTED, SignedOperation, from_json
from felhom_agent.authz.form import SignedTimes, is_plain
from felhom_agent.authz.operation import parse
from felhom_agent.authz.refusals import NotCanonical
from felhom_agent.authz.request import compose
from tests.authz.desk import CONTAINER, GUEST, HOST


def operation() -> SignedOperation:
    return compose("guest_destroy", GUEST, HOST, "c" * 32, params={"purge": True})


@pytest.mark.parametrize("guest", [GUEST, CONTAINER])
def test_what_is_encoded_is_parsed_to_the_same(guest: Any) -> None:
    found = compose("force_stop", guest, HOST, "c" * 32, resume=True)
    assert parse(found.encode()) == found
    timed = replace(found, challenge="", times=SignedTimes(1, 2, 3))
    assert parse(timed.encode()) == timed


VOLUME = {"key": "scsi0", "size": "32G", "volid": "a:b"}
SNAPSHOT = {"name": "before", "snaptime": 5}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("act", "start"), ("act", "GUEST_DESTROY"), ("act", 1), ("act", None), ("act", ["x"]),
        ("vmid", 0), ("vmid", 10**10), ("vmid", False), ("vmid", None),
        ("kind", "vm"), ("kind", 1), ("kind", None), ("kind", {}),
        ("name", "a\nb"), ("name", "-rf"), ("name", "a\x1b[2J"), ("name", "x" * 256),
        ("name", "\u202e"), ("name", 5),
        ("host", "HOST"), ("host", "F" * 32), ("host", "f" * 31), ("host", ""),
        ("identity", ""), ("identity", "a\nb"), ("identity", "--x"), ("identity", "x" * 5000),
        ("born", -1), ("born", True), ("born", "1"), ("born", 10**15),
        ("digest", ""), ("digest", "A" * 40), ("digest", "a" * 39), ("digest", "a" * 40 + "\n"),
        ("nonce", ""), ("nonce", "n" * 32), ("nonce", "1" * 33),
        ("stop", 1), ("stop", None), ("resume", "true"),
        ("challenge", "x"), ("challenge", None),
        ("shown", "0"), ("shown", None), ("schema", True), ("schema", 0),
        ("issued", 1), ("expires", "1"), ("not_before", -5),
        ("params", []), ("params", {"A": True}), ("params", {"a": 1}), ("params", {"a": None}),
        ("params", {"a": "-x"}), ("params", {"a": "b\n"}), ("params", {"-a": True}),
        ("volumes", {}), ("volumes", [None]), ("volumes", [VOLUME | {"more": 1}]),
        ("volumes", [VOLUME | {"volid": "--x"}]), ("volumes", [VOLUME | {"volid": "a\n:b"}]),
        ("volumes", [VOLUME | {"volid": ""}]), ("volumes", [VOLUME | {"key": "Scsi0"}]),
        ("volumes", [VOLUME | {"key": "-f"}]), ("volumes", [VOLUME | {"size": "1\t"}]),
        ("volumes", [VOLUME, VOLUME | {"volid": "c:d"}]),
        ("volumes", [VOLUME] * (MAX_LISTED + 1)),
        ("snapshots", [SNAPSHOT | {"name": "current"}]), ("snapshots", [SNAPSHOT | {"name": "-a"}]),
        ("snapshots", [SNAPSHOT | {"name": "a b"}]), ("snapshots", [SNAPSHOT | {"name": "a\n"}]),
        ("snapshots", [SNAPSHOT | {"snaptime": "5"}]), ("snapshots", [SNAPSHOT | {"x": 1}]),
        ("snapshots", [SNAPSHOT, SNAPSHOT | {"snaptime": 6}]), ("snapshots", "abc"),
    ],
)  # fmt: skip
def test_a_field_that_is_not_as_it_must_be_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(NotCanonical) as told:
        from_json(operation().to_json() | {field: value})
    assert str(told.value).isprintable()
    assert len(str(told.value)) <= 400


@pytest.mark.parametrize("text", ["", "web", "a b", "Ärger", "local-lvm:vm-101-disk-0"])
def test_plain_texts_are_plain(text: str) -> None:
    assert is_plain(text, 40)


@pytest.mark.parametrize("text", ["-x", "a\0", "a\r", "x" * 41, "\u200b", "\ud800", None, b"x"])
def test_other_texts_are_not(text: object) -> None:
    assert not is_plain(text, 40)
