"""The planner, by value: what is declared and what is there make the plan, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
    Desired,
    DesiredGuest,
    Facts,
    GuestPlan,
    Kind,
    Known,
    Mode,
    RestartPolicy,
    Rights,
    RunState,
    SetConfig,
    Start,
    Stop,
    StopPolicy,
)
from felhom_agent.planning.actions import describe
from felhom_agent.planning.identity import identity_of
from felhom_agent.planning.plan import plan, plan_guest

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
    assert planned(declared(RUNNING), None).withheld.startswith("there is no such guest; ")


def test_a_guest_that_the_token_may_not_see_is_not_called_gone() -> None:
    actual = Actual("pve1", {}, hidden=frozenset({100}))
    why = plan_guest(declared(RUNNING), actual).withheld
    assert why == "the token may not see it, if it exists: it lacks VM.Audit on /vms/100"


def test_a_guest_on_a_node_that_is_offline_is_told_so() -> None:
    actual = Actual("pve1", {}, {100: "pve2"}, offline=frozenset({"pve2"}))
    why = plan_guest(declared(RUNNING), actual).withheld
    assert why == "it is on node pve2, which is offline, not on pve1; declare it there"


def test_a_guest_on_another_node_is_withheld_with_its_node() -> None:
    actual = Actual("pve1", {}, {100: "pve2"})
    assert plan_guest(declared(RUNNING), actual).withheld.startswith(
        "it is on node pve2, not on pve1; "
    )


@pytest.mark.parametrize(
    ("guest", "why"),
    [
        (there(None), "PVE does not know its state"),
        (
            ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config={}, template=True),
            "it is a template",
        ),
        (
            ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config={}, lock="backup"),
            "locked (backup)",
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


def test_a_value_that_is_refused_holds_up_no_other_value() -> None:
    guest = there(STOPPED, boot="order=scsi0", scsi0="local:100/vm-100-disk-0.raw", cores=1)
    found = planned(declared(RUNNING, boot="order=ide2", cores=2), guest)
    assert "ide2" in found.refused
    assert [type(action).__name__ for action in found.actions] == ["SetConfig", "Start"]


def test_a_declaration_that_would_lose_a_disk_is_reported_and_never_planned() -> None:
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


def test_a_value_that_waits_for_a_restart_is_told_in_one_sentence() -> None:
    guest = replace(
        there(RUNNING, memory="4096", cores=4, onboot=1),
        pending={"memory": "2048", "cores": 2, "vga": "std"},
    )
    found = planned(declared(RUNNING, memory=4096, cores=4, onboot=True), guest)
    assert found.actions == ()
    (told,) = found.notes
    allow = '; restart it, or set restart = "allowed" in its file'
    assert told == f"needs a restart: memory 2048 -> 4096, cores 2 -> 4{allow}"


def test_a_key_whose_removal_waits_for_a_restart_is_told_too() -> None:
    guest = replace(there(RUNNING), pending={"balloon": 512})
    found = planned(DesiredGuest(100, unset=frozenset({"balloon"})), guest)
    assert found.notes == ("needs a restart: balloon 512 -> (absent); restart it",)


def test_a_key_that_shall_go_is_deleted_though_another_value_of_it_waits_for_a_restart() -> None:
    guest = replace(there(RUNNING, vga="virtio"), pending={"vga": "qxl"})
    found = planned(DesiredGuest(100, unset=frozenset({"vga"})), guest)
    assert found.actions == (SetConfig(100, Kind.QEMU, (Change("vga", "virtio", ABSENT),), "d1"),)


def test_a_key_that_is_new_waits_from_absence() -> None:
    guest = replace(there(RUNNING, vga="virtio"), pending={"vga": None})
    assert planned(declared(vga="virtio"), guest).notes == (
        "needs a restart: vga (absent) -> virtio; restart it",
    )


def test_what_waits_but_means_the_same_needs_no_restart() -> None:
    guest = replace(there(RUNNING, agent="1"), pending={"agent": "enabled=1"})
    assert not planned(declared(agent="1"), guest).drifted


def test_a_restart_is_planned_only_where_the_declaration_allows_it() -> None:
    guest = replace(there(RUNNING, cores=4), pending={"cores": 2})
    desired = replace(declared(RUNNING, cores=4), restart=RestartPolicy.ALLOWED)
    assert planned(desired, guest).actions == (
        Stop(100, Kind.QEMU, restart=True),
        Start(100, Kind.QEMU),
    )
    assert planned(replace(desired, mode=Mode.OBSERVE), guest).actions == ()
    assert planned(desired, replace(guest, ha_state="started")).actions == ()


def test_configuration_comes_before_a_restart_so_that_one_serves_all() -> None:
    guest = replace(there(RUNNING, cores=4, onboot=0), pending={"cores": 2})
    desired = replace(declared(RUNNING, cores=4, onboot=True), restart=RestartPolicy.ALLOWED)
    assert [type(action) for action in planned(desired, guest).actions] == [SetConfig, Stop, Start]


UUID, OTHER = "6f6b1d0e-7b6c-4b6b-8f62-1d4f8a1c0100", "00000000-7b6c-4b6b-8f62-1d4f8a1c0100"


@pytest.mark.parametrize(
    ("kind", "config", "known"),
    [
        (Kind.QEMU, {"smbios1": f"manufacturer=a,uuid={UUID}"}, f"uuid={OTHER}"),
        (Kind.QEMU, {"meta": "creation-qemu=10.1.2,ctime=1764000000"}, "ctime=1"),
        (Kind.LXC, {"rootfs": "local:200/vm-200-disk-1.raw,size=4G"}, "rootfs=local:200/x"),
    ],
)
def test_another_guest_under_a_known_number_is_withheld_until_a_person_confirms(
    kind: Kind, config: dict[str, object], known: str
) -> None:
    guest = there(STOPPED, kind, **config)
    actual = Actual("pve1", {100: guest})
    desired = DesiredGuest(100, state=RUNNING)
    present = identity_of(guest)
    why = plan_guest(desired, actual, Known(known)).withheld
    assert f"({known} is now {present})" in why
    assert f'identity = "{present}"' in why
    assert plan_guest(replace(desired, identity=present), actual, Known(known)).actions
    assert plan_guest(replace(desired, identity=known), actual, Known(present)).withheld
    assert plan_guest(desired, actual, Known(present)).actions
    assert plan_guest(desired, actual).actions


def test_a_guest_without_anything_to_know_it_by_is_taken_as_it_is() -> None:
    assert plan_guest(
        DesiredGuest(100, state=RUNNING), Actual("pve1", {100: there()}), Known("x")
    ).actions


def test_an_option_that_this_nodes_pve_does_not_know_yet_is_refused() -> None:
    guest = there(kind=Kind.LXC, arch="amd64")
    desired = declared(entrypoint="/sbin/init2")
    old = Actual("pve1", {100: guest}, facts=Facts(version=(8, 4)))
    new = Actual("pve1", {100: guest}, facts=Facts(version=(9, 1)))
    assert plan_guest(desired, old).refused == "entrypoint: needs PVE 9.1; this node has 8.4"
    assert plan_guest(desired, new).actions


def test_the_datacenters_tag_style_decides_about_case() -> None:
    guest = there(tags="web")
    strict = Actual("pve1", {100: guest}, facts=Facts(case_sensitive_tags=True))
    assert not planned(declared(tags=("Web",)), guest).drifted
    assert plan_guest(declared(tags=("Web",)), strict).actions


def test_no_tags_and_no_description_are_a_deletion_and_not_an_empty_text() -> None:
    (action,) = planned(declared(tags=(), description=""), there(tags="a", description="b")).actions
    assert isinstance(action, SetConfig)
    assert action.changes == (Change("tags", "a", ABSENT), Change("description", "b", ABSENT))


def test_a_boot_order_may_name_what_is_there_or_declared_and_nothing_else() -> None:
    guest = there(boot="order=scsi0", scsi0="local:100/d.raw,size=1G")
    assert planned(declared(boot=("scsi0", "net0"), net0="virtio"), guest).actions
    assert (
        "boot must name devices that the guest has, and 'ide2' is none"
        in planned(declared(boot=("ide2",)), guest).refused
    )


def test_a_network_card_keeps_its_address() -> None:
    guest = there(net0="virtio=BC:24:11:AA:BB:CC,bridge=vmbr0")
    (action,) = planned(declared(net0="virtio,bridge=vmbr1"), guest).actions
    assert isinstance(action, SetConfig)
    assert action.changes[0].after == "virtio=BC:24:11:AA:BB:CC,bridge=vmbr1"


@pytest.mark.parametrize(
    ("kind", "key", "value", "present"),
    [
        (Kind.QEMU, "scsi0", "local:32", "lvm:vm-100-disk-0,size=32G"),
        (Kind.QEMU, "scsi0", "local:x.raw", "local:y.raw,size=32G"),
        (Kind.QEMU, "scsi0", "none,media=cdrom", "local:y.raw,size=32G"),
        (Kind.QEMU, "scsi0", "local:y.raw,size=10G", "local:y.raw,size=32G"),
        (Kind.LXC, "mp0", "local:8,mp=/data", "lvm:x,mp=/data,size=8G"),
        (Kind.LXC, "mp0", "local:x,mp=/data", "local:y,mp=/data,size=8G"),
        (Kind.LXC, "rootfs", "local:8", "lvm:x,size=8G"),
    ],
)
def test_no_declaration_can_put_a_disk_aside(
    kind: Kind, key: str, value: str, present: str
) -> None:
    found = planned(declared(**{key: value}), there(STOPPED, kind, **{key: present}))  # type: ignore[arg-type]
    assert found.actions == ()
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("kind", "key", "present"),
    [(Kind.QEMU, "scsi0", "local:y.raw,size=1G"), (Kind.LXC, "mp0", "local:y,mp=/d,size=1G")],
)
def test_no_disk_is_ever_deleted(kind: Kind, key: str, present: str) -> None:
    desired = DesiredGuest(100, unset=frozenset({key}))
    found = planned(desired, there(STOPPED, kind, **{key: present}))
    assert found.actions == ()
    assert "would take" in found.notes[0]


def test_a_protected_guests_volumes_are_left_as_they_are_and_the_rest_is_not() -> None:
    guest = there(scsi0="local:y.raw,size=1G", protection=1, cores=1)
    found = planned(declared(scsi0="local:y.raw,ssd=1", cores=2), guest)
    assert found.notes == ("scsi0: the guest is protected; its volumes are left as they are",)
    assert [type(action) for action in found.actions] == [SetConfig]


@given(st.data())
def test_whatever_is_there_only_declared_keys_are_ever_written(data: st.DataObject) -> None:
    texts = st.text(max_size=8) | st.integers(0, 9)
    names = st.sampled_from(["cores", "memory", "tags", "description", "onboot", "net0", "agent"])
    present = data.draw(st.dictionaries(names, texts))
    wishes: dict[str, DeclaredValue] = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "cores": st.integers(1, 8),
                "tags": st.lists(st.sampled_from("abc")).map(tuple),
                "description": st.text(max_size=5),
                "onboot": st.booleans(),
            },
        )
    )
    gone = data.draw(st.sets(st.sampled_from(["balloon", "agent"])))
    desired = DesiredGuest(100, config=MappingProxyType(wishes), unset=frozenset(gone))
    guest = ActualGuest(100, Kind.QEMU, "pve1", STOPPED, config=present, digest="d")
    for action in planned(desired, guest).actions:
        assert isinstance(action, SetConfig)
        assert action.digest == "d"
        for change in action.changes:
            assert change.key in (gone if change.after is ABSENT else wishes) or (
                change.after is ABSENT and change.key in ("tags", "description")
            )


def test_a_bug_in_planning_one_guest_costs_no_other_its_plan() -> None:
    odd = there(startup="order=" + "9" * 5000)
    fine = replace(there(cores=1), vmid=101)
    desired = Desired(
        {
            100: declared(startup="order=1"),
            101: DesiredGuest(101, config=MappingProxyType({"cores": 2})),
        }
    )
    plans = plan(desired, Actual("pve1", {100: odd, 101: fine}))
    assert plans[101].actions
    assert plans[100].drifted


def notes_of(plan: GuestPlan) -> str:
    assert not plan.refused
    return "; ".join(plan.notes)


def test_a_difference_that_is_roots_holds_nothing_else_up() -> None:
    wish = declared(RUNNING, args="-S", usb0="host=1234:5678", cores=2)
    found = planned(wish, there(STOPPED, args="-k de", usb0="host=1234:5678", cores=1))
    assert found.actions == (
        SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),)),
        Start(100, Kind.QEMU),
    )
    assert notes_of(found).count("only root can set 'args' config; as root: qm set 100") == 1


def test_a_container_is_compared_with_what_nobody_can_set_any_more() -> None:
    desired = DesiredGuest(
        100, config=MappingProxyType({"unprivileged": True, "lxc.cap.drop": ("a", "b")})
    )
    same = there(
        STOPPED, Kind.LXC, unprivileged=1, lxc=[["lxc.cap.drop", "a"], ["lxc.cap.drop", "b"]]
    )
    assert not planned(desired, same).drifted
    found = planned(desired, there(STOPPED, Kind.LXC, lxc=[["lxc.cap.drop", "a"]]))
    assert not found.actions
    assert "unprivileged: unable to modify read-only option" in notes_of(found)
    assert "/etc/pve/lxc/100.conf" in notes_of(found)


def test_lxcs_own_keys_are_not_judged_where_pve_does_not_tell_them() -> None:
    desired = DesiredGuest(100, config=MappingProxyType({"lxc.cap.drop": "a"}))
    assert not planned(desired, there(RUNNING, Kind.LXC)).drifted
    assert planned(desired, there(STOPPED, Kind.LXC)).notes


def test_a_boot_order_that_names_a_missing_device_on_both_sides_keeps_no_guest_off() -> None:
    found = planned(declared(RUNNING, boot="order=scsi9"), there(STOPPED, boot="order=scsi9"))
    assert found.actions == (Start(100, Kind.QEMU),)


def test_a_volume_declared_twice_is_attached_under_neither_key() -> None:
    wish = declared(scsi1="nfs:x", scsi2="nfs:x", cores=2)
    found = planned(wish, there(cores=1))
    assert found.actions == (SetConfig(100, Kind.QEMU, (Change("cores", "1", "2"),)),)
    assert notes_of(found).count("one volume is never attached twice") == 2


def test_a_volume_of_another_guest_of_the_node_is_not_attached() -> None:
    other = replace(there(scsi3="nfs:x,size=1G"), vmid=101)
    found = plan_guest(declared(scsi1="nfs:x"), Actual("pve1", {100: there(), 101: other}))
    assert found.notes == (
        "scsi1: nfs:x is held by scsi3 of guest 101; one volume is never attached twice",
    )


def test_what_asks_for_a_new_volume_is_withheld() -> None:
    found = planned(declared(scsi1="local:32"), there())
    assert not found.actions
    assert "the agent creates no volumes" in notes_of(found)


def test_a_vms_uuid_outlives_every_wish() -> None:
    uuid = "uuid=11111111-2222-3333-4444-555555555555"
    gone = DesiredGuest(100, unset=frozenset({"smbios1"}))
    assert not planned(gone, there(smbios1=uuid)).drifted
    (action,) = planned(gone, there(smbios1=f"sku=x,{uuid}")).actions
    assert isinstance(action, SetConfig)
    assert action.changes == (Change("smbios1", f"sku=x,{uuid}", uuid),)
    (action,) = planned(declared(smbios1="sku=y"), there(smbios1=f"sku=x,{uuid}")).actions
    assert isinstance(action, SetConfig)
    assert action.changes[0].after == f"sku=y,{uuid}"


@pytest.mark.parametrize(
    ("key", "value", "present", "after"),
    [
        ("tags", "", {"tags": "a"}, ABSENT),
        ("description", " ", {"description": "a"}, ABSENT),
        ("hotplug", "", {}, "0"),
        ("nameserver", "", {}, ""),
        ("boot", "", {"boot": "order=net0"}, ""),
    ],
)
def test_a_blank_is_sent_where_it_is_not_what_absence_means(
    key: str, value: str, present: dict[str, object], after: object
) -> None:
    wish = DesiredGuest(100, config=MappingProxyType({key: value}))
    (action,) = planned(wish, replace(there(), config=present)).actions
    assert isinstance(action, SetConfig)
    assert action.changes[0].after == after


def test_a_guest_that_hangs_is_not_converged() -> None:
    stuck = replace(there(RUNNING, cores=2), hung="io-error: a disk could not be read")
    found = planned(declared(RUNNING, cores=2), stuck)
    assert found.notes == (
        "it hangs, though PVE calls it running (io-error: a disk could not be read)",
    )
    assert planned(declared(STOPPED), stuck).actions == (Stop(100, Kind.QEMU),)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Facts(version=(9, 1)), "net0.host-tunnel needs PVE 9.2; this node has 9.1"),
        (Facts(version=(9, 2)), ""),
        (Facts(), ""),
        (
            Facts(version=(9, 2), packages={"qemu-server": "9.1.16"}),
            "net0.host-tunnel needs qemu-server 9.1.18 (PVE 9.2); this node has qemu-server 9.1.16",
        ),
        (Facts(version=(9, 1), packages={"qemu-server": "9.1.18"}), ""),
    ],
)
def test_a_part_that_is_newer_than_the_nodes_pve_is_refused(facts: Facts, told: str) -> None:
    wish = declared(net0="virtio,host-tunnel=1")
    old = there(net0="virtio=BC:24:11:00:00:01")
    found = plan_guest(wish, Actual("pve1", {100: old}, facts=facts))
    assert (told in found.refused) if told else found.actions
    new = there(net0="virtio=BC:24:11:00:00:01,host-tunnel=1")
    assert not plan_guest(wish, Actual("pve1", {100: new}, facts=facts)).drifted


ALLOWED = RestartPolicy.ALLOWED
PAUSED = "felhom-pause;web"


def test_a_restart_of_ours_is_ended_though_a_person_has_paused_the_guest_in_between() -> None:
    desired, guest = declared(RUNNING, cores=2), there(STOPPED, cores=1, tags=PAUSED)
    actual = Actual("pve1", {100: guest})
    other = replace(desired, vmid=101)
    all_desired = Desired({100: desired, 101: other})
    actual = replace(actual, guests={100: guest, 101: replace(guest, vmid=101)})
    plans = plan(all_desired, actual, open_restarts=frozenset({100}))
    assert plans[100].actions == (Start(100, Kind.QEMU),)
    assert plans[101].actions == ()
    assert plans[101].withheld.startswith("paused by the tag felhom-pause")
    assert plan_guest(desired, actual).actions == ()


@pytest.mark.parametrize(
    ("change", "wish"),
    [
        ({"state": RUNNING}, {}),
        ({}, {"state": STOPPED}),
        ({}, {"state": None}),
        ({"lock": "backup"}, {}),
        ({}, {"mode": Mode.OBSERVE}),
    ],
)
def test_nothing_but_that_start_is_done_to_a_guest_that_is_paused_by_its_tag(
    change: dict[str, object], wish: dict[str, object]
) -> None:
    desired = replace(declared(RUNNING, cores=2), **wish)  # type: ignore[arg-type]
    guest = replace(there(STOPPED, cores=1, tags=PAUSED), **change)  # type: ignore[arg-type]
    found = plan_guest(desired, Actual("pve1", {100: guest}), ends_restart=True)
    assert found.actions == ()
    assert "paused by the tag" in found.withheld


class Odd:
    """A value of which nothing can be made."""

    def __str__(self) -> str:
        raise RuntimeError("of no use")


def test_a_bug_of_ours_is_told_of_the_guest_that_it_cost_its_plan() -> None:
    guests = {100: there(cores=Odd()), 101: replace(there(cores=1), vmid=101)}
    wishes = {100: declared(cores=2), 101: replace(declared(cores=2), vmid=101)}
    plans = plan(Desired(wishes), Actual("pve1", guests))
    assert plans[100].withheld.startswith("internal error (RuntimeError")
    assert plans[100].withheld.endswith("please report it")
    assert plans[101].actions


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"config": None}, "it could not be read: PVE gave no configuration"),
        ({"config": None, "unread": "500"}, "it could not be read: 500"),
        ({"unread": "it is not JSON"}, "it could not be read: it is not JSON"),
    ],
)
def test_a_guest_that_could_not_be_read_is_told_with_the_reason(
    change: dict[str, object], why: str
) -> None:
    found = planned(declared(cores=2), replace(there(cores=1), **change))  # type: ignore[arg-type]
    assert (found.unread, found.actions, found.name) == (why, (), "web")


def waiting(desired: DesiredGuest, **change: object) -> GuestPlan:
    """Plan a running guest whose memory is written and waits for a restart."""
    guest = replace(there(RUNNING, memory="2048"), pending={"memory": "1024"}, **change)  # type: ignore[arg-type]
    return planned(desired, guest)


@pytest.mark.parametrize(
    ("wish", "change", "told"),
    [
        ({"state": RUNNING}, {}, '; restart it, or set restart = "allowed" in its file'),
        ({}, {}, "; restart it"),
        ({"state": RUNNING, "restart": ALLOWED}, {"ha_state": "started"},
         "; HA manages it (state started), so restart it there"),
        ({"state": RUNNING}, {"ha_state": "started"},
         '; restart it, or set restart = "allowed" in its file'),
    ],
)  # fmt: skip
def test_why_a_restart_is_left_to_a_person(
    wish: dict[str, object], change: dict[str, object], told: str
) -> None:
    found = waiting(replace(declared(memory="2048"), **wish), **change)  # type: ignore[arg-type]
    assert found.actions == ()
    assert notes_of(found) == f"needs a restart: memory 1024 -> 2048{told}"


def test_a_restart_that_is_planned_is_no_note() -> None:
    found = waiting(replace(declared(RUNNING, memory="2048"), restart=ALLOWED))
    assert found.actions == (Stop(100, Kind.QEMU, restart=True), Start(100, Kind.QEMU))
    assert found.notes == ()


def test_a_guest_that_is_stopped_is_not_stopped_again() -> None:
    assert planned(declared(STOPPED), there(STOPPED)).actions == ()


@pytest.mark.parametrize(("state", "notes"), [(RUNNING, 1), (None, 1), (STOPPED, 0)])
def test_a_guest_that_hangs_is_told_unless_it_shall_be_stopped(
    state: RunState | None, notes: int
) -> None:
    found = planned(declared(state), replace(there(RUNNING), hung="no answer"))
    assert len(found.notes) == notes


def test_a_key_that_takes_effect_at_once_and_waits_all_the_same_is_written_again() -> None:
    guest = replace(there(RUNNING, description="new"), pending={"description": "old"})
    (action,) = planned(declared(description="new"), guest).actions
    assert action == SetConfig(100, Kind.QEMU, (Change("description", "old", "new"),))
    # A container's worker leaves nothing of that kind behind.
    container = replace(guest, kind=Kind.LXC)
    assert planned(declared(description="new"), container).actions == ()
    assert "needs a restart" in notes_of(planned(declared(description="new"), container))


@pytest.mark.parametrize(
    ("kind", "config", "reverts"),
    [
        # What only waits is taken back; PVE would not drop it from a container by a deletion.
        (Kind.LXC, {"cpulimit": "2"}, True),
        (Kind.QEMU, {"cpulimit": "2"}, False),
    ],
)
def test_a_value_that_waits_and_shall_go_is_taken_back(
    kind: Kind, config: dict[str, object], *, reverts: bool
) -> None:
    guest = replace(there(RUNNING, kind, **config), pending={"cpulimit": None})
    desired = replace(declared(), unset=frozenset({"cpulimit"}))
    (action,) = planned(desired, guest).actions
    assert isinstance(action, SetConfig)
    assert [c.reverts for c in action.changes] == [reverts]
    plain = planned(desired, there(RUNNING, kind, **config)).actions
    assert [c.reverts for a in plain if isinstance(a, SetConfig) for c in a.changes] == [False]


def test_a_restart_is_for_a_guest_that_shall_run_and_one_that_is_down_is_only_started() -> None:
    anyhow = waiting(replace(declared(memory="2048"), restart=ALLOWED))
    assert (anyhow.actions, notes_of(anyhow)) == (
        (), "needs a restart: memory 1024 -> 2048; restart it",
    )  # fmt: skip
    down = waiting(replace(declared(RUNNING, memory="2048"), restart=ALLOWED), state=STOPPED)
    assert down.actions == (Start(100, Kind.QEMU),)


def test_what_is_refused_is_told_once_and_as_refused() -> None:
    found = planned(declared(cores="many", memory="512"), there(memory="512"))
    assert found.refused.startswith("cores must be a whole number")
    assert found.notes == ()


def lacking(*privileges: str) -> Facts:
    """Return a node's facts for a token that may only do this."""
    return Facts(rights=Rights({"/": dict.fromkeys(privileges, True)}))


def test_of_what_the_token_may_not_the_last_line_tells_how_to_grant_it() -> None:
    guest = there(STOPPED, cores=1, memory="512", description="a")
    desired = declared(RUNNING, cores=2, memory="1024", description="b")
    found = plan_guest(
        desired, Actual("pve1", {100: guest}, facts=lacking("VM.Audit", "VM.Config.Options"))
    )
    assert [c.key for a in found.actions if isinstance(a, SetConfig) for c in a.changes] == [
        "description"
    ]
    assert [note.partition(":")[0] for note in found.notes] == ["cores", "memory", "start"]
    how = "felhom-agent check tells how to grant it"
    assert [how in note for note in found.notes] == [False, False, True]
    assert found.refused == ""


def test_a_restart_that_the_token_may_not_do_is_told_with_what_it_lacks() -> None:
    guest = replace(there(RUNNING, memory="2048"), pending={"memory": "1024"})
    desired = replace(declared(RUNNING, memory="2048"), restart=ALLOWED)
    facts = lacking("VM.Audit", "VM.Config.Memory")
    found = plan_guest(desired, Actual("pve1", {100: guest}, facts=facts))
    assert found.actions == ()
    assert "needs a restart: memory 1024 -> 2048; the token lacks VM.PowerMgmt" in notes_of(found)
    never = replace(desired, restart=RestartPolicy.NEVER)
    told = notes_of(plan_guest(never, Actual("pve1", {100: guest}, facts=facts)))
    assert 'restart it, or set restart = "allowed" in its file' in told


def test_what_the_token_may_not_set_is_told_with_how_to_grant_it() -> None:
    guest = there(RUNNING, cores=1, memory="512")
    desired = declared(cores=2, memory="1024")
    found = plan_guest(desired, Actual("pve1", {100: guest}, facts=lacking("VM.Audit")))
    assert [note.partition(":")[0] for note in found.notes] == ["cores", "memory"]
    how = "felhom-agent check tells how to grant it"
    assert [how in note for note in found.notes] == [False, True]


def test_what_shall_go_is_deleted_though_another_value_of_it_waits() -> None:
    guest = replace(there(RUNNING, cpulimit="2"), pending={"cpulimit": "3"})
    (action,) = planned(replace(declared(), unset=frozenset({"cpulimit"})), guest).actions
    assert isinstance(action, SetConfig)
    assert [(c.key, c.after) for c in action.changes] == [("cpulimit", ABSENT)]


def test_of_a_value_that_waits_all_is_told_as_it_is() -> None:
    guest = replace(there(RUNNING, Kind.LXC, description="z: w"), pending={"description": "x: y"})
    told = notes_of(planned(declared(description="z: w"), guest))
    assert told.startswith("needs a restart: description 'x: y' -> 'z: w'")


def test_a_value_that_is_written_over_one_that_waits_takes_nothing_back() -> None:
    guest = replace(there(RUNNING, Kind.LXC, cpulimit="2"), pending={"cpulimit": "1"})
    (action,) = planned(declared(cpulimit=3), guest).actions
    assert isinstance(action, SetConfig)
    assert [(c.after, c.reverts) for c in action.changes] == [("3", False)]
