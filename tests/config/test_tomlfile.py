"""TOML files remember where each key stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from felhom_agent.config import tomlfile
from felhom_agent.errors import ConfigError

TEXT = '''# a comment = "not a key"
top = 1

[guest.101]      # the header's own comment
state = "running"
"quoted key" = [
    "a = b",     # inside a list
    "[not.a.table]",
]
text = """
[guest.999]
fake = true
"""
literal = \'\'\'
also = "fake"\'\'\'
inline = { one = 1, two = 2 }

[guest.101.config]
memory=2048
a.b.c = 1
[[list]]
x = 1
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("top",), 2),
        (("guest", "101"), 4),
        (("guest", "101", "state"), 5),
        (("guest", "101", "quoted key"), 6),
        (("guest", "101", "text"), 10),
        (("guest", "101", "literal"), 14),
        (("guest", "101", "inline"), 16),
        (("guest", "101", "config"), 18),
        (("guest", "101", "config", "memory"), 19),
        (("guest", "101", "config", "a", "b", "c"), 20),
        (("list",), 21),
        (("list", "x"), 22),
    ],
)
def test_each_key_is_found_on_its_line(keys: tuple[str, ...], line: int) -> None:
    file = tomlfile.parse(TEXT, Path("guests.toml"))
    assert str(file.place(*keys)) == f"guests.toml:{line}"


def test_a_key_that_is_not_there_stands_where_its_table_does() -> None:
    file = tomlfile.parse(TEXT, Path("guests.toml"))
    assert str(file.place("guest", "101", "absent")) == "guests.toml:4"
    assert str(file.place("guest", "101", "inline", "two")) == "guests.toml:16"
    assert str(file.place("nowhere")) == "guests.toml"


def test_text_in_strings_is_never_taken_for_keys() -> None:
    file = tomlfile.parse(TEXT, Path("guests.toml"))
    assert ("guest", "999") not in file.lines
    assert ("guest", "101", "fake") not in file.lines
    assert ("guest", "101", "also") not in file.lines


def test_windows_line_ends_count_as_one_line() -> None:
    file = tomlfile.parse(TEXT.replace("\n", "\r\n"), Path("guests.toml"))
    assert file.place("guest", "101", "config", "memory").line == 19


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\nb = = 2\n", ":2: is not valid TOML: there is one = too many"),
        ("a = 1\na = 2\n", ':2: is not valid TOML: "a" stands twice, first in line 1'),
        ('a = "never closed', ':1: is not valid TOML: the quote " that opens here is not closed'),
    ],
)
def test_a_syntax_error_names_its_line_and_what_is_probably_wrong(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tomlfile.parse(text, Path("guests.toml"))
    assert str(caught.value).startswith(f"guests.toml{told}")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent.toml: cannot be read: No such file"):
        tomlfile.read(tmp_path / "absent.toml")


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b'a = 1\nb = "\xe4"\n')
    with pytest.raises(
        ConfigError, match=r"latin1.toml:2: is not UTF-8 text; save it again as UTF-8"
    ):
        tomlfile.read(path)
