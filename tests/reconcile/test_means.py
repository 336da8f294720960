"""What is in flight is settled at once only where PVE is done with it."""

from __future__ import annotations

import pytest

from felhom_agent.errors import OutcomeUnknown
from felhom_agent.journal.operation import State
from felhom_agent.model import Change, Kind, SetConfig
from tests.conftest import Open, Site
from tests.reconcile.test_refused_changes import history


@pytest.mark.parametrize(
    ("ended", "cores", "state"),
    [(True, 1, State.FAILED), (True, 2, State.SUCCEEDED), (False, 1, State.INTENT)],
)
def test_a_change_that_pve_is_done_with_is_settled_by_a_look(
    site: Site, agent: Open, ended: bool, cores: int, state: State
) -> None:
    site.world.edit(100, {"cores": cores})
    with agent() as parts:
        parts.operations.begin(SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),), "d"))
        parts.engine._means.settle_ended(100, OutcomeUnknown("no space", ended=ended))
    (operation,) = history(site)
    assert operation.state is state
    assert operation.why == ("no space" if state is State.FAILED else "")
