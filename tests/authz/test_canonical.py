"""There is one form of bytes for each operation, and every other is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.authz.canonical import decode, encode, refuse_beyond_bounds
from felhom_agent.authz.refusals import NotCanonical, OutOfBounds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=6))
def test_what_is_encoded_is_decoded_to_the_same(found: dict[str, object]) -> None:
    try:
        data = encode(found)
    except NotCanonical:
        return
    assert decode(data) == found
    assert encode(decode(data)) == data


@given(st.dictionaries(st.text(max_size=8), VALUES, min_size=1, max_size=6), st.booleans())
def test_another_way_to_write_the_same_is_refused(found: dict[str, object], ascii_: bool) -> None:
    data = json.dumps(found, indent=1, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")
    with pytest.raises(NotCanonical):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{"a":1.5}', b'{"a":1e3}', b'{"a":-0}', b'{"a":01}',
        b'{"a":Infinity}', b'\xef\xbb\xbf{"a":1}', b'{"a":"\\u0041"}', b'{"a":"\\/"}', b'{"a":1}x',
        b'{"a":"\xc3"}', b'{"a":"\\ud800"}', b'{"a":1}\n', b'["a"]', b'"a"', b'1', b'',
        '{"a":1}'.encode("utf-16"), b'{"a":"\x7f"}'[:-1],
    ],
)  # fmt: skip
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode(data)


def test_bounds_are_counted_without_parsing() -> None:
    refuse_beyond_bounds(b'{"a":[{"b":[{"c":[]}]}]}')
    for data in (b"", b"[" * 7, b"," * 5000, b"x" * 65_537, b'{"a":"[[[[[[[["}'):
        with pytest.raises(OutOfBounds):
            refuse_beyond_bounds(data)


def test_a_value_that_is_no_json_has_no_form() -> None:
    for value in (object(), float("nan"), "\ud800"):
        with pytest.raises(NotCanonical):
            encode({"a": value})
