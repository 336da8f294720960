"""Where one value meets another: parts, old values, other keys, other guests.

`tests/data/kinds_cases.jsonl` holds cases by kind (docs/equality.md has the table of them): what is
declared, what PVE answers, the verdict, and where PVE has it so. `sent` is the text that is to be
sent for a drift; a drift or worse without it must not be sent, and `why` is then among the words.
An `actual` of null is a declaration alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from felhom_agent.model import ABSENT, ActualGuest, DeclaredValue, Kind, RunState
from felhom_agent.options import Invalid
from felhom_agent.planning.compare import (
    Context,
    Verdict,
    compare,
    compare_unset,
    to_wire,
    unset_wire,
)

DATA = Path(__file__).parent.parent / "data" / "kinds_cases.jsonl"
CASES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
CHANGED = {Verdict.DRIFT, Verdict.FORBIDDEN, Verdict.UNFIXABLE}


def context_of(case: Mapping[str, Any]) -> Context:
    devices = case.get("devices")
    return Context(
        vmid=case.get("vmid", 0),
        config=MappingProxyType(case.get("config", {})),
        arch=case.get("arch", "x86_64"),
        version=tuple(case.get("version", ())),
        devices=None if devices is None else frozenset(devices),
    )


def desired_of(case: Mapping[str, Any]) -> DeclaredValue:
    value = case["desired"]
    return tuple(value) if isinstance(value, list) else value


def actual_of(case: Mapping[str, Any]) -> object:
    return ABSENT if case["actual"] == "ABSENT" else case["actual"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_case_of_a_kind_comes_to_its_verdict(case: dict[str, Any]) -> None:
    kind, key, context = case["guest"], case["field"], context_of(case)
    if case.get("unset"):
        comparison = compare_unset(kind, key, actual_of(case), context)
    else:
        comparison = compare(kind, key, desired_of(case), actual_of(case), context)
    assert comparison.verdict == case["verdict"], comparison.why
    if comparison.verdict in {Verdict.FORBIDDEN, Verdict.UNFIXABLE, Verdict.REJECT}:
        assert case.get("why", "") in comparison.why


@pytest.mark.parametrize(
    "case", [c for c in CASES if "sent" in c], ids=[c["id"] for c in CASES if "sent" in c]
)
def test_what_is_sent_for_a_case(case: dict[str, Any]) -> None:
    kind, key = case["guest"], case["field"]
    if case.get("unset"):
        sent = unset_wire(kind, key, actual_of(case))
    else:
        sent = to_wire(kind, key, desired_of(case), actual_of(case), context_of(case))
    assert sent == case["sent"]


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c["verdict"] in CHANGED and c.get("why") and not c.get("unset")],
    ids=lambda case: case["id"],
)
def test_what_must_not_be_sent_says_why(case: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        to_wire(case["guest"], case["field"], desired_of(case), actual_of(case), context_of(case))
    assert case["why"] in str(error.value)


def test_a_volume_of_another_guests_configuration_is_not_attached() -> None:
    other = ActualGuest(106, Kind.LXC, "pve1", RunState.STOPPED, config={"mp0": "nfs:shared,mp=/a"})
    context = Context(vmid=105, others={106: other})
    found = compare("qemu", "scsi1", "nfs:shared", ABSENT, context)
    assert found.verdict == Verdict.FORBIDDEN
    assert "held by mp0 of guest 106" in found.why


def test_a_volume_declared_under_two_keys_is_attached_under_neither() -> None:
    both = {"scsi1": "nfs:x,ssd=1", "scsi2": "nfs:x"}
    for key, value in both.items():
        found = compare("qemu", key, value, ABSENT, Context(vmid=105, declared=both))
        assert found.verdict == Verdict.FORBIDDEN
