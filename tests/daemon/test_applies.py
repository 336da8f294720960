"""`apply`: what a person has seen and agreed to is done, in observe mode too, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import pytest

from felhom_agent.config.settings import LimitsConfig
from felhom_agent.daemon.assembly import assembled
from felhom_agent.daemon.loop import APPLY, Daemon
from felhom_agent.devnode import Behaviour
from felhom_agent.errors import FelhomError
from felhom_agent.journal.operation import State
from felhom_agent.model import (
    Action,
    Blocked,
    Change,
    Converged,
    Desired,
    Kind,
    Mode,
    Outcome,
    Refused,
    Retry,
    SetConfig,
    Start,
    Stop,
)
from felhom_agent.planning.acts import prints_of
from felhom_agent.reconcile.applies import (
    CHANGED,
    MAX_OPEN,
    WITHDRAWN,
    AppliedGuest,
    Applies,
    TooManyApplies,
)
from felhom_agent.reconcile.reconciliation import IN_VAIN
from tests.conftest import Clock, Site
from tests.daemon.pending import kept_pending
from tests.daemon.running import Begin, Running, add, asked, declare_restarted, declare_running

START = Start(100, Kind.QEMU)
CORES = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),))
BOTH = SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"), Change("onboot", "0", "1")))
DECLARED = '[guest.100]\nstate = "running"\n[guest.100.config]\ncores = 2\n'


def tell(agent: Running, acts: dict[int, Iterable[Action]]) -> str:
    """Tell the agent to apply what was shown; return the apply's name, once the loop has heard."""
    name = agent.daemon.apply({v: prints_of(each) for v, each in acts.items()}, "root")
    assert agent.daemon._wait(0.0)
    return name


def parts(agent: Running, name: str) -> dict[int, AppliedGuest]:
    found = agent.daemon._parts.applies.parts(name)
    assert found is not None
    return {part.vmid: part for part in found}


def outcome(agent: Running, name: str, vmid: int = 100) -> Outcome | None:
    return parts(agent, name)[vmid].outcome


@pytest.fixture
def observing(begin: Begin) -> Running:
    return begin(mode=Mode.OBSERVE)


def test_in_observe_mode_what_was_agreed_to_is_done_and_nothing_else(
    site: Site, observing: Running
) -> None:
    add(site, 1)
    site.world.add("qemu", 100, {"cores": 1})
    site.declare(DECLARED + '[guest.300]\nstate = "running"\n')
    name = tell(observing, {100: [CORES, START]})
    observing.look()
    assert outcome(observing, name) == Converged()
    assert asked(site, "start") == [100]
    assert site.world.config(100)["cores"] == 2
    done = parts(observing, name)[100].operations.values()
    assert [(o.action, o.state) for o in done] == [
        ("SetConfig", State.SUCCEEDED),
        ("Start", State.SUCCEEDED),
    ]
    site.world.edit(100, {"cores": 1})
    observing.look()
    assert site.world.config(100)["cores"] == 1, "an apply that has ended lifts nothing any more"


def test_an_act_that_was_not_shown_is_not_done(site: Site, observing: Running) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare(DECLARED)
    name = tell(observing, {100: [SetConfig(100, Kind.QEMU, (Change("cores", "1", "3"),)), START]})
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Blocked)
    assert "what would be done is not what was shown" in found.why
    assert "felhom-agent plan 100" in found.why
    assert asked(site, "config") == asked(site, "start") == []


def test_in_enforce_mode_too_it_is_no_part_of_the_apply_and_the_agent_does_it_itself(
    site: Site, begin: Begin
) -> None:
    site.declare(DECLARED)
    agent = begin()
    name = tell(agent, {100: [SetConfig(100, Kind.QEMU, (Change("cores", "1", "3"),)), START]})
    agent.look()
    found = outcome(agent, name)
    assert isinstance(found, Blocked)
    assert found.why.startswith(CHANGED)
    agent.look()
    assert site.world.running(100)
    assert site.world.config(100)["cores"] == 2


def test_less_than_was_shown_is_done(site: Site, observing: Running) -> None:
    site.world.add("qemu", 100, {"cores": 1, "onboot": 1})
    site.declare("[guest.100.config]\ncores = 2\nonboot = 1\n")
    name = tell(observing, {100: [BOTH]})
    observing.look()
    assert outcome(observing, name) == Converged()
    assert site.world.config(100)["cores"] == 2


@pytest.mark.parametrize("shown", [True, False])
def test_a_restart_is_done_only_if_it_was_shown(
    site: Site, observing: Running, shown: bool
) -> None:
    (vmid,) = add(site, 1, running=True)
    declare_restarted(site, [vmid])
    change = SetConfig(vmid, Kind.QEMU, (Change("cores", "1", "2"),))
    shown_acts: list[Action] = [change]
    if shown:
        shown_acts += [Stop(vmid, Kind.QEMU, restart=True), Start(vmid, Kind.QEMU)]
    name = tell(observing, {vmid: shown_acts})
    observing.look()
    assert isinstance(outcome(observing, name, vmid), Converged if shown else Blocked)
    assert asked(site, "shutdown") == ([vmid] if shown else [])
    assert site.world.running(vmid)


@pytest.mark.parametrize("held", ["pause", "freeze"])
def test_a_pause_and_a_freeze_hold_what_is_applied(
    site: Site, observing: Running, held: str
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare(DECLARED)
    suspensions = observing.daemon._parts.suspensions
    if held == "pause":
        suspensions.pause(100, None, "disk swap", "root")
    else:
        suspensions.freeze(None, "disk swap", "root")
    name = tell(observing, {100: [CORES, START]})
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Blocked)
    assert "disk swap" in found.why
    assert not site.devnode.mutations
    assert not observing.scheduler.ends, "no lane had to look again"


def test_the_brake_lets_pass_what_a_person_applies_and_counts_it(site: Site) -> None:
    limits = LimitsConfig(changed=10, changed_percent=30, stopped=1, restarted=1)
    vmids = add(site, 4, running=True)
    config = replace(site.config(parallel=4), limits=limits)
    with assembled(config, site.clock, monotonic=site.clock) as assembled_parts:
        monotonic = Clock(1000.0)
        daemon = Daemon(config, assembled_parts, clock=monotonic, chance=lambda: 0.0)
        agent = Running(daemon, monotonic, site)
        agent.look()
        site.declare("".join(f'[guest.{v}]\nstate = "stopped"\n' for v in vmids))
        name = tell(agent, {v: [Stop(v, Kind.QEMU)] for v in vmids[:3]})
        for _ in range(3):
            agent.look()
        assert sorted(asked(site, "shutdown")) == vmids[:3]
        assert all(part.outcome == Converged() for part in parts(agent, name).values())
        assert isinstance(agent.outcome(vmids[3]), Blocked), "the three count"


def test_a_guest_that_is_as_declared_ends_its_part_at_once(site: Site, observing: Running) -> None:
    site.world.add("qemu", 100, {"cores": 2}, running=True)
    site.declare(DECLARED)
    name = tell(observing, {100: [CORES]})
    observing.look()
    assert outcome(observing, name) == Converged()
    assert not observing.scheduler.ends, "no lane had to look again"


def test_a_guest_that_somebody_else_has_just_changed_is_applied_all_the_same(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare("[guest.100.config]\ncores = 2\n")
    observing.scheduler._quiet_until = lambda _: math.inf
    name = tell(observing, {100: [CORES]})
    observing.look()
    assert outcome(observing, name) == Converged()


def test_a_guest_that_nobody_declares_ends_its_part_and_says_so(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    name = tell(observing, {100: [CORES]})
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Blocked)
    assert "not declared" in found.why


def test_a_guest_that_is_only_observed_by_its_own_declaration_stays_so(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare(DECLARED.replace('"running"\n', '"running"\nmode = "observe"\n', 1))
    name = tell(observing, {100: [CORES, START]})
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Blocked)
    assert "observed only" in found.why
    assert not site.devnode.mutations


def test_a_node_that_cannot_be_observed_ends_the_apply_with_the_reason(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare(DECLARED)
    name = tell(observing, {100: [CORES, START]})
    site.devnode.close()
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Retry)
    assert not found.delay
    assert "could not be observed" in found.why


def test_a_try_that_failed_ends_the_part_and_is_not_made_again_in_observe_mode(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 2}, behaviour=Behaviour(start_error="no such bridge"))
    site.declare(DECLARED)
    name = tell(observing, {100: [START]})
    observing.look()
    found = outcome(observing, name)
    assert isinstance(found, Retry)
    assert "no such bridge" in found.why
    observing.later(100.0)
    observing.look()
    assert asked(site, "start") == [100]


def test_a_guest_that_the_pass_could_say_nothing_of_is_looked_at_by_its_own_lane(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare("[guest.100.config]\ncores = 2\n")
    observing.look()
    name = tell(observing, {100: [CORES]})
    observing.scheduler.look_at_applied(observing.monotonic.now - 1)
    assert observing.scheduler.idle, "the pass began before the word was given"
    observing.scheduler.look_at_applied(observing.monotonic.now)
    assert observing.scheduler.running == 1
    observing.finish()
    assert outcome(observing, name) == Converged()
    assert asked(site, "config") == [100]


def test_a_restart_that_was_in_vain_is_made_again_where_a_person_applies_it(
    site: Site, begin: Begin
) -> None:
    """PVE keeps some changes pending through a restart (recorded: 100-snapshots-qemu/238)."""
    (vmid,) = add(site, 1, running=True)
    declare_restarted(site, [vmid])
    agent = begin()
    with kept_pending(site, "cores", 1, 2):
        agent.look()
        agent.look()
        assert agent.outcome(vmid) == Refused(IN_VAIN)
        assert asked(site, "shutdown") == [vmid]
        name = tell(agent, restarts([vmid]))
        agent.look()
        assert outcome(agent, name, vmid) == Refused(IN_VAIN)
    assert asked(site, "shutdown") == [vmid, vmid]


def test_a_part_that_waits_for_somebody_elses_task_stays_open_and_is_tried_in_its_time(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 1})
    site.declare("[guest.100.config]\ncores = 2\n")
    site.world.hold_lock(100)
    name = tell(observing, {100: [CORES]})
    observing.look()
    tried = len(asked(site, "config"))
    assert tried
    assert outcome(observing, name) is None
    observing.look()
    assert len(asked(site, "config")) == tried, "its time has not come"
    site.world.release_lock(100)
    observing.later(10)
    assert len(asked(site, "config")) == tried + 1
    assert outcome(observing, name) == Converged()


def test_what_failed_and_waits_for_its_back_off_is_tried_at_once(site: Site, begin: Begin) -> None:
    site.world.add("qemu", 100, {"cores": 2}, behaviour=Behaviour(start_error="no such bridge"))
    site.declare(DECLARED)
    agent = begin(backoff_first=3600.0, backoff_cap=3600.0)
    agent.look()
    agent.look()
    assert asked(site, "start") == [100]
    site.world.guests[100].behaviour = Behaviour()
    name = tell(agent, {100: [START]})
    agent.look()
    assert asked(site, "start") == [100, 100]
    assert outcome(agent, name) == Converged()


def test_a_lane_that_ran_before_the_word_does_not_answer_it(site: Site, begin: Begin) -> None:
    site.world.add("qemu", 100, {"cores": 2}, behaviour=Behaviour(start_seconds=50.0))
    site.declare(DECLARED)
    agent = begin()
    agent.run_pass()
    agent.hear(lambda: agent.scheduler.running == 1)
    agent.monotonic.pass_by(1.0)
    name = tell(agent, {100: [START]})
    agent.run_pass()
    assert outcome(agent, name) is None
    agent.hear(lambda: outcome(agent, name) is not None)
    assert outcome(agent, name) == Converged()
    assert asked(site, "start") == [100]


def test_what_has_not_begun_can_be_withdrawn(site: Site, observing: Running) -> None:
    vmids = add(site, 2)
    declare_running(site, vmids)
    name = tell(observing, {v: [Start(v, Kind.QEMU)] for v in vmids})
    assert observing.daemon._parts.applies.end(name) == 2
    observing.look()
    assert not site.devnode.mutations
    assert outcome(observing, name, vmids[0]) == Blocked(WITHDRAWN)
    assert observing.daemon._parts.applies.end(name) == 0
    assert observing.daemon._parts.applies.end("0") is None


def test_a_restart_that_was_begun_is_ended_when_it_is_withdrawn_and_nothing_else_is_done(
    site: Site, observing: Running
) -> None:
    (vmid,) = add(site, 1, running=True, shutdown_seconds=50.0)
    declare_restarted(site, [vmid])
    name = tell(observing, restarts([vmid]))
    observing.pace = 1.0
    observing.run_pass()
    observing.hear(lambda: asked(site, "shutdown") == [vmid])
    assert observing.daemon._parts.applies.end(name) == 1
    assert observing.daemon._parts.applies.end(name) == 0
    assert outcome(observing, name, vmid) is None, "it is under way"
    text = (site.guests_directory / "guests.toml").read_text()
    site.declare(text.replace("cores = 2", "cores = 3"))
    observing.run_pass()
    observing.hear(lambda: outcome(observing, name, vmid) is not None)
    assert site.world.running(vmid)
    assert site.world.config(vmid)["cores"] == 2
    found = outcome(observing, name, vmid)
    assert isinstance(found, Blocked)
    assert "it was withdrawn, and no more of it is begun" in found.why


def test_a_guest_is_part_of_one_apply_at_a_time() -> None:
    applies = Applies()
    applies.begin({100: frozenset(), 101: frozenset()}, "root", 1.0)
    with pytest.raises(TooManyApplies, match="guest 101 is being applied"):
        applies.begin({101: frozenset(), 102: frozenset()}, "root", 2.0)
    assert issubclass(TooManyApplies, FelhomError)
    assert applies.open_guests() == {100, 101}


def test_only_so_many_applies_are_open_and_only_so_many_that_ended_are_kept() -> None:
    applies = Applies()
    names = [applies.begin({100 + n: frozenset()}, "root", 1.0) for n in range(MAX_OPEN)]
    with pytest.raises(TooManyApplies, match="under way"):
        applies.begin({200: frozenset()}, "root", 1.0)
    for name in names:
        applies.end(name)
    for number in range(40):
        applies.end(applies.begin({300 + number: frozenset()}, "root", 1.0))
    assert applies.parts(names[0]) is None


def test_the_word_reaches_the_loop_as_a_message(site: Site, observing: Running) -> None:
    observing.daemon.apply({100: frozenset()}, "root")
    assert observing.daemon._inbox.get(timeout=1.0) == APPLY


def restarts(vmids: Iterable[int]) -> dict[int, Iterable[Action]]:
    """Return what a person is shown where more cores need a restart."""
    return {
        v: [
            SetConfig(v, Kind.QEMU, (Change("cores", "1", "2"),)),
            Stop(v, Kind.QEMU, restart=True),
            Start(v, Kind.QEMU),
        ]
        for v in vmids
    }


def test_a_restart_that_must_not_begin_while_another_guest_is_down_ends_its_part(
    site: Site, observing: Running
) -> None:
    vmids = add(site, 2, running=True)
    for vmid in vmids:
        site.world.guests[vmid].behaviour = Behaviour(start_error="no such bridge")
    declare_restarted(site, vmids)
    name = tell(observing, restarts(vmids))
    observing.look()
    (down,) = asked(site, "shutdown")
    (other,) = set(vmids) - {down}
    found = outcome(observing, name, other)
    assert isinstance(found, Retry), "else who applies it waits for ever, and is not told for what"
    assert f"{down} was stopped for its restart and is still down" in found.why


def test_a_guest_that_is_held_while_its_lane_runs_ends_its_part_with_the_lane(
    site: Site, observing: Running
) -> None:
    site.world.add("qemu", 100, {"cores": 2}, behaviour=Behaviour(start_seconds=50.0))
    site.declare(DECLARED)
    name = tell(observing, {100: [START]})
    observing.run_pass()
    observing.hear(lambda: observing.scheduler.running == 1)
    observing.scheduler.declare(Desired(held=MappingProxyType({100: "its file has an error"})))
    observing.hear(lambda: observing.scheduler.running == 0)
    found = outcome(observing, name)
    assert isinstance(found, Blocked)
    assert "its file has an error" in found.why


def test_what_changes_during_a_restart_of_ours_is_not_done_and_the_guest_comes_up(
    site: Site, observing: Running
) -> None:
    (vmid,) = add(site, 1, running=True, shutdown_seconds=50.0)
    declare_restarted(site, [vmid])
    name = tell(observing, restarts([vmid]))
    observing.pace = 1.0
    observing.run_pass()
    observing.hear(lambda: asked(site, "shutdown") == [vmid])
    text = (site.guests_directory / "guests.toml").read_text()
    site.declare(text.replace("cores = 2", "cores = 3"))
    observing.run_pass()
    observing.hear(lambda: outcome(observing, name, vmid) is not None)
    found = outcome(observing, name, vmid)
    assert isinstance(found, Blocked)
    assert site.world.running(vmid), "we have stopped it, so we start it"
    assert site.world.config(vmid)["cores"] == 2


def test_what_is_withdrawn_while_the_gate_asks_is_not_done() -> None:
    names: list[str] = []
    applies = Applies(observes=lambda: applies.end(names[0]) is not None)
    names.append(applies.begin({100: frozenset()}, "root", 1.0))
    assert applies.objection(START)
