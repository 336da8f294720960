"""What a change needs, beside what PVE was recorded to say to tokens that had some of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from felhom_agent.model import (
    ABSENT,
    Actual,
    ActualGuest,
    DesiredGuest,
    Facts,
    Kind,
    Mode,
    RestartPolicy,
    Rights,
    RunState,
)
from felhom_agent.options import keys, lookup
from felhom_agent.planning.plan import plan_guest
from felhom_agent.planning.privilegerules import RULES
from felhom_agent.planning.privileges import Required, lacking, required, told

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "rights.jsonl").read_text().splitlines()
]
PVE = Facts(version=(9, 2))
_DISK, _CD, _INIT = (f"VM.Config.{word} on /vms/101" for word in ("Disk", "CDROM", "Cloudinit"))
_HW, _NET = "VM.Config.HWType on /vms/101", "VM.Config.Network on /vms/101"
_BRIDGE = "SDN.Use on /sdn/zones/localnetwork/vmbr0"


def holding(**held: tuple[str, ...] | list[str]) -> Facts:
    paths = {path: MappingProxyType(dict.fromkeys(names, True)) for path, names in held.items()}
    return Facts(version=(9, 2), rights=Rights(MappingProxyType(paths)))


def texts(needs: tuple[Required, ...]) -> list[str]:
    return [str(need) for need in needs]


def needs_of(line: Mapping[str, Any], facts: Facts) -> tuple[Required, ...]:
    present = line["present"]
    changes = [*line["sets"].items(), *((key, ABSENT) for key in line["deletes"])]
    found: tuple[Required, ...] = ()
    for key, after in changes:
        found += required("qemu", key, after, present.get(key, ABSENT), 102, facts)
    return found


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line["case"])
def test_what_pve_denied_is_what_is_said_to_be_lacking(line: dict[str, Any]) -> None:
    facts = holding(**{"/": line["held"]})
    lacks = lacking(needs_of(line, facts), facts)
    if line["status"] == 403:
        path, _, privileges = line["reason"].partition("(")[2].rstrip(")").partition(", ")
        found = {(need.path, privilege) for need in lacks for privilege in need.any_of}
        assert {(path, privilege) for privilege in privileges.split("|")} <= found
    else:  # taken, or refused for another reason than a right
        assert lacks == ()


@pytest.mark.parametrize(
    ("kind", "key", "after", "before", "needs"),
    [
        ("qemu", "memory", "2048", "1024", ["VM.Config.Memory on /vms/101"]),
        ("qemu", "memory", ABSENT, "1024", ["VM.Config.Memory on /vms/101"]),
        ("qemu", "agent", "1", ABSENT, ["VM.Config.Options on /vms/101"]),
        ("qemu", "nameserver", "1.1.1.1", ABSENT, ["VM.Config.Cloudinit on /vms/101"]),
        ("lxc", "nameserver", "1.1.1.1", ABSENT, ["VM.Config.Network on /vms/101"]),
        ("lxc", "hostname", "a", "b", ["VM.Config.Network on /vms/101"]),
        ("lxc", "startup", "order=1", ABSENT, ["VM.Config.Options on /vms/101"]),
        (
            "qemu",
            "startup",
            ABSENT,
            "order=1",
            ["VM.Config.Options on /vms/101", "Sys.Modify on /"],
        ),
        (
            "qemu",
            "freeze",
            "1",
            ABSENT,
            ["VM.Config.Options on /vms/101", "VM.PowerMgmt on /vms/101"],
        ),
        (
            "qemu",
            "net0",
            "virtio=BC:24:11:00:00:01,bridge=vmbr1,tag=7",
            "virtio=BC:24:11:00:00:01,bridge=vmbr0",
            [
                "VM.Config.Network on /vms/101",
                "SDN.Use on /sdn/zones/localnetwork/vmbr0",
                "SDN.Use on /sdn/zones/localnetwork/vmbr1/7",
            ],
        ),
        (
            "qemu",
            "net1",
            "virtio,bridge=vmbr1,trunks=2;5-6",
            ABSENT,
            [
                "VM.Config.Network on /vms/101",
                "SDN.Use on /sdn/zones/localnetwork/vmbr1/2",
                "SDN.Use on /sdn/zones/localnetwork/vmbr1/5",
                "SDN.Use on /sdn/zones/localnetwork/vmbr1/6",
            ],
        ),
        ("qemu", "net0", "virtio", ABSENT, ["VM.Config.Network on /vms/101"]),
        (
            "lxc",
            "net0",
            "name=eth0,bridge=vmbr0",
            "name=eth0,bridge=vmbr0,tag=3",
            [
                "VM.Config.Network on /vms/101",
                "SDN.Use on /sdn/zones/localnetwork/vmbr0",
                "SDN.Use on /sdn/zones/localnetwork/vmbr0/3",
            ],
        ),
        # PVE ends its check there
        ("lxc", "net0", "name=eth0,bridge=vmbr0", "name=eth0", ["VM.Config.Network on /vms/101"]),
        (
            "qemu",
            "usb0",
            "mapping=new",
            "mapping=old",
            [
                "VM.Config.HWType on /vms/101",
                "Mapping.Use on /mapping/usb/old",
                "Mapping.Use on /mapping/usb/new",
            ],
        ),
        ("qemu", "usb0", "spice", ABSENT, ["VM.Config.HWType on /vms/101"]),
        (
            "qemu",
            "hostpci3",
            ABSENT,
            "mapping=gpu,pcie=1",
            ["VM.Config.HWType on /vms/101", "Mapping.Use on /mapping/pci/gpu"],
        ),
        (
            "qemu",
            "virtiofs0",
            "share,cache=auto",
            ABSENT,
            ["VM.Config.Disk on /vms/101", "Mapping.Use on /mapping/dir/share"],
        ),
        (
            "qemu",
            "rng0",
            "source=/dev/urandom",
            "source=/dev/hwrng",
            ["VM.Config.HWType on /vms/101", "Mapping.Use on /mapping/hwrng"],
        ),
        (
            "qemu",
            "cpu",
            "custom-big,flags=+aes",
            "host",
            ["VM.Config.CPU on /vms/101", "Mapping.Use on /mapping/cpu/big"],
        ),
        ("qemu", "cpu", "custom-big,flags=+aes", "custom-big", ["VM.Config.CPU on /vms/101"]),
        (
            "qemu",
            "ide2",
            "store:iso/debian.iso,media=cdrom",
            "none,media=cdrom",
            ["VM.Config.CDROM on /vms/101", "Datastore.Audit on /storage/store"],
        ),
        (
            "qemu",
            "ide2",
            "none,media=cdrom",
            "local:101/vm-101-disk-0.raw",
            ["VM.Config.Disk on /vms/101", "VM.Config.CDROM on /vms/101"],
        ),
        (
            "qemu",
            "ide0",
            "local:101/vm-101-cloudinit.qcow2,media=cdrom",
            ABSENT,
            ["VM.Config.CDROM on /vms/101", "VM.Config.Cloudinit on /vms/101"],
        ),
        (
            "qemu",
            "scsi1",
            "lvm:vm-102-disk-0",
            ABSENT,
            [
                "VM.Config.Disk on /vms/101",
                "Datastore.Audit on /storage/lvm",
                "VM.Config.Disk on /vms/102",
            ],
        ),
        (
            "qemu",
            "vmstatestorage",
            "fast",
            "slow",
            ["VM.Config.Disk on /vms/101", "Datastore.AllocateSpace on /storage/fast"],
        ),
        ("qemu", "vmstatestorage", ABSENT, "slow", ["VM.Config.Disk on /vms/101"]),
        (
            "lxc",
            "features",
            "nesting=1",
            ABSENT,
            ["VM.Config.Options on /vms/101", "VM.Allocate on /vms/101"],
        ),
        ("lxc", "features", "nesting=1", "nesting=1", ["VM.Config.Options on /vms/101"]),
        ("lxc", "mp0", "local:101/a.raw,mp=/a", ABSENT, ["VM.Config.Disk on /vms/101"]),
        ("lxc", "nosuch", "1", ABSENT, []),
    ],
)
def test_a_change_needs_what_its_new_and_its_old_value_need(
    kind: str, key: str, after: Any, before: Any, needs: list[str]
) -> None:
    assert texts(required(kind, key, after, before, 101, PVE)) == needs


@pytest.mark.parametrize(
    ("kind", "key", "before", "needs"),
    [
        ("qemu", "net0", "virtio,bridge=vmbr0", [_NET, _BRIDGE]),
        ("lxc", "net0", "name=eth0,bridge=vmbr0", [_NET, _BRIDGE]),
        ("qemu", "usb0", "mapping=key", [_HW, "Mapping.Use on /mapping/usb/key"]),
        ("qemu", "hostpci0", "mapping=gpu", [_HW, "Mapping.Use on /mapping/pci/gpu"]),
        ("qemu", "virtiofs0", "share", [_DISK, "Mapping.Use on /mapping/dir/share"]),
        ("qemu", "rng0", "source=/dev/hwrng", [_HW, "Mapping.Use on /mapping/hwrng"]),
        ("qemu", "cpu", "custom-big", ["VM.Config.CPU on /vms/101"]),
        ("qemu", "scsi1", "local:101/vm-101-disk-0.raw", [_DISK]),
        ("qemu", "ide2", "none,media=cdrom", [_CD]),
        ("qemu", "ide2", "store:iso/debian.iso,media=cdrom", [_CD]),
        ("qemu", "ide2", "local:101/vm-101-cloudinit.qcow2", [_CD, _INIT]),
        ("qemu", "vmstatestorage", "slow", [_DISK]),
        ("lxc", "mp0", "local:102/vm-102-disk-0.raw,mp=/a", [_DISK]),
        (
            "lxc",
            "features",
            "nesting=1",
            ["VM.Config.Options on /vms/101", "VM.Allocate on /vms/101"],
        ),
    ],
)
def test_a_deletion_needs_what_the_value_needs_that_goes(
    kind: str, key: str, before: str, needs: list[str]
) -> None:
    assert texts(required(kind, key, ABSENT, before, 101, PVE)) == needs


def test_a_deletion_of_guarded_tags_needs_a_right_on_the_whole() -> None:
    facts = Facts(registered_tags=frozenset({"a"}))
    needs = ["VM.Config.Options on /vms/101", "Sys.Modify on /"]
    assert texts(required("qemu", "tags", ABSENT, "a;b", 101, facts)) == needs


@pytest.mark.parametrize(
    ("key", "after", "before", "needs"),
    [
        (
            "hostpci0",
            "mapping=new",
            "mapping=old",
            [_HW, "Mapping.Use on /mapping/pci/old", "Mapping.Use on /mapping/pci/new"],
        ),
        (
            "virtiofs0",
            "new",
            "old",
            [_DISK, "Mapping.Use on /mapping/dir/old", "Mapping.Use on /mapping/dir/new"],
        ),
        ("rng0", "source=/dev/hwrng", ABSENT, [_HW, "Mapping.Use on /mapping/hwrng"]),
        ("rng0", "source=/dev/urandom", ABSENT, [_HW]),
        ("cpu", "host", "kvm64", ["VM.Config.CPU on /vms/101"]),
        ("ide2", "none", ABSENT, [_CD]),
        ("ide2", "none,media=cdrom", "local:101/vm-101-cloudinit.qcow2", [_CD, _INIT]),
        ("ide2", "local:101/vm-101-cloudinit.qcow2", "none,media=cdrom", [_CD, _INIT]),
        ("ide2", "local:101/vm-101-disk-0.raw", "none,media=cdrom", [_DISK, _CD]),
        ("scsi1", "local:4", ABSENT, [_DISK, "Datastore.AllocateSpace on /storage/local"]),
        ("scsi1", "local:4,media=cdrom", ABSENT, [_CD]),
        ("scsi1", "/dev/vg/vm-102-disk-0", ABSENT, [_DISK]),
    ],
)
def test_a_value_of_a_vm_needs_what_it_and_the_one_before_it_need(
    key: str, after: str, before: Any, needs: list[str]
) -> None:
    assert sorted(texts(required("qemu", key, after, before, 101, PVE))) == sorted(needs)


def test_any_right_to_write_goes_with_the_one_that_nesting_needs() -> None:
    facts = holding(**{"/vms": ["VM.Config.CPU", "VM.Allocate"]})
    needs = required("lxc", "features", "nesting=1", ABSENT, 101, facts)
    assert lacking(needs, facts) == ()
    needs = required("lxc", "onboot", "1", ABSENT, 101, facts)
    assert texts(lacking(needs, facts)) == ["VM.Config.Options on /vms/101"]


def test_the_first_card_of_a_container_needs_its_bridge() -> None:
    needs = required("lxc", "net0", "name=eth0,bridge=vmbr0", ABSENT, 101, PVE)
    assert texts(needs) == [_NET, _BRIDGE]


@pytest.mark.parametrize(
    ("trunks", "tags"),
    [
        ("4093-9999", ["4093", "4094"]),
        ("4095", ["4095"]),
        ("7-5", ["7"]),
        ("5;5-6", ["5", "6"]),
        ("a;5;6-b;-7;8-;;9-9", ["5", "9"]),
        ("9" * 5000, []),
    ],
)
def test_each_tag_of_a_trunk_is_asked_for(trunks: str, tags: list[str]) -> None:
    needs = required("qemu", "net0", f"virtio,bridge=vmbr0,trunks={trunks}", ABSENT, 101, PVE)
    wanted = [f"{_BRIDGE}/{tag}" for tag in tags] or [_BRIDGE]
    assert texts(needs) == [_NET, *wanted]


def test_the_network_of_another_bridge_tells_no_zone() -> None:
    for path in ("/sdn/zones/lab/other", "/sdn/zones/lab"):
        facts = holding(**{path: ["SDN.Use"]})
        (_, need) = required("qemu", "net0", "virtio,bridge=web", ABSENT, 101, facts)
        assert need.path == "/sdn/zones/localnetwork/web"


def test_a_custom_model_takes_another_right_before_the_version_with_a_right_of_its_own() -> None:
    old = Facts(version=(9, 1), packages=MappingProxyType({"qemu-server": "9.1.6"}))
    assert texts(required("qemu", "cpu", "custom-big", "host", 101, old)) == [
        "VM.Config.CPU on /vms/101",
        "Sys.Audit on /nodes",
    ]
    assert len(required("qemu", "cpu", "custom-big,flags=+aes", "custom-big", 101, old)) == 1


@pytest.mark.parametrize(
    ("facts", "after", "guarded"),
    [
        (Facts(), "a;new", False),
        (Facts(registered_tags=frozenset({"prod"})), "a;b;prod", True),
        (Facts(registered_tags=frozenset({"prod"})), "a;b;new", False),
        (Facts(registered_tags=frozenset({"b"})), "a", True),  # it goes
        (Facts(registered_tags=frozenset({"a", "b"})), "b,a", False),  # nothing comes or goes
        (Facts(free_tags=frozenset({"new"})), "a;b;new", False),
        (Facts(free_tags=frozenset({"new"})), "a;b;other", True),
        (Facts(free_tags=frozenset()), "a;b", False),
    ],
)
def test_a_tag_that_the_datacenter_guards_needs_a_right_on_the_whole(
    facts: Facts, after: str, guarded: bool
) -> None:
    wanted = ["VM.Config.Options on /vms/101"] + ["Sys.Modify on /"] * guarded
    for kind in ("qemu", "lxc"):
        assert texts(required(kind, "tags", after, "a;b", 101, facts)) == wanted


def test_a_virtual_network_is_asked_for_in_its_own_zone() -> None:
    known = Facts(zones=MappingProxyType({"web": "dmz"}))
    (_, need) = required("qemu", "net0", "virtio,bridge=web", ABSENT, 101, known)
    assert need.path == "/sdn/zones/dmz/web"
    (_, need) = required(
        "qemu", "net0", "virtio,bridge=web", ABSENT, 101, holding(**{"/sdn/zones/lab/web": ["X"]})
    )
    assert need.path == "/sdn/zones/lab/web"


@pytest.mark.parametrize("zone", ["{0}", "{", "{bridge}", "%s", "\\1", "{bridge.__class__}"])
def test_a_zone_s_name_is_taken_as_it_is(zone: str) -> None:
    known = Facts(zones=MappingProxyType({"web": zone}))
    (_, need) = required("qemu", "net0", "virtio,bridge=web", ABSENT, 101, known)
    assert need.path == f"/sdn/zones/{zone}/web"


def test_a_bridge_that_may_be_a_network_of_a_zone_that_is_ours_is_not_said_to_be_lacking() -> None:
    facts = holding(**{"/sdn/zones/dmz": ["SDN.Use"], "/vms": ["VM.Config.Network"]})
    needs = required("qemu", "net0", "virtio,bridge=web", ABSENT, 101, facts)
    assert lacking(needs, facts) == ()
    plain = holding(**{"/sdn/zones/localnetwork/vmbr9": ["SDN.Use"], "/vms": ["VM.Config.Network"]})
    needs = required("qemu", "net0", "virtio,bridge=web", ABSENT, 101, plain)
    assert texts(lacking(needs, plain)) == ["SDN.Use on /sdn/zones/localnetwork/web"]


def test_rights_come_from_the_nearest_path_that_is_listed_and_only_what_it_hands_down() -> None:
    rights = Rights(
        MappingProxyType(
            {
                "/": MappingProxyType({"VM.Audit": True, "Sys.Audit": False}),
                "/vms/101": MappingProxyType({"VM.Config.CPU": False}),
            }
        )
    )
    assert rights.on("/") == {"VM.Audit", "Sys.Audit"}
    assert rights.on("/vms/100") == {"VM.Audit"}
    assert rights.on("/vms/101") == {"VM.Config.CPU"}
    assert Rights().on("/vms/101") == frozenset()


def test_a_rule_that_hands_nothing_down_leaves_those_above_it_in_force_below() -> None:
    bridge = "/sdn/zones/localnetwork/vmbr0"
    held = {"/sdn/zones": {"SDN.Use": True}, bridge: {"SDN.Use": False, "SDN.Audit": False}}
    rights = Rights(MappingProxyType({p: MappingProxyType(h) for p, h in held.items()}))
    assert rights.on(bridge) == {"SDN.Use", "SDN.Audit"}
    assert rights.on(f"{bridge}/7") == {"SDN.Use"}


def test_nothing_is_lacking_where_the_rights_are_not_known() -> None:
    assert lacking((Required("/", ("Sys.Modify",)),), Facts()) == ()


def test_what_is_lacking_is_told_in_one_bounded_line() -> None:
    needs = required("qemu", "net0", "virtio,bridge=vmbr0,trunks=1-4094", ABSENT, 101, PVE)
    text = told(needs)
    assert text.startswith("the token lacks VM.Config.Network on /vms/101 and SDN.Use on /sdn/")
    assert text.endswith(" and 4092 more")
    assert len(text) < 300
    assert told(()) == ""


def test_each_rule_names_its_source_and_options_that_exist() -> None:
    for rule in RULES:
        assert rule.source, rule
        for kind in rule.kinds:
            names = {name for name in rule.options if name in keys(kind)}
            assert names, rule
    named = {name for rule in RULES for name in rule.options}
    for kind in ("qemu", "lxc"):
        for name in keys(kind):
            option = lookup(kind, name.replace("[n]", "0"))
            if option is not None and option.also:
                assert name in named, f"{name} is said to need {option.also} besides, by no rule"


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
def test_a_plan_leaves_out_what_the_token_may_not_and_a_guest_that_is_only_observed_needs_nothing(
    mode: Mode,
) -> None:
    config = MappingProxyType({"memory": "1024", "cores": 1})
    guest = ActualGuest(101, Kind.QEMU, "pve1", RunState.STOPPED, "web", config, "d")
    actual = Actual("pve1", {101: guest}, facts=holding(**{"/vms": ["VM.Config.CPU"]}))
    wanted = MappingProxyType({"memory": 2048, "cores": 2})
    found = plan_guest(DesiredGuest(101, state=RunState.RUNNING, mode=mode, config=wanted), actual)
    if mode is Mode.OBSERVE:
        would = "observed only; would set memory: 1024 -> 2048, cores: 1 -> 2, start"
        assert found.notes == (would,)
        return
    assert [str(action) for action in found.actions] == ["SetConfig(vmid=101, cores: 1 -> 2)"]
    assert found.notes == (
        "memory: the token lacks VM.Config.Memory on /vms/101",
        "start: the token lacks VM.PowerMgmt on /vms/101; felhom-agent check tells how to grant it",
    )


def test_a_restart_that_the_token_may_not_do_is_told_with_what_waits_for_it() -> None:
    config = MappingProxyType({"cores": 2})
    pending = MappingProxyType({"cores": 1})
    guest = ActualGuest(
        101, Kind.QEMU, "pve1", RunState.RUNNING, "web", config, "d", pending=pending
    )
    actual = Actual("pve1", {101: guest}, facts=holding(**{"/vms": ["VM.Config.CPU"]}))
    declared = DesiredGuest(
        101,
        state=RunState.RUNNING,
        restart=RestartPolicy.ALLOWED,
        config=MappingProxyType({"cores": 2}),
    )
    found = plan_guest(declared, actual)
    assert found.actions == ()
    assert found.notes == (
        "needs a restart: cores 1 -> 2; the token lacks VM.PowerMgmt on /vms/101",
    )


@pytest.mark.parametrize(
    ("needs", "told_of"),
    [(2, "1 on / and 2 on /"), (3, "1 on / and 2 on / and 3 on /"),
     (4, "1 on / and 2 on / and 3 on / and 1 more")],
)  # fmt: skip
def test_no_more_are_counted_than_are_left_out(needs: int, told_of: str) -> None:
    lacks = tuple(Required("/", (str(n + 1),)) for n in range(needs))
    assert told(lacks) == f"the token lacks {told_of}"


def test_a_deletion_needs_nothing_that_only_a_new_value_needs() -> None:
    deleted = required("qemu", "vmstatestorage", ABSENT, "local", 100, Facts())
    assert not any("Datastore" in str(need) for need in deleted)
    put = required("qemu", "vmstatestorage", "local", ABSENT, 100, Facts())
    assert "Datastore.AllocateSpace on /storage/local" in map(str, put)


@pytest.mark.parametrize(
    ("installed", "asked"), [("9.1.7", False), ("9.1.12", False), ("9.1.13", True), ("9.2.0", True)]
)
def test_a_rule_counts_from_the_very_version_that_brought_it(
    installed: str, *, asked: bool
) -> None:
    facts = Facts((9, 1), packages={"qemu-server": installed})
    needs = required("qemu", "cpu", "custom-fast", "host", 100, facts)
    assert ("Mapping.Use on /mapping/cpu/fast" in map(str, needs)) is asked
    assert ("Sys.Audit on /nodes" in map(str, needs)) is not asked


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        # PVE: pve-storage Storage.pm check_volume_access
        ("iscsi:0.0.0.scsi-36001", ["Datastore.Allocate on /storage/iscsi"]),
        ("san:lun3", ["Datastore.Allocate on /storage/san"]),
        ("local:101/disk.raw", []),
        ("local:101/vm-102-disk-0.raw", []),
        ("local:100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2", []),
        ("rbd:base-100-disk-0/vm-101-disk-0", []),
        ("local:102/disk.raw", ["Datastore.Audit on /storage/local", "VM.Config.Disk on /vms/102"]),
        (
            "local:101/base-101-disk-0.raw/102/vm-102-disk-0.raw",
            ["Datastore.Audit on /storage/local", "VM.Config.Disk on /vms/102"],
        ),
        (
            "zfs:basevol-101-disk-0/subvol-102-disk-0",
            ["Datastore.Audit on /storage/zfs", "VM.Config.Disk on /vms/102"],
        ),
    ],
)
@pytest.mark.parametrize(("kind", "key"), [("qemu", "scsi1"), ("lxc", "mp0")])
def test_whose_a_volume_is_decides_what_it_takes(
    kind: str, key: str, volume: str, wanted: list[str]
) -> None:
    text = f"{volume},mp=/a" if kind == "lxc" else f"{volume},discard=on"
    found = texts(required(kind, key, text, volume, 101, PVE))
    assert found == ["VM.Config.Disk on /vms/101", *wanted]


def test_a_cloudinit_image_of_another_guest_takes_what_any_volume_of_it_does() -> None:
    volume = "local:102/vm-102-cloudinit.qcow2,media=cdrom"
    found = texts(required("qemu", "ide2", volume, ABSENT, 101, PVE))
    assert "Datastore.Audit on /storage/local" in found
    assert "VM.Config.Disk on /vms/102" in found


@pytest.mark.parametrize(
    ("trunks", "tags"), [("05", ["05"]), ("7-5", ["7"]), ("05-07", ["5", "6", "7"]), ("9-9", ["9"])]
)
def test_a_trunks_tag_that_is_no_range_stays_as_it_is_written(trunks: str, tags: list[str]) -> None:
    """PVE: pve-guest-common GuestHelpers.pm get_tags_from_trunk"""
    card = f"virtio=BC:24:11:00:00:01,bridge=vmbr1,trunks={trunks}"
    found = texts(required("qemu", "net1", card, ABSENT, 101, PVE))
    assert found[1:] == [f"SDN.Use on /sdn/zones/localnetwork/vmbr1/{tag}" for tag in tags]


@pytest.mark.parametrize(
    ("path", "zones", "lacks"),
    [
        # A bridge of the host may be a network of the zone that is ours, unless it is known.
        ("/sdn/zones/localnetwork/web", {}, False),
        ("/sdn/zones/localnetwork/web/7", {}, False),
        ("/sdn/zones/localnetwork/web", {"web": "lab"}, True),
        ("/sdn/zones/localnetwork/web/7", {"web": "lab"}, True),
        ("/sdn/zones/localnetwork/web", {"7": "lab"}, False),
        # Another zone is another zone, and a whole zone is no bridge.
        ("/sdn/zones/lab/web", {}, True),
        ("/sdn/zones/localnetwork", {}, True),
    ],
)
def test_what_may_be_a_network_of_a_zone_that_is_ours(
    path: str, zones: dict[str, str], *, lacks: bool
) -> None:
    facts = holding(**{"/sdn/zones/dmz": ["SDN.Use"]})
    facts = replace(facts, zones=MappingProxyType(zones))
    assert bool(lacking((Required(path, ("SDN.Use",)),), facts)) is lacks
