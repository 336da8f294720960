"""What is declared is sent once: every option's values, written to a node and read back.

For every option of both tables, values are made from its own type: its bounds, its words, its
parts one at a time (`tests/data/round_trip.json`), and spellings that a person might use. What may
be declared at all is planned, written to the devnode as PVE does it, and planned again; the second
plan writes nothing. A wish that never settles would be written for ever.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from felhom_agent.devnode.world import change, writing
from felhom_agent.devnode.world.readback import TagStyle
from felhom_agent.devnode.world.refusal import Refusal
from felhom_agent.devnode.world.world import World
from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    DesiredGuest,
    Kind,
    RunState,
    SetConfig,
)
from felhom_agent.options import Invalid, PropertyString, declared, keys, lookup
from felhom_agent.options.propstring import Key
from felhom_agent.options.types import Boolean, Choice, Number, OptionType
from felhom_agent.planning.plan import plan_guest

DATA = json.loads((Path(__file__).parent.parent / "data" / "round_trip.json").read_text())
BASE = DATA["base"]


def values_of(kind: OptionType) -> Iterator[DeclaredValue]:
    """Yield values that an option of such a type might be given."""
    match kind:
        case Boolean():
            yield from (True, False, 1, 0, "1")
        case Number():
            low, high = kind.minimum or 0, kind.maximum or 4096
            yield from (low, high, str(low), f"0{high}", float(high), f"{high}.0", 16, 64, "1e1")
        case Choice():
            yield from kind.values
        case PropertyString():
            yield from strings_of(kind)
    yield from DATA["odd"]


def strings_of(kind: PropertyString) -> Iterator[str]:
    """Yield texts with the required parts alone, and with each other part in turn."""
    needed = {
        key: next(texts_of(key, spec))
        for key, spec in kind.keys.items()
        # A card is on a bridge; a container's is refused without one
        if spec.required or key == "bridge"
    }
    yield ",".join(f"{key}={text}" for key, text in needed.items())
    for key, spec in kind.keys.items():
        for text in texts_of(key, spec):
            yield ",".join(f"{k}={t}" for k, t in {**needed, key: text}.items())
            yield ",".join(f"{k}={t}" for k, t in reversed({**needed, key: text}.items()))
    for alias, key in kind.aliases.items():
        text = next(texts_of(key, kind.keys[key]))
        yield ",".join(f"{k}={t}" for k, t in {**needed, alias: text}.items() if k != key)


def texts_of(key: str, spec: Key) -> Iterator[str]:
    match spec.type:
        case Boolean():
            yield from ("1", "0", "on", "no")
        case Choice():
            yield from spec.type.values
        case Number() if key == "mtu":
            yield from (str(spec.type.minimum), "1500")  # as the bridge has it
        case Number():
            yield from (str(spec.type.minimum or 1), str(spec.type.maximum or 64), "64")
        case _:
            yield DATA["parts"].get(key, "x")


def is_declarable(kind: str, key: str, value: DeclaredValue) -> bool:
    try:
        return bool(declared(kind, key, value)) or True
    except Invalid:
        return False


def wishes(kind: str) -> Iterator[tuple[str, DeclaredValue]]:
    for name in keys(kind):
        key = name.replace("[n]", "1" if name in {"net[n]", "ide[n]", "scsi[n]"} else "0")
        option = lookup(kind, key)
        assert option is not None
        for value in values_of(option.type):
            if is_declarable(kind, key, value):
                yield key, value


class Node:
    """One guest of a devnode, asked and written to without a network, with every right."""

    def __init__(self, kind: str, config: dict[str, object]) -> None:
        self.world = World(now=lambda: 0.0)
        self.world.add(kind, 100, config)
        self.guest = self.world.guests[100]
        self.kind = kind

    def plan(self, key: str, value: DeclaredValue, unset: bool = False) -> tuple[Change, ...]:
        wish = {} if unset else {key: value}
        desired = DesiredGuest(
            100, Kind(self.kind), config=wish, unset=frozenset({key} if unset else ())
        )
        actual = ActualGuest(
            100, Kind(self.kind), "pve1", RunState.STOPPED, config=self.guest.conf.answer()
        )
        plan = plan_guest(desired, Actual("pve1", {100: actual}))
        assert not plan.refused, plan.refused
        writes = [action for action in plan.actions if isinstance(action, SetConfig)]
        return writes[0].changes if writes else ()

    def write(self, changes: tuple[Change, ...]) -> None:
        sent = {c.key: c.after for c in changes if c.after is not ABSENT}
        gone = ",".join(c.key for c in changes if c.after is ABSENT)
        params = {**sent, **({"delete": gone} if gone else {})}
        asked = change.parse(self.kind, params, version="9.2")
        writing.refuse_first(self.guest, asked)
        tools = writing.Tools(TagStyle(), lambda: "BC:24:11:FF:FF:FF", {}, {"vmbr0"})
        writing.apply(self.guest, asked, tools)


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_every_declaration_settles_with_one_write(kind: str) -> None:
    eternal = []
    for key, value in wishes(kind):
        node = Node(kind, dict(BASE[kind]))
        first = node.plan(key, value)
        try:
            node.write(first) if first else None
        except Refusal as refusal:
            eternal.append(f"{key} = {value!r}: PVE refuses {first}: {refusal} {refusal.errors}")
            continue
        if again := node.plan(key, value):
            eternal.append(f"{key} = {value!r}: {first} and again {again}")
    assert not eternal, "\n".join(eternal)


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_what_is_unset_stays_so(kind: str) -> None:
    eternal = []
    for key, value in wishes(kind):
        node = Node(kind, dict(BASE[kind]))
        option = lookup(kind, key)
        if option is None or option.required:
            continue
        node.world.edit(100, {key: value if isinstance(value, bool) else str(value)})
        first = node.plan(key, value, unset=True)
        node.write(first) if first else None
        if again := node.plan(key, value, unset=True):
            eternal.append(f"unset {key} over {value!r}: {first} and again {again}")
    assert not eternal, "\n".join(eternal)
