"""A size that PVE cannot plug is not written to a VM that runs, and never to and fro."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from felhom_agent.model import ABSENT, Actual, Change, Kind, RunState
from felhom_agent.planning.dimms import why_not_reached
from felhom_agent.planning.plan import plan_guest
from tests.conftest import Open, Site
from tests.planning.test_foresight import declared, there
from tests.reconcile.test_reconciliation import ends, turn, wanted

HOT: dict[str, Any] = {"hotplug": "network,memory", "numa": "1", "memory": "2048"}
HUGE: dict[str, Any] = {**HOT, "hugepages": "1024", "sockets": "2", "memory": "4096"}


@pytest.mark.parametrize(
    ("present", "memory", "near"),
    [
        (HOT, "2560", ""),
        (HOT, "3000", "2560 or 3072"),
        (HOT, "current=3000", "2560 or 3072"),
        (HOT, "1025", "1024 or 1536"),
        (HOT, "1024", ""),
        (HOT, "512", "1024"),
        (HOT, None, "1024"),
        (HOT, "17408", ""),
        (HOT, "17920", "17408 or 18432"),
        (HOT, "50176", ""),
        (HOT, "51200", "50176 or 52224"),
        (HOT, "99999999", "4178944"),
        (HUGE, "5120", ""),
        (HUGE, "4608", "4096 or 5120"),
        (HUGE, "1024", "2048"),
        ({**HOT, "memory": "3000"}, "3000", ""),
        ({"memory": "2048"}, "3000", ""),
        ({**HOT, "hotplug": "cpu"}, "3000", ""),
    ],
)
def test_which_sizes_a_running_vm_can_have(
    present: dict[str, Any], memory: str | None, near: str
) -> None:
    why = why_not_reached(there(**present), Change("memory", ABSENT, memory or ABSENT))
    assert (f"declare {near}," in why) if near else (why == "")


def test_only_what_is_in_effect_of_a_vm_that_runs_decides() -> None:
    change = Change("memory", "2048", "3000")
    assert why_not_reached(replace(there(**HOT), pending={"hotplug": "disk"}), change) == ""
    waits = replace(there(memory="2048", hotplug="disk"), pending={"hotplug": "memory"})
    assert why_not_reached(waits, change)
    assert why_not_reached(there(RunState.STOPPED, **HOT), change) == ""
    assert why_not_reached(there(kind=Kind.LXC, **HOT), change) == ""


def test_it_holds_up_no_other_value() -> None:
    plan = plan_guest(declared(memory=3000, tags="a"), Actual("pve1", {100: there(**HOT)}))
    assert [str(action) for action in plan.actions] == ["SetConfig(vmid=100, tags: (absent) -> a)"]
    (note,) = plan.notes
    assert note.startswith("memory: 3000 MiB cannot be plugged; ")


@pytest.mark.parametrize(("memory", "reached"), [(3000, "2048"), (3072, "3072"), (1536, "1536")])
def test_the_agent_writes_no_size_that_would_come_out_as_another(
    site: Site, agent: Open, memory: int, reached: str
) -> None:
    site.world.edit(100, HOT)
    site.world.start(100)
    with agent() as parts:
        for _ in range(3):
            turn(parts, wanted(100, RunState.RUNNING, memory=memory))
    assert site.world.guests[100].conf.values["memory"] == reached
    assert len(ends(site)) <= 1
