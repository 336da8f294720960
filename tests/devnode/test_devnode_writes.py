"""What a config write does beside storing values: locks, digests, tasks, volumes, rights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from felhom_agent.devnode import Behaviour, DevNode, World
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import Caller, Clock, Reply

VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"
WRITERS = ("VM.Config.Disk", "VM.Config.CDROM", "VM.Config.Options")


def test_the_digest_is_the_sha1_of_the_file(world: World, call: Caller) -> None:
    file = "#a%3A 100%25\n#b\nboot:  \ncores: 1\nmemory: 512\nname: vm100\n"
    call("PUT", VM, {"description": "a: 100%\nb"})
    assert world.guests[100].conf.text() == file
    digest = hashlib.sha1(file.encode(), usedforsecurity=False).hexdigest()
    assert call("GET", VM).data["digest"] == digest


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (VM, "checksum mismatch (file change by other user?)"),
        (CT, "detected modified configuration - file changed by other user? Try again."),
    ],
    ids=["vm", "container"],
)
def test_a_write_on_top_of_an_old_digest_is_refused(
    world: World, call: Caller, path: str, words: str
) -> None:
    digest = call("GET", path).data["digest"]
    world.edit(100, {"cores": 2})
    world.edit(200, {"cores": 2})
    reply = call("PUT", path, {"onboot": 1, "digest": digest})
    assert (reply.status, reply.reason) == (500, words)
    assert "onboot" not in call("GET", path).data


def test_of_four_writes_with_one_digest_exactly_one_is_done(
    node: DevNode, callers: Callable[..., Caller]
) -> None:
    four = [callers(f"felhom-agent@pve!agent{n}") for n in range(4)]
    digest = four[0]("GET", VM).data["digest"]

    def write(writer: tuple[int, Caller]) -> int:
        number, caller = writer
        return caller("PUT", VM, {"cores": number + 2, "digest": digest}).status

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(write, enumerate(four)))
    assert statuses == [200, 500, 500, 500]


@pytest.mark.parametrize(
    ("path", "words"), [(VM, "VM is locked (backup)"), (CT, "CT is locked (backup)")]
)
def test_a_locked_guest_takes_no_write(world: World, call: Caller, path: str, words: str) -> None:
    world.lock(100, "backup")
    world.lock(200, "backup")
    for method in ("PUT", "POST") if path == VM else ("PUT",):
        reply = call(method, path, {"description": "x"})
        assert (reply.status, reply.reason) == (500, words)
    assert call("GET", path).data["lock"] == "backup"
    world.unlock(100)
    world.unlock(200)
    assert call("PUT", path, {"description": "x"}).status == 200


def test_an_asynchronous_write_is_a_task(world: World, call: Caller, clock: Clock) -> None:
    world.behave(100, Behaviour(config_seconds=2))
    upid = call("POST", VM, {"description": "by post"}).data
    assert ":qmconfig:100:" in upid
    assert "description" not in call("GET", VM).data
    clock.pass_by(2)
    assert call("GET", VM).data["description"] == "by post"
    log = call("GET", f"/nodes/pve1/tasks/{upid}/log").data
    assert log == [
        {"n": 1, "t": "update VM 100: -description by post"},
        {"n": 2, "t": "TASK OK"},
    ]


def test_an_asynchronous_write_that_ends_in_time_leaves_no_task_name(
    world: World, call: Caller
) -> None:
    world.behave(100, Behaviour(config_seconds=2))
    assert call("POST", VM, {"cores": 2, "background_delay": 5}).data is None
    assert call("GET", VM).data["cores"] == 2
    assert call("POST", VM, {"cores": 3, "background_delay": 1}).data.startswith("UPID:")


def test_a_container_has_no_asynchronous_write(call: Caller) -> None:
    reply = call("POST", CT, {"description": "x"})
    words = "Method 'POST /nodes/pve1/lxc/200/config' not implemented"
    assert (reply.status, reply.reason) == (501, words)


def test_the_balloon_is_never_larger_than_the_memory(call: Caller) -> None:
    words = "balloon value too large (must be smaller than assigned memory)"
    assert call("PUT", VM, {"balloon": 1024}).reason == words
    assert call("PUT", VM, {"balloon": 1024, "memory": 2048}).status == 200
    assert call("PUT", VM, {"memory": 512}).reason == words


def test_cpuunits_are_clamped(call: Caller) -> None:
    call("PUT", VM, {"cpuunits": 50000})
    assert call("GET", VM).data["cpuunits"] == 10000


def test_a_password_reads_back_masked_and_changes_the_digest_each_time(call: Caller) -> None:
    digests = set()
    for _ in range(2):
        assert call("PUT", VM, {"cipassword": "secret"}).status == 200
        config = call("GET", VM).data
        assert config["cipassword"] == "**********"
        digests.add(config["digest"])
    assert len(digests) == 2


def test_a_waiting_password_is_masked_with_one_blank_more(world: World, call: Caller) -> None:
    world.start(100)
    world.guests[100].conf.postpone("cipassword", "secret")
    rows = {row["key"]: row for row in call("GET", "/nodes/pve1/qemu/100/pending").data}
    assert rows["cipassword"]["pending"] == "********** "


def test_a_card_on_a_bridge_needs_a_right_on_the_bridge(
    callers: Callable[..., Caller],
) -> None:
    call = callers(privileges={"/": AGENT_PRIVILEGES})
    words = "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)"
    reply = call("PUT", VM, {"net0": "virtio,bridge=vmbr0"})
    assert (reply.status, reply.reason) == (403, words)
    networker = callers("net@pve!w", privileges={"/": ("VM.Config.Network", "SDN.Use")})
    assert networker("PUT", VM, {"net0": "virtio,bridge=vmbr0"}).status == 200
    first = call("GET", VM).data["net0"]
    assert networker("PUT", VM, {"net0": "virtio,bridge=vmbr0"}).status == 200
    # A card without an address gets a new one at each write.
    assert call("GET", VM).data["net0"] != first


@pytest.mark.parametrize("bridge", ["", ",bridge=vmbr9"], ids=["none", "missing"])
@pytest.mark.parametrize(("mtu", "written"), [("", True), (",mtu=1400", False)])
def test_a_container_on_no_bridge_is_written_unless_its_mtu_is_looked_at_first(
    callers: Callable[..., Caller], bridge: str, mtu: str, written: bool
) -> None:
    networker = callers("net@pve!t", privileges={"/": (*AGENT_PRIVILEGES, "SDN.Use")})
    reply = networker("PUT", CT, {"net1": f"name=eth1{bridge}{mtu}"})
    name = bridge.removeprefix(",bridge=")
    assert (reply.status, reply.reason) == (500, f"bridge '{name}' does not exist")
    assert ("net1" in networker("GET", CT).data) is written


def test_a_container_on_a_missing_bridge_is_written_although_it_is_refused(
    world: World, callers: Callable[..., Caller]
) -> None:
    networker = callers("net@pve!w", privileges={"/": ("VM.Config.Network", "SDN.Use")})
    reply = networker("PUT", CT, {"net0": "name=eth0,bridge=vmbr9,hwaddr=BC:24:11:AA:BB:CC"})
    assert (reply.status, reply.reason) == (500, "bridge 'vmbr9' does not exist")
    stored = "name=eth0,bridge=vmbr9,hwaddr=BC:24:11:AA:BB:CC,type=veth"
    assert world.config(200)["net0"] == stored


def disk_writer(callers: Callable[..., Caller]) -> Caller:
    rights = (*WRITERS, "Datastore.AllocateSpace", "VM.Audit")
    return callers("disk@pve!w", privileges={"/": rights})


def test_a_new_volume_needs_space_on_the_storage_and_shows_its_size(
    call: Caller, callers: Callable[..., Caller]
) -> None:
    words = "Permission check failed (/storage/local, Datastore.AllocateSpace)"
    assert call("PUT", VM, {"scsi0": "local:1"}).reason == words
    assert disk_writer(callers)("PUT", VM, {"scsi0": "local:1"}).status == 200
    assert call("GET", VM).data["scsi0"] == "local:100/vm-100-disk-0.raw,size=1G"


def test_a_new_volume_over_an_old_one_leaves_the_old_one_unused(
    call: Caller, callers: Callable[..., Caller]
) -> None:
    writer = disk_writer(callers)
    for _ in range(2):
        writer("PUT", VM, {"scsi0": "local:0.5"})
    config = call("GET", VM).data
    assert config["scsi0"] == "local:100/vm-100-disk-1.raw,size=512M"
    assert config["unused0"] == "local:100/vm-100-disk-0.raw"


def test_the_size_of_a_volume_is_the_volumes_not_the_writers(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": "local:100/vm-100-disk-0.raw,size=8G"})
    call("PUT", VM, {"scsi0": "local:100/vm-100-disk-0.raw,ssd=1,discard=on,size=99G"})
    stored = "local:100/vm-100-disk-0.raw,discard=on,size=8G,ssd=1"
    assert call("GET", VM).data["scsi0"] == stored


def test_a_volume_that_is_not_there_is_refused(call: Caller) -> None:
    reply = call("PUT", VM, {"scsi0": "local:100/vm-100-disk-9.raw"})
    assert reply.reason == "volume 'local:100/vm-100-disk-9.raw' does not exist"


@pytest.mark.parametrize("volume", ["none", "cdrom", "local"])
def test_a_mount_point_without_a_volume_is_refused(call: Caller, volume: str) -> None:
    """PVE: pve-container LXC/Config.pm update_pct_config, pve-storage parse_volume_id."""
    reply = call("PUT", CT, {"mp0": f"{volume},mp=/a"})
    assert (reply.status, reply.reason) == (500, f"unable to parse volume ID '{volume}'")


def test_a_disk_that_is_deleted_becomes_unused_and_leaves_the_boot_order(
    world: World, call: Caller
) -> None:
    disk = "local:100/vm-100-disk-0.raw"
    world.edit(100, {"scsi0": f"{disk},size=8G", "net0": "virtio=BC:24:11:00:00:01"})
    call("PUT", VM, {"boot": "order=scsi0;net0"})
    call("PUT", VM, {"delete": "scsi0"})
    config = call("GET", VM).data
    assert (config.get("scsi0"), config["unused0"]) == (None, disk)
    assert config["boot"] == "order=net0"


def test_an_order_of_devices_removes_the_old_boot_disk(world: World, call: Caller) -> None:
    world.edit(100, {"scsi0": "local:100/vm-100-disk-0.raw,size=8G", "bootdisk": "scsi0"})
    call("PUT", VM, {"boot": "order=scsi0"})
    assert "bootdisk" not in call("GET", VM).data


def test_a_cd_drive_that_is_written_is_appended_to_the_boot_order_once(
    world: World, call: Caller
) -> None:
    world.edit(100, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "boot": "order=net0"})
    for _ in range(2):
        call("PUT", VM, {"ide2": "none,media=cdrom"})
        assert call("GET", VM).data["boot"] == "order=net0;ide2"
    world.edit(100, {"boot": "order=net0"})
    # PVE: API2/Qemu.pm update_vm_api asks whether it is in the order, not whether it is new.
    call("PUT", VM, {"ide2": "none,media=cdrom"})
    assert call("GET", VM).data["boot"] == "order=net0;ide2"


def test_a_cloud_init_drive_is_not_appended_to_the_boot_order(world: World, call: Caller) -> None:
    world.edit(100, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "boot": "order=net0"})
    call("PUT", VM, {"ide2": "local:cloudinit"})
    assert call("GET", VM).data["boot"] == "order=net0"


def test_a_boot_order_that_is_written_with_a_cd_drive_may_be_lost(
    world: World, call: Caller
) -> None:
    """PVE: API2/Qemu.pm update_vm_api, `foreach my $opt (keys %$param)`: chance decides."""
    cards = {f"net{n}": f"virtio=BC:24:11:00:00:0{n},bridge=vmbr0" for n in (1, 2)}
    world.edit(100, {**cards, "boot": "order=net1"})
    call("PUT", VM, {"ide2": "none,media=cdrom", "boot": "order=net2"})
    assert call("GET", VM).data["boot"] == "order=net1;ide2"


def test_a_new_cd_drive_makes_no_boot_order_where_there_is_none(call: Caller) -> None:
    call("PUT", VM, {"ide2": "none,media=cdrom"})
    assert call("GET", VM).data["boot"] == " "


def test_windows_11_pins_the_machine_unless_one_is_chosen(world: World, call: Caller) -> None:
    call("PUT", VM, {"ostype": "win10"})
    assert "machine" not in call("GET", VM).data
    call("PUT", VM, {"ostype": "win11"})
    assert call("GET", VM).data["machine"].startswith("pc-i440fx-")
    call("PUT", VM, {"ostype": "win11", "machine": "q35"})
    assert call("GET", VM).data["machine"] == "q35"


def test_what_a_write_changes_besides_waits_with_it_where_the_guest_runs(
    world: World, call: Caller
) -> None:
    world.edit(100, {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "boot": "order=net0"})
    world.start(100)
    call("PUT", VM, {"ide2": "none,media=cdrom", "ostype": "win11"})
    assert call("GET", f"{VM}?current=1").data["boot"] == "order=net0"
    world.stop(100)
    config = call("GET", f"{VM}?current=1").data
    assert config["boot"] == "order=net0;ide2"
    assert "machine" in config


def test_a_waiting_deletion_of_a_false_value_is_still_shown(world: World, call: Caller) -> None:
    world.edit(100, {"numa": 0, "ostype": "l26"})
    world.start(100)
    call("PUT", VM, {"delete": "numa,ostype"})
    config = call("GET", VM).data
    assert config["numa"] == 0
    assert "ostype" not in config


@pytest.mark.parametrize(
    ("path", "params", "status", "reason"),
    [
        (VM, {"cores": 2}, 403, "Permission check failed (/vms/100, VM.Config.CPU)"),
        (VM, {"memory": 64}, 403, "Permission check failed (/vms/100, VM.Config.Memory)"),
        (VM, {"startup": "order=1"}, 403, "Permission check failed (/, Sys.Modify)"),
        (VM, {"delete": "cores"}, 403, "Permission check failed (/vms/100, VM.Config.CPU)"),
        (VM, {"args": "-S"}, 500, "only root can set 'args' config"),
        (VM, {"serial0": "/dev/ttyS0"}, 500, "only root can modify 'serial0' config"),
        (CT, {"hostname": "a"}, 403, "Permission check failed (/vms/200, VM.Config.Network)"),
        (CT, {"startup": "order=1"}, 200, "OK"),
        (CT, {"mp0": "/srv,mp=/mnt"}, 403, "Permission check failed (mount point type bind"),
        (CT, {"features": "nesting=1"}, 403, "Permission check failed (/vms/200, VM.Allocate)"),
        (CT, {"features": "fuse=1"}, 403, "Permission check failed (changing feature flags"),
        (CT, {"unprivileged": 1}, 500, "unable to modify read-only option: 'unprivileged'"),
        (VM, {"description": "x"}, 200, "OK"),
    ],
)
def test_each_key_wants_its_own_right(
    world: World,
    callers: Callable[..., Caller],
    path: str,
    params: dict[str, object],
    status: int,
    reason: str,
) -> None:
    world.edit(200, {"unprivileged": 1})
    limited = callers("limited@pve!t", privileges={"/": ("VM.Config.Options", "VM.Config.Disk")})
    reply = limited("PUT", path, params)
    assert reply.status == status
    assert reply.reason.startswith(reason)


def test_repeated_tags_are_joined(call: Caller) -> None:
    reply = call("PUT", VM, sent=b"tags=b&tags=a")
    assert reply.status == 200
    assert call("GET", VM).data["tags"] == "a;b"


def test_a_write_really_waits_for_the_lock_if_the_world_says_so(clock: Clock) -> None:
    world = World(now=clock, lock_wait=0.01)
    world.add("qemu", 100, running=True, behaviour=Behaviour(shutdown_seconds=5))
    with DevNode(world) as node:
        caller = Caller(node, "a@pve!b", world.token("a@pve!b"))
        caller("POST", "/nodes/pve1/qemu/100/status/shutdown")
        reply: Reply = caller("PUT", VM, {"onboot": 1})
        caller.connection.close()
    assert reply.reason.startswith("can't lock file")


@pytest.mark.parametrize(
    ("asked", "reached"),
    [("2560", "2560"), ("3000", "3072"), ("1800", "1536"), ("17500", "18432"), ("1024", "1024")],
)
def test_memory_that_is_plugged_comes_in_whole_modules(
    world: World, call: Caller, asked: str, reached: str
) -> None:
    """PVE: QemuServer/Memory.pm qemu_memory_hotplug writes the size that it has reached."""
    world.edit(100, {"hotplug": "memory", "numa": 1, "memory": "2048"})
    world.start(100)
    assert call("PUT", VM, {"memory": asked}).status == 200
    assert call("GET", VM).data["memory"] == reached
    assert world.guests[100].conf.pending == {}
