"""The planner, by value: what is declared and what is there make the plan, and nothing else."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    Desired,
    DesiredGuest,
    GuestPlan,
    Kind,
    Mode,
    RunState,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.reconcile.plan import describe, plan, plan_guest

RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED


def there(
    state: RunState | None = STOPPED, kind: Kind = Kind.QEMU, **config: object
) -> ActualGuest:
    return ActualGuest(
        vmid=100, kind=kind, node="pve1", state=state, name="web", config=config, digest="d1"
    )


def declared(state: RunState | None = None, **config: DeclaredValue) -> DesiredGuest:
    return DesiredGuest(100, state=state, config=MappingProxyType(config))


def planned(desired: DesiredGuest, guest: ActualGuest | None) -> GuestPlan:
    return plan_guest(desired, Actual("pve1", {100: guest} if guest else {}))


def test_a_guest_as_declared_has_an_empty_plan() -> None:
    assert planned(declared(RUNNING, cores=2), there(RUNNING, cores=2)) == GuestPlan(
        100, Kind.QEMU, "web"
    )


def test_undeclared_is_unmanaged() -> None:
    assert not planned(declared(), there(RUNNING, cores=64, protection=1)).drifted


def test_configuration_comes_before_start() -> None:
    assert planned(declared(RUNNING, cores=2), there(STOPPED, cores=1)).actions == (
        SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),)),
        Start(100, Kind.QEMU),
    )


def test_stop_comes_before_configuration() -> None:
    assert planned(declared(STOPPED, cores=2), there(RUNNING, cores=1)).actions == (
        Stop(100, Kind.QEMU),
        SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),)),
    )


def test_the_power_off_policy_goes_along_with_the_stop() -> None:
    desired = DesiredGuest(100, state=STOPPED, stop=StopPolicy.POWER_OFF)
    (action,) = planned(desired, there(RUNNING)).actions
    assert action == Stop(100, Kind.QEMU, StopPolicy.POWER_OFF)


def test_a_change_carries_the_digest_it_was_planned_on() -> None:
    (action,) = planned(declared(cores=2), there(cores=1)).actions
    assert isinstance(action, SetConfig)
    assert action.digest == "d1"


def test_all_changes_of_a_guest_are_one_action() -> None:
    (action,) = planned(
        declared(cores=2, onboot=True, tags=("b", "a")), there(cores=1, tags="a")
    ).actions
    assert isinstance(action, SetConfig)
    assert action.changes == (
        Change("cores", "1", "2"),
        Change("onboot", ABSENT, "1"),
        Change("tags", "a", "b;a"),
    )


def test_a_key_that_shall_be_absent_is_deleted_if_it_is_there() -> None:
    desired = DesiredGuest(100, unset=frozenset({"cpulimit"}))
    assert planned(desired, there(cpulimit="1.5")).actions == (
        SetConfig(100, Kind.QEMU, (Change("cpulimit", "1.5", ABSENT),)),
    )
    assert not planned(desired, there()).drifted


@pytest.mark.parametrize(
    ("wish", "present"),
    [
        ({"description": "DNS\n"}, {"description": "DNS"}),
        ({"memory": 2048}, {"memory": "2048"}),
        ({"tags": ("prod", "DNS")}, {"tags": "dns;prod"}),
        ({"onboot": False}, {}),
        ({"cpulimit": 2}, {"cpulimit": "2.0"}),
    ],
)
def test_what_pve_would_answer_with_is_not_drift(
    wish: dict[str, DeclaredValue], present: dict[str, object]
) -> None:
    desired = DesiredGuest(100, config=MappingProxyType(wish))
    guest = ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config=present)
    assert not planned(desired, guest).drifted


def test_observing_reports_and_does_nothing() -> None:
    desired = DesiredGuest(100, mode=Mode.OBSERVE, state=RUNNING)
    found = planned(desired, there(STOPPED))
    assert (found.actions, found.notes) == ((), ("observed only; would start",))


def test_a_guest_that_is_nowhere_is_withheld() -> None:
    assert "no such guest is known" in planned(declared(RUNNING), None).withheld
    assert "VM.Audit on /vms/100" in planned(declared(RUNNING), None).withheld


def test_a_guest_on_another_node_is_withheld_with_its_node() -> None:
    actual = Actual("pve1", {}, {100: "pve2"})
    assert plan_guest(declared(RUNNING), actual).withheld == "it is on node pve2, not on pve1"


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        (ActualGuest(100, Kind.QEMU, "pve1", STOPPED), "could not be read"),
        (there(None), "PVE does not know its state"),
        (
            ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config={}, template=True),
            "it is a template",
        ),
        (
            ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config={}, lock="backup"),
            "it is locked (backup)",
        ),
        (ActualGuest(100, Kind.QEMU, "pve1", RUNNING, config={}, paused=True), "it is paused"),
        (ActualGuest(100, Kind.LXC, "pve1", STOPPED, config={}), "declared as qemu"),
        (
            ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config={}, ha_state="stopped"),
            "HA manages it (state stopped)",
        ),
    ],
)
def test_nothing_is_planned_where_it_must_not_be(guest: ActualGuest, why: str) -> None:
    desired = DesiredGuest(
        100, kind=Kind.QEMU, state=RUNNING, config=MappingProxyType({"cores": 2})
    )
    found = planned(desired, guest)
    assert why in found.withheld
    assert found.actions == ()


def test_configuration_of_an_ha_managed_guest_is_written_if_its_state_is_right() -> None:
    guest = ActualGuest(
        100, Kind.QEMU, "pve1", RUNNING, config={"cores": 1}, digest="d", ha_state="started"
    )
    assert len(planned(declared(RUNNING, cores=2), guest).actions) == 1
    assert len(planned(declared(None, cores=2), guest).actions) == 1


def test_a_declaration_that_does_not_fit_the_kind_is_refused_as_a_whole() -> None:
    found = planned(declared(RUNNING, sockets=2, cores=2), there(STOPPED, Kind.LXC, cores=1))
    assert "sockets" in found.refused
    assert found.actions == ()


def test_a_wish_that_would_lose_a_disk_is_reported_and_never_planned() -> None:
    guest = there(scsi0="local:100/vm-100-disk-0.raw,size=32G")
    found = planned(declared(scsi0="other:64"), guest)
    assert found.actions == ()
    assert found.notes
    assert "scsi0" in found.notes[0]


def test_a_secret_is_never_shown_and_never_drift() -> None:
    guest = there(cipassword="**********")
    assert not planned(declared(cipassword="hunter2"), guest).drifted


def test_a_plan_has_an_entry_for_each_declared_guest_and_no_other() -> None:
    actual = Actual("pve1", {100: there(), 999: there()})
    plans = plan(Desired({200: DesiredGuest(200), 100: DesiredGuest(100)}), actual)
    assert list(plans) == [100, 200]


def test_actions_print_as_one_line() -> None:
    change = Change("description", "a b", "x\ny")
    assert str(SetConfig(100, Kind.QEMU, (change, Change("cores", ABSENT, "2")))) == (
        r"SetConfig(vmid=100, description: 'a b' -> 'x\ny'; cores: (absent) -> 2)"
    )
    assert str(Start(100, Kind.QEMU)) == "Start(vmid=100)"
    assert describe(Stop(100, Kind.QEMU)) == "shut down"


def test_a_secret_change_hides_its_values() -> None:
    change = Change("cipassword", "old", "hunter2", secret=True)
    assert "hunter2" not in f"{change} {change!r} {SetConfig(100, Kind.QEMU, (change,))!r}"
