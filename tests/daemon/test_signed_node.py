"""What was signed waits while the node would stop its guest, and do no more: quorum and HA are
asked for before anything is burnt, and again before each act.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from felhom_agent.authz.jobs import JobState
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from tests.authz.desk import needs_ssh_keygen
from tests.conftest import Site
from tests.daemon.running import heard
from tests.daemon.signing import DESTROY, OWNER, WEB, SigningAgent, SigningHost

pytestmark = needs_ssh_keygen

HA_STATUS = "/cluster/ha/status/current"
ACTS: dict[str, Mapping[str, object]] = {
    "force_stop": {},
    DESTROY: {"purge": False},
    "snapshot_rollback": {"snapshot": "before"},
    "snapshot_delete": {"snapshot": "before"},
}
NARROW = {"/vms": ["VM.Audit", "VM.PowerMgmt", "VM.Config.CPU", *OWNER]}
"""A token that may ask neither for the quorum nor for HA, which takes Sys.Audit on /."""


def waits(agent: SigningAgent, act: str) -> tuple[JobState, str]:
    """Hand a job in, and return how it stands after two tries."""
    params = ACTS[act]
    job = agent.job(act, 100, params, stop=act == DESTROY)
    agent.ready.jobs.submit(job)
    agent.tried(job)
    found = agent.tried(job)
    assert "authorized" not in agent.decisions()
    return found.state, found.why


@contextmanager
def told(site: Site, answer: Answer) -> Iterator[None]:
    """Let the node answer that where it is asked for quorum and HA, for the length of a block."""

    def hear(request: Request, real: Callable[[], Answer]) -> Answer:
        return answer if request.path.endswith(HA_STATUS) else real()

    with heard(site, hear):
        yield


def said(data: object) -> Answer:
    return Answer(200, "OK", json.dumps({"data": data}).encode(), "application/json;charset=UTF-8")


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("mode", ["freeze", "ignore"])
def test_what_was_signed_waits_while_ha_has_the_guest_and_is_disarmed(
    host: SigningHost, mode: str, act: str
) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    world.start(100)
    with host.agent() as agent:
        agent.running.look()
        world.ha(100, "started")  # after the pass: only a fresh look tells
        host.site.clock.pass_by(30)
        world.disarm_ha(mode)
        state, why = waits(agent, act)
    assert state is JobState.PENDING
    assert why == (
        f"HA manages 100 web and is disarmed (resource mode {mode}); take it out first: "
        f"ha-manager remove"
    )
    assert world.running(100)
    assert host.site.devnode.mutations == ()


def test_a_purge_of_a_stopped_guest_waits_for_a_disarmed_ha_too(host: SigningHost) -> None:
    host.site.world.ha(100, "stopped")
    host.site.world.disarm_ha("ignore")
    with host.agent() as agent:
        job = agent.job(DESTROY, 100, {"purge": True})
        agent.ready.jobs.submit(job)
        assert agent.tried(job).state is JobState.PENDING
        host.site.world.ha(100, "")
        assert agent.tried(job).state is JobState.DONE


def test_what_was_signed_is_done_once_the_guest_was_taken_out_of_a_disarmed_ha(
    host: SigningHost,
) -> None:
    world = host.site.world
    world.start(100)
    world.ha(100, "started")
    world.disarm_ha("freeze")
    with host.agent() as agent:
        job = agent.job("force_stop")
        agent.ready.jobs.submit(job)
        assert agent.tried(job).state is JobState.PENDING
        world.ha(100, "")
        assert agent.tried(job).state is JobState.DONE
    assert not world.running(100)


def test_a_token_that_may_not_ask_for_ha_stops_no_guest_of_a_disarmed_one(
    host: SigningHost,
) -> None:
    world = host.site.world
    world.grant("felhom-agent@pve!agent", NARROW)
    world.start(100)
    world.ha(100, "started")
    world.disarm_ha("ignore")
    with host.agent() as agent:
        state, why = waits(agent, "force_stop")
    assert (state, "HA manages 100 web" in why) == (JobState.PENDING, True)
    assert host.site.devnode.mutations == ()


@pytest.mark.parametrize("act", ACTS)
def test_what_was_signed_waits_for_a_quorum_that_nobody_had_heard_to_be_lost(
    host: SigningHost, act: str
) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    world.start(100)
    with host.agent() as agent:
        agent.running.look()
        world.quorum_lost()
        state, why = waits(agent, act)
        assert state is JobState.PENDING
        assert "nothing is changed while the cluster has no quorum" in why
        assert world.running(100)
        assert host.site.devnode.mutations == ()


def test_it_is_done_once_quorum_is_back(host: SigningHost) -> None:
    host.site.world.start(100)
    with host.agent() as agent:
        host.site.world.quorum_lost()
        job = agent.job(DESTROY, stop=True)
        agent.ready.jobs.submit(job)
        assert agent.tried(job).state is JobState.PENDING
        host.site.world.quorum_back()
        assert agent.tried(job).state is JobState.DONE
        assert agent.decisions()[-2:] == ["authorized", "done"]


def test_a_token_that_may_not_ask_does_nothing_signed_after_a_refusal_for_want_of_quorum(
    host: SigningHost,
) -> None:
    world = host.site.world
    world.grant("felhom-agent@pve!agent", NARROW)
    world.add("qemu", 101, {**WEB, "smbios1": "uuid=11111111-2222-3333-4444-555555555556"})
    world.start(100)
    host.site.declare("[guest.101.config]\ncores = 2\n")
    with host.agent() as agent:
        world.quorum_lost()
        agent.running.look()
        state, why = waits(agent, "force_stop")
        assert (state, "quorum" in why) == (JobState.PENDING, True)
        assert world.running(100)
        world.quorum_back()
        agent.running.look()
        assert agent.done(agent.job("force_stop")).state is JobState.DONE


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, "cluster gone", b'{"data":null}', "application/json;charset=UTF-8"),
        said([]),
        said([{"type": "quorum", "quorate": None}]),
    ],
    ids=["500", "no row", "null"],
)
def test_what_was_signed_waits_while_the_node_does_not_tell(
    host: SigningHost, answer: Answer
) -> None:
    host.site.world.start(100)
    with host.agent() as agent:
        with told(host.site, answer):
            state, why = waits(agent, "force_stop")
            assert state is JobState.PENDING
            assert "PVE does not tell whether the cluster has quorum" in why
        assert host.site.devnode.mutations == ()


@pytest.mark.parametrize("lost", ["quorum", "ha"])
def test_a_guest_that_was_stopped_is_not_destroyed_if_the_node_stands_in_the_way_by_then(
    host: SigningHost, lost: str
) -> None:
    world = host.site.world
    world.start(100)

    def hear(request: Request, real: Callable[[], Answer]) -> Answer:
        answer = real()
        if request.path.endswith("100/status/stop"):
            if lost == "quorum":
                world.quorum_lost()
            else:
                world.ha(100, "stopped")
        return answer

    with host.agent() as agent, heard(host.site, hear):
        found = agent.done(agent.job(DESTROY, stop=True))
        assert found.state is JobState.FAILED
        assert "; would destroy" in found.why
        assert found.why.endswith("; it was stopped for this")
    assert [m.method for m in host.site.devnode.mutations] == ["POST"]
    assert world.here("qemu", 100) is not None
