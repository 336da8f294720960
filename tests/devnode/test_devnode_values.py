"""What PVE does to values that are replaced, that it half knows, or that it cannot keep."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felhom_agent.devnode import World
from felhom_agent.devnode.world.access import AGENT_PRIVILEGES
from tests.devnode.conftest import Caller

VM, CT = "/nodes/pve1/qemu/100/config", "/nodes/pve1/lxc/200/config"
UUID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("key", "present", "new", "words"),
    [
        ("usb0", "host=1234:5678", "mapping=stick", "only root can set 'usb0' config"),
        ("hostpci0", "0000:01:00.0", "mapping=gpu", "only root can set 'hostpci0' config"),
        ("serial0", "/dev/ttyS0", "socket", "only root can modify 'serial0' config"),
        ("usb0", "mapping=stick", "usb3=1", "either 'host' or 'mapping' must be set."),
    ],
)
def test_a_token_may_not_replace_a_real_device(
    world: World,
    callers: Callable[..., Caller],
    key: str,
    present: str,
    new: str,
    words: str,
) -> None:
    call = callers("map@pve!t", privileges={"/": (*AGENT_PRIVILEGES, "Mapping.Use")})
    world.edit(100, {key: present})
    reply = call("PUT", VM, {key: new})
    assert reply.status == 500
    assert reply.reason.startswith(words)
    assert call("GET", VM).data[key] == present


def test_the_version_of_a_tpm_is_not_changed(world: World, call: Caller) -> None:
    world.edit(100, {"tpmstate0": "local:100/vm-100-disk-1.raw,size=4M,version=v2.0"})
    reply = call("PUT", VM, {"tpmstate0": "local:100/vm-100-disk-1.raw,version=v1.2"})
    assert (reply.status, reply.reason) == (500, "cannot change TPM state version after creation")


def test_smp_becomes_sockets_and_takes_cores_along(world: World, call: Caller) -> None:
    world.edit(100, {"cores": 2})
    assert call("PUT", VM, {"smp": 4}).status == 200
    config = call("GET", VM).data
    assert (config["sockets"], "cores" in config, "smp" in config) == (4, False, False)
    call("PUT", VM, {"smp": 2, "cores": 3})
    config = call("GET", VM).data
    assert (config["sockets"], config["cores"], "smp" in config) == (4, 3, False)


def test_a_uuid_that_is_not_sent_is_gone(world: World, call: Caller) -> None:
    world.edit(100, {"smbios1": f"uuid={UUID}"})
    call("PUT", VM, {"smbios1": "sku=x"})
    assert call("GET", VM).data["smbios1"] == "sku=x"


@pytest.mark.parametrize(
    ("path", "key", "sent", "kept"),
    [
        (VM, "hotplug", "", " "),
        (VM, "ciuser", ' "admin" ', "admin"),
        (VM, "ide2", "none", "none,media=cdrom"),
        (VM, "nameserver", "", " "),
        (CT, "nameserver", "10.0.0.1,10.0.0.2", "10.0.0.1 10.0.0.2"),
        (CT, "entrypoint", "/bin/sh ", "/bin/sh"),
        (CT, "cpuunits", "0", 0),
        (VM, "description", "0", None),
        (VM, "description", "0 \n", None),
        (CT, "description", "0", None),
        (CT, "description", "0\n", "0\n"),
        (VM, "ciuser", "a snapstate: delete", None),
        (CT, "entrypoint", "/x snapstate:prepare ", None),
        (CT, "env", "A=snapstate: delete", "A=snapstate: delete"),
    ],
)
def test_what_is_kept_of_a_value(
    call: Caller, path: str, key: str, sent: str, kept: object
) -> None:
    assert call("PUT", path, {key: sent}).status == 200
    assert call("GET", path).data.get(key) == kept


@pytest.mark.parametrize(
    ("key", "value", "status", "words"),
    [
        ("ide2", "local:iso/a.iso", 400, "explicit 'media=cdrom' is required for iso images"),
        ("scsi1", "none,media=cdrom,snapshot=1", 400, "unable to parse drive options"),
        ("scsi1", "st:x,mbps_wr_max=5", 400, "unable to parse drive options"),
        ("scsi1", "local:snippets/a", 400, "content type needs to be 'images' or 'iso'"),
        ("scsi1", "local:0,import-from=local:iso/a.iso", 400, "has wrong type 'iso'"),
        ("scsi1", "local:8,import-from=local:import/a.raw", 400, "requires special syntax"),
        (
            "cpu",
            "host,flags=+avx",
            400,
            "VM-specific CPU flags must be a subset of: aes, amd-no-ssb",
        ),
        ("vga", "none,clipboard=vnc", 500, "vga type none is not compatible with VNC clipboard"),
        ("bootdisk", "scsi99", 400, "invalid boot disk 'scsi99'"),
        ("cpulimit", ".5", 500, "type check ('number') failed - got '.5'"),
        ("ciuser", "a\nb", 500, "property contains a line feed"),
        ("machine", "viommu=intel", 500, "set the machine type to q35"),
        ("net0", "virtio,newpart=7", 400, "property is not defined in schema"),
        ("net0", "virtio,host-tunnel=1", 400, "property is not defined in schema"),
        ("cpu", "host,level=30", 400, "property is not defined in schema"),
    ],
)
def test_what_the_schema_takes_and_pve_does_not(
    call: Caller, key: str, value: str, status: int, words: str
) -> None:
    reply = call("PUT", VM, {key: value})
    assert reply.status == status
    assert words in f"{reply.reason} {reply.body}"


@pytest.mark.parametrize(
    ("zone", "status"),
    [("UTC", 200), ("Europe/Berlin", 200), ("host", 200), ("Etc/UTC", 400), ("US/Eastern", 400),
     ("Europe/Nowhere", 400)],
)  # fmt: skip
def test_a_time_zone_is_one_that_the_hosts_zone_tab_lists(
    call: Caller, zone: str, status: int
) -> None:
    reply = call("PUT", CT, {"timezone": zone})
    assert reply.status == status
    if status == 400:
        words = f"invalid format - invalid time zone '{zone}'\n"
        assert reply.body["errors"] == {"timezone": words}


UNREADABLE = [
    ("local:32G", "unable to parse directory volume name '32G'"),
    ("local-lvm:8.", "unable to parse lvm volume name '8.'"),
    ("local-zfs:vm-100-disk-0 ", "unable to parse zfs volume name 'vm-100-disk-0 '"),
    ("local:100/vm-100-disk-3.img", "unable to parse volume filename 'vm-100-disk-3.img'"),
]


@pytest.mark.parametrize(("volume", "words"), UNREADABLE)
@pytest.mark.parametrize("value", ["{},cache=none", "{},media=cdrom", "local:0,import-from={}"])
def test_a_drive_whose_volume_no_storage_can_read_is_refused(
    callers: Callable[..., Caller], value: str, volume: str, words: str
) -> None:
    call = callers("disk@pve!t", privileges={"/": (*AGENT_PRIVILEGES, "Datastore.Allocate")})
    reply = call("PUT", VM, {"scsi1": value.format(volume)})
    assert (reply.status, reply.reason) == (500, words)
    assert "scsi1" not in call("GET", VM).data


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ide1", "local:iso/a.iso.zst,media=cdrom", "directory volume name 'iso/a.iso.zst'"),
        ("scsi1", "local:0,import-from=local:import/a.img", "directory volume name 'import/a.img'"),
        ("scsi1", "local:0,import-from=local:import/a.ovf", "not a QEMU image format 'ovf'"),
        ("scsi1", "zfs:subvol-100-disk-0", "not a QEMU image format 'subvol'"),
        ("scsi1", "local-lvm:vm-100-disk-0,format=qcow2", "volume 'local-lvm:vm-100-disk-0' does"),
    ],
)
def test_a_drive_whose_volume_is_no_image_is_refused(
    callers: Callable[..., Caller], key: str, value: str, words: str
) -> None:
    call = callers("disk@pve!t", privileges={"/": (*AGENT_PRIVILEGES, "Datastore.Allocate")})
    reply = call("PUT", VM, {key: value})
    assert reply.status == 500
    assert words in reply.reason
    assert key not in call("GET", VM).data


@pytest.mark.parametrize(
    ("volume", "words"),
    [*UNREADABLE, ("local:cloudinit", "unable to parse directory volume name 'cloudinit'")],
)
def test_a_mount_point_whose_volume_no_storage_can_read_is_refused(
    callers: Callable[..., Caller], volume: str, words: str
) -> None:
    call = callers("disk@pve!t", privileges={"/": (*AGENT_PRIVILEGES, "Datastore.Allocate")})
    reply = call("PUT", CT, {"mp1": f"{volume},mp=/data"})
    assert (reply.status, reply.reason) == (500, words)
    assert "mp1" not in call("GET", CT).data


def test_a_newer_node_takes_a_part_that_the_table_does_not_know(world: World, call: Caller) -> None:
    assert World.from_dict({"newer_parts": ["newpart"]}).newer_parts == frozenset({"newpart"})
    world.newer_parts = frozenset({"newpart"})
    assert call("PUT", VM, {"vga": "std,newpart=7"}).status == 200
    assert call("PUT", VM, {"vga": "std,otherpart=7"}).status == 400


def test_a_part_that_a_node_shows_it_takes(world: World, call: Caller) -> None:
    world.edit(100, {"vga": "std,newpart=7"})
    assert call("PUT", VM, {"vga": "virtio,newpart=7"}).status == 200
    assert call("PUT", CT, {"features": "nesting=1,newpart=7"}).status == 400


def test_a_cloudinit_drive_is_made_once(world: World, call: Caller) -> None:
    assert call("PUT", VM, {"ide2": "local:cloudinit"}).status == 200
    drive = call("GET", VM).data["ide2"]
    assert drive == "local:100/vm-100-cloudinit.qcow2,media=cdrom"
    reply = call("PUT", VM, {"ide0": "local:cloudinit"})
    assert reply.reason == "ide0 - cloud-init drive is already attached at 'ide2'"


def test_the_keys_of_lxc_itself_are_told_as_pairs_and_taken_from_nobody(
    world: World, call: Caller
) -> None:
    pairs = [["lxc.cap.drop", "sys_time"], ["lxc.cap.drop", "mknod"]]
    world.edit(200, {"lxc": pairs})
    assert call("GET", CT).data["lxc"] == pairs
    rows = call("GET", "/nodes/pve1/lxc/200/pending").data
    assert not [row for row in rows if row["key"].startswith("lxc")]
    assert call("PUT", CT, {"lxc.cap.drop": "x"}).status == 400
    assert "lxc.cap.drop: sys_time\nlxc.cap.drop: mknod\n" in world.guests[200].conf.text()


def test_a_vm_that_hangs_is_running_to_pve_and_not_to_qemu(world: World, call: Caller) -> None:
    world.start(100)
    world.hang(100, "io-error")
    status = call("GET", "/nodes/pve1/qemu/100/status/current").data
    assert (status["status"], status["qmpstatus"]) == ("running", "io-error")


@pytest.mark.parametrize("text", ["{},", "{},,backup=0", ",{}", "{}, ,backup=0"])
def test_a_blank_part_between_commas_is_passed_over(world: World, call: Caller, text: str) -> None:
    volume = "local:100/vm-100-disk-0.raw"
    world.edit(100, {"scsi0": f"{volume},size=1G"})
    assert call("PUT", VM, {"scsi0": text.format(volume)}).status == 200
    assert call("GET", VM).data["scsi0"].startswith(f"{volume},")
