"""A restart that was foreseen is what then happened: over the recordings, and over every option."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from felhom_agent.devnode import DevNode, World
from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    Change,
    DeclaredValue,
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
from felhom_agent.planning.effects import Effect, effect_of
from felhom_agent.planning.foresight import Foresight, foresee, in_effect
from felhom_agent.planning.identity import identity_of
from felhom_agent.planning.plan import plan_guest
from tests.devnode.conftest import Caller
from tests.devnode.stage import ADMINISTRATOR, EVERYTHING
from tests.planning.optionvalues import settable, values_of

RUNNING, STOPPED = RunState.RUNNING, RunState.STOPPED
ALLOWED = RestartPolicy.ALLOWED
DATA = Path(__file__).parent.parent / "data"
CASES = (DATA / "foresight_cases.jsonl").read_text(encoding="utf-8")
RECORDED = [json.loads(line) for line in CASES.splitlines()]


def there(state: RunState = RUNNING, kind: Kind = Kind.QEMU, **config: object) -> ActualGuest:
    return ActualGuest(100, kind, "pve1", state, name="web", config=config, digest="d1")


def declared(
    state: RunState | None = RUNNING,
    restart: RestartPolicy = RestartPolicy.NEVER,
    **config: DeclaredValue,
) -> DesiredGuest:
    return DesiredGuest(100, state=state, restart=restart, config=MappingProxyType(config))


def seen(desired: DesiredGuest, guest: ActualGuest, facts: Facts | None = None) -> Foresight:
    known = facts or Facts()
    plan = plan_guest(desired, Actual("pve1", {100: guest}, facts=known))
    return foresee(desired, guest, plan, known)


CONFIG_ALONE = Facts(
    rights=Rights({"/vms": dict.fromkeys(("VM.Audit", "VM.Config.CPU", "VM.Config.Memory"), True)})
)
"""Of a token without VM.PowerMgmt."""


def effects(desired: DesiredGuest, guest: ActualGuest) -> dict[str, Effect]:
    return {f.change.key: f.effect for f in seen(desired, guest).changes}


# What was recorded of real nodes.


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: str(line["case"]))
def test_what_a_real_node_let_wait_was_foreseen_and_nothing_else(line: dict[str, Any]) -> None:
    asked = {**line["sets"], **dict.fromkeys(line["deletes"], ABSENT)}
    for key, after in asked.items():
        change = Change(key, line["in_effect"].get(key, ABSENT), after)
        found = effect_of(Kind(line["kind"]), change, line["in_effect"], Facts((9, 1)))
        if found.effect is not Effect.UNSURE:
            assert (found.effect is Effect.RESTART) == (key in line["waits"]), found.why


def test_of_the_recordings_only_disks_that_went_were_not_sure() -> None:
    unsure = {
        line["case"]
        for line in RECORDED
        for key, after in {**line["sets"], **dict.fromkeys(line["deletes"], ABSENT)}.items()
        if effect_of(
            Kind(line["kind"]), Change(key, ABSENT, after), line["in_effect"], Facts()
        ).effect
        is Effect.UNSURE
    }
    assert unsure == {
        "120-disks-qemu/161-run-replace",
        "120-disks-qemu/163-run-detach",
        "120-disks-qemu/165-run-delete-force",
    }


# Every option, on a node of our own that has rules of its own.


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def call(world: World) -> Iterator[Caller]:
    with DevNode(world) as node:
        secret = world.token(ADMINISTRATOR, {"/": EVERYTHING})
        caller = Caller(node, ADMINISTRATOR, secret)
        yield caller
        caller.connection.close()


def pairs(kind: str) -> list[tuple[str, str | None, str | None]]:
    """Return (key, what it holds, what it shall hold), each way, for the values of every option."""
    found = []
    for family in settable(kind):
        key = family.replace("[n]", "1")
        values: list[str | None] = [None, *values_of(kind, family)]
        found += [(key, old, new) for old in values for new in values if old != new]
    return found


HOTPLUGS = (None, " ", "1", "0", "network,disk,usb,cpu,memory", "usb;cloudinit", "disk", "network")


def happened(
    world: World, call: Caller, kind: str, config: Mapping[str, str], key: str, new: str | None
) -> tuple[Mapping[str, str], bool] | None:
    """Write one key of a guest that runs; return what was in effect before, and whether it waits;
    None where the node refuses it, or cannot hold the guest.
    """
    world.add(kind, 100, {k: v for k, v in config.items() if v is not None}, running=True)
    present = dict(world.guests[100].conf.values)
    sent = {"delete": key} if new is None else {key: new}
    if call("PUT", f"/nodes/pve1/{kind}/100/config", sent).status != 200:
        return None
    rows = call("GET", f"/nodes/pve1/{kind}/100/pending").data
    row: dict[str, Any] = next((r for r in rows if r["key"] == key), {})
    return present, "pending" in row or "delete" in row


BASES: Mapping[str, dict[str, str]] = {
    "qemu": {
        "memory": "2048", "cores": "2", "sockets": "1", "numa": "1", "ostype": "l26",
        "scsi0": "local:100/vm-100-disk-0.raw,size=1G", "boot": "order=scsi0",
    },
    "lxc": {
        "memory": "512", "cores": "1", "arch": "amd64", "ostype": "debian",
        "rootfs": "local:100/vm-100-disk-0.raw,size=1G",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "hotplug"),
    [*(("qemu", h) for h in HOTPLUGS), ("lxc", None)],
    ids=lambda text: repr(text),
)
def test_of_every_option_the_foreseen_restart_is_what_then_happened(
    world: World, call: Caller, kind: str, hotplug: str | None
) -> None:
    wrong, tried = [], 0
    for key, old, new in pairs(kind):
        base = dict(BASES[kind])
        if hotplug is not None:
            base["hotplug"] = hotplug
        base.pop(key, None)
        config = base if old is None else {**base, key: old}
        result = happened(world, call, kind, config, key, new)
        if result is None:
            continue
        tried += 1
        present, waits = result
        change = Change(key, present.get(key, ABSENT), ABSENT if new is None else new)
        found = effect_of(Kind(kind), change, present, Facts((9, 1)))
        # The devices of this node's guests always let go.
        if (found.effect is Effect.RESTART) != waits:
            wrong.append((key, present.get(key), new, found, waits))
    assert not wrong
    assert tried > (350 if kind == "qemu" else 90)


# The parts of a property string that change.

NET = "virtio=BC:24:11:00:00:01,bridge=vmbr0"
DISK = "local:100/vm-100-disk-1.raw"


@pytest.mark.parametrize(
    ("key", "old", "new", "config", "effect"),
    [
        ("net0", NET, f"{NET},tag=5,firewall=1,rate=3,link_down=1", {}, Effect.NOW),
        ("net0", NET, f"{NET},tag=5", {"hotplug": "0"}, Effect.NOW),
        ("net0", NET, f"{NET},queues=2", {}, Effect.UNSURE),
        ("net0", NET, f"{NET},mtu=1400", {"hotplug": "disk"}, Effect.RESTART),
        ("net0", NET, NET.replace("virtio", "e1000"), {}, Effect.UNSURE),
        ("net0", NET, f"{NET.lower()},tag=5", {}, Effect.UNSURE),
        ("net0", NET, f"{NET.lower()},tag=5", {"hotplug": "disk"}, Effect.RESTART),
        ("net0", NET, NET.replace(",bridge=vmbr0", ""), {}, Effect.UNSURE),
        ("net0", None, NET, {}, Effect.NOW),
        ("net0", NET, None, {}, Effect.UNSURE),
        ("net0", NET, None, {"hotplug": " "}, Effect.RESTART),
        ("scsi1", DISK, f"{DISK},mbps_rd=10,iops=100", {}, Effect.NOW),
        ("scsi1", DISK, f"{DISK},mbps_rd=10", {"hotplug": "0"}, Effect.NOW),
        ("scsi1", DISK, f"{DISK},backup=0,replicate=0", {}, Effect.NOW),
        ("scsi1", DISK, f"{DISK},discard=on", {}, Effect.RESTART),
        ("scsi1", DISK, f"{DISK},mbps_rd=10,ssd=1", {}, Effect.RESTART),
        ("scsi1", f"{DISK},iothread=on", f"{DISK},iothread=1", {}, Effect.NOW),
        ("scsi1", DISK, "local:100/other.raw", {}, Effect.UNSURE),
        ("scsi1", DISK, None, {"boot": "order=scsi1;net0"}, Effect.RESTART),
        ("scsi1", DISK, None, {"bootdisk": "scsi1"}, Effect.RESTART),
        ("scsi1", DISK, None, {"boot": "order=net0", "bootdisk": "scsi1"}, Effect.UNSURE),
        ("ide1", None, DISK, {}, Effect.RESTART),
        ("sata1", DISK, None, {}, Effect.RESTART),
        ("ide2", "none,media=cdrom", "local:iso/a.iso,media=cdrom", {}, Effect.NOW),
        ("ide2", None, "none,media=cdrom", {}, Effect.RESTART),
        ("scsi1", DISK, "none,media=cdrom", {}, Effect.RESTART),
        ("tpmstate0", DISK, None, {}, Effect.RESTART),
        ("agent", "1", "enabled=1,fstrim_cloned_disks=1", {}, Effect.NOW),
        ("agent", "1", "enabled=1,type=isa", {}, Effect.RESTART),
        ("agent", None, "1", {}, Effect.RESTART),
        ("agent", "1", None, {}, Effect.RESTART),
        ("agent", "0", "1", {}, Effect.RESTART),
        ("balloon", None, "512", {}, Effect.NOW),
        ("balloon", None, "0", {}, Effect.RESTART),
        ("balloon", "0", "512", {}, Effect.RESTART),
        ("balloon", "0", None, {}, Effect.RESTART),
        ("balloon", "512", None, {}, Effect.NOW),
        ("memory", "2048", "4096", {}, Effect.RESTART),
        ("memory", "2048", "4096", {"hotplug": "memory"}, Effect.NOW),
        ("memory", "4096", "2048", {"hotplug": "memory"}, Effect.UNSURE),
        ("memory", "4096", "512", {"hotplug": "memory"}, Effect.RESTART),
        ("memory", "4096", None, {"hotplug": "memory"}, Effect.RESTART),
        (
            "memory", "4096", "1536",
            {"hotplug": "memory", "hugepages": "1024", "sockets": "2"}, Effect.RESTART,
        ),
        ("vcpus", "1", "2", {"cores": "2"}, Effect.RESTART),
        ("vcpus", "1", "2", {"cores": "2", "hotplug": "cpu"}, Effect.NOW),
        ("vcpus", "2", "1", {"cores": "2", "hotplug": "cpu"}, Effect.UNSURE),
        ("vcpus", "1", "3", {"cores": "2", "hotplug": "cpu"}, Effect.RESTART),
        ("vcpus", "1", None, {"cores": "2", "hotplug": "cpu"}, Effect.NOW),
        ("hotplug", None, "disk", {}, Effect.NOW),
        ("hotplug", None, "disk,memory", {}, Effect.RESTART),
        ("hotplug", "cpu", None, {}, Effect.RESTART),
        ("usb1", None, "host=spice", {"ostype": "l26"}, Effect.NOW),
        ("usb1", None, "host=spice", {}, Effect.RESTART),
        ("usb1", None, "host=spice", {"ostype": "win7"}, Effect.RESTART),
        ("usb1", None, "host=spice", {"ostype": "win11", "hotplug": "disk"}, Effect.RESTART),
        (
            "usb1", None, "host=spice",
            {"ostype": "l26", "machine": "pc-q35-7.0+pve1"}, Effect.RESTART,
        ),
        ("usb1", None, "host=spice", {"ostype": "win11"}, Effect.RESTART),
        (
            "usb1", None, "host=spice",
            {"ostype": "win11", "meta": "creation-qemu=9.2.0,ctime=1700000000"}, Effect.NOW,
        ),
        ("usb1", None, "host=spice", {"ostype": "l26", "machine": "pc-q35-8.1"}, Effect.NOW),
        ("ciuser", None, "u", {}, Effect.NOW),
        ("nameserver", None, "1.1.1.1", {}, Effect.NOW),
        ("unused0", DISK, None, {}, Effect.NOW),
        ("no-such-key", None, "1", {}, Effect.RESTART),
    ],
)  # fmt: skip
def test_what_changes_of_a_running_vm_decides(
    key: str, old: str | None, new: str | None, config: dict[str, str], effect: Effect
) -> None:
    present = config if old is None else {**config, key: old}
    change = Change(key, old or ABSENT, new or ABSENT)
    found = effect_of(Kind.QEMU, change, present, Facts())
    assert found.effect is effect, found.why
    assert effect is Effect.NOW or found.why


@pytest.mark.parametrize(
    ("key", "old", "new", "effect"),
    [
        ("net0", "name=eth0", "name=eth0,bridge=vmbr0", Effect.NOW),
        ("net1", "name=eth1", None, Effect.NOW),
        ("net10", "name=eth1", None, Effect.RESTART),
        ("mp0", None, "/a,mp=/a", Effect.NOW),
        ("mp0", "/a,mp=/a", "/a,mp=/b", Effect.RESTART),
        ("mp0", "/a,mp=/a", None, Effect.RESTART),
        ("dev0", None, "/dev/null", Effect.NOW),
        ("dev0", "/dev/null", None, Effect.RESTART),
        ("rootfs", "a:b", "a:b,ro=1", Effect.RESTART),
        ("nameserver", None, "1.1.1.1", Effect.RESTART),
        ("swap", "512", None, Effect.NOW),
        ("features", None, "nesting=1", Effect.RESTART),
    ],
)
def test_what_changes_of_a_running_container_decides(
    key: str, old: str | None, new: str | None, effect: Effect
) -> None:
    change = Change(key, old or ABSENT, new or ABSENT)
    present = {} if old is None else {key: old}
    assert effect_of(Kind.LXC, change, present, Facts((9, 1))).effect is effect


def test_a_device_of_a_container_waits_on_a_node_before_pve_9() -> None:
    change = Change("dev0", ABSENT, "/dev/null")
    assert effect_of(Kind.LXC, change, {}, Facts((8, 4))).effect is Effect.RESTART


@pytest.mark.parametrize("hotplug", ["1", "disk"])
def test_a_mac_address_in_other_letters_is_written_as_the_node_has_it(hotplug: str) -> None:
    guest = there(net0=NET, hotplug=hotplug)
    found = seen(declared(net0=f"{NET.lower()},tag=5", restart=ALLOWED), guest)
    (foreseen,) = found.changes
    assert (foreseen.change.after, foreseen.effect) == (f"{NET},tag=5", Effect.NOW)
    assert (found.restarts, found.may_restart) == (False, False)
    another = seen(declared(net0=NET.lower().replace("01,", "02,"), restart=ALLOWED), guest)
    assert another.restarts is (hotplug == "disk")


def test_what_is_in_effect_decides_and_not_what_waits() -> None:
    guest = replace(there(hotplug="disk", memory="2048", cores=2), pending={"hotplug": "memory"})
    assert in_effect(guest)["hotplug"] == "memory"
    assert effects(declared(memory=4096), guest) == {"memory": Effect.NOW}
    absent = replace(there(hotplug="memory", memory="2048"), pending={"hotplug": None})
    assert effects(declared(memory=4096), absent) == {"memory": Effect.RESTART}


def test_a_change_that_takes_back_what_waits_is_in_effect_at_once() -> None:
    guest = replace(there(cores=4), pending={"cores": 2})
    found = seen(declared(cores=2, restart=ALLOWED), guest)
    assert [f.effect for f in found.changes] == [Effect.NOW]
    assert not found.restarts


# The whole guest.


def test_a_change_that_waits_restarts_a_guest_that_may_be_restarted() -> None:
    found = seen(declared(cores=4, tags="a", restart=ALLOWED), there(cores=2))
    assert (found.restarts, found.waits, found.no_restart) == (True, (), "")
    assert (found.stops, found.starts, found.may_power_off) == (False, False, False)


@pytest.mark.parametrize(
    ("desired", "guest", "why"),
    [
        (declared(cores=4), there(cores=2), 'restart = "allowed" is not declared'),
        (
            declared(None, ALLOWED, cores=4),
            there(cores=2),
            'state = "running" is not declared',
        ),
        (
            declared(restart=ALLOWED, cores=4),
            replace(there(cores=2), ha_state="started"),
            "HA manages it (state started), so restart it there",
        ),
    ],
)
def test_without_leave_it_is_said_what_will_wait_and_why(
    desired: DesiredGuest, guest: ActualGuest, why: str
) -> None:
    found = seen(desired, guest)
    assert not found.restarts
    assert found.waits == ("cores 2 -> 4: PVE does not change it of a running VM",)
    assert found.no_restart == why


@pytest.mark.parametrize("state", [RUNNING, STOPPED])
def test_no_restart_and_no_shutdown_is_foreseen_where_the_token_may_not_do_it(
    state: RunState,
) -> None:
    stop = replace(declared(state, ALLOWED, cores=4), stop=StopPolicy.POWER_OFF)
    found = seen(stop, there(cores=2), CONFIG_ALONE)
    assert (found.restarts, found.stops, found.may_restart, found.may_power_off) == (False,) * 4
    assert found.waits == ("cores 2 -> 4: PVE does not change it of a running VM",)
    assert found.no_restart == "the token lacks VM.PowerMgmt on /vms/100"
    never = seen(declared(cores=4), there(cores=2), CONFIG_ALONE)
    assert never.no_restart == 'restart = "allowed" is not declared'


def test_an_unplug_that_the_guest_may_refuse_restarts_nothing_that_the_token_may_not_start() -> (
    None
):
    guest = there(memory="4096", hotplug="memory")
    assert not seen(declared(restart=ALLOWED, memory=2048), guest, CONFIG_ALONE).may_restart


def test_what_takes_effect_at_once_restarts_nothing() -> None:
    found = seen(declared(tags="a", onboot=True, restart=ALLOWED), there())
    assert (found.restarts, found.may_restart, found.waits) == (False, False, ())


def test_an_unplug_that_the_guest_may_refuse_may_end_in_a_restart() -> None:
    guest = there(memory="4096", hotplug="memory")
    found = seen(replace(declared(memory=2048, restart=ALLOWED), stop=StopPolicy.POWER_OFF), guest)
    assert (found.restarts, found.may_restart, found.may_power_off) == (False, True, True)
    assert not seen(declared(memory=2048), guest).may_restart


def test_what_waits_already_is_a_restart_that_the_plan_has_itself() -> None:
    guest = replace(there(cores=4), pending={"cores": 2})
    found = seen(declared(cores=4, restart=ALLOWED), guest)
    assert (found.restarts, found.stops, found.starts) == (True, False, False)
    assert found.waiting == "cores 2 -> 4"
    assert seen(declared(cores=4), guest).waiting == ""
    locked = seen(declared(cores=4, restart=ALLOWED), replace(guest, lock="backup"))
    assert locked.then == ("restart for cores 2 -> 4",)


def test_what_waits_is_in_effect_once_the_guest_is_shut_down_as_declared() -> None:
    guest = replace(there(cores=4), pending={"cores": 2})
    plan = plan_guest(declared(STOPPED, cores=4), Actual("pve1", {100: guest}))
    assert ([type(action) for action in plan.actions], plan.notes) == ([Stop], ())
    denied = plan_guest(
        declared(STOPPED, cores=4), Actual("pve1", {100: guest}, facts=CONFIG_ALONE)
    )
    why = "needs a restart: cores 2 -> 4; the token lacks VM.PowerMgmt on /vms/100"
    assert denied.notes[0] == why


def test_a_guest_that_is_stopped_or_will_be_takes_every_change_at_once() -> None:
    started = seen(declared(cores=4, restart=ALLOWED), there(STOPPED, cores=2))
    assert [f.effect for f in started.changes] == [Effect.NOW]
    assert (started.starts, started.restarts) == (True, False)
    stopped = seen(declared(STOPPED, cores=4), there(cores=2))
    assert [f.effect for f in stopped.changes] == [Effect.NOW]
    assert (stopped.stops, stopped.restarts, stopped.waits) == (True, False, ())


@pytest.mark.parametrize("policy", StopPolicy)
def test_a_power_off_is_foreseen_where_it_is_the_policy(policy: StopPolicy) -> None:
    down = seen(replace(declared(STOPPED), stop=policy), there())
    again = seen(replace(declared(cores=4, restart=ALLOWED), stop=policy), there(cores=2))
    up = seen(replace(declared(), stop=policy), there(STOPPED))
    assert down.may_power_off == again.may_power_off == (policy is StopPolicy.POWER_OFF)
    assert not up.may_power_off


def test_no_secret_is_in_what_is_foreseen() -> None:
    desired = declared(cipassword="hunter2", cores=4, sshkeys="ssh-rsa hunter2")
    change = Change("cipassword", "old-hunter2", "hunter2", secret=True)
    plan = GuestPlan(100, Kind.QEMU, actions=(SetConfig(100, Kind.QEMU, (change,)),))
    locked = replace(plan, actions=(), then=plan.actions, withheld="locked (backup)")
    for one in (plan, locked):
        found = foresee(desired, there(cores=2), one, Facts())
        assert "hunter2" not in f"{found} {found.wait()} {[str(f) for f in found.changes]}"
    found = foresee(desired, there(cores=2), locked, Facts())
    assert found.then == ("cipassword (hidden) -> (hidden)",)


# What comes after a wait.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lock": "backup"}, "waits: locked (backup); then cores 8 -> 2"),
        ({"paused": True}, "waits: paused; resume or stop it by hand; then cores 8 -> 2"),
        (
            {"config": {"cores": 8, "tags": "felhom-pause"}},
            "waits: paused by the tag felhom-pause in PVE; take it off to go on; then cores 8 -> 2",
        ),
    ],
)
def test_a_wait_tells_what_comes_after_it(change: dict[str, Any], text: str) -> None:
    found = seen(declared(cores=2), replace(there(cores=8), **change))
    assert (found.wait(), found.changes, found.restarts) == (text, (), False)


def test_a_wait_for_ha_tells_the_state_that_comes_after_it() -> None:
    found = seen(declared(STOPPED), replace(there(), ha_state="started"))
    assert found.then == ("shut down",)


def test_a_wait_tells_the_restart_that_comes_after_it() -> None:
    found = seen(declared(cores=2, restart=ALLOWED), replace(there(cores=8), lock="backup"))
    assert found.then == ("cores 8 -> 2", "restart")


def test_a_wait_tells_the_power_off_that_may_come_after_it() -> None:
    harder = "(power-off if it ignores the shutdown)"
    locked = replace(there(cores=8, memory="4096", hotplug="memory"), lock="backup")
    for desired, then in (
        (declared(STOPPED, cores=2), (f"shut down {harder}", "cores 8 -> 2")),
        (declared(restart=ALLOWED, cores=2), ("cores 8 -> 2", f"restart {harder}")),
        (
            declared(restart=ALLOWED, memory=2048),
            ("memory 4096 -> 2048", f"restart, if it does not let go of the device {harder}"),
        ),
    ):
        found = seen(replace(desired, stop=StopPolicy.POWER_OFF), locked)
        assert (found.then, found.may_power_off) == (then, True)
        assert not seen(desired, locked).may_power_off


def test_a_long_wait_is_told_in_short() -> None:
    values = {f"ipconfig{n}": "ip=dhcp" for n in range(9)}
    desired = replace(declared(), config=MappingProxyType(dict(values)))
    found = seen(desired, replace(there(), lock="backup"))
    assert len(found.then) == 9
    assert found.wait().endswith(" and 4 more")


@pytest.mark.parametrize(
    "change",
    [{"template": True}, {"kind": Kind.LXC}, {"state": None}, {"config": None}],
    ids=str,
)
def test_nothing_comes_after_what_does_not_pass(change: dict[str, Any]) -> None:
    desired = replace(declared(cores=2), kind=Kind.QEMU)
    guest = replace(there(cores=8), lock="backup", **change)
    plan = plan_guest(desired, Actual("pve1", {100: guest}))
    assert (plan.actions, plan.then) == ((), ())
    assert foresee(desired, guest, plan, Facts()).then == ()


def test_nothing_comes_after_for_another_guest_under_the_number_nor_under_observation() -> None:
    guest = replace(
        there(cores=8, smbios1="uuid=22222222-2222-3333-4444-555555555555"), lock="backup"
    )
    before = identity_of(there(smbios1="uuid=11111111-2222-3333-4444-555555555555"))
    actual = Actual("pve1", {100: guest})
    assert plan_guest(declared(cores=2), actual, Known(identity_of(guest))).then
    other = plan_guest(declared(cores=2), actual, Known(before))
    assert other.then == ()
    watched = plan_guest(replace(declared(cores=2), mode=Mode.OBSERVE), actual)
    assert watched.then == ()


def test_a_withheld_plan_does_nothing_of_what_comes_after_it() -> None:
    guest = replace(there(STOPPED, cores=8), lock="backup")
    plan = plan_guest(declared(cores=2), Actual("pve1", {100: guest}))
    assert plan.actions == ()
    assert plan.then == (
        SetConfig(100, Kind.QEMU, (Change("cores", "8", "2"),)),
        Start(100, Kind.QEMU),
    )
    assert not any(isinstance(a, Stop) for a in plan.then)
    assert plan == replace(plan, then=())


def test_of_a_guest_that_is_not_here_nothing_is_foreseen() -> None:
    plan = plan_guest(declared(), Actual("pve1", {}))
    found = foresee(declared(), None, plan, Facts())
    assert found.wait() == "waits: there is no such guest; create it, or take it out of its file"


def test_what_is_not_foreseen_is_not_told() -> None:
    desired = declared(cores=2)
    away = foresee(desired, None, GuestPlan(100, withheld="it is not here"), Facts())
    unread = foresee(desired, there(), GuestPlan(100, unread="it could not be read"), Facts())
    for found in (away, unread):
        told = (found.restarts, found.may_restart, found.stops, found.starts, found.may_power_off)
        assert told == (False, False, False, False, False)
        assert (found.changes, found.waits, found.no_restart, found.then) == ((), (), "", ())
    assert (away.withheld, unread.withheld) == ("it is not here", "")
    assert (away.wait(), unread.wait()) == ("waits: not here", "")


def test_of_a_guest_that_could_not_be_read_nothing_comes_after() -> None:
    plan = GuestPlan(100, unread="no", withheld="it is locked", then=(Start(100, Kind.QEMU),))
    assert foresee(declared(), there(STOPPED), plan, Facts()) == Foresight(withheld="it is locked")


def test_why_it_is_not_restarted_is_told_only_where_something_waits() -> None:
    at_once = seen(declared(description="x"), there())
    assert (at_once.no_restart, at_once.waits) == ("", ())
    waits = seen(declared(cores=2), there())
    assert waits.waits
    assert waits.no_restart


def test_a_start_that_comes_after_a_wait_is_told_as_a_start() -> None:
    plan = GuestPlan(100, withheld="it is locked", then=(Start(100, Kind.QEMU),))
    assert foresee(declared(), there(STOPPED), plan, Facts()).then == ("start",)


@pytest.mark.parametrize(
    ("words", "told"),
    [(5, "1, 2, 3, 4, 5"), (6, "1, 2, 3, 4, 5 and 1 more"), (7, "1, 2, 3, 4, 5 and 2 more")],
)
def test_of_many_things_that_come_after_five_are_told_and_how_many_more(
    words: int, told: str
) -> None:
    then = tuple(str(n + 1) for n in range(words))
    assert Foresight(withheld="it is locked", then=then).wait() == f"waits: locked; then {told}"


def test_in_effect_is_what_pve_answered_as_text_and_not_what_is_none() -> None:
    guest = replace(there(cores=2, name="web", odd=["a"]), pending={"cores": 1, "gone": None})
    assert in_effect(guest) == {"cores": "1", "name": "web"}
    assert in_effect(replace(guest, config=None, pending={})) == {}
