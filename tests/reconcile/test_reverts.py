"""What of a container only waits for a restart is taken back; a deletion would leave it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felhom_agent.model import Converged
from tests.conftest import Open, Site
from tests.reconcile.test_reconciliation import ends, turn, wanted


@pytest.mark.parametrize("in_effect", [None, "9.9.9.9"])
def test_a_value_that_waits_and_shall_go_is_gone(
    site: Site, agent: Open, in_effect: str | None
) -> None:
    """recorded: calls-9.2/206-digest-pending/025-026"""
    if in_effect:
        site.world.edit(200, {"nameserver": in_effect})
    site.world.start(200)
    desired = replace(wanted(200), unset=frozenset({"nameserver"}))
    with agent() as parts:
        assert turn(parts, wanted(200, nameserver="1.1.1.1")).__class__ is not Converged
        found = turn(parts, desired)
        site.world.stop(200)
        assert "nameserver" not in site.world.config(200)
        if in_effect is None:
            assert found == Converged()
    writes = [m for m in site.devnode.mutations if m.method == "PUT"]
    assert [("revert" in m.params, "delete" in m.params) for m in writes[1:]] == (
        [(True, False)] if in_effect is None else [(True, False), (False, True)]
    )
    assert all(str(state) == "succeeded" for _, state in ends(site))
