"""What begins while a pass still reads other guests, and what does not."""

from __future__ import annotations

from collections.abc import Callable

from felhom_agent.devnode import Fault
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.model import Converged
from felhom_agent.proxmox.observer import BATCH
from tests.conftest import Site
from tests.daemon.running import Begin, add, asked, heard
from tests.process import wait_until


def declare(site: Site, vmids: list[int], first: str) -> None:
    """Declare all guests as they are, but the first."""
    lines = [f"[guest.{vmid}.config]\ncores = 1\n" for vmid in vmids[1:]]
    site.declare("".join([first, *lines]))


def test_a_configuration_is_written_while_others_are_read_and_the_pass_leaves_its_guest_alone(
    site: Site, begin: Begin
) -> None:
    vmids = add(site, 2 * BATCH + 4)
    first, later = vmids[0], vmids[BATCH + 8]
    declare(site, vmids, f"[guest.{first}.config]\ncores = 2\n")
    agent = begin()
    early = []

    def after_the_write(request: Request, answer: Callable[[], Answer]) -> Answer:
        if request.method == "GET" and request.path.endswith(f"{later}/pending"):
            wait_until(lambda: not agent.daemon._inbox.empty())
            early.extend(asked(site, "config"))
        return answer()

    with heard(site, after_the_write):
        agent.run_pass()
    assert early == [first]
    assert agent.scheduler.idle
    assert agent.outcome(first) == Converged()


def test_what_is_to_be_started_waits_for_the_end_of_the_pass(site: Site, begin: Begin) -> None:
    vmids = add(site, BATCH + 4, start_seconds=1)
    first, last = vmids[0], vmids[-1]
    site.world.edit(last, {"startup": "order=1"})
    declare(site, vmids[:-1], f'[guest.{first}]\nstate = "running"\n')
    site.declare(f'[guest.{last}]\nstate = "running"\n', "last.toml")
    agent = begin(parallel=4)
    agent.run_pass()
    agent.finish()
    assert asked(site, "start") == [last, first]


def test_nothing_is_begun_early_once_the_agent_is_told_to_stop(site: Site, begin: Begin) -> None:
    vmids = add(site, 2 * BATCH + 4)
    cores = {vmid: 1 if vmid in vmids[:BATCH] else 2 for vmid in vmids}
    site.declare("".join(f"[guest.{v}.config]\ncores = {n}\n" for v, n in cores.items()))
    agent = begin()
    parts = agent.daemon._parts

    def stops(request: Request, answer: Callable[[], Answer]) -> Answer:
        if request.method == "GET" and request.path.endswith(f"{vmids[2 * BATCH]}/pending"):
            # The first batch was planned.
            wait_until(lambda: parts.planner.history.readable)
            parts.node.shutting_down.set()
        return answer()

    with heard(site, stops):
        agent.run_pass()
    assert agent.scheduler.idle
    assert agent.scheduler.ends == 0


def test_a_pass_begins_an_interval_after_the_one_before_has_begun(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    agent = begin(interval=60.0, backoff_first=5.0)
    agent.run_pass()
    now = agent.monotonic.now
    assert agent.daemon._due(now - 10) == now + 50
    assert agent.daemon._due(now - 59) == now + 6, "a slow node gets a rest"
    site.devnode.faults.add(Fault("GET", "cluster/resources", "status:500"))
    agent.run_pass()
    assert agent.daemon._due(now - 10) == now + 5, "after a failure it is counted from its end"


def test_a_reload_asks_for_what_was_kept_of_the_node(site: Site, begin: Begin) -> None:
    site.declare("[guest.100.config]\ncores = 1\n")
    site.write_config()
    agent = begin()
    for versions in (1, 1):
        agent.run_pass()
        assert sum(request.path == "/version" for request in site.devnode.requests) == versions
    agent.daemon._reload()
    agent.run_pass()
    assert sum(request.path == "/version" for request in site.devnode.requests) == 2
