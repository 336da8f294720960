"""The tables against what PVE itself was recorded to say: its schema, its answers, its rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.options import Invalid, Option, PropertyString, keys, lookup
from felhom_agent.options.types import Boolean, Choice, Number, Text

RECORDED = Path(__file__).parent / "recorded"
SCHEMA: dict[str, dict[str, Any]] = json.loads((RECORDED / "schema.json").read_text())
RIGHTS: dict[str, Any] = json.loads((RECORDED / "privileges.json").read_text())
WRITES = [json.loads(line) for line in (RECORDED / "writes.jsonl").read_text().splitlines()]

PARAMETERS_OF_THE_CALL = {"delete", "force", "node", "revert", "skiplock", "vmid"}
WRITTEN_BY_PVE_ALONE = {
    "lxc", "meta", "parent", "running-nets-host-mtu", "runningcpu", "runningmachine", "snaptime",
    "vmstate",
}  # fmt: skip
# What PVE checks against the host (does the script exist?), which no table can know.
ASKS_THE_HOST = {"10/179", "12/011"}

# Clamped by the host's cgroup version, and a new volume made by the host's storage.
DEPENDS_ON_THE_HOST = {"10/111", "11/096", "11/097", "12/020"}


def known(kind: str, key: str) -> Option:
    option = lookup(kind, key.replace("[n]", "0"))
    assert option is not None
    return option


def schema_options() -> Iterator[Any]:
    for kind, options in SCHEMA.items():
        for name, facts in options.items():
            if name not in PARAMETERS_OF_THE_CALL:
                yield pytest.param(kind, name, facts, id=f"{kind}-{name}")


def refusal(option: Option, sent: str) -> str | None:
    try:
        option.type.check(sent)
    except Invalid as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_every_option_of_the_schema_is_in_the_table_and_nothing_else(kind: str) -> None:
    in_schema = set(SCHEMA[kind]) - PARAMETERS_OF_THE_CALL
    assert set(keys(kind)) - WRITTEN_BY_PVE_ALONE == in_schema


@pytest.mark.parametrize(("kind", "name", "facts"), list(schema_options()))
def test_an_option_has_the_type_and_bounds_of_the_schema(
    kind: str, name: str, facts: dict[str, Any]
) -> None:
    option = known(kind, name)
    if isinstance(facts.get("format"), dict):
        assert isinstance(option.type, PropertyString)
        assert_same_parts(option.type, facts["format"])
    else:
        assert_same_bounds(option.type, facts)


def assert_same_parts(kind: PropertyString, facts: dict[str, Any]) -> None:
    aliases = {key for key, part in facts.items() if "alias" in part}
    newer = {"host-tunnel", "idmap"}  # came after the recording
    assert set(kind.keys) - newer == set(facts) - aliases
    assert set(kind.aliases) | set(kind.key_aliases) == aliases
    for key, part in facts.items():
        if key in aliases:
            continue
        assert kind.keys[key].required == (not part.get("optional", 0)), key
        assert (kind.default_key == key) == bool(part.get("default_key", 0)), key
        assert_same_bounds(kind.keys[key].type, part)


def assert_same_bounds(kind: object, facts: dict[str, Any]) -> None:
    if facts["type"] == "boolean":
        assert kind == Boolean()
    if facts["type"] in {"integer", "number"}:
        assert isinstance(kind, Number)
        assert kind == Number(
            facts.get("minimum"), facts.get("maximum"), integer=facts["type"] == "integer"
        )
    if "enum" in facts:
        assert kind == Choice(tuple(facts["enum"]))
    if "maxLength" in facts:
        assert isinstance(kind, Text | PropertyString)
        assert kind.longest == facts["maxLength"]


@pytest.mark.parametrize(
    "write", [w for w in WRITES if w["id"] not in ASKS_THE_HOST], ids=lambda w: w["id"]
)
def test_check_refuses_what_pve_refused_in_the_same_words(write: dict[str, Any]) -> None:
    option = lookup(write["kind"], write["key"])
    if option is None:
        assert "not defined in schema" in write["error"]
    else:
        assert refusal(option, write["sent"]) == write["error"]


@pytest.mark.parametrize(
    "write",
    [w for w in WRITES if w["status"] == 200 and w["id"] not in DEPENDS_ON_THE_HOST],
    ids=lambda w: w["id"],
)
def test_what_pve_answers_to_a_write_means_what_was_written(write: dict[str, Any]) -> None:
    option = known(write["kind"], write["key"])
    answered = option.default if write["read"] is None else str(write["read"])
    assert answered is not None
    kind, sent = option.type, write["sent"]
    if isinstance(kind, PropertyString):
        for key, spec in kind.keys.items():
            if spec.owned and key not in kind.split(sent) and key in kind.split(answered):
                sent += f",{key}={kind.split(answered)[key]}"
    assert kind.same(sent, answered)


@pytest.mark.parametrize(
    ("kind", "key", "enough"),
    [
        (kind, key, enough)
        for kind, rows in RIGHTS["enough"].items()
        for key, enough in rows.items()
        if key != "features"  # the recorded write changed nothing, so any privilege was enough
    ],
)
def test_the_privileges_are_the_recorded_ones(kind: str, key: str, enough: list[str]) -> None:
    assert set(enough) <= set(known(kind, key).privileges)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (key, words)
        for key, words in RIGHTS["never"]["qemu"].items()
        if not key.startswith(("serial", "hostpci"))
    ],
)
def test_what_only_root_may_set_says_so_in_pves_words(key: str, words: str) -> None:
    assert known("qemu", key).token_never == words


@pytest.mark.parametrize(
    ("kind", "last", "beyond"),
    [
        ("qemu", "net31", "net32"),
        ("qemu", "scsi30", "scsi31"),
        ("qemu", "virtio15", "virtio16"),
        ("qemu", "ide3", "ide4"),
        ("qemu", "sata5", "sata6"),
        ("qemu", "unused255", "unused256"),
        ("qemu", "usb13", "usb14"),
        ("qemu", "hostpci15", "hostpci16"),
        ("qemu", "serial3", "serial4"),
        ("qemu", "parallel2", "parallel3"),
        ("qemu", "numa7", "numa8"),
        ("qemu", "virtiofs9", "virtiofs10"),
        ("qemu", "ipconfig31", "ipconfig32"),
        ("lxc", "net31", "net32"),
        ("lxc", "mp255", "mp256"),
        ("lxc", "dev255", "dev256"),
        ("lxc", "unused255", "unused256"),
    ],
)
def test_a_numbered_option_ends_at_pves_highest_number(kind: str, last: str, beyond: str) -> None:
    assert lookup(kind, last) is not None
    assert lookup(kind, beyond) is None


@pytest.mark.parametrize("key", ["net", "net01", "net[n]", "netx", "", "onboot0", "NET0", "net-1"])
def test_what_is_not_quite_a_key_is_no_option(key: str) -> None:
    assert lookup("qemu", key) is None


def test_a_plain_option_and_a_numbered_one_of_the_same_word_are_two() -> None:
    assert known("qemu", "numa").name == "numa"
    assert known("qemu", "numa0").name == "numa[n]"


def test_the_default_is_what_pve_does_and_not_what_its_schema_says() -> None:
    assert known("lxc", "swap").default == "0"
    assert known("lxc", "cores").default is None
    assert known("qemu", "cores").default == "1"
    assert known("lxc", "arch").default is None


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_every_default_can_be_read(kind: str) -> None:
    for name in keys(kind):
        option = known(kind, name)
        if option.default is not None:
            assert option.type.same(option.default, option.default), name


def test_a_message_names_the_numbered_option_it_is_about() -> None:
    option = lookup("qemu", "net7")
    assert option is not None
    assert refusal(option, "bridge=vmbr0") == (
        "invalid format - format error\nnet7.model: property is missing and it is not optional\n"
    )
