"""Some values of every option, as PVE stores them, to try changes between."""

from __future__ import annotations

from collections.abc import Mapping

from felhom_agent.options import keys, lookup
from felhom_agent.options.types import Boolean, Choice, Number

_NET = "virtio=BC:24:11:00:00:01,bridge=vmbr0"
_DISKS = [
    "local:iso/a.iso,media=cdrom", "none,media=cdrom", "/dev/sdx", "/dev/sdx,mbps_rd=10",
    "/dev/sdx,discard=on", "/dev/sdx,iops=100,ssd=1", "/dev/sdx,backup=0", "/dev/sdy",
]  # fmt: skip
_VALUES: Mapping[str, Mapping[str, list[str]]] = {
    "qemu": {
        "description": ["a", "b"], "name": ["a", "b"], "startup": ["order=1", "order=2"],
        "tags": ["a", "b"], "affinity": ["0-1"], "cpu": ["host", "kvm64", "host,flags=+aes"],
        "memory": ["512", "1024", "1536", "2048", "4096"], "numa[n]": ["cpus=0-1,memory=512"],
        "vcpus": ["1", "2", "3"], "balloon": ["0", "256", "512"], "amd-sev": ["type=std"],
        "args": ["-S"], "boot": ["order=scsi0", " ", "c"], "bootdisk": ["scsi0", "scsi1"],
        "hookscript": ["local:snippets/a.pl"], "intel-tdx": ["type=tdx"],
        "machine": ["q35", "pc-q35-7.0", "pc-i440fx-8.1"], "smbios1": ["serial=QQ==,base64=1"],
        "startdate": ["now", "2020-01-01"], "vmstatestorage": ["local"], "sockets": ["1", "2"],
        "vmgenid": ["0d6f1c1a-3a94-4f11-9a8c-2f50b54d0100"],
        "agent": [
            "0", "1", "enabled=1", "1,fstrim_cloned_disks=1", "enabled=1,type=isa",
            "enabled=0,type=isa", "1,freeze-fs-on-backup=0",
        ],
        "audio0": ["device=AC97"], "hostpci[n]": ["mapping=gpu"],
        "hotplug": ["0", "1", "disk", "network,usb", "cpu,disk", "memory"],
        "ivshmem": ["size=32"],
        "net[n]": [
            _NET, f"{_NET},tag=5", f"{_NET},rate=3,firewall=1", f"{_NET},queues=2",
            f"{_NET},mtu=1400", f"{_NET},link_down=1", _NET.replace("virtio", "e1000"),
            _NET.replace("01,", "02,"), _NET.replace(",bridge=vmbr0", ""),
        ],
        "parallel[n]": ["/dev/parport0"], "rng0": ["source=/dev/urandom"],
        "serial[n]": ["socket"], "spice_enhancements": ["foldersharing=1"],
        "usb[n]": ["spice", "mapping=stick", "mapping=stick,usb3=1"], "vga": ["std", "virtio"],
        "virtiofs[n]": ["dirid=share"], "watchdog": ["i6300esb", "ib700,action=reset"],
        "ide[n]": _DISKS, "sata[n]": _DISKS, "scsi[n]": _DISKS, "virtio[n]": _DISKS,
        "efidisk0": ["/dev/sdx", "/dev/sdy"], "tpmstate0": ["/dev/sdx", "/dev/sdy"],
        "unused[n]": ["local:100/a.raw", "local:100/b.raw"],
        "cicustom": ["user=local:snippets/a"], "cipassword": ["x"], "ciuser": ["a", "b"],
        "ipconfig[n]": ["ip=dhcp"], "nameserver": ["1.1.1.1", "9.9.9.9"],
        "searchdomain": ["a.example"], "sshkeys": ["ssh-ed25519%20AAAA"],
        "cpulimit": ["1", "2"],
    },
    "lxc": {
        "description": ["a\n", "b\n"], "hookscript": ["local:snippets/a.pl"],
        "hostname": ["a", "b"], "startup": ["order=1", "order=2"], "tags": ["a", "b"],
        "entrypoint": ["/sbin/init"], "env": ["A=1"], "features": ["nesting=1", "fuse=1"],
        "nameserver": ["1.1.1.1", "9.9.9.9"], "searchdomain": ["a.example"],
        "timezone": ["host", "Europe/Berlin"], "dev[n]": ["/dev/null", "/dev/null,mode=0600"],
        "mp[n]": ["/srv/a,mp=/a", "/srv/a,mp=/b"], "memory": ["128", "256"],
        "net[n]": ["name=eth1,hwaddr=BC:24:11:00:00:01", "name=eth2,hwaddr=BC:24:11:00:00:01"],
        "rootfs": ["local:100/vm-100-disk-0.raw,ro=1,size=1G"],
        "unused[n]": ["local:100/a.raw", "local:100/b.raw"], "cpulimit": ["1", "2"],
    },
}  # fmt: skip

# Other names of ide2 and sockets, what a call says besides options, and what PVE alone writes.
_NO_KEYS = {
    "cdrom", "digest", "lxc", "meta", "parent", "running-nets-host-mtu", "runningcpu",
    "runningmachine", "smp", "snaptime", "vmstate",
}  # fmt: skip


def values_of(kind: str, family: str) -> list[str]:
    """Given an option as it is listed ("net[n]"), return some of its values; none if it has none
    that a call could write.
    """
    if family in _NO_KEYS:
        return []
    if family in _VALUES[kind]:
        return list(_VALUES[kind][family])
    option = lookup(kind, family.replace("[n]", "1"))
    assert option is not None
    match option.type:
        case Boolean():
            return ["0", "1"]
        case Choice(values=choices):
            return sorted(choices)[:3]
        case Number():
            return ["1", "2", "300"]
    raise AssertionError(f"{kind} {family} has no value to try")


def settable(kind: str) -> list[str]:
    """Return the options of a kind that a call could write."""
    return [family for family in keys(kind) if family not in _NO_KEYS]
