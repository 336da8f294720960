"""What is written as TOML is read back as it was, and shows all that it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.config import tomlfile
from felhom_agent.config.tomltext import comment, key_text, one_line, value_text
from felhom_agent.model import DeclaredValue, Scalar
from felhom_agent.printable import printable

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text(
    '"\\\r\n\t #=[]{}\x00\x1b', max_size=20
)
SCALARS = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(0, 1e6)


def read_back(text: str) -> object:
    file = tomlfile.parse_bytes(f"before = 1\nkey = {text}\nafter = 2\n".encode(), Path("a.toml"))
    assert (file.data["before"], file.data["after"]) == (1, 2)
    return file.data["key"]


@given(SCALARS, st.booleans())
def test_a_value_is_read_back_as_it_was(value: Scalar, plain: bool) -> None:
    for text in (value_text(value, plain=plain), one_line(value, plain=plain)):
        found = read_back(text)
        assert (type(found), found) == (type(value), value)


@given(st.lists(TEXTS, max_size=30), st.booleans())
def test_a_list_is_read_back_as_it_was(values: list[str], plain: bool) -> None:
    for text in (value_text(tuple(values), plain=plain), one_line(tuple(values), plain=plain)):
        assert read_back(text) == values


@given(TEXTS)
def test_what_is_plain_is_ascii_and_what_is_one_line_is_one(text: str) -> None:
    assert value_text(text, plain=True).isascii()
    assert len(one_line(text).splitlines()) == 1
    assert comment(text, 80, plain=True).isascii()
    assert len(comment(text, 80).splitlines()) == 1


@given(TEXTS)
def test_no_character_of_a_value_acts_on_a_terminal_or_hides(text: str) -> None:
    for line in value_text(text).split("\n"):
        assert all(printable(c, 12) == c or c.isalpha() or not c.isascii() for c in line)
        assert "\x1b" not in line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (2048, "2048"),
        (0.5, "0.5"),
        ("web", '"web"'),
        ('say "hi" \\ bye', '"say \\"hi\\" \\\\ bye"'),
        ("Größe", '"Größe"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("\U000e0001", '"\\U000e0001"'),
        (("a", "b"), '["a", "b"]'),
        ((), "[]"),
        ("one\ntwo\n", '"""\none\ntwo\n"""'),
        ('end"\n"', '"""\nend"\n\\""""'),
        ('a"""b\n', '"""\na""\\"b\n"""'),
        ("blank \nend", '"""\nblank\\u0020\nend"""'),
    ],
)
def test_a_value_is_written_as_a_person_would(value: DeclaredValue, text: str) -> None:
    assert value_text(value) == text


def test_a_long_list_has_a_line_for_each_element() -> None:
    keys = tuple(f"ssh-ed25519 {'A' * 60} {n}" for n in range(2))
    assert value_text(keys) == f'[\n  "{keys[0]}",\n  "{keys[1]}",\n]'


def test_a_key_of_several_parts_stays_one_and_an_odd_one_is_quoted() -> None:
    assert key_text("lxc.cap.drop") == "lxc.cap.drop"
    assert key_text("odd key\n") == '"odd key\\n"'
