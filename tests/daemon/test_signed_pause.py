"""After a signed operation the guest is left alone until a person says otherwise, whatever was said
before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from felhom_agent.authz.jobs import JobState
from felhom_agent.devnode import Fault
from tests.authz.desk import needs_ssh_keygen
from tests.daemon.signing import SigningAgent, SigningHost

pytestmark = needs_ssh_keygen

ROLLBACK = ("snapshot_rollback", 100, {"snapshot": "before"})


@pytest.fixture
def agent(host: SigningHost) -> Iterator[SigningAgent]:
    host.site.world.snapshot(100, "before")
    host.site.world.edit(100, {"cores": 2})
    host.site.declare("[guest.100.config]\ncores = 2\n")
    with host.agent() as found:
        found.running.look()
        yield found


def cores(agent: SigningAgent) -> object:
    return agent.host.site.world.config(100)["cores"]


def test_a_pause_that_ends_by_time_does_not_end_the_pause_after_a_rollback(
    agent: SigningAgent,
) -> None:
    suspensions = agent.parts.suspensions
    suspensions.pause(100, 3600, "maintenance", "anna")
    assert agent.done(agent.job(*ROLLBACK)).state is JobState.DONE
    (pause,) = suspensions.all()
    assert pause.left is None
    assert "after signed rollback" in suspensions.text(pause)


def test_a_pause_without_end_by_a_person_stays_as_it_was_said(agent: SigningAgent) -> None:
    suspensions = agent.parts.suspensions
    suspensions.pause(100, None, "mine", "anna")
    (before,) = suspensions.all()
    assert agent.done(agent.job(*ROLLBACK)).state is JobState.DONE
    assert suspensions.all() == (before,)


@pytest.mark.parametrize("seconds", [None, 3600.0])
def test_an_act_of_which_pve_did_nothing_leaves_the_pause_that_was_there(
    agent: SigningAgent, seconds: float | None
) -> None:
    suspensions = agent.parts.suspensions
    suspensions.pause(100, seconds, "mine", "anna")
    job = agent.job(*ROLLBACK)
    agent.host.site.devnode.faults.add(refused("rollback$"))
    assert agent.done(job).state is JobState.FAILED
    (found,) = suspensions.all()
    assert (found.why, found.by) == ("mine", "anna")
    assert (found.left is None) is (seconds is None)


def test_a_declaration_that_cannot_be_read_yet_does_not_end_the_pause_when_it_can(
    host: SigningHost,
) -> None:
    world = host.site.world
    world.snapshot(100, "before")
    world.edit(100, {"cores": 2})
    host.site.declare("[guest.100.config\ncores = 2\n")
    with host.agent() as agent:
        agent.running.look()
        assert agent.done(agent.job(*ROLLBACK)).state is JobState.DONE
        host.site.declare("[guest.100.config]\ncores = 2\n")
        agent.running.look()
        agent.running.look()
        assert cores(agent) == 1, "healed away"


def test_a_second_rollback_keeps_its_pause_under_the_declaration_of_its_time(
    agent: SigningAgent,
) -> None:
    """The first pause is to end with a declaration that was changed before the second rollback."""
    host, suspensions = agent.host, agent.parts.suspensions
    assert agent.done(agent.job(*ROLLBACK)).state is JobState.DONE
    (first,) = suspensions.all()
    assert agent.done(agent.job(*ROLLBACK)).state is JobState.DONE
    (second,) = suspensions.all()
    assert second.declared
    assert second.declared != first.declared
    host.site.declare("[guest.100.config]\ncores = 3\n")
    agent.running.look()
    assert cores(agent) == 3


def test_a_pause_for_what_was_never_begun_is_told_with_the_last_word(
    host: SigningHost,
) -> None:
    """An agent that ended between the pause and the act leaves the guest paused; that is said."""
    host.site.world.snapshot(100, "before")
    with host.agent() as agent:
        agent.running.look()
        ready, job = agent.ready, agent.job(*ROLLBACK)
        ready.jobs.submit(job)
        ready.examiner.authorize(job, ready.view.observe)
        agent.parts.suspensions.pause(100, None, "after signed rollback", "a signed operation")
    with host.agent() as agent:
        found = agent.status(job)
        assert found.state is JobState.FAILED
        assert "felhom-agent resume 100" in found.why


def refused(path: str) -> Fault:
    return Fault("POST", path, "status:403")
