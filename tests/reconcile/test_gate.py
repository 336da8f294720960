"""The gate is asked before every call, and lets nothing through that cannot be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from felhom_agent.authz.acts import acts_of
from felhom_agent.config.settings import LimitsConfig
from felhom_agent.daemon.assembly import Parts
from felhom_agent.daemon.loop import Daemon
from felhom_agent.errors import Changed, FelhomError, Held, Interrupted, NotShown, Unsigned
from felhom_agent.irreversible import Act, Destroy
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import State, replay
from felhom_agent.model import (
    ABSENT,
    Action,
    Blocked,
    Change,
    DesiredGuest,
    Kind,
    Retry,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.planning.acts import prints_of
from felhom_agent.proxmox.permit import Permit, PermitError
from felhom_agent.reconcile.applies import Applies
from felhom_agent.reconcile.brake import Brake
from felhom_agent.reconcile.gate import Gate, Proposal
from felhom_agent.reconcile.holds import Holds
from felhom_agent.service.counters import Counters
from felhom_agent.service.families import GATE
from tests.authz.desk import a_host, signed
from tests.conftest import Open, Site

SOON = 30.0
DISK = "local:100/vm-100-disk-0.raw"
START = Start(100, Kind.QEMU)
DETACH = SetConfig(100, Kind.QEMU, (Change("scsi0", DISK, ABSENT),), "0" * 40)
PENDING = f"pending signature: disk_detach of guest 100: scsi0 would lose {DISK}"


def test_a_permit_is_for_the_action_that_was_proposed_and_a_new_one_each_time() -> None:
    gate, proposal = Gate(Holds(), brake()), Proposal(START, "start")
    first, second = gate.ask(proposal), gate.ask(proposal)
    assert first.action is second.action is START
    assert first is not second


def test_a_withdrawn_declaration_comes_first_and_then_a_hold_and_then_the_signature() -> None:
    holds = Holds()
    gate, proposal = Gate(holds, brake()), Proposal(DETACH, "set scsi0")
    with pytest.raises(Unsigned) as caught:
        gate.ask(proposal)
    assert str(caught.value) == PENDING
    holds.register("test", lambda _: "held by a test")
    with pytest.raises(Held, match="held by a test; would set scsi0"):
        gate.ask(proposal)
    with pytest.raises(Changed):
        gate.ask(replace(proposal, is_in_force=lambda: False))
    holds.close()
    with pytest.raises(Interrupted):
        gate.ask(proposal)


def test_a_restart_is_ended_under_a_hold_that_is_not_absolute() -> None:
    holds = Holds()
    gate, proposal = Gate(holds, brake()), Proposal(START, "start", ends_restart=True)
    holds.register("hub", lambda _: "blocked")
    assert gate.ask(proposal).action is START
    holds.register("freeze", lambda _: "frozen", absolute=True)
    with pytest.raises(Held, match="frozen"):
        gate.ask(proposal)


def test_a_start_that_says_nothing_of_a_restart_is_held_like_any_other() -> None:
    holds = Holds()
    holds.register("test", lambda _: "held by a test")
    with pytest.raises(Held, match="held by a test; would start"):
        Gate(holds, brake()).ask(Proposal(START, "start"))


def test_under_an_apply_only_what_was_shown_is_done_but_our_own_restart_is_ended() -> None:
    applies = Applies()
    applies.begin({100: prints_of([Stop(100, Kind.QEMU)])}, "root", 0.0)
    gate = Gate(Holds(), brake(), applies)
    assert gate.ask(Proposal(Stop(100, Kind.QEMU), "shut down"))
    with pytest.raises(NotShown, match="would start"):
        gate.ask(Proposal(START, "start"))
    assert gate.ask(Proposal(START, "start", ends_restart=True))


def test_a_start_that_says_nothing_of_a_restart_is_no_part_of_one_under_an_apply() -> None:
    applies = Applies()
    applies.begin({100: frozenset()}, "root", 0.0)
    with pytest.raises(NotShown):
        Gate(Holds(), brake(), applies).ask(Proposal(START, "start"))


def test_by_a_signature_is_done_what_was_signed_and_nothing_else(tmp_path: Path) -> None:
    with a_host(tmp_path) as host:
        leave = host.authorize(signed(host.request("force_stop")))
    operation, _ = leave.examined.on_guest()
    (act,) = acts_of(operation)
    holds = Holds()
    gate = Gate(holds, brake())
    assert gate.ask(Proposal(act, "pull the plug", leave=leave)).action is act
    for other in (Destroy(act.vmid, act.kind), replace(act, vmid=act.vmid + 1)):
        with pytest.raises(Unsigned, match="none of what was signed"):
            gate.ask(Proposal(other, "something else", leave=leave))
    holds.register("pause", lambda _: "paused", yields=True)
    assert gate.ask(Proposal(act, "pull the plug", leave=leave)).action is act
    holds.register("hub", lambda _: "the hub says no")
    with pytest.raises(Held, match="the hub says no; would pull the plug"):
        gate.ask(Proposal(act, "pull the plug", leave=leave))
    holds.close()
    with pytest.raises(Interrupted):
        gate.ask(Proposal(act, "pull the plug", leave=leave))


def test_a_guests_configuration_is_in_no_repr() -> None:
    assert "secret" not in repr(Proposal(START, "start", present={"description": "secret"}))


def test_what_is_too_much_at_once_is_held_with_what_it_would_do() -> None:
    one_an_hour = Brake(LimitsConfig(stopped=1), lambda: 0.0)
    gate = Gate(Holds(), one_an_hour)
    stop, other = Stop(100, Kind.QEMU), Stop(101, Kind.QEMU)
    assert gate.ask(Proposal(stop, "shut down", DesiredGuest(100)))
    with pytest.raises(Held, match="; would shut down"):
        gate.ask(Proposal(other, "shut down", DesiredGuest(101)))


def test_each_decision_is_counted_by_the_act_and_what_came_of_it() -> None:
    counters, holds, applies = Counters(), Holds(), Applies()
    gate = Gate(holds, brake(), applies, counters)

    def asked(proposal: Proposal) -> None:
        with suppress(FelhomError):
            gate.ask(proposal)

    asked(Proposal(START, "start"))
    asked(Proposal(DETACH, "set scsi0"))
    asked(Proposal(START, "start", is_in_force=lambda: False))
    applies.begin({100: frozenset()}, "root", 0.0)
    asked(Proposal(START, "start"))
    holds.register("test", lambda _: "held by a test")
    asked(Proposal(START, "start"))
    holds.close()
    asked(Proposal(START, "start"))
    words = ("permitted", "withdrawn", "not_shown", "held", "interrupted")
    expected = {("Start", word): 1 for word in words} | {("SetConfig", "unsigned"): 1}
    assert counters.snapshot().counters[GATE] == expected


@pytest.mark.parametrize("stop", [None, *StopPolicy])
def test_a_hard_stop_needs_the_local_files_word(stop: StopPolicy | None) -> None:
    action = Stop(100, Kind.QEMU, StopPolicy.POWER_OFF)
    declared = DesiredGuest(100, stop=stop) if stop else None
    proposal = Proposal(action, "shut down", declared)
    if stop is StopPolicy.POWER_OFF:
        assert Gate(Holds(), brake()).ask(proposal).action is action
        return
    with pytest.raises(Unsigned, match="pending signature: force_stop of guest 100: "):
        Gate(Holds(), brake()).ask(proposal)


@pytest.fixture
def disk(site: Site) -> Site:
    site.world.edit(100, {"scsi0": f"{DISK},size=1G"})
    return site


def digest(site: Site) -> str:
    return str(site.world.config(100)["digest"])


def jobs(site: Site) -> Iterator[Action]:
    """Yield jobs that would lose a disk, or what a running guest has in memory."""
    for before in (DISK, ABSENT, "none,media=cdrom"):
        for after in (ABSENT, "none", "local:4", f"{DISK},media=cdrom"):
            yield SetConfig(100, Kind.QEMU, (Change("scsi0", before, after),), digest(site))
    yield SetConfig(100, Kind.QEMU, (Change("delete", ABSENT, "scsi0"),), digest(site))
    yield SetConfig(100, Kind.QEMU, (Change("onboot,scsi0", "1", ABSENT),), digest(site))
    yield Stop(100, Kind.QEMU, StopPolicy.POWER_OFF)


def test_a_job_that_cannot_be_undone_is_never_begun_whatever_it_says_of_itself(
    disk: Site, agent: Open
) -> None:
    with agent() as parts:
        for number, action in enumerate(jobs(disk)):
            with pytest.raises(Unsigned, match="pending signature: "):
                parts.engine.run_once(f"job-{number}", action).result(SOON)
    assert disk.devnode.mutations == ()
    assert replay(read(disk.directory / "journal" / NAME)) == []
    assert str(disk.world.config(100)["scsi0"]).startswith(DISK)


def test_a_job_that_pulls_the_plug_is_done_where_the_local_file_allows_it(
    site: Site, agent: Open
) -> None:
    site.world.start(100)
    with agent() as parts:
        declared = DesiredGuest(100, stop=StopPolicy.POWER_OFF)
        parts.engine.desired = replace(parts.engine.desired, guests={100: declared})
        job = Stop(100, Kind.QEMU, StopPolicy.POWER_OFF)
        assert parts.engine.run_once("job", job).result(SOON).state is State.SUCCEEDED
    assert not site.world.running(100)


def test_a_plan_that_would_lose_a_disk_leaves_its_guest_blocked_with_what_would_be_signed(
    disk: Site, agent: Open
) -> None:
    """The planner lets a disk become a CD; the gate does not."""
    disk.declare(f'[guest.100.config]\nscsi0 = "{DISK},media=cdrom"\n')
    with agent() as parts:
        daemon = Daemon(disk.config(), parts)
        assert not daemon.run_pass()
        assert daemon._scheduler.statuses[100].outcome == Blocked(
            "pending signature: disk_detach of guest 100: "
            f"scsi0 would make a CD of {DISK}, or a disk"
        )
    assert disk.devnode.mutations == ()


def brake() -> Brake:
    return Brake(LimitsConfig(), lambda: 0.0)


class BrokenGate(Gate):
    """A gate with a bug: it permits what it is told to, at its second question."""

    def __init__(self, permit: Callable[[Act], Permit]) -> None:
        super().__init__(Holds(), brake())
        self._permit = permit

    def ask(self, proposal: Proposal) -> Permit:
        return self._permit(proposal.action)


def spent(action: Act) -> Permit:
    permit = Permit(action)
    permit.spend("POST", ("nodes", "pve1", action.kind, action.vmid, "status", "start"))
    return permit


@pytest.mark.parametrize(
    "permit",
    [spent, lambda _: Permit(Start(100, Kind.QEMU)), lambda _: Permit(DETACH), lambda _: None],
    ids=["used", "of another action", "of another kind", "none"],
)
def test_a_wrong_permit_is_an_internal_error_and_the_operation_did_nothing(
    site: Site, agent: Open, permit: Callable[[Act], Permit], caplog: pytest.LogCaptureFixture
) -> None:
    site.declare('[guest.100]\nstate = "running"\n')
    with agent() as parts:
        break_gate(parts, permit)
        daemon = Daemon(site.config(), parts)
        assert not daemon.run_pass()
        outcome = daemon._scheduler.statuses[100].outcome
        assert isinstance(outcome, Retry)
        assert outcome.why.startswith("internal error: PermitError")
        assert parts.operations.in_flight() == ()
        with pytest.raises(PermitError):
            parts.engine.run_once("job", START).result(SOON)
    assert "guest 100 web: internal error; it is tried again; please report it" in caplog.text
    assert site.devnode.mutations == ()
    assert {o.state for o in replay(read(site.directory / "journal" / NAME))} == {State.FAILED}


def break_gate(parts: Parts, permit: Callable[[Act], Permit]) -> None:
    parts.engine._executor._gate = BrokenGate(permit)
