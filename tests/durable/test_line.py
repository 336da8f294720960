"""A line says whether it is what was written; a file of lines says what is missing in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.durable.line import (
    VERSION,
    Newer,
    Record,
    Unreadable,
    body_of,
    decode,
    decode_file,
    encode,
    encode_file,
)

RECORDS: list[Record] = [
    {"op": "1", "state": "intent"},
    {"op": "1", "state": "succeeded"},
    {"op": "2", "text": 'quoted "text" {"v":1}'},
]
FILE = encode_file(RECORDS)
LINES = FILE.splitlines(keepends=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.integers(min_value=1, max_value=10**17), st.dictionaries(st.text(), JSON))
def test_any_record_comes_back_as_it_was(number: int, record: dict[str, object]) -> None:
    line = encode(number, body_of(record))
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == (number, record)


def test_what_is_no_json_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        body_of({"n": float("nan")})


def test_wherever_a_file_is_cut_whole_records_come_back_and_nothing_else() -> None:
    for length in range(len(FILE) + 1):
        content = decode_file(FILE[:length])
        # A record that lacks nothing but its newline is whole.
        whole = FILE[:length] + b"\n" if FILE[length : length + 1] == b"\n" else FILE[:length]
        assert content.records == tuple(RECORDS[: whole.count(b"\n")])
        assert content.damage == ()
        assert content.tail == whole.rpartition(b"\n")[2]


FLIPS: dict[str, Callable[[int], int]] = {
    "the lowest bit": lambda byte: byte ^ 1,
    "all bits": lambda byte: byte ^ 255,
    "to zero": lambda byte: 0,
    "to a newline": lambda byte: ord("\n"),
    "to a digit": lambda byte: ord("7"),
}


@pytest.mark.parametrize("change", FLIPS.values(), ids=FLIPS.keys())
def test_a_changed_byte_anywhere_is_found_or_harmless_and_never_wrong_data(
    change: Callable[[int], int],
) -> None:
    for position, byte in enumerate(FILE):
        changed = change(byte)
        if changed == byte:
            continue
        content = decode_file(FILE[:position] + bytes([changed]) + FILE[position + 1 :])
        if not content.damage:
            assert content.records == tuple(RECORDS), position
        assert all(record in RECORDS for record in content.records)


def test_zeros_at_the_end_are_room_that_was_never_written_to() -> None:
    assert decode_file(FILE + bytes(4096)).records == tuple(RECORDS)
    content = decode_file(FILE[:-5] + bytes(4096))
    assert content.records == tuple(RECORDS[:-1])
    assert content.damage == ()
    assert content.tail == LINES[2][:-5]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((0, 2), "2: 1 lines before it are missing"),
        ((0, 1, 1, 2), "3: the line stands at a wrong place (it says that it is line 2)"),
        ((1, 0, 2), "1: 1 lines before it are missing"),
    ],
    ids=["lost", "doubled", "moved"],
)
def test_a_line_that_was_lost_doubled_or_moved_is_found(lines: tuple[int, ...], words: str) -> None:
    content = decode_file(b"".join(LINES[n] for n in lines))
    assert words in [f"{d.line}: {d.text}" for d in content.damage]


def test_damage_leaves_the_other_records_readable() -> None:
    content = decode_file(LINES[0] + LINES[1].replace(b"succeeded", b"succumbed") + LINES[2])
    assert content.records == (RECORDS[0], RECORDS[2])
    assert [d.line for d in content.damage] == [2]


def test_a_line_of_a_newer_format_is_known_as_such_whatever_its_form() -> None:
    for line in (b'{"v":2,"new":"form"}', b'{"v":22,"n":1,"crc":"00000000","r":{}}x'):
        with pytest.raises(Newer, match="written by a newer felhom-agent"):
            decode(line)
        assert decode_file(line + b"\n").damage[0].newer


def test_a_changed_version_digit_is_damage_and_not_a_newer_format() -> None:
    changed = LINES[0].replace(b'{"v":%d' % VERSION, b'{"v":9', 1)
    with pytest.raises(Unreadable, match="checksum") as caught:
        decode(changed[:-1])
    assert not isinstance(caught.value, Newer)


def test_a_record_too_deep_to_parse_is_damage_and_no_crash() -> None:
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(Unreadable, match="cannot be parsed"):
        decode(encode(1, deep)[:-1])
