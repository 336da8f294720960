"""What a person may see."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.printable import MARK, _pieces, encodable, moment_text, one_line, printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcödé and 日本語 🙂", "plain text, ünïcödé and 日本語 🙂"),
        (r"C:\x1b stays", r"C:\x1b stays"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("nul\x00 del\x7f c1\x9b nbsp\xa0", r"nul\x00 del\x7f c1\x9b nbsp\xa0"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("a\u202eb\u202a\u2066\u2069\u200e\u200f\u061c", None),
        ("zero\u200bwidth\u200d\ufeff\u2060\u00ad", None),
        ("surrogate\udce9", r"surrogate\udce9"),
        ("tag\U000e0041 selector\U000e0100\ufe0f", r"tag\U000e0041 selector\U000e0100\ufe0f"),
        ("private\ue000 nobody\U0010ffff", r"private\ue000 nobody\U0010ffff"),
        ("blank\u3164\u2800\u115f", r"blank\u3164\u2800\u115f"),
        ("e\u0301 is a letter with its mark", "e\u0301 is a letter with its mark"),
        ("\u0301 stands on nothing", r"\u0301 stands on nothing"),
        ("a" + "\u0301" * 6, "a" + "\u0301" * 4 + r"\u0301\u0301"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_an_escape(text: str, shown: str | None) -> None:
    got = printable(text, 200)
    assert got.isprintable()
    assert shown in (None, got)
    assert not any(unicodedata.category(c).startswith(("C", "Z")) for c in got.replace(" ", ""))


@given(ANY_TEXT, st.integers(3, 40))
def test_it_is_bounded_of_one_line_and_the_same_the_second_time(text: str, length: int) -> None:
    got = printable(text, length)
    assert len(got) <= length
    assert got.isprintable()
    assert printable(got, length) == got
    got.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("x" * 10, 10, "x" * 10),
        ("x" * 11, 10, "xxxxxxx" + MARK),
        ("ab\x1b", 6, r"ab\x1b"),
        ("ab\x1bc", 6, "ab" + MARK),
        ("\u202e", 3, MARK),
        ("x" * 10_000_000, 5, "xx" + MARK),
    ],
)
def test_what_was_cut_ends_in_a_mark_and_never_within_an_escape(
    text: str, length: int, shown: str
) -> None:
    assert printable(text, length) == shown


def test_lines_become_parts_of_one() -> None:
    assert one_line("first\r\n  second\nthird\n") == "first; second; third"


@given(ANY_TEXT, st.sampled_from(["ascii", "latin-1", "cp437", "utf-8"]))
def test_every_encoding_can_take_what_was_made_encodable(text: str, encoding: str) -> None:
    encodable(printable(text, 1000), encoding).encode(encoding)
    encodable(text, encoding).encode(encoding)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1_800_000_000.9, "2027-01-15T08:00:00Z"),
        (1e30, "9999-12-31T23:59:59Z"),
        (-1e30, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_shown_whatever_a_clock_says(seconds: float, text: str) -> None:
    assert moment_text(seconds) == text


def test_lines_of_nothing_but_blanks_cost_what_they_are_long() -> None:
    """Blanks without a line's end once cost the square of their number: hours for this text."""
    assert one_line("a" + "\f" * 2_000_000 + "b") == "a" + "\f" * 2_000_000 + "b"
    assert one_line("\n \f\n" * 1000 + "a\n\n\n \nb") == "a; b"


def test_what_is_taken_without_a_look_at_each_letter_is_what_such_a_look_lets_pass() -> None:
    for code in range(0x400):
        text = chr(code) * 6
        assert printable(text, 100) == "".join(_pieces(text)), hex(code)
