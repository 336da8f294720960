"""Without quorum nothing is changed, it is said once, and nothing is left half done."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import Daemon
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.model import Blocked, Converged, Retry
from tests.conftest import Clock, Site
from tests.daemon.pending import kept_pending
from tests.daemon.running import heard

RESTARTED = """
[guest.100]
state = "running"
restart = "allowed"
[guest.100.config]
cores = 2
"""


def test_a_refusal_for_want_of_quorum_holds_every_guest_and_is_said_once(
    site: Site, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site.declare('[guest.100]\nstate = "running"\n[guest.200]\nstate = "running"\n')
    site.world.quorum_lost()
    with assembled(site.config(parallel=1), clock) as parts:
        daemon = Daemon(site.config(parallel=1), parts)
        for _ in range(3):
            assert not daemon.run_pass()
        first, second = (status.outcome for status in daemon._scheduler.statuses.values())
        assert isinstance(first, Blocked)
        assert second == Blocked("nothing is changed while the cluster has no quorum; would start")
        assert len(site.devnode.mutations) == 1
        assert "nothing is changed while the cluster has no quorum" in daemon._sentence()
        assert caplog.text.count("the cluster has no quorum; guests are only observed") == 1
        site.world.quorum_back()
        assert daemon.run_pass()
    assert site.world.running(100)
    assert site.world.running(200)


def test_a_start_that_pve_refuses_for_want_of_quorum_is_no_unknown_outcome(
    site: Site, clock: Clock
) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    site.world.quorum_lost()
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        assert parts.operations.in_flight() == ()
        assert parts.operations.unknown_count == 0


def test_a_guest_is_not_shut_down_for_a_restart_that_could_not_be_ended(
    site: Site, clock: Clock
) -> None:
    """A shutdown works without quorum, and the start after it does not."""
    site.world.start(100)
    site.declare(RESTARTED)
    config = site.config()
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        site.world.edit(100, {"cores": 2})  # a person wrote it; it waits for a restart
        site.world.quorum_lost()
        with kept_pending(site, "cores", 1, 2):
            assert not daemon.run_pass()
        assert site.world.running(100)
        assert site.devnode.mutations == ()
        assert "nothing is changed while the cluster has no quorum" in daemon._sentence()
        site.world.quorum_back()
        assert daemon.run_pass()
        assert daemon._scheduler.statuses[100].outcome == Converged()


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_guest_that_is_to_be_stopped_runs_on_while_nobody_could_start_it_again(
    site: Site, clock: Clock, vmid: int
) -> None:
    """A stop works without quorum, and a start does not (recorded: calls-9.2/201-quorum)."""
    site.world.start(vmid)
    site.declare(f'[guest.{vmid}]\nstate = "stopped"\n')
    site.world.quorum_lost()
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        assert site.world.running(vmid)
        assert site.devnode.mutations == ()
        assert "nothing is changed while the cluster has no quorum; would shut down" in str(
            daemon._scheduler.statuses[vmid].outcome
        )
        site.world.quorum_back()
        assert daemon.run_pass()
    assert not site.world.running(vmid)


NARROW = {"/vms": ["VM.Audit", "VM.PowerMgmt", "VM.Config.CPU"]}
"""What a token has that may not ask for the quorum, which takes Sys.Audit on /."""


def narrow(make_site: Callable[..., Site]) -> Site:
    """Return a site with a running VM 100 whose cores wait for a restart, and a VM 101."""
    site = make_site(privileges=NARROW)
    site.world.add("qemu", 100, {"cores": 1}, running=True)
    site.world.add("qemu", 101, {"cores": 1})
    return site


def test_a_token_that_may_not_ask_changes_what_it_may(
    make_site: Callable[..., Site], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site = narrow(make_site)
    site.declare(RESTARTED)
    caplog.set_level("INFO")
    with assembled(site.config(), clock) as parts:
        assert Daemon(site.config(), parts).run_pass()
    assert "quorum" not in caplog.text


def test_a_token_that_may_not_ask_hears_by_what_works_that_quorum_is_back(
    make_site: Callable[..., Site], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    site = narrow(make_site)
    site.declare("[guest.101.config]\ncores = 2\n")
    site.world.quorum_lost()
    caplog.set_level("INFO")
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts)
        for _ in range(3):
            assert not daemon.run_pass()
            clock.pass_by(3600)
        site.world.quorum_back()
        assert daemon.run_pass()
    assert caplog.text.count("the cluster has no quorum; guests are only observed") == 1
    assert caplog.text.count("the cluster has quorum again") == 1


def test_a_token_that_may_not_ask_shuts_nothing_down_before_something_else_has_worked(
    make_site: Callable[..., Site], clock: Clock
) -> None:
    """A shutdown does not count: it works without quorum."""
    site = narrow(make_site)
    site.world.add("qemu", 102, {"cores": 1}, running=True)
    site.declare("[guest.101.config]\ncores = 2\n")
    site.world.quorum_lost()
    config = site.config(parallel=1)
    with assembled(config, clock) as parts:
        daemon = Daemon(config, parts)
        assert not daemon.run_pass()
        site.world.edit(100, {"cores": 2})
        site.declare(f'{RESTARTED}[guest.102]\nstate = "stopped"\n')
        with kept_pending(site, "cores", 1, 2):
            for _ in range(3):
                clock.pass_by(3600)
                assert not daemon.run_pass()
            assert site.world.running(100)
            assert site.world.running(102)
            assert "no restart is begun" in str(daemon._scheduler.statuses[100].outcome)
            assert "nothing is stopped" in str(daemon._scheduler.statuses[102].outcome)
            site.declare(f"{RESTARTED}[guest.101.config]\ncores = 2\n")
            site.world.quorum_back()
            assert not daemon.run_pass()
            assert site.world.config(101)["cores"] == 2
            clock.pass_by(3600)
            daemon.run_pass()
    assert "/nodes/pve1/qemu/100/status/shutdown" in [m.path for m in site.devnode.mutations]


def test_a_token_that_may_not_ask_and_was_refused_nothing_shuts_down(
    make_site: Callable[..., Site], clock: Clock
) -> None:
    """A denial says nothing of the quorum; only what PVE refused for want of it does."""
    site = narrow(make_site)
    site.declare('[guest.100]\nstate = "stopped"\n')
    with assembled(site.config(), clock) as parts:
        assert Daemon(site.config(), parts).run_pass()
    assert not site.world.running(100)


def senseless(data: object) -> Answer:
    return Answer(200, "OK", json.dumps({"data": data}).encode(), "application/json;charset=UTF-8")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, "cluster gone", b'{"data":null}', "application/json;charset=UTF-8"),
        Answer(596, "timeout", b'{"data":null}', "application/json;charset=UTF-8"),
        senseless([]),
        senseless([{"type": "quorum", "quorate": None}]),
    ],
    ids=["500", "596", "no row", "null"],
)
@pytest.mark.parametrize("declared", ['[guest.100]\nstate = "stopped"\n', RESTARTED])
def test_nothing_is_stopped_while_the_question_for_the_quorum_fails(
    site: Site, clock: Clock, declared: str, answer: Answer
) -> None:
    """Only a denial means that PVE does not tell."""

    def hear(request: Request, real: Callable[[], Answer]) -> Answer:
        return answer if request.path.endswith("/cluster/ha/status/current") else real()

    site.world.start(100)
    site.declare(declared)
    with assembled(site.config(), clock) as parts:
        daemon = Daemon(site.config(), parts, clock=clock)
        site.world.edit(100, {"cores": 2})
        with kept_pending(site, "cores", 1, 2):
            with heard(site, hear):
                assert not daemon.run_pass()
                outcome = daemon._scheduler.statuses[100].outcome
                assert isinstance(outcome, Retry)
                assert "PVE does not tell whether the cluster has quorum" in outcome.why
            assert site.world.running(100)
            assert not site.devnode.mutations
            clock.pass_by(3600)
            daemon.run_pass()
    assert "/nodes/pve1/qemu/100/status/shutdown" in [m.path for m in site.devnode.mutations]
