"""Values that no operator means: each costs its own guest, one printable line, and no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import declarations_of
from felhom_agent.model import DeclaredValue, Kind
from felhom_agent.options import Invalid, declared, keys
from felhom_agent.options.declaration import lookup
from tests.hostile.fuzz_files import one

KEYS = sorted({name.replace("[n]", "0") for kind in Kind for name in keys(kind)})
HUGE = "9" * 5000
ODD = {
    "exponent": "1e9999999999999999999",
    "tiny": "1e-9999999999999999999",
    "digits": HUGE,
    "size": f"local:{HUGE}",
    "part": f"order={HUGE}",
    "named part": f"local:x,size={HUGE}G",
    "ratio": f"local:x,mbps=1e{HUGE}",
    "range": f"0-{HUGE}",
    "prefix": f"name=eth0,ip=192.0.2.1/{HUGE}",
    "device": f"order=net{HUGE}",
    "long": "a" * 200_000,
    "dots": "a." * 30_000 + "!",
    "commas": "," * 200_000,
    "pairs": "a=b," * 50_000,
    "blanks": " " * 200_000,
    "nul": "a\0b",
    "line feed": "a\nb",
    "line feed at the end": "1\n",
    "return": "a\rb",
    "escape": "\x1b[2J",
    "next line": "a\x85b",
    "delete": "a\x7f",
    "surrogate": "a\ud800",
    "bidi": "\u202e",
    "empty": "",
}


def refusal(kind: str, key: str, value: DeclaredValue) -> str:
    try:
        declared(kind, key, value)
    except Invalid as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_value_is_refused_or_sent_and_never_raises(kind: str, odd: str) -> None:
    for name in keys(kind):
        for value in (odd, (odd,), (1, odd)):
            refusal(kind, name.replace("[n]", "0"), value)


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), 2**63, float("inf"), float("nan"), (10**5000,), ("a",) * 100_000],
    ids=["huge", "negative", "65 bits", "inf", "nan", "in a list", "long list"],
)
def test_a_value_without_bounds_is_refused_for_every_option(
    kind: str, value: DeclaredValue
) -> None:
    for name in keys(kind):
        assert refusal(kind, name.replace("[n]", "0"), value), name


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x01", "\x1b", "\x7f", "\x85"], ids=repr)
def test_control_characters_are_refused_in_every_option_that_is_one_line(
    kind: str, character: str
) -> None:
    for name in keys(kind):
        taken = {"description", "sshkeys"} | ({"env"} if character == "\0" else set())
        if name not in taken:
            for value in (f"a{character}b", f"1{character}", (f"1{character}", "2")):
                assert refusal(kind, name.replace("[n]", "0"), value), name


def test_what_pve_keeps_encoded_may_have_them() -> None:
    assert declared("qemu", "description", "a\nb\t\x07") == "a\nb\t\x07"
    assert declared("lxc", "env", "A=b\0C=\td") == "A=b\0C=\td"
    assert "a line feed" in refusal("qemu", "ciuser", "root\n")


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_half_a_character_is_refused_in_every_option(kind: str) -> None:
    for name in keys(kind):
        for value in ("\ud800", "a\udcff", ("\udfff",)):
            assert refusal(kind, name.replace("[n]", "0"), value), name


@pytest.mark.parametrize(
    ("kind", "key", "value", "words"),
    [
        (
            "qemu",
            "cpulimit",
            "1e9999999999999999999",
            'must be a number from 0 to 128, not "1e9999999999999999999"',
        ),
        ("qemu", "cpulimit", "-1e99999", 'must be a number from 0 to 128, not "-1e99999"'),
        ("qemu", "balloon", HUGE, "must be a number of at most 60 characters"),
        ("qemu", "migrate_downtime", "1e401", "must be a smaller number"),
        ("lxc", "startup", HUGE, "must be like order=1,up=30,down=60"),
        ("qemu", "description", "x" * 8193, "must have at most 8192 characters"),
        ("qemu", "template", True, "PVE never makes a guest of a template again"),
        ("lxc", "template", 1, "PVE never makes a guest of a template again"),
    ],
)
def test_a_refusal_says_why(kind: str, key: str, value: DeclaredValue, words: str) -> None:
    assert words in refusal(kind, key, value)


def test_small_numbers_in_many_digits_are_what_they_are() -> None:
    assert declared("qemu", "cpulimit", "1e-9999999") == "1e-9999999"
    assert declared("qemu", "cpulimit", "0.1e2") == "10"
    assert declared("qemu", "template", False) == "0"


@pytest.mark.parametrize("key", ["net" + HUGE, "net00", "net" + "9" * 4, HUGE, "mp" + "1" * 4400])
@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_a_number_in_a_name_is_bounded(kind: str, key: str) -> None:
    assert lookup(kind, key) is None


@pytest.mark.parametrize("kind", ['kind = "qemu"', 'kind = "lxc"', ""])
@pytest.mark.parametrize("card", ["net0", "net31"])
def test_a_card_is_never_unset(kind: str, card: str) -> None:
    text = f'[guest.101]\n{kind}\nunset = ["{card}"]\n'
    found = declarations_of(tomlfile.parse(text, Path("g.toml")))
    assert found.guests == {}
    assert "would drop the card and its MAC address" in str(found.wrong[101])


def test_a_harmless_word_is_a_remark() -> None:
    text = '[guest.101]\nstate = "stopped"\nrestart = "allowed"\n'
    found = declarations_of(tomlfile.parse(text, Path("g.toml")))
    assert found.problems == []
    assert set(found.guests) == {101}
    assert "says nothing while" in found.remarks[101]


@pytest.mark.parametrize(
    "value",
    ["cores = 0x" + "f" * 4000, f"startup = {HUGE}", f"cores = -{HUGE}", f"memory = 1.{HUGE}",
     f"cpulimit = 1e{HUGE}", f"tags = [1, {HUGE}]", "cores = inf", "cores = nan",
     "cores = 1979-05-27", "cores = 07:32:00", "cores = { a = 1 }", "tags = [[1]]",
     'name = "' + "a" * 100_000 + '"', '"' + "k" * 100_000 + '" = 1', '"\\u0000\\u001b" = 1'],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_an_odd_value_costs_its_guest_and_no_other_one(value: str) -> None:
    text = f"[guest.101.config]\n{value}\n[guest.102]\n"
    found = declarations_of(tomlfile.parse(text, Path("g.toml")))
    assert set(found.guests) == {102}
    assert set(found.wrong) == {101}
    assert found.whole
    (problem,) = found.problems
    assert str(problem).startswith("g.toml:2: guest 101: ")
    assert str(problem).isprintable()
    assert len(str(problem)) < 500


SCALARS = st.one_of(
    st.sampled_from([*ODD.values(), True, False, 0, 1, 2048, 10**40, float("inf"), float("nan")]),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(tuple)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["qemu", "lxc"]), st.sampled_from(KEYS), VALUES)
@example("lxc", "env", ("A=\ud800",))
def test_any_value_of_any_option_is_taken_or_refused(
    kind: str, key: str, value: DeclaredValue
) -> None:
    try:
        wire = declared(kind, key, value)
    except Invalid:
        return
    wire.encode()


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        escaped = "".join(
            c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}"
            for c in value
        )
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_toml, value))}]"
    return "{" + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + "}"


NAMES = st.sampled_from([*KEYS, "nosuch", "", "\x1b", "delete"]) | st.text(max_size=8)
TOML_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=4,
)
BODIES = st.dictionaries(
    st.sampled_from(["kind", "state", "mode", "stop", "restart", "identity", "unset", "config"])
    | NAMES,
    st.sampled_from(["qemu", "lxc", "running", "stopped", "allowed", ["net0"], ["cpulimit"]])
    | st.dictionaries(NAMES, TOML_VALUES, max_size=4)
    | TOML_VALUES,
    max_size=5,
)
GUESTS = st.dictionaries(
    st.sampled_from(["101", "102", "99", "web", "0101", HUGE]), BODIES | SCALARS, max_size=3
)


@settings(max_examples=300, deadline=None)
@given(GUESTS)
def test_any_guest_tables_are_read_with_bounded_words(guests: dict[str, Any]) -> None:
    one(f"guest = {as_toml(guests)}\n".encode(errors="surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf[guest.101]\n")
@example(b'[guest.101.config]\n"net0.a"."b" = """\n"""\n')
def test_any_bytes_are_read_with_bounded_words(data: bytes) -> None:
    one(data)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[]{}=.,\"'#\\\n\r ag1_-+:\x00é", max_size=60))
def test_any_grammar_is_read_with_bounded_words(text: str) -> None:
    one(text.encode())
