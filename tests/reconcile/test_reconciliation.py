"""One guest's turn, against a node behind real HTTPS."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from types import MappingProxyType

import pytest

from felhom_agent.daemon.assembly import Parts, assembled
from felhom_agent.devnode import Behaviour, Fault, World
from felhom_agent.devnode.http.message import Answer
from felhom_agent.devnode.http.request import Request
from felhom_agent.devnode.world.schema import Raw
from felhom_agent.errors import Interrupted, QueueClosed
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import Operation, State, replay
from felhom_agent.model import (
    Blocked,
    Converged,
    DeclaredValue,
    Desired,
    DesiredGuest,
    Mode,
    Outcome,
    Refused,
    RestartPolicy,
    Retry,
    RunState,
    StopPolicy,
)
from felhom_agent.proxmox.client import READS, WRITES
from felhom_agent.reconcile.reconciliation import Reconciled
from felhom_agent.service.logging import TailFormatter
from tests.conftest import Clock, Open, Site
from tests.daemon.pending import kept_pending
from tests.process import wait_until

SOON = 30.0


def wanted(
    vmid: int = 100,
    state: RunState | None = None,
    stop: StopPolicy = StopPolicy.GRACEFUL,
    **config: DeclaredValue,
) -> DesiredGuest:
    return DesiredGuest(vmid, state=state, stop=stop, config=MappingProxyType(config))


def turn(parts: Parts, guest: DesiredGuest) -> Outcome:
    parts.engine.desired = Desired(MappingProxyType({guest.vmid: guest}))
    return parts.engine.reconcile(guest.vmid).result(SOON).outcome


def history(site: Site) -> list[Operation]:
    return replay(read(site.directory / "journal" / NAME))


def ends(site: Site) -> list[tuple[str, State]]:
    return [(operation.action, operation.state) for operation in history(site)]


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_guest_is_configured_and_started(site: Site, agent: Open, vmid: int) -> None:
    with agent() as parts:
        assert turn(parts, wanted(vmid, RunState.RUNNING, cores=2, onboot=True)) == Converged()
    assert site.world.running(vmid)
    assert site.world.config(vmid)["cores"] == 2
    assert ends(site) == [("SetConfig", State.SUCCEEDED), ("Start", State.SUCCEEDED)]


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_guest_is_shut_down_and_configured(site: Site, agent: Open, vmid: int) -> None:
    site.world.start(vmid)
    with agent() as parts:
        assert turn(parts, wanted(vmid, RunState.STOPPED, cores=2)) == Converged()
    assert not site.world.running(vmid)
    assert ends(site) == [("Stop", State.SUCCEEDED), ("SetConfig", State.SUCCEEDED)]


def test_a_guest_in_line_is_looked_at_and_left_alone(site: Site, agent: Open) -> None:
    with agent() as parts:
        assert turn(parts, wanted(cores=1)) == Converged()
    assert site.devnode.mutations == ()
    assert history(site) == []


def test_a_write_carries_the_digest_that_was_read(site: Site, agent: Open) -> None:
    digest = site.world.config(100)["digest"]
    with agent() as parts:
        turn(parts, wanted(cores=2))
    (write,) = site.devnode.mutations
    assert write.params["digest"] == digest


def test_the_intent_is_durable_before_pve_is_called(site: Site, agent: Open) -> None:
    """The node cuts the connection; whatever it did, the journal knew before."""
    site.devnode.faults.add(Fault("POST", "config$", "reset-before"))
    with agent() as parts:
        assert isinstance(turn(parts, wanted(cores=2)), Retry)
        (operation,) = history(site)
        assert (operation.state, dict(operation.wanted)) == (State.INTENT, {"cores": "2"})


def test_both_answers_to_a_configuration_change_are_understood(site: Site, agent: Open) -> None:
    """At once, or by a task (the contract's two modes)."""
    with agent() as parts:
        assert turn(parts, wanted(cores=2)) == Converged()
        site.world.behave(100, Behaviour(config_seconds=60))
        site.clock.now += 1
        parts.engine.desired = Desired({100: wanted(cores=3)})
        future = parts.engine.reconcile(100)
        let_time_pass_until(site, future.done)
        assert future.result(0).outcome == Converged()
    first, second = history(site)
    assert first.upid == ""
    assert "qmconfig" in second.upid


def let_time_pass_until(site: Site, done: Callable[[], bool]) -> None:
    """Move the world's clock on while the agent waits."""
    pause = threading.Event()
    for _ in range(3000):
        if done():
            return
        site.clock.pass_by(1)
        pause.wait(0.01)
    raise AssertionError("it never came to pass")


class Meddler(Clock):
    """A clock whose node lets a person act just before our first write gets there."""

    def __init__(self, act: Callable[[World], object]) -> None:
        super().__init__()
        self.site: Site | None = None
        self._act = act

    def __call__(self) -> float:
        if self.site is not None and self.site.devnode.mutations:
            site, self.site = self.site, None
            self._act(site.world)
        return self.now


def test_a_change_by_somebody_else_meanwhile_is_looked_at_and_not_overwritten(
    make_site: Callable[..., Site],
) -> None:
    meddler = Meddler(lambda world: world.edit(100, {"memory": "4096"}))
    site = make_site(World(now=meddler))
    site.world.add("qemu", 100, {"memory": "1024", "cores": 1})
    meddler.site = site
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, wanted(cores=2)) == Converged()
    assert site.world.config(100)["memory"] == "4096"
    assert site.world.config(100)["cores"] == 2
    assert ends(site) == [("SetConfig", State.FAILED), ("SetConfig", State.SUCCEEDED)]


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.STOPPED])
def test_a_guest_that_is_already_there_when_our_call_arrives_is_success_by_looking(
    make_site: Callable[..., Site], kind: str, state: RunState
) -> None:
    """QEMU says so in the task, LXC in the answer (recorded: 40-tasks-qemu, 41-tasks-lxc)."""
    start = state is RunState.RUNNING
    meddler = Meddler(lambda world: world.start(100) if start else world.stop(100))
    site = make_site(World(now=meddler))
    site.world.add(kind, 100, {}, running=not start)
    meddler.site = site
    with assembled(site.config(), site.clock) as parts:
        assert turn(parts, wanted(state=state)) == Converged()
    assert ends(site) == [("Start" if start else "Stop", State.SUCCEEDED)]


def test_a_guest_that_does_not_obey_is_blocked_with_words(site: Site, agent: Open) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(obeys_shutdown=False))
    with agent(stop_timeout=5.0) as parts:
        parts.engine.desired = Desired({100: wanted(state=RunState.STOPPED)})
        future = parts.engine.reconcile(100)
        let_time_pass_until(site, future.done)
        outcome = future.result(0).outcome
    assert isinstance(outcome, Blocked)
    assert 'stop = "power-off"' in outcome.why
    assert site.world.running(100)


def test_a_guest_whose_owner_allows_it_is_powered_off_after_the_timeout(
    site: Site, agent: Open
) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(obeys_shutdown=False))
    with agent(stop_timeout=5.0) as parts:
        parts.engine.desired = Desired(
            {100: wanted(state=RunState.STOPPED, stop=StopPolicy.POWER_OFF)}
        )
        future = parts.engine.reconcile(100)
        let_time_pass_until(site, future.done)
        assert future.result(0).outcome == Converged()
    assert not site.world.running(100)
    assert site.devnode.mutations[0].params["forceStop"] == "1"


def test_a_failing_start_is_retried_later_with_pves_reason(site: Site, agent: Open) -> None:
    site.world.behave(100, Behaviour(start_error="storage 'nosuch' does not exist"))
    with agent() as parts:
        outcome = turn(parts, wanted(state=RunState.RUNNING))
        assert isinstance(outcome, Retry)
        assert "storage 'nosuch' does not exist" in outcome.why
    assert ends(site) == [("Start", State.FAILED)]


def test_warnings_of_a_task_are_success(site: Site, agent: Open) -> None:
    site.world.behave(100, Behaviour(warnings=3))
    with agent() as parts:
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()


def test_what_pve_refuses_is_refused(site: Site, agent: Open) -> None:
    site.devnode.faults.add(Fault("POST", "config$", "status:400"))
    with agent() as parts:
        assert isinstance(turn(parts, wanted(cores=2)), Refused)
    assert ends(site) == [("SetConfig", State.FAILED)]


def test_a_missing_privilege_is_blocked_with_the_line_that_grants_it(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(privileges={"/": ["VM.Audit", "Sys.Audit"]})
    site.world.add("qemu", 100, {"cores": 1})
    with assembled(site.config(), site.clock) as parts:
        outcome = turn(parts, wanted(state=RunState.RUNNING))
    assert isinstance(outcome, Blocked)
    assert "lacks VM.PowerMgmt on /vms/100" in outcome.why
    assert "--privs VM.PowerMgmt" in outcome.why
    assert "pveum acl modify /vms/100 --tokens" in outcome.why


def test_a_locked_guest_is_left_alone(site: Site, agent: Open) -> None:
    site.world.lock(100, "backup")
    with agent() as parts:
        assert turn(parts, wanted(cores=2)) == Blocked("locked (backup)")
    assert site.devnode.mutations == ()


def test_observe_mode_changes_nothing_and_says_what_it_would_do(site: Site, agent: Open) -> None:
    with agent(mode=Mode.OBSERVE) as parts:
        outcome = turn(parts, wanted(state=RunState.RUNNING, cores=2))
    assert outcome == Blocked(
        "nothing is changed in observe mode; would set cores: 1 -> 2, start", observed=True
    )
    assert site.devnode.mutations == ()


@pytest.mark.parametrize("action", ["reset-after", "status:596", "truncated", "hang"])
@pytest.mark.parametrize("vmid", [100, 200])
def test_an_unknown_outcome_is_looked_up_and_not_repeated(
    site: Site, agent: Open, vmid: int, action: str
) -> None:
    """PVE did it, the answer was lost: the next turn finds out and does nothing twice."""
    site.proxmox = type(site.proxmox)(**{**vars(site.proxmox), "write_timeout": 0.3})
    for path in ("config$", "status/start$"):
        site.devnode.faults.add(Fault("POST", path, action))
        site.devnode.faults.add(Fault("PUT", path, action))
    guest = wanted(vmid, RunState.RUNNING, cores=2)
    with agent() as parts:
        outcomes = []
        for _ in range(4):
            outcomes.append(turn(parts, guest))
            site.clock.pass_by(60)
    assert isinstance(outcomes[0], Retry)
    assert outcomes[-1] == Converged()
    assert [m.path.rpartition("/")[2] for m in site.devnode.mutations] == ["config", "start"]
    assert ends(site) == [("SetConfig", State.SUCCEEDED), ("Start", State.SUCCEEDED)]


def test_a_lost_request_becomes_unknown_and_is_planned_anew(site: Site, agent: Open) -> None:
    site.devnode.faults.add(Fault("POST", "start$", "reset-before"))
    with agent() as parts:
        assert isinstance(turn(parts, wanted(state=RunState.RUNNING)), Retry)
        assert "PVE may yet start" in str(turn(parts, wanted(state=RunState.RUNNING)))
        assert len(site.devnode.mutations) == 1, "PVE may still be working on the first"
        site.clock.pass_by(60)
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert ends(site) == [("Start", State.UNKNOWN), ("Start", State.SUCCEEDED)]


def test_a_request_that_the_proxy_could_not_pass_on_leaves_nothing_to_look_up(
    site: Site, agent: Open
) -> None:
    """recorded: 92-outages/007"""
    site.devnode.faults.add(Fault("POST", "start$", "status:595"))
    with agent() as parts:
        assert isinstance(turn(parts, wanted(state=RunState.RUNNING)), Retry)
        assert ends(site) == [("Start", State.FAILED)]
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert ends(site) == [("Start", State.FAILED), ("Start", State.SUCCEEDED)]


def test_while_a_task_outlives_its_deadline_nothing_else_touches_the_guest(
    site: Site, agent: Open
) -> None:
    site.world.behave(100, Behaviour(start_seconds=1000))
    with agent(start_timeout=1.0) as parts:
        assert "still runs after 1 s" in str(turn(parts, wanted(state=RunState.RUNNING)))
        assert "still runs after 1 s" in str(
            turn(parts, wanted(state=RunState.RUNNING, onboot=True))
        )
        assert len(site.devnode.mutations) == 1
        site.clock.pass_by(2000)
        assert turn(parts, wanted(state=RunState.RUNNING, onboot=True)) == Converged()
    assert ends(site) == [("Start", State.SUCCEEDED), ("SetConfig", State.SUCCEEDED)]


def test_while_the_journal_cannot_be_written_nothing_is_changed(site: Site, agent: Open) -> None:
    with agent() as parts:
        parts.operations._log.close()
        outcome = turn(parts, wanted(cores=2))
    assert isinstance(outcome, Blocked)
    assert "journal" in outcome.why
    assert site.devnode.mutations == ()


def leave_a_start_in_flight(site: Site, agent: Open) -> Future[Reconciled]:
    """Let an agent end while guest 100 takes a thousand seconds to start."""
    site.world.behave(100, Behaviour(start_seconds=1000))
    with agent(drain_timeout=0.0) as parts:
        parts.engine.desired = Desired({100: wanted(state=RunState.RUNNING)})
        future = parts.engine.reconcile(100)
        wait_until(lambda: any(o.upid for o in parts.operations.in_flight()))
    return future


def test_closing_leaves_what_runs_in_flight_and_says_so(
    site: Site, agent: Open, caplog: pytest.LogCaptureFixture
) -> None:
    future = leave_a_start_in_flight(site, agent)
    with pytest.raises(Interrupted):
        future.result(SOON)
    assert [operation.state for operation in history(site)] == [State.TASK]
    assert "guest 100 web: left in flight: start" in caplog.text


def test_a_closed_engine_takes_no_more_turns(agent: Open) -> None:
    with agent() as parts:
        pass
    with pytest.raises(QueueClosed):
        parts.engine.reconcile(100)


def test_what_was_in_flight_is_settled_after_a_restart_and_not_done_again(
    site: Site, agent: Open
) -> None:
    leave_a_start_in_flight(site, agent)
    site.clock.pass_by(2000)
    with agent() as parts:
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert len(site.devnode.mutations) == 1
    assert ends(site) == [("Start", State.SUCCEEDED)]


def test_a_bug_of_ours_is_one_guests_retry_with_its_place_and_no_traceback(
    site: Site, agent: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with agent() as parts:
        parts.engine.desired = Desired({100: "nonsense"})  # type: ignore[dict-item]
        outcome = parts.engine.reconcile(100).result(SOON).outcome
        assert turn(parts, wanted(200, cores=1)) == Converged()
    assert isinstance(outcome, Retry)
    place = r"internal error: AttributeError: .*\(felhom_agent/\S+\.py:\d+ in \w+\)"
    assert re.fullmatch(place, outcome.why)
    (record,) = [r for r in caplog.records if "internal error" in r.getMessage()]
    line = TailFormatter(priorities=False).format(record)
    assert "Traceback" not in line
    assert "\n" not in line


def test_a_change_that_waits_for_a_restart_is_written_and_reported(site: Site, agent: Open) -> None:
    site.world.start(100)
    with agent() as parts:
        outcome = turn(parts, wanted(memory=2048, cores=2))
    assert outcome == Blocked("needs a restart: memory 1024 -> 2048, cores 1 -> 2; restart it")
    assert ends(site) == [("SetConfig", State.SUCCEEDED)]
    assert site.world.running(100)


def test_a_restart_that_is_allowed_brings_the_change_into_effect(site: Site, agent: Open) -> None:
    site.world.start(100)
    guest = replace(wanted(state=RunState.RUNNING, cores=2), restart=RestartPolicy.ALLOWED)
    with agent() as parts:
        assert turn(parts, guest) == Converged()
        assert turn(parts, guest) == Converged()
    assert [action for action, _ in ends(site)] == ["SetConfig", "Stop", "Start"]
    assert site.world.running(100)


def test_another_guest_under_a_managed_number_is_left_alone_until_a_person_confirms(
    site: Site, agent: Open
) -> None:
    old, new = (f"uuid={digit * 8}-2222-3333-4444-555555555555" for digit in "12")
    site.world.add("qemu", 105, {"cores": 1, "smbios1": old})
    with agent() as parts:
        assert turn(parts, wanted(105, cores=2)) == Converged()
    site.world.remove(105)
    site.world.add("qemu", 105, {"cores": 1, "smbios1": new})
    before = len(site.devnode.mutations)
    with agent() as parts:
        outcome = turn(parts, wanted(105, cores=2))
        assert isinstance(outcome, Blocked)
        assert f'confirm with identity = "{new}"' in outcome.why
        assert len(site.devnode.mutations) == before
        assert turn(parts, replace(wanted(105, cores=2), identity=new)) == Converged()
        assert turn(parts, wanted(105, cores=3)) == Converged()


def test_a_guest_whose_identity_we_change_ourselves_stays_ours(site: Site, agent: Open) -> None:
    old, new = (f"uuid={digit * 8}-2222-3333-4444-555555555555" for digit in "12")
    site.world.add("qemu", 105, {"cores": 1, "smbios1": old})
    with agent() as parts:
        assert turn(parts, wanted(105, smbios1=new, cores=2)) == Converged()
        assert turn(parts, wanted(105, smbios1=new, cores=3)) == Converged()


def test_nonsense_for_one_guest_costs_its_turn_only(site: Site, agent: Open) -> None:
    site.devnode.faults.add(Fault("GET", "qemu/100/pending$", "not-json"))
    with agent() as parts:
        assert "is not PVE's JSON" in str(turn(parts, wanted(cores=2)))
        assert turn(parts, wanted(200, cores=2)) == Converged()
        assert turn(parts, wanted(cores=2)) == Converged()


def test_a_container_write_that_failed_after_it_was_written_is_looked_up(
    make_site: Callable[..., Site],
) -> None:
    """PVE answers 500, and the file has it (recorded: 13-lxc-roundtrip-root/006)."""
    site = make_site(privileges={"/": AGENT_RIGHTS, "/sdn": ["SDN.Use"]})
    site.world.add("lxc", 200, {"hostname": "dns"})
    with assembled(site.config(), site.clock) as parts:
        guest = wanted(200, net0="name=eth0,bridge=nosuch")
        outcome = turn(parts, guest)
        assert isinstance(outcome, Retry)
        assert "bridge 'nosuch' does not exist" in outcome.why
        assert turn(parts, guest) == Converged()
    assert len(site.devnode.mutations) == 1
    assert ends(site) == [("SetConfig", State.SUCCEEDED)]


AGENT_RIGHTS = ["VM.Audit", "Sys.Audit", "VM.PowerMgmt", "VM.Config.Network", "SDN.Use"]


def test_late_and_unknown_resources_never_decide_about_a_run_state(site: Site, agent: Open) -> None:
    site.world.broadcasts.cycle = 1e9
    site.world.pvestatd_lost()
    with agent() as parts:
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
        assert turn(parts, wanted(state=RunState.STOPPED)) == Converged()
    assert [action for action, _ in ends(site)] == ["Start", "Stop"]


@pytest.mark.parametrize("vmid", [100, 200])
def test_a_lock_that_somebody_else_holds_is_waited_out(site: Site, agent: Open, vmid: int) -> None:
    """It comes as an answer to a write, and as the end of a task."""
    site.world.hold_lock(vmid)
    with agent() as parts:
        assert "can't lock file" in str(turn(parts, wanted(vmid, cores=2)))
        parts.engine.desired = Desired({vmid: wanted(vmid, RunState.RUNNING)})
        future = parts.engine.reconcile(vmid)
        let_time_pass_until(site, future.done)
        assert "another task holds the guest: can't lock file" in str(future.result(0).outcome)
        site.world.release_lock(vmid)
        assert turn(parts, wanted(vmid, RunState.RUNNING, onboot=True)) == Converged()


def test_a_worker_that_never_came_to_be_did_nothing(site: Site, agent: Open) -> None:
    words = "got no worker upid - start worker failed"
    site.devnode.faults.add(Fault("POST", "start$", f"refuse:{words}"))
    with agent() as parts:
        assert turn(parts, wanted(state=RunState.RUNNING)) == Retry(0.0, words)
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert ends(site) == [("Start", State.FAILED), ("Start", State.SUCCEEDED)]


def test_a_task_whose_file_is_gone_is_decided_by_looking(site: Site, agent: Open) -> None:
    """Its log was cleaned up while the agent was away."""
    leave_a_start_in_flight(site, agent)
    site.clock.pass_by(2000)
    site.world.forget_tasks()
    with agent() as parts:
        object.__setattr__(parts.node.tasks, "_clock", iter(range(0, 1000, 3)).__next__)
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert len(site.devnode.mutations) == 1
    assert ends(site) == [("Start", State.UNKNOWN)]


def test_a_lost_change_is_not_credited_with_the_task_of_the_one_before(
    site: Site, agent: Open
) -> None:
    """The earlier change ended at once, so that nobody knows its task."""
    with agent() as parts:
        assert turn(parts, wanted(cores=2)) == Converged()
        site.devnode.faults.add(Fault("POST", "config$", "reset-before"))
        assert isinstance(turn(parts, wanted(memory=2048)), Retry)
        site.clock.pass_by(60)
        assert turn(parts, wanted(memory=2048)) == Converged()
    assert [state for _, state in ends(site)] == [
        State.SUCCEEDED,
        State.UNKNOWN,
        State.SUCCEEDED,
    ]
    assert site.world.config(100)["memory"] == "2048"


def test_a_restart_that_mends_nothing_is_not_tried_over_and_over(site: Site, agent: Open) -> None:
    """PVE keeps some changes pending through a restart (recorded: 100-snapshots-qemu/238)."""
    site.world.start(100)
    guest = replace(wanted(state=RunState.RUNNING, cores=2), restart=RestartPolicy.ALLOWED)
    with kept_pending(site, "cores", 1, 2), agent() as parts:
        parts.engine.desired = Desired({100: guest})
        first = parts.engine.reconcile(100).result(SOON)
        assert isinstance(first.outcome, Refused)
        assert first.restart_in_vain
        for _ in range(2):
            again = parts.engine.reconcile(100, restart_in_vain=True).result(SOON)
            assert again == first
    asked = [m.path.rpartition("/")[2] for m in site.devnode.mutations]
    assert asked.count("shutdown") == 1
    assert asked.count("start") == 1
    assert {state for _, state in ends(site)} == {State.SUCCEEDED}


def test_a_stop_of_the_agent_in_the_middle_of_a_restart_still_starts_the_guest(
    site: Site, agent: Open
) -> None:
    site.world.start(100)
    site.world.behave(100, Behaviour(shutdown_seconds=60))
    guest = replace(wanted(state=RunState.RUNNING, cores=2), restart=RestartPolicy.ALLOWED)
    with agent(drain_timeout=20.0) as parts:
        parts.engine.desired = Desired({100: guest})
        future = parts.engine.reconcile(100)
        wait_until(lambda: any(m.path.endswith("shutdown") for m in site.devnode.mutations))
        parts.holds.close()
        let_time_pass_until(site, future.done)
    assert site.world.running(100)


def test_a_task_of_another_token_is_decided_by_looking(site: Site, agent: Open) -> None:
    """The token was renamed while an operation was in flight (recorded: 40-tasks-qemu/120)."""
    leave_a_start_in_flight(site, agent)
    # The list of tasks does not hold it, either.
    site.devnode.faults.add(Fault("GET", "/tasks$", "status:403", times=1))
    site.devnode.faults.add(Fault("GET", "/UPID.*/status$", "status:403", times=1))
    site.clock.pass_by(2000)
    with agent() as parts:
        assert turn(parts, wanted(state=RunState.RUNNING)) == Converged()
    assert ends(site) == [("Start", State.UNKNOWN)]


def test_a_burst_of_turns_does_not_ask_pve_all_at_once(site: Site, agent: Open) -> None:
    """Hundreds of guests may need a turn after an outage; the host has just come back."""
    count = 3 * READS
    lock = threading.Lock()
    now, most, gate = 0, 0, threading.Event()
    full = threading.Event()

    real = site.devnode.answer

    def answer(heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if now == READS:
            full.set()
        assert gate.wait(SOON), "the others never came to wait"
        try:
            return real(heard, raw, authorization)
        finally:
            with lock:
                now -= 1

    for vmid in range(100, 100 + count):
        site.world.guests.pop(vmid, None)
        site.world.add("qemu", vmid, {})
    with agent() as parts:
        parts.engine.desired = Desired({v: wanted(v) for v in range(100, 100 + count)})
        site.devnode.answer = answer  # type: ignore[method-assign]
        futures = [parts.engine.reconcile(v) for v in range(100, 100 + count)]
        assert full.wait(SOON)
        wait_until(lambda: parts.node.client._reads.waiting == count - READS)
        gate.set()
        assert [future.result(SOON).outcome for future in futures] == [Converged()] * count
    assert most == READS == 4


def test_no_more_changes_are_asked_for_at_once_than_leave_pve_a_worker(
    site: Site, agent: Open
) -> None:
    """PVE has three workers, and its web page needs one."""
    count, gate, lock = 3 * WRITES, threading.Event(), threading.Lock()
    now, most = 0, 0
    real = site.devnode.answer

    def answer(heard: Request, raw: Mapping[str, Raw], authorization: str) -> Answer:
        nonlocal now, most
        if not heard.changes:
            return real(heard, raw, authorization)
        with lock:
            now += 1
            most = max(most, now)
        assert gate.wait(SOON), "the others never came to wait"
        try:
            return real(heard, raw, authorization)
        finally:
            with lock:
                now -= 1

    for vmid in range(300, 300 + count):
        site.world.add("qemu", vmid, {"cores": 1})
    with agent() as parts:
        parts.engine.desired = Desired({v: wanted(v, cores=2) for v in range(300, 300 + count)})
        site.devnode.answer = answer  # type: ignore[method-assign]
        futures = [parts.engine.reconcile(v) for v in range(300, 300 + count)]
        wait_until(lambda: now == WRITES and parts.node.client.writes.waiting == count - WRITES)
        gate.set()
        assert [future.result(SOON).outcome for future in futures] == [Converged()] * count
    assert most == WRITES == 2
