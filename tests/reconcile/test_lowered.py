"""A pass that saw a container stopped is no reason to take its memory away once it runs."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.model import Desired, DesiredGuest, Source
from felhom_agent.reconcile.reconciliation import Seen
from tests.conftest import Open, Site


def test_a_container_that_was_started_since_the_pass_saw_it_keeps_its_memory_from_a_hub(
    site: Site, agent: Open
) -> None:
    site.world.edit(200, {"memory": 2048})
    declared = DesiredGuest(200, config=MappingProxyType({"memory": 512}), source=Source.HUB)
    with agent() as parts:
        parts.engine.desired = Desired(MappingProxyType({200: declared}))
        actual = parts.node.observer.snapshot([200])
        seen = Seen(declared, actual, parts.planner.plan(declared, actual), 0.0)
        assert seen.plan.actions
        site.world.start(200)
        parts.engine.reconcile(200, seen=seen).result(30.0)
    assert site.world.config(200)["memory"] == 2048
