"""One-shot jobs: begun at most once, by way of the same lane, settling and reading back."""

from __future__ import annotations

import pytest

from felhom_agent.daemon.assembly import Parts
from felhom_agent.devnode import Behaviour, Fault
from felhom_agent.errors import (
    Busy,
    Held,
    JobRefused,
    NotSent,
    OutcomeUnknown,
    QueueClosed,
    StillRunning,
    TaskFailed,
    Withheld,
)
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.model import Action, Change, Kind, Mode, SetConfig, Start, Stop
from tests.conftest import Open, Site

SOON = 30.0
START = Start(100, Kind.QEMU)


def once(parts: Parts, action: Action = START, key: str = "job", **words: float) -> Operation:
    return parts.engine.run_once(key, action, **words).result(SOON)


def asked(site: Site) -> list[str]:
    return [request.path.rpartition("/")[2] for request in site.devnode.mutations]


def journal(site: Site) -> list[Operation]:
    return replay(read(site.directory / "journal" / NAME))


def test_a_job_is_done_and_its_success_is_read_back(site: Site, agent: Open) -> None:
    with agent() as parts:
        operation = once(parts, expires=site.clock.now + 60)
    assert site.world.running(100)
    assert (operation.state, operation.key) == (State.SUCCEEDED, "job")
    assert journal(site) == [operation]


def test_a_job_handed_in_again_is_answered_with_its_first_operation(
    site: Site, agent: Open
) -> None:
    with agent() as parts:
        first = once(parts)
        site.world.stop(100)
        assert once(parts) == first
    with agent() as parts:
        assert once(parts) == first, "after a restart too"
    assert asked(site) == ["start"]
    assert not site.world.running(100)


def test_a_job_handed_in_twice_at_once_is_done_once(site: Site, agent: Open) -> None:
    with agent() as parts:
        futures = [parts.engine.run_once("job", START) for _ in range(5)]
        assert {future.result(SOON).op_id for future in futures} == {journal(site)[0].op_id}
    assert asked(site) == ["start"]


def test_a_key_names_one_job_also_where_it_is_handed_in_for_another_guest(
    site: Site, agent: Open
) -> None:
    with agent() as parts:
        first = once(parts)
        assert once(parts, Start(200, Kind.LXC)) == first
    assert asked(site) == ["start"]


def test_a_configuration_change_and_a_stop_are_jobs_too(site: Site, agent: Open) -> None:
    site.world.start(200)
    digest = str(site.world.config(200)["digest"])
    change = SetConfig(200, Kind.LXC, (Change("cores", "1", "2"),), digest)
    with agent() as parts:
        assert once(parts, change, "set").state is State.SUCCEEDED
        assert once(parts, Stop(200, Kind.LXC), "stop").state is State.SUCCEEDED
    assert site.world.config(200)["cores"] == 2
    assert not site.world.running(200)


def test_an_expired_job_is_refused(site: Site, agent: Open) -> None:
    with agent() as parts, pytest.raises(JobRefused, match="expired"):
        once(parts, expires=site.clock.now)
    assert asked(site) == []


def test_a_job_whose_answer_was_lost_is_looked_up_and_not_repeated(site: Site, agent: Open) -> None:
    site.devnode.faults.add(Fault("POST", "start$", "reset-after"))
    with agent() as parts:
        with pytest.raises(OutcomeUnknown):
            once(parts)
        assert once(parts).state is State.SUCCEEDED
    assert asked(site) == ["start"]


def test_a_job_that_never_reached_pve_for_all_we_know_is_never_repeated(
    site: Site, agent: Open
) -> None:
    """PVE may begin late what it was asked for; only its silence until then makes it unknown."""
    site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
    with agent() as parts:
        with pytest.raises(OutcomeUnknown):
            once(parts)
        with pytest.raises(StillRunning, match="PVE may yet "):
            once(parts)
        site.clock.pass_by(60)
        with pytest.raises(JobRefused, match="unknown"):
            once(parts)
    with agent() as parts, pytest.raises(JobRefused, match="unknown"):
        once(parts)
    assert asked(site) == ["start"]
    assert [o.state for o in journal(site)] == [State.UNKNOWN]


def test_a_job_of_which_pve_surely_did_nothing_may_be_handed_in_again(
    site: Site, agent: Open
) -> None:
    site.devnode.faults.add(Fault("POST", "start$", "refuse:got no worker upid - start failed"))
    with agent() as parts:
        with pytest.raises(Busy):
            once(parts)
        assert once(parts).state is State.SUCCEEDED
    assert [o.state for o in journal(site)] == [State.FAILED, State.SUCCEEDED]


def test_a_job_whose_task_failed_has_had_its_chance(site: Site, agent: Open) -> None:
    site.world.behave(100, Behaviour(start_error="start failed: QEMU exited with code 1"))
    with agent() as parts:
        with pytest.raises(TaskFailed):
            once(parts)
        with pytest.raises(JobRefused, match="failed"):
            once(parts)
    assert asked(site) == ["start"]


def test_nothing_is_done_to_a_guest_that_is_not_to_be_touched(site: Site, agent: Open) -> None:
    site.world.lock(100, "backup")
    with agent() as parts:
        with pytest.raises(Withheld, match="locked"):
            once(parts)
        site.world.unlock(100)
        assert once(parts).state is State.SUCCEEDED
    assert asked(site) == ["start"]


def test_in_observe_mode_no_job_is_done(site: Site, agent: Open) -> None:
    with agent(mode=Mode.OBSERVE) as parts, pytest.raises(Held, match="observe mode; would start"):
        once(parts)
    assert asked(site) == []


def test_a_write_without_a_digest_is_not_sent_and_may_be_handed_in_with_one(
    site: Site, agent: Open
) -> None:
    change = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),), "")
    with agent() as parts, pytest.raises(NotSent):
        once(parts, change)
    assert [o.untouched for o in journal(site)] == [True]


def test_a_closing_engine_takes_no_job(site: Site, agent: Open) -> None:
    with agent() as parts:
        parts.engine.close()
        with pytest.raises(QueueClosed):
            once(parts)
