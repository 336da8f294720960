"""The short form of fuzzing the journal: every odd value once, and some hundred files by chance."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.durable.line import encode_file
from felhom_agent.journal.content import content_of
from felhom_agent.journal.operation import State, ended, intent, record_of
from felhom_agent.model import ABSENT, Change, Kind, SetConfig, Start, Stop
from tests.hostile.fuzz_journal import each_odd_file, odd_records, one, use

_ACTIONS = st.one_of(
    st.builds(Start, st.integers(100, 999_999_999), st.sampled_from(Kind)),
    st.builds(Stop, st.integers(100, 999_999_999), st.sampled_from(Kind)),
    st.builds(
        SetConfig,
        st.integers(100, 999_999_999),
        st.sampled_from(Kind),
        st.lists(
            st.builds(Change, st.text(), st.text(), st.text() | st.just(ABSENT)), max_size=3
        ).map(tuple),
    ),
)


def test_every_odd_value_of_every_field_is_read_or_told_in_words() -> None:
    for data in each_odd_file():
        use(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_told_in_words(data: bytes) -> None:
    one(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_of_odd_records_is_read_or_told_in_words(
    choice: bytes, place: int, byte: int
) -> None:
    data = bytearray(encode_file(odd_records(choice)))
    data[place % len(data)] = byte
    use(bytes(data))


@settings(max_examples=200, deadline=None)
@given(
    _ACTIONS,
    st.floats(0, 2e11),
    st.text(),
    st.none() | st.floats(0, 2.5e11),
    st.sampled_from(State),
    st.text(),
    st.booleans(),
)
def test_whatever_is_written_is_never_called_damage(
    action: Start | Stop | SetConfig,
    begun: float,
    key: str,
    expires: float | None,
    state: State,
    text: str,
    untouched: bool,
) -> None:
    first = intent("019a00000001", action, begun, key, expires)
    steps = [record_of(first)]
    if state not in (State.INTENT, State.TASK):
        steps.append(record_of(ended(first, state, begun, text, untouched=untouched)))
    assert content_of(encode_file(steps)).damage == ()
