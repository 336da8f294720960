"""Who may change what: as PVE was recorded, and by its source where nobody recorded it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from felhom_agent.devnode import World
from tests.devnode.conftest import Caller

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "rights.jsonl").read_text().splitlines()
]
VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"
WRITERS = tuple(
    f"VM.Config.{word}"
    for word in (
        *("Options", "CPU", "Memory", "Network"),
        *("HWType", "Disk", "CDROM", "Cloudinit"),
    )
)
MAC = "BC:24:11:00:00:01"


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: line["case"])
def test_a_change_is_taken_or_denied_as_it_was(
    world: World, callers: Callable[..., Caller], line: dict[str, Any]
) -> None:
    world.version = "9.2.11"
    world.add("qemu", 102, line["present"])
    for disk in (0, 1):
        world.guests[102].sizes[f"local:102/vm-102-disk-{disk}.raw"] = "16M"
    few = callers("few@pve!tt", privileges={"/": line["held"]})
    params = {**line["sets"], **({"delete": ",".join(line["deletes"])} if line["deletes"] else {})}
    path = "/nodes/pve1/qemu/102/config"
    reply = few("POST", path, {**params, "background_delay": 5})
    assert [reply.status, reply.reason] == line["post"]
    if line["status"] != 200:
        reply = few("PUT", path, params)
        assert (reply.status, reply.reason) == (line["status"], line["reason"])


@pytest.mark.parametrize(
    ("path", "present", "params", "held", "denied"),
    [
        (VM, {"usb0": "mapping=one"}, {"usb0": "mapping=two"},
         {"/mapping/usb/two": ["Mapping.Use"]},
         "/mapping/usb/one, Mapping.Use"),
        (VM, {}, {"usb0": "mapping=two"}, {"/mapping/usb": ["Mapping.Use"]}, ""),
        (VM, {}, {"usb0": "spice"}, {}, ""),
        (VM, {}, {"hostpci0": "mapping=gpu"}, {}, "/mapping/pci/gpu, Mapping.Use"),
        (VM, {"hostpci0": "mapping=gpu"}, {"delete": "hostpci0"}, {},
         "/mapping/pci/gpu, Mapping.Use"),
        (VM, {}, {"virtiofs0": "share"}, {}, "/mapping/dir/share, Mapping.Use"),
        (VM, {}, {"virtiofs0": "dirid=share"}, {"/mapping": ["Mapping.Use"]}, ""),
        (VM, {"rng0": "source=/dev/hwrng"}, {"rng0": "source=/dev/urandom"}, {},
         "/mapping/hwrng, Mapping.Use"),
        (VM, {}, {"cpu": "custom-big"}, {}, "/mapping/cpu/big, Mapping.Use"),
        (VM, {"cpu": "custom-big"}, {"cpu": "custom-big,flags=+aes"}, {}, ""),
        (VM, {}, {"vmstatestorage": "fast"}, {}, "/storage/fast, Datastore.AllocateSpace"),
        (VM, {"vmstatestorage": "fast"}, {"delete": "vmstatestorage"}, {}, ""),
        (VM, {}, {"net0": f"virtio={MAC},bridge=vmbr0,tag=7"},
         {"/sdn/zones/localnetwork/vmbr0/7": ["SDN.Use"]}, ""),
        (VM, {}, {"net0": f"virtio={MAC},bridge=vmbr0,tag=8"},
         {"/sdn/zones/localnetwork/vmbr0/7": ["SDN.Use"]},
         "/sdn/zones/localnetwork/vmbr0/8, SDN.Use"),
        (VM, {}, {"net0": f"virtio={MAC},bridge=vmbr0,trunks=2;5-6"},
         {"/sdn/zones/localnetwork/vmbr0/2": ["SDN.Use"]},
         "/sdn/zones/localnetwork/vmbr0/5, SDN.Use"),
        (VM, {"net0": f"virtio={MAC},bridge=vmbr0"}, {"net0": f"virtio={MAC},bridge=vmbr1"},
         {"/sdn/zones/localnetwork/vmbr1": ["SDN.Use"]},
         "/sdn/zones/localnetwork/vmbr0, SDN.Use"),
        (VM, {}, {"net0": f"virtio={MAC},bridge=web"}, {}, "/sdn/zones/dmz/web, SDN.Use"),
        (CT, {"net0": f"name=eth0,hwaddr={MAC},bridge=vmbr0"},
         {"net0": f"name=eth1,hwaddr={MAC},bridge=vmbr0"}, {},
         "/sdn/zones/localnetwork/vmbr0, SDN.Use"),
        (CT, {"net0": f"name=eth0,hwaddr={MAC}"},
         {"net0": f"name=eth1,hwaddr={MAC},bridge=vmbr0"}, {}, ""),
        (CT, {"unprivileged": 1}, {"features": "nesting=1"}, {}, "/vms/200, VM.Allocate"),
        (CT, {"unprivileged": 1, "features": "nesting=1"}, {"delete": "features"}, {},
         "/vms/200, VM.Allocate"),
        (CT, {"unprivileged": 1, "features": "nesting=1"}, {"features": "nesting=1"}, {}, ""),
        (CT, {"features": "nesting=1"}, {"features": "nesting=0"}, {},
         "changing feature flags for privileged container is only allowed for root@pam"),
    ],
)  # fmt: skip
def test_a_value_needs_rights_on_what_it_uses_and_on_what_the_old_one_used(
    world: World,
    callers: Callable[..., Caller],
    path: str,
    present: dict[str, object],
    params: dict[str, object],
    held: dict[str, list[str]],
    denied: str,
) -> None:
    world.version = "9.2.11"
    world.zones = {"web": "dmz"}
    world.cpu_models = {"big"}
    world.edit(100 if path == VM else 200, present)
    few = callers("few@pve!t", privileges={"/": WRITERS, **held})
    reply = few("PUT", path, params)
    said = f"Permission check failed ({denied})" if denied else "OK"
    assert (reply.status, reply.reason) == (403 if denied else 200, said)


@pytest.mark.parametrize("path", [VM, CT])
@pytest.mark.parametrize(
    ("user_allow", "new", "denied"),
    [
        ("none", "new", "alpha"),
        ("none", "alpha", ""),
        ("none", "alpha;new", "new"),
        ("existing", "alpha;new", "new"),
        ("existing", "", ""),
        ("list", "alpha;ok", ""),
        ("list", "alpha;new", "new"),
        ("list", "ok", "alpha"),
        ("free", "alpha;new", ""),
        ("free", "alpha;prod", "prod"),
    ],
)
def test_tags_are_guarded_as_they_were(  # recorded: 9.2 200/046-089
    world: World, callers: Callable[..., Caller], path: str, user_allow: str, new: str, denied: str
) -> None:
    world.user_allow, world.user_allow_list = user_allow, frozenset({"ok"})
    world.registered_tags = frozenset({"prod"})
    world.edit(100, {"tags": "alpha"})
    world.edit(200, {"tags": "alpha"})
    few = callers("few@pve!t", privileges={"/": (*WRITERS, "VM.Audit", "Sys.Audit")})
    reply = few("PUT", path, {"tags": new} if new else {"delete": "tags"})
    said = f"Permission check failed (/, Sys.Modify for modifying tag '{denied}')"
    assert (reply.status, reply.reason) == ((403, said) if denied else (200, "OK"))
    options = few("GET", "/cluster/options").data
    assert options["registered-tags"] == ["prod"]
    allowed = {"none": [], "existing": ["alpha"], "list": ["ok"], "free": ["alpha"]}[user_allow]
    if not denied and not new:
        allowed = []
    assert set(options["allowed-tags"]) >= set(allowed) - {"ok"}
    strong = callers("strong@pve!t", privileges={"/": (*WRITERS, "Sys.Modify")})
    assert strong("PUT", path, {"tags": "prod;anything"}).status == 200


def test_the_rules_on_tags_are_told_to_who_may_see_the_datacenter(
    world: World, callers: Callable[..., Caller]
) -> None:
    """PVE: pve-manager API2/Cluster.pm get_options, GuestHelpers.pm get_allowed_tags"""
    world.user_allow, world.registered_tags = "existing", frozenset({"prod"})
    world.max_workers = 9
    world.edit(100, {"tags": "seen"})
    world.edit(200, {"tags": "hidden"})
    few = callers("few@pve!t", privileges={"/vms/100": (*WRITERS, "VM.Audit")})
    assert few("GET", "/cluster/options").data == {"allowed-tags": ["seen"]}
    reply = few("PUT", VM, {"tags": "hidden;seen"})
    assert reply.status == 403
    assert "Sys.Modify for modifying tag 'hidden'" in reply.reason
    all_seeing = callers("all@pve!t", privileges={"/": ["VM.Audit", "Sys.Audit"]})
    told = all_seeing("GET", "/cluster/options").data
    assert told["allowed-tags"] == ["hidden", "seen"]
    assert (told["user-tag-access"], told["registered-tags"]) == (
        {"user-allow": "existing"}, ["prod"],
    )  # fmt: skip
    assert told["max_workers"] == 9


@pytest.mark.parametrize(
    ("path", "params", "held", "status", "reason"),
    [
        # PVE: pve-storage Storage.pm check_volume_access
        (VM, {"scsi1": "iscsi:0.0.0.scsi-36001,discard=on"}, {}, 500,
         "missing privileges to access iscsi:0.0.0.scsi-36001"),
        (VM, {"scsi1": "iscsi:0.0.0.scsi-36001,discard=on"},
         {"/storage/iscsi": ["Datastore.Allocate"]}, 200, "OK"),
        (CT, {"mp0": "iscsi:0.0.0.scsi-36001,mp=/a"}, {}, 500,
         "missing privileges to access iscsi:0.0.0.scsi-36001"),
        (CT, {"mp0": "local:iso/a.iso,mp=/a"}, {"/storage": ["Datastore.Allocate"]}, 500,
         "unable to use volume local:iso/a.iso - content type needs to be 'rootdir'"),
        (CT, {"mp0": "local:vztmpl/a.tar.gz,mp=/a"}, {}, 500,
         "unable to use volume local:vztmpl/a.tar.gz - content type needs to be 'rootdir'"),
        (VM, {"scsi1": "local:102/disk.raw"}, {}, 403,
         "Permission check failed (/storage/local, Datastore.Audit)"),
        (VM, {"net1": f"virtio={MAC},bridge=vmbr0,trunks=05"},
         {"/sdn/zones/localnetwork/vmbr0/5": ["SDN.Use"]}, 403,
         "Permission check failed (/sdn/zones/localnetwork/vmbr0/05, SDN.Use)"),
    ],
)  # fmt: skip
def test_a_volume_of_nobody_and_one_of_a_wrong_kind_are_refused(
    callers: Callable[..., Caller],
    path: str,
    params: dict[str, object],
    held: dict[str, list[str]],
    status: int,
    reason: str,
) -> None:
    few = callers("few@pve!t", privileges={"/": WRITERS, **held})
    reply = few("PUT", path, params)
    assert (reply.status, reply.reason) == (status, reason)


def test_a_custom_cpu_model_took_another_right_before(
    world: World, callers: Callable[..., Caller]
) -> None:
    """PVE: qemu-server 9.1.12 API2/Qemu.pm check_cpu_model_access"""
    world.version, world.cpu_models = "9.1.7", {"big"}
    few = callers("few@pve!t", privileges={"/": WRITERS, "/mapping": ["Mapping.Use"]})
    reply = few("PUT", VM, {"cpu": "custom-big"})
    assert (reply.status, reply.reason) == (403, "Permission check failed (/nodes, Sys.Audit)")
    seeing = callers("see@pve!t", privileges={"/": WRITERS, "/nodes": ["Sys.Audit"]})
    assert seeing("PUT", VM, {"cpu": "custom-big"}).status == 200


def test_a_rom_file_is_roots_even_with_a_mapping(callers: Callable[..., Caller]) -> None:
    mapper = callers("map@pve!t", privileges={"/": (*WRITERS, "Mapping.Use")})
    reply = mapper("PUT", VM, {"hostpci0": "mapping=gpu,romfile=x.rom"})
    words = {"hostpci0": "only root@pam can set 'romfile' option"}
    assert (reply.status, reply.body["errors"]) == (400, words)  # recorded: 9.2 202/427-438
