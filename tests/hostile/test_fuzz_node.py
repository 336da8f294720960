"""A short form of the long run: junk in the place of PVE's answers."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.proxmox import bodies
from felhom_agent.proxmox.upid import Upid
from tests.hostile.fuzz_node import one


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_answer_of_a_node_raises_what_is_not_documented(data: bytes) -> None:
    one(data)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_a_body_is_an_object_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(bodies.parse(data, bodies.OTHER), dict)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120))
def test_a_text_is_a_upid_or_a_value_error(text: str) -> None:
    for candidate in (text, f"UPID:pve1:00006138:00037EA0:6B04A81C:{text}:"):
        try:
            upid = Upid.parse(candidate)
        except ValueError:
            continue
        assert not set("/?#%") & set(upid.text)
