"""In which order guests are started: PVE's option `startup`, as declared or as it is."""

from __future__ import annotations

import math
from types import MappingProxyType

import pytest

from felhom_agent.model import ActualGuest, DesiredGuest, Kind, RunState
from felhom_agent.planning.startup import StartRank, startup_of


def guest(startup: str = "") -> ActualGuest:
    config = {"startup": startup} if startup else {}
    return ActualGuest(100, Kind.QEMU, "pve1", RunState.STOPPED, config=config)


@pytest.mark.parametrize(
    ("text", "startup"),
    [
        ("", StartRank(math.inf, 0)),
        ("order=2,up=30,down=60", StartRank(2, 30)),
        ("7", StartRank(7, 0)),
        ("up=15", StartRank(math.inf, 15)),
        ("order=1,soon=now", StartRank(1, 0)),
        ("nonsense", StartRank()),
    ],
)
def test_what_pve_has_tells_where_it_is_not_declared(text: str, startup: StartRank) -> None:
    assert startup_of(DesiredGuest(100), guest(text)) == startup


def test_what_is_declared_goes_before_what_pve_has() -> None:
    declared = DesiredGuest(100, config=MappingProxyType({"startup": "order=3"}))
    assert startup_of(declared, guest("order=1,up=5")) == StartRank(3, 0)


def test_what_is_declared_unset_is_no_order() -> None:
    assert startup_of(DesiredGuest(100, unset=frozenset({"startup"})), guest("1")) == StartRank()
