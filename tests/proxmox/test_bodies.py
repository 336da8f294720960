"""What a body may hold, and how much of it."""

from __future__ import annotations

import pytest

from felhom_agent.proxmox import bodies
from felhom_agent.proxmox.bodies import MAX_DEPTH, OTHER, BodyLimit, parse

ODD = [b"", b"[1]", b"7", b'{"a":NaN}', b'{"a":-Infinity}', b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}',
       '{"a":1}'.encode("utf-16"), b'{"a":1} {"b":2}', b'{"a":%s}' % (b"9" * 5000)]  # fmt: skip


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:20]))
def test_a_body_that_holds_no_object_of_plain_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(body, OTHER)


@pytest.mark.parametrize("filled", [b"", b"[" * 50], ids=["alone", "beside many brackets in text"])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "maps"])
def test_a_body_may_be_nested_as_deep_as_the_limit_and_no_deeper(
    begin: bytes, end: bytes, filled: bytes
) -> None:
    def nested(levels: int) -> bytes:
        inner = begin * (levels - 1) + b"0" + end * (levels - 1)
        return b'{"filled":"%s","data":%s}' % (filled, inner)

    assert "data" in parse(nested(MAX_DEPTH), OTHER)
    with pytest.raises(ValueError, match="nested too deep"):
        parse(nested(MAX_DEPTH + 1), OTHER)


def test_a_body_may_have_as_many_lists_and_objects_as_its_limit() -> None:
    three = BodyLimit(100, 3)
    assert parse(b'{"data":[{}]}', three)
    with pytest.raises(ValueError, match="too many rows"):
        parse(b'{"data":[{},{}]}', three)


def test_each_listing_may_be_bigger_than_what_is_about_one_guest() -> None:
    assert bodies.limit_of(("cluster", "resources")) is bodies.LISTING
    assert bodies.limit_of(("nodes", "pve1", "qemu", 100, "pending")) is bodies.CONFIGURATION
    assert bodies.limit_of(()) is OTHER
