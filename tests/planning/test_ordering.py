"""What PVE takes only in two steps is written in two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.model import ABSENT, Change, Converged, DesiredGuest, Kind, SetConfig, Start
from felhom_agent.planning.ordering import first_write
from tests.conftest import Open, Site
from tests.reconcile.test_reconciliation import ends, turn, wanted


def unset(desired: DesiredGuest, *keys: str) -> DesiredGuest:
    return replace(desired, unset=frozenset(keys))


def change(kind: Kind = Kind.QEMU, **after: str | None) -> SetConfig:
    """Return a change; None deletes a key."""
    changes = [Change(k, "1", ABSENT if v is None else v) for k, v in after.items()]
    return SetConfig(100, kind, tuple(changes), "d")


@pytest.mark.parametrize(
    ("action", "present", "first"),
    [
        (change(balloon=None, memory="512"), {"balloon": 1024, "memory": "2048"}, ["balloon"]),
        (
            change(balloon=None, cores="2", memory="current=512"),
            {"balloon": 1024, "memory": "current=2048"},
            ["balloon", "cores"],
        ),
        (change(memory=None, balloon="400"), {"memory": "256"}, ["memory"]),
        # taken in one
        (change(balloon=None, memory="4096"), {"balloon": 1024, "memory": "2048"}, None),
        (change(balloon="256", memory="512"), {"balloon": 1024, "memory": "2048"}, None),
        (change(balloon=None, memory=None), {"balloon": 1024, "memory": "2048"}, None),
        (change(memory=None, balloon="400"), {"memory": "1024"}, None),
        (change(memory="512"), {"balloon": 1024, "memory": "2048"}, None),
        (change(balloon=None, memory="1024"), {"balloon": 1024, "memory": "2048"}, None),
        (change(balloon=None, cores="2"), {"balloon": 1024, "memory": "2048"}, None),
        (change(balloon=None, memory="512"), {}, None),
        (change(balloon=None, memory="512"), {"balloon": "odd", "memory": "2048"}, None),
        (change(Kind.LXC, balloon=None, memory="512"), {"balloon": 1024}, None),
    ],
)
def test_what_stands_in_the_way_goes_first(
    action: SetConfig, present: dict[str, object], first: list[str] | None
) -> None:
    found = first_write(action, present)
    if first is None:
        assert found is action
        return
    assert isinstance(found, SetConfig)
    assert [each.key for each in found.changes] == first
    assert found.digest == action.digest


def test_what_is_no_change_is_left_alone() -> None:
    start = Start(100, Kind.QEMU)
    assert first_write(start, {}) is start


def test_less_memory_without_the_balloon_that_stood_above_it_is_reached(
    site: Site, agent: Open
) -> None:
    """recorded: calls-9.2/202-values/232: PVE refuses both in one request."""
    site.world.edit(100, {"balloon": 1024, "memory": "2048"})
    desired = wanted(100, memory=512, cores=2)
    with agent() as parts:
        assert turn(parts, unset(desired, "balloon")) == Converged()
    config = site.world.config(100)
    assert (config["memory"], config["cores"], "balloon" in config) == ("512", 2, False)
    assert [action for action, _ in ends(site)] == ["SetConfig", "SetConfig"]


def test_a_balloon_above_the_memory_that_goes_is_reached(site: Site, agent: Open) -> None:
    site.world.edit(100, {"memory": "256"})
    with agent() as parts:
        assert turn(parts, unset(wanted(100, balloon=400), "memory")) == Converged()
    assert site.world.config(100)["balloon"] == 400
