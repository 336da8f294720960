"""Tags that begin with `felhom-` are nobody's to declare: they make no difference and stay."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from felhom_agent.config import tomlfile
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.devnode import World
from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    DesiredGuest,
    Facts,
    Kind,
    RunState,
    SetConfig,
)
from felhom_agent.planning.compare import is_written
from felhom_agent.planning.plan import plan_guest


def changes(
    present: str | None,
    declared: DeclaredValue | None,
    kind: Kind = Kind.QEMU,
    *,
    case_sensitive: bool = False,
) -> tuple[Change, ...]:
    """Given PVE's tags and the declared ones (None: unset), return what would be written."""
    config = {} if present is None else {"tags": present}
    guest = ActualGuest(100, kind, "pve1", RunState.STOPPED, config=config)
    desired = (
        DesiredGuest(100, unset=frozenset({"tags"}))
        if declared is None
        else DesiredGuest(100, config=MappingProxyType({"tags": declared}))
    )
    facts = Facts(case_sensitive_tags=case_sensitive)
    plan = plan_guest(desired, Actual("pve1", {100: guest}, facts=facts))
    assert not plan.refused
    return tuple(c for a in plan.actions if isinstance(a, SetConfig) for c in a.changes)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("sensitive", [False, True])
def test_one_that_a_person_set_is_no_drift(kind: Kind, sensitive: bool) -> None:
    for present in ("a;b;felhom-watch", "felhom-watch;b;a", "a,Felhom-Pause b"):
        assert changes(present, ("a", "b"), kind, case_sensitive=sensitive) == ()
    assert changes("felhom-watch", (), kind, case_sensitive=sensitive) == ()
    assert changes("felhom-watch", None, kind, case_sensitive=sensitive) == ()


def test_it_is_carried_along_when_others_are_written() -> None:
    assert changes("a;felhom-watch", ("b",)) == (
        Change("tags", "a;felhom-watch", "b;felhom-watch"),
    )
    assert changes("felhom-x;felhom-y", "b") == (
        Change("tags", "felhom-x;felhom-y", "b;felhom-x;felhom-y"),
    )


@pytest.mark.parametrize("declared", [(), "", None])
def test_it_stays_when_no_tags_are_declared(declared: DeclaredValue | None) -> None:
    assert changes("a;felhom-watch", declared) == (
        Change("tags", "a;felhom-watch", "felhom-watch"),
    )
    assert changes("a", declared) == (Change("tags", "a", ABSENT),)


def test_what_was_sent_with_it_is_seen_as_written() -> None:
    assert is_written("qemu", "tags", "b;felhom-watch", "b;felhom-watch")
    assert is_written("qemu", "tags", "felhom-watch", "felhom-watch")


@pytest.mark.parametrize("name", ["felhom", "felhom_x", "xfelhom-watch", "felhome-x"])
def test_others_are_tags_like_any(name: str) -> None:
    assert changes("a", (name,)) == (Change("tags", "a", name),)


@pytest.mark.parametrize(
    "said", ['"felhom-watch"', '["a", "felhom-x"]', '"a;FELHOM-x"', '"a b felhom-"']
)
@pytest.mark.parametrize("kind", ["", 'kind = "qemu"', 'kind = "lxc"'])
def test_it_is_never_declared(said: str, kind: str) -> None:
    text = f"[guest.100]\n{kind}\n[guest.100.config]\ntags = {said}\n"
    guests, (problem,) = guests_of(tomlfile.parse(text, Path("g.toml")))
    assert guests == {}
    assert str(problem).startswith("g.toml:4: guest 100: tags: a tag that begins with felhom-")


def test_pve_itself_takes_it_like_any() -> None:
    world = World(node="pve1")
    world.add("qemu", 100, {"name": "web"})
    world.edit(100, {"tags": "a;felhom-watch"})
    assert world.config(100)["tags"] == "a;felhom-watch"
