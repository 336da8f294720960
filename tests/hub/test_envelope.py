"""The control envelope: adopted whole, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.hub.envelope import MAX_INTERVAL, MIN_INTERVAL, Envelope, InvalidEnvelope, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ("poll_interval_seconds", "blocked", "desired_generation", "has_signed_ops")


def test_all_words_are_understood() -> None:
    words = {"poll_interval_seconds": 120, "blocked": True, "desired_generation": 7,
             "has_signed_ops": False, "unknown": [1]}  # fmt: skip
    assert parse(words) == Envelope(120.0, True, 7, False)


def test_what_is_not_said_stays_as_it_is() -> None:
    assert parse({}) == Envelope()


@pytest.mark.parametrize(("said", "kept"), [(1, 60.0), (59, 60.0), (3601, 3600.0), (10**9, 3600.0)])
def test_the_interval_is_clamped(said: int, kept: float) -> None:
    assert parse({"poll_interval_seconds": said}).interval == kept


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "x",
        {"blocked": 1},
        {"blocked": None},
        {"blocked": "false"},
        {"desired_generation": True},
        {"desired_generation": 1.0},
        {"desired_generation": -1},
        {"desired_generation": 2**60},
        {"poll_interval_seconds": "60"},
        {"poll_interval_seconds": None},
        {"has_signed_ops": 0},
        {"poll_interval_seconds": 60, "blocked": "yes"},
    ],
)
def test_a_wrong_type_makes_it_invalid_as_a_whole(wrong: object) -> None:
    with pytest.raises(InvalidEnvelope):
        parse(wrong)


@given(JSON | st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_comes_it_is_an_envelope_within_its_bounds_or_invalid(body: object) -> None:
    try:
        found = parse(body)
    except InvalidEnvelope:
        return
    assert found.interval is None or MIN_INTERVAL <= found.interval <= MAX_INTERVAL
    assert found.blocked in (None, True, False)
    assert found.generation is None or found.generation >= 0
