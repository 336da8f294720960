"""A refused declaration says what the value must be, and what was given, whatever the option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.model import DeclaredValue
from felhom_agent.options import Invalid, Option, PropertyString, declared, keys, lookup, spoken
from felhom_agent.options.types import Number, OptionType, Text, Words
from felhom_agent.options.words import must_be

WRONG: tuple[Any, ...] = (
    "many!", "", "-1", "1.5.2", "a=b=c", ",", "=", "x=", "/../", "ä ö", "no such thing", -1, 10**18,
    1.5, -0.5, True, False, ("a", "b c"), (), ("",), (True,), ("a/b", 1), "x" * 9000, "k=v,k=v",
)  # fmt: skip
INTERNAL = re.compile(
    r"\btype check\b|invalid format|regex|enumeration|schema|propert|<class|Error\b|None\b|\bdict\b"
    r"|\bstr\b|\bint\b|\bfloat\b|\bbool\b|\btuple\b|Decimal|True|False|\\n\\n|object at"
)


def refusal(kind: str, key: str, value: DeclaredValue) -> str:
    with pytest.raises(Invalid) as error:
        declared(kind, key, value)
    return spoken(key, str(error.value))


def options() -> Iterator[tuple[str, str, Option]]:
    for kind in ("qemu", "lxc"):
        for name in keys(kind):
            key = name.replace("[n]", "0")
            option = lookup(kind, key)
            assert option is not None
            yield kind, key, option


def types() -> Iterator[tuple[str, OptionType]]:
    for kind, key, option in options():
        yield f"{kind} {key}", option.type
        if isinstance(option.type, PropertyString):
            for part, spec in option.type.keys.items():
                yield f"{kind} {key}.{part}", spec.type


@pytest.mark.parametrize(
    ("kind", "key", "option"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}") for each in options()],
)
def test_whatever_is_refused_is_told_in_one_sentence_without_an_internal_word(
    kind: str, key: str, option: Option
) -> None:
    refused = 0
    for value in WRONG:
        try:
            declared(kind, key, value)
        except Invalid as error:
            refused += 1
            text = spoken(key, str(error))
            assert text.startswith((f"{key} must ", f"{key}: ")), text
            assert text.isprintable(), text
            assert len(text) < 400, text
            assert not INTERNAL.search(text), text
            if option.server_owned or key == "cdrom":
                continue
            says = "must" in text or "needs" in text or "does not know it" in text or "PVE" in text
            assert says, text
    assert refused


@pytest.mark.parametrize(("name", "kind"), list(types()), ids=lambda x: x if type(x) is str else "")
def test_every_type_of_every_option_and_part_says_more_than_that_it_is_text(
    name: str, kind: OptionType
) -> None:
    words = must_be(kind)
    assert words
    assert not INTERNAL.search(words)
    if isinstance(kind, (Text, Words)) and (kind.pattern or kind.format):
        assert not words.startswith("text,"), name
        assert words not in ("text", "a list of which each element is a word"), name
    if isinstance(kind, Number):
        bounds = [str(b) for b in (kind.minimum, kind.maximum) if b is not None]
        assert all(bound in words for bound in bounds)


@pytest.mark.parametrize(
    ("kind", "key", "value", "words"),
    [
        ("qemu", "cores", "many", 'cores must be a whole number from 1, not "many"'),
        ("qemu", "cores", 0, "cores must be a whole number from 1, not 0"),
        ("qemu", "cores", 1.5, "cores must be a whole number from 1, not 1.5"),
        ("qemu", "cores", (1, 2), "cores must be one value, not a list"),
        ("qemu", "cores", True, "cores must be text or a number, not true"),
        ("lxc", "tty", 7, "tty must be a whole number from 0 to 6, not 7"),
        ("qemu", "cpulimit", "x", 'cpulimit must be a number from 0 to 128, not "x"'),
        ("qemu", "onboot", "perhaps", 'onboot must be true or false, not "perhaps"'),
        ("qemu", "bios", "OVMF",
         "bios must be seabios or ovmf, not \"OVMF\"; did you mean 'ovmf'?"),
        ("qemu", "affinity", "3-1", 'affinity must be numbers and ranges like 0-3,8, not "3-1"'),
        ("qemu", "memory", 8, "memory must be a whole number from 16, not 8"),
        ("qemu", "memory", "8", 'memory must be a whole number from 16, not "8"'),
        ("qemu", "net0", "virtio,queues=x",
         'net0: queues must be a whole number from 0 to 64, not "x"'),
        ("qemu", "net3", "virtio,queues=x,tag=5000",
         ('net3: queues must be a whole number from 0 to 64, not "x"; '
         'tag must be a whole number from 1 to 4094, not "5000"')),
        ("qemu", "net0", "virtio,firewall=maybe", 'net0: firewall must be 0 or 1, not "maybe"'),
        ("qemu", "net0", "virtio,bridgee=x",
         "net0: bridgee: this version of felhom-agent does not know it; did you mean 'bridge'?"),
        ("qemu", "net0", "virtio,model=e1000", 'net0 must name "model" once, and does so twice'),
        ("qemu", "ipconfig0", "gw=192.0.2.1", "ipconfig0: gw needs ip beside it"),
        ("qemu", "ipconfig0", "dhcp",
         'ipconfig0 must be parts like key=value with commas between, and "dhcp" is none'),
        ("lxc", "net0", "bridge=vmbr0",
         "net0 must have name: a name of letters, digits, dots, dashes and underscores"),
        ("qemu", "cpu", "hots", ('cpu must be a model that PVE knows, like host or x86-64-v2-AES,'
         ' not "hots"; one of your own begins with custom-')),
        ("qemu", "tags", "a/b;c",
         ('tags must be a list of which each element is a tag of letters, digits and _ - + .,'
         ' not "a/b"')),
        ("lxc", "mp0", "local:4,mp=/a/../b",
         'mp0: mp must be a path without .. in it, not "/a/../b"'),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_by_what_it_must_be(
    kind: str, key: str, value: DeclaredValue, words: str
) -> None:
    assert refusal(kind, key, value) == words


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "cipassword", ("hunter22", "x")),
        ("qemu", "sshkeys", "ssh-ed25519 hunter22"),
        ("qemu", "sshkeys", ("ssh-ed25519 hunter22\nx",)),
        ("lxc", "env", "hunter22"),
        ("lxc", "env", ("hunter22", "\0hunter22")),
        ("qemu", "cipassword", "hunter22\n"),
    ],
)
def test_no_value_that_may_be_a_secret_is_quoted(kind: str, key: str, value: DeclaredValue) -> None:
    assert "hunter22" not in refusal(kind, key, value)


@given(st.sampled_from(list(options())), st.text(max_size=100))
def test_any_text_that_is_refused_is_told_in_one_bounded_line(
    line: tuple[str, str, Option], text: str
) -> None:
    kind, key, _ = line
    try:
        declared(kind, key, text)
    except Invalid as error:
        said = spoken(key, str(error))
        assert said.isprintable()
        assert len(said) < 600
