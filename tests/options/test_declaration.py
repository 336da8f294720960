"""What an operator may declare, and what is refused when the file is loaded."""

from __future__ import annotations

import pytest

from felhom_agent.model import DeclaredValue
from felhom_agent.options import Invalid, declared


def refusal(kind: str, key: str, value: DeclaredValue) -> str:
    with pytest.raises(Invalid) as error:
        declared(kind, key, value)
    return str(error.value)


@pytest.mark.parametrize(
    ("kind", "key", "value", "wire"),
    [
        ("qemu", "onboot", True, "1"),
        ("qemu", "memory", 2048, "2048"),
        ("qemu", "serial0", "socket", "socket"),
        ("qemu", "usb0", "spice", "spice"),
        ("qemu", "usb0", "mapping=stick", "mapping=stick"),
        ("qemu", "hostpci0", "mapping=gpu,pcie=1", "mapping=gpu,pcie=1"),
        ("qemu", "scsi0", "local:32", "local:32"),
        ("qemu", "ide2", "none,media=cdrom", "none,media=cdrom"),
        ("qemu", "cipassword", "secret", "secret"),
        ("lxc", "features", "nesting=1", "nesting=1"),
        ("lxc", "mp0", "local:4,mp=/data", "local:4,mp=/data"),
    ],
)
def test_what_a_token_can_set_may_be_declared(
    kind: str, key: str, value: DeclaredValue, wire: str
) -> None:
    assert declared(kind, key, value) == wire


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "args", "-S"),
        ("qemu", "affinity", "0"),
        ("qemu", "arch", "aarch64"),
        ("qemu", "hookscript", "local:snippets/x"),
        ("qemu", "vmgenid", "1"),
        ("qemu", "intel-tdx", "tdx,attestation=1"),
        ("qemu", "serial1", "/dev/ttyS0"),
        ("qemu", "usb2", "host=1234:5678"),
        ("qemu", "hostpci1", "01:00"),
        ("qemu", "hostpci1", "mapping=gpu,romfile=x"),
        ("qemu", "scsi0", "/dev/sdb"),
        ("qemu", "ide2", "cdrom"),
        ("qemu", "cipassword", "**********"),
        ("lxc", "mp0", "/srv,mp=/mnt"),
        ("lxc", "dev0", "/dev/null"),
        ("lxc", "hookscript", "a1:x"),
        ("lxc", "features", "nesting=1,keyctl=0"),
        ("lxc", "unprivileged", True),
        ("lxc", "lxc.cap.drop", "sys_time"),
    ],
)
def test_what_a_token_cannot_set_may_be_declared_to_be_compared(
    kind: str, key: str, value: DeclaredValue
) -> None:
    assert declared(kind, key, value)


@pytest.mark.parametrize(
    ("kind", "key", "value", "words"),
    [
        ("qemu", "usb2", "usb3=1", "either 'host' or 'mapping' must be set."),
        ("qemu", "hostpci1", "pcie=1", "either 'host' or 'mapping' must be set."),
        ("qemu", "smp", 2, "declare sockets"),
        ("qemu", "ide2", "local:iso/a.iso", "explicit 'media=cdrom' is required for iso images"),
        ("qemu", "scsi1", "local:iso/a.iso,media=disk", "explicit 'media=cdrom' is required"),
        ("qemu", "scsi0", "local:x,mbps_max=1", "mbps_max requires mbps"),
        ("qemu", "scsi0", "local:x,iops_max_length=1", "iops_max_length requires iops_max"),
        ("qemu", "scsi0", "local:x,iops=1,iops_rd=1", "iops_rd and iops exclude each other"),
        ("qemu", "ide2", "none,media=cdrom,snapshot=1", "a CD drive has no snapshot"),
        ("qemu", "virtio0", "local:x,media=cdrom", "virtio has no CD drives"),
        ("qemu", "machine", "viommu=intel", "set the machine type to q35"),
        ("qemu", "machine", "q35,aw-bits=39", "no vIOMMU is configured"),
        ("qemu", "machine", "q35,viommu=intel,aw-bits=40", "only 39 or 48 bits"),
        ("qemu", "machine", "pc-i440fx-9.0,viommu=intel", "set the machine type to q35"),
        ("qemu", "machine", "pc,aw-bits=48", "no vIOMMU is configured"),
        ("qemu", "vga", "none,clipboard=vnc", "vga type none is not compatible"),
        ("qemu", "vga", "serial2,clipboard=vnc", "vga type serial2 is not compatible"),
        ("qemu", "cpu", "host,flags=+aes;-avx512f", "flags must be some of aes, "),
        ("qemu", "cpu", "kvm64,flags=+svm", "for another one make a CPU model of your own"),
        ("qemu", "boot", "legacy=cdn,order=scsi0", "declare the order alone"),
        ("qemu", "boot", "order=;", "declare boot = []"),
        ("qemu", "bootdisk", "scsi31", "must be a drive like scsi0"),
        ("qemu", "scsi0", "local:x,bps_wr_max_length=1,mbps_wr=2", "requires mbps_wr_max"),
        ("qemu", "sata0", "local:x,mbps=1,mbps_wr=2", "mbps_wr and mbps exclude each other"),
        ("qemu", "ide2", "none,snapshot=1", "PVE stores it and cannot read it again"),
        ("qemu", "sata1", "local:8,media=cdrom", "a CD drive holds no new disk"),
        ("qemu", "efidisk0", "none", "an EFI disk is no CD drive"),
        ("qemu", "tpmstate0", "local:cloudinit", "a TPM state is no CD drive"),
        ("qemu", "scsi1", "local:cloudinit,media=disk", "take media out"),
        ("qemu", "scsi1", "local:snippets/a.yaml", "content type needs to be 'images' or 'iso'"),
        ("qemu", "scsi1", "st:7/vm-7-disk-0.raw,format=qcow2", "storage format 'raw'"),
        ("qemu", "scsi1", "st:4,import-from=st:vm-7-disk-0", "requires special syntax"),
        ("qemu", "scsi1", "st:0,import-from=st:iso/a.iso", "has wrong type 'iso'"),
        ("qemu", "scsi1", "st:0,import-from=st:vm-7-cloudinit", "from cloudinit disk"),
        ("qemu", "efidisk0", "st:0,import-from=st:vm-7-disk-1", "need to specify 'efitype'"),
        ("qemu", "tpmstate0", "st:0,import-from=st:vm-7-disk-1", "need to specify 'version'"),
        ("qemu", "numa0", "cpus=0-3;7-5", "the range 7-5 ends before it begins"),
        ("qemu", "sockets", str(2**64), "PVE keeps no number from"),
        ("qemu", "searchdomain", '"a.example"', "PVE takes the quotes around it away"),
        ("qemu", "hostpci1", "mapping=gpu,mdev= ", "PVE cuts blanks off the end"),
        ("lxc", "net0", "name=a,bridge=b,host-managed=1,ip6=auto", "SLAAC is not supported"),
        ("lxc", "dev1", "uid=7", "must have path"),
        ("lxc", "mp1", "none,mp=/a", "volume must be STORAGE:VOLUME"),
        ("lxc", "mp1", "cdrom,mp=/a", "volume must be STORAGE:VOLUME"),
        ("lxc", "mp1", "local,mp=/a", "volume must be STORAGE:VOLUME"),
        ("lxc", "rootfs", ":x", "volume must be STORAGE:VOLUME"),
        ("lxc", "mp1", "st:v,mp=/a,idmap=u:0:9:5;u:4:99:1", "container uid 4 is also mapped"),
        ("lxc", "rootfs", "st:v,idmap=g:0:9:5;g:7:13:1", "host gid 13 is also mapped"),
        ("qemu", "net0", "virtio,newpart=7", "this version of felhom-agent does not know it"),
        ("qemu", "scsi0", "local:x,newpart=7", "this version of felhom-agent does not know it"),
        ("lxc", "features", "newpart=1", "this version of felhom-agent does not know it"),
    ],
)
def test_what_nobody_can_have_is_refused(
    kind: str, key: str, value: DeclaredValue, words: str
) -> None:
    assert words in refusal(kind, key, value)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("qemu", "machine", "virt,viommu=virtio,aw-bits=40"),
        ("qemu", "machine", "pc-q35-9.0,viommu=intel,aw-bits=48"),
        ("qemu", "machine", "q35,viommu=intel,aw-bits=39.0"),
        ("qemu", "vga", "virtio-gl,clipboard=vnc"),
        ("qemu", "vga", "clipboard=vnc"),
        ("qemu", "vga", "serial1,memory=16"),
        ("qemu", "cpu", "host,flags=+nested-virt;-pcid;+hv-evmcs"),
        ("qemu", "scsi0", "st:x,iops_max=9"),
        ("qemu", "scsi0", "st:x,mbps=0,mbps_rd=5,mbps_rd_max=6,bps_rd_max_length=2"),
        ("qemu", "ide2", "none,media=cdrom,snapshot=0"),
        ("qemu", "virtio1", "none,media=disk"),
        ("qemu", "scsi1", "st:cloudinit,format=raw"),
        ("qemu", "scsi1", "st:7/vm-7-disk-0.qcow2,format=qcow2"),
        ("qemu", "scsi1", "st:0.0,import-from=st:import/a.vmdk"),
        ("qemu", "tpmstate0", "st:0,import-from=st:vm-7-disk-1,version=v2.0"),
        ("qemu", "cicustom", "user=st:snippets/a "),
        ("qemu", "boot", ()),
        ("lxc", "net0", "name=a,bridge=b,host-managed=1,ip6=auto,link_down=1"),
        ("lxc", "mp1", "st:v,mp=/a,idmap=u:0:9:5;g:0:9:5;u:5:14:1"),
    ],
)
def test_what_pve_keeps_may_be_declared(kind: str, key: str, value: DeclaredValue) -> None:
    assert isinstance(declared(kind, key, value), str)


@pytest.mark.parametrize("part", ["cyls=2", "heads=4", "secs=8", "trans=lba"])
@pytest.mark.parametrize("key", ["ide0", "sata3", "scsi7", "virtio1"])
def test_a_drives_geometry_is_refused_as_what_pve_forgets(key: str, part: str) -> None:
    assert "PVE forgets it, and refuses it since 9.0" in refusal("qemu", key, f"st:x,{part}")


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
@pytest.mark.parametrize("key", ["digest", "lock", "parent", "snaptime", "unused0"])
def test_what_pve_keeps_itself_is_refused(kind: str, key: str) -> None:
    assert (
        refusal(kind, key, "local:x") == "PVE itself keeps it; it cannot be declared, take it out"
    )


@pytest.mark.parametrize(
    "key", ["delete", "revert", "force", "skiplock", "vmid", "node", "background_delay"]
)
def test_a_parameter_of_the_call_is_not_an_option(key: str) -> None:
    assert "is a parameter of PVE's calls" in refusal("qemu", key, "1")


def test_an_option_of_the_other_kind_is_refused() -> None:
    assert "an option of a VM, and this guest is a container" in refusal("lxc", "sockets", 2)
    assert "an option of a container, and this guest is a VM" in refusal("qemu", "hostname", "web")


@pytest.mark.parametrize("key", ["bps", "bps_rd", "bps_wr"])
def test_a_limit_that_pve_would_turn_into_none_is_refused(key: str) -> None:
    assert f"declare m{key}" in refusal("qemu", "scsi0", f"local:x,{key}=1000")


def test_the_old_name_of_a_drive_names_the_new_one() -> None:
    assert "ide2" in refusal("qemu", "cdrom", "none")


def test_an_invalid_value_is_refused_in_words_that_say_what_it_must_be() -> None:
    assert refusal("qemu", "memory", 8) == "must be a whole number from 16, not 8"
