"""What stands against a signed operation between its arrival and its end, with a whole agent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.authz.jobs import JobState
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.authz.desk import needs_ssh_keygen
from tests.conftest import Site
from tests.daemon.signing import DESTROY, OWNER, WEB, SigningHost

pytestmark = needs_ssh_keygen


def deleted(host: SigningHost) -> list[str]:
    return [m.path for m in host.site.devnode.mutations if m.method == "DELETE"]


@pytest.mark.parametrize("others", [True, False])
def test_a_destroy_that_takes_the_tokens_own_rights_along_is_done(
    make_site: Callable[..., Site], *, others: bool
) -> None:
    """PVE removes what is given on a guest together with it (recorded: 110-destroy-qemu)."""
    rights = [*AGENT_PRIVILEGES, *OWNER]
    privileges = {
        "/vms/100": rights,
        "/nodes": rights,
        "/storage": rights,
        "/sdn/zones/localnetwork": ["SDN.Use"],
    }
    if others:
        privileges["/vms/101"] = rights
    site = make_site(privileges=privileges)
    site.world.add("qemu", 100, WEB)
    site.world.add("qemu", 101, {"name": "other"})
    host = SigningHost(site)
    with host.agent() as agent:
        agent.ready.jobs.submit(job := agent.job(DESTROY))
        for _ in range(4):
            agent.tried(job)
        assert site.world.here("qemu", 100) is None
        assert agent.status(job).state is JobState.DONE
        assert agent.parts.operations.in_flight() == ()
