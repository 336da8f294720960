"""Whatever happens, in whatever order, and whatever of it the host tells: in the end all is as
declared, and nothing was done that nobody declared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from felhom_agent.daemon.eyes import HOURLY, SWEEP
from felhom_agent.devnode import World
from felhom_agent.model import Converged
from tests.conftest import Clock, Site, opened_site
from tests.daemon.told import Listening, listening

VMIDS = (300, 301, 302)
DECLARED = (
    "".join(
        f'[guest.{v}]\nstate = "running"\n[guest.{v}.config]\nonboot = true\n' for v in VMIDS[:2]
    )
    + '[guest.302]\nstate = "stopped"\n[guest.302.config]\nonboot = true\n'
)

Act = Callable[[Site, int], None]


def _edit(site: Site, vmid: int) -> None:
    site.world.edit(vmid, {"onboot": 0})


def _turn(site: Site, vmid: int) -> None:
    (site.world.stop if site.world.running(vmid) else site.world.start)(vmid)


events = st.lists(
    st.tuples(
        st.sampled_from(["edit", "turn", "lost", "back", "everything", "wake", "nothing"]),
        st.sampled_from(VMIDS),
        st.sampled_from(["told", "not told", "told of another", "told too late"]),
        st.integers(1, 90),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(events)
def test_in_the_end_all_is_as_declared_and_nothing_is_invented(
    events: list[tuple[str, int, str, int]],
) -> None:
    clock = Clock()
    world = World(node="pve1", now=clock)
    for vmid in VMIDS:
        uuid = f"uuid=11111111-2222-3333-4444-555555555{vmid}"
        world.add("qemu", vmid, {"onboot": 1, "smbios1": uuid}, running=vmid != VMIDS[2])
    with tempfile.TemporaryDirectory() as name, opened_site(Path(name), world, clock) as site:
        site.declare(DECLARED)
        with listening(site) as agent:
            changed = 0
            for what, vmid, told, seconds in events:
                changed += happens(agent, what, vmid, told)
                agent.goes_on(seconds, step=min(5.0, seconds))
            agent.host.working = True
            agent.goes_on(HOURLY + 2 * SWEEP, step=20.0)
            for vmid in VMIDS:
                assert site.world.config(vmid)["onboot"] == 1
                assert site.world.running(vmid) is (vmid != VMIDS[2])
                assert isinstance(agent.outcome(vmid), Converged)
            # Each change of somebody's is put back at most once, by one act.
            assert len(site.devnode.mutations) <= changed


def happens(agent: Listening, what: str, vmid: int, told: str) -> int:
    """Let something happen; return how many changes of a guest that is."""
    host, site = agent.host, agent.site
    act: Act | None = {"edit": _edit, "turn": _turn}.get(what)
    if act is None:
        if what == "everything":
            host.everything("too many events")
        elif what == "wake":
            agent.daemon.send("wake")
        elif what != "nothing":
            host.working = what == "back"
        return 0
    act(site, vmid)
    tell = host.written if what == "edit" else host.power
    if told == "told":
        tell(vmid)
    elif told == "told of another":
        tell(*(v for v in VMIDS if v != vmid), 999)
    elif told == "told too late":
        agent.goes_on(20, step=5.0)
        tell(vmid)
    return 1
