"""A short run of the hub's fuzzer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.fuzz_hub import one


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_looks_like_a_hubs_answer_ends_in_what_is_documented(data: bytes) -> None:
    one(data)
