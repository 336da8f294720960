"""The options of a QEMU guest: one line each.

A new PVE option is one new line here. Types and bounds: pve-manager's API schema; run-time
defaults: qemu-server `QemuServer.pm config_to_command` and what it calls; privileges:
recorded: 150-privilege-matrix/002, the rest by `API2/Qemu.pm $check_vm_modify_config_perm`.
"""

from __future__ import annotations

from typing import Final

from felhom_agent.options import cpu, devices, drives, formats, special
from felhom_agent.options.addresses import Addresses, StartDate
from felhom_agent.options.since import qemu_server
from felhom_agent.options.table import Option, Table
from felhom_agent.options.types import (
    Boolean,
    Number,
    NumberSet,
    Text,
    Words,
    choice,
    integer,
)

_BOOL: Final = Boolean()
_CPU: Final = ("VM.Config.CPU",)
_MEMORY: Final = ("VM.Config.Memory",)
_HARDWARE: Final = ("VM.Config.HWType",)
_OPTIONS: Final = ("VM.Config.Options",)
_NETWORK: Final = ("VM.Config.Network",)
_DISK: Final = ("VM.Config.Disk",)
_DRIVE: Final = ("VM.Config.Disk", "VM.Config.CDROM")
_CLOUDINIT: Final = ("VM.Config.Cloudinit", "VM.Config.Network")
_ROOT: Final = "only root can set '{key}' config"
_OS_TYPES: Final = "other wxp w2k w2k3 w2k8 wvista win7 win8 win10 win11 l24 l26 solaris"
_KEYMAPS: Final = (
    "de de-ch da en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it ja lt mk nl no pl pt pt-br sv sl"
    " tr"
)
_LOCKS: Final = "backup clone create migrate rollback snapshot snapshot-delete suspending suspended"
_PARALLEL: Final = Text(
    pattern=r"/dev/parport\d+|/dev/usb/lp\d+", words="a device like /dev/parport0 or /dev/usb/lp0"
)

QEMU: Final = Table(
    # what the guest is called and how the host treats it
    Option("autostart", _BOOL, "0", _OPTIONS),
    Option("description", special.Description(longest=8192), "", _OPTIONS),
    Option("name", Text(formats.dns_name), None, _OPTIONS),
    Option("onboot", _BOOL, "0", _OPTIONS),
    Option("protection", _BOOL, "0", _OPTIONS),
    Option("startup", special.Startup(), None, _OPTIONS, also="Sys.Modify on /"),
    Option("tags", special.Tags(";", formats.tag, unordered=True, fold=True), "", _OPTIONS),
    Option("template", _BOOL, "0", _OPTIONS),
    # processors and memory
    Option(
        "affinity", NumberSet(), None, _CPU, token_never=_ROOT, since=qemu_server("7.2-7", "7.3")
    ),
    Option("allow-ksm", _BOOL, "1", _MEMORY, since=qemu_server("9.0.27", "9.1")),
    Option("balloon", integer(0), None, _MEMORY),
    Option("cores", integer(1), "1", _CPU),
    Option("cpu", cpu.CPU, "kvm64", _CPU),
    Option("cpulimit", Number(0, 128), "0", _CPU),
    Option("cpuunits", integer(1, 262144), "100", _CPU),
    Option("hugepages", choice("any 2 1024"), None, token_never=_ROOT),
    Option("keephugepages", _BOOL, "0", token_never=_ROOT),
    Option("memory", devices.MEMORY, "512", _MEMORY),
    Option("numa", _BOOL, "0", _CPU),
    Option("numa[n]", devices.NUMA_NODE, None, _CPU, count=8),
    Option("shares", integer(0, 50000), "1000", _MEMORY),
    Option("smp", integer(1), "1", _CPU),
    Option("sockets", integer(1), "1", _CPU),
    Option("vcpus", integer(1), None, _CPU),
    # firmware and machine
    Option("acpi", _BOOL, "1", _HARDWARE),
    Option("amd-sev", devices.SEV, None, token_never=_ROOT, since=qemu_server("8.2.7", "8.3")),
    Option("arch", choice("x86_64 aarch64"), "x86_64", token_never=_ROOT),
    Option("args", special.Unquoted(), "", token_never=_ROOT),
    Option("bios", choice("seabios ovmf"), "seabios", _OPTIONS),
    Option("boot", devices.BOOT, "cdn", _DISK),
    Option(
        "bootdisk",
        Text(
            formats.boot_disk,
            pattern=r"(?:ide|sata|scsi|virtio)\d+",
            words="a drive like scsi0",
        ),
        None,
        _DISK,
    ),
    Option("freeze", _BOOL, "0", ("VM.PowerMgmt",)),
    Option("hookscript", Text(formats.volume_id), None, token_never=_ROOT),
    Option("intel-tdx", devices.TDX, None, token_never=_ROOT, since=qemu_server("9.0.25", "9.1")),
    Option("kvm", _BOOL, "1", _HARDWARE),
    Option("localtime", _BOOL, "0", _OPTIONS),
    Option("machine", devices.MACHINE, "pc", _HARDWARE),
    Option("migrate_downtime", Number(0), "0.1", _OPTIONS),
    Option("migrate_speed", integer(0), "0", _OPTIONS),
    Option("ostype", choice(_OS_TYPES), "other", _OPTIONS),
    Option("reboot", _BOOL, "1", _OPTIONS),
    Option("smbios1", devices.SMBIOS, "", _HARDWARE),
    Option(
        "startdate",
        StartDate(
            pattern=r"now|\d{4}-\d{1,2}-\d{1,2}(?:T\d{1,2}:\d{1,2}:\d{1,2})?",
            words='"now", or a time in quotes like "2026-01-31" or "2026-01-31T12:00:00"',
        ),
        "now",
        _OPTIONS,
    ),
    Option("tdf", _BOOL, "0", _OPTIONS),
    Option(
        "vmgenid",
        special.GenerationId(
            pattern=rf"{formats.UUID}|[01]",
            fold=True,
            words="a UUID, 1 for a new one, or 0 for none",
        ),
        "0",
        token_never=_ROOT,
    ),
    Option("vmstatestorage", Text(formats.storage_id), None, _DISK),
    # devices
    Option("agent", devices.AGENT, "0", _OPTIONS),
    Option("audio0", devices.AUDIO, None, _HARDWARE),
    Option("hostpci[n]", devices.HOST_PCI, None, _HARDWARE, 16, also="Mapping.Use"),
    Option("hotplug", special.Hotplug(","), "network,disk,usb", _HARDWARE),
    Option("ivshmem", devices.SHARED_MEMORY, None, token_never=_ROOT),
    Option("keyboard", choice(_KEYMAPS), None, _OPTIONS),
    Option("net[n]", devices.NET, None, _NETWORK, 32, also="SDN.Use"),
    Option("parallel[n]", _PARALLEL, None, (), 3, token_never=_ROOT),
    Option("rng0", devices.RNG, None, _HARDWARE),
    Option(
        "serial[n]",
        Text(pattern=r"/dev/.+|socket", words="socket, or a device under /dev/"),
        None,
        _HARDWARE,
        4,
    ),
    Option("spice_enhancements", devices.SPICE, "", token_never=_ROOT),
    Option("tablet", _BOOL, "1", _HARDWARE),
    Option("usb[n]", devices.USB, None, _HARDWARE, 14, also="Mapping.Use"),
    Option("vga", devices.VGA, "std", _HARDWARE),
    Option(
        "virtiofs[n]",
        devices.VIRTIOFS,
        None,
        _DISK,
        10,
        also="Mapping.Use",
        since=qemu_server("8.3.11", "8.4"),
    ),
    Option("watchdog", devices.WATCHDOG, None, _HARDWARE),
    # drives
    Option("cdrom", drives.IDE, None, _DRIVE),
    Option("efidisk0", drives.EFI_DISK, None, _DISK),
    Option("ide[n]", drives.IDE, None, _DRIVE, 4),
    Option("sata[n]", drives.SATA, None, _DRIVE, 6),
    Option("scsi[n]", drives.SCSI, None, _DRIVE, 31),
    Option(
        "scsihw",
        choice("lsi lsi53c810 virtio-scsi-pci virtio-scsi-single megasas pvscsi"),
        "lsi",
        _HARDWARE,
    ),
    Option("tpmstate0", drives.TPM_STATE, None, _DISK, since=qemu_server("7.0-15", "7.1")),
    Option("unused[n]", drives.UNUSED_DRIVE, None, _DISK, 256, server_owned=True),
    Option("virtio[n]", drives.VIRTIO, None, _DISK, 16),
    # cloud-init
    Option("cicustom", devices.CLOUDINIT_FILES, None, _CLOUDINIT),
    Option("cipassword", Text(), None, _CLOUDINIT, secret=True),
    Option("citype", choice("configdrive2 nocloud opennebula"), "nocloud", _CLOUDINIT),
    Option("ciupgrade", _BOOL, "1", _CLOUDINIT, since=qemu_server("8.0.2", "8.0")),
    Option("ciuser", special.Unquoted(), None, _CLOUDINIT, presence=True),
    Option("ipconfig[n]", devices.IP_CONFIG, None, _CLOUDINIT, 32),
    Option("nameserver", Addresses(" ", formats.address), None, _CLOUDINIT, presence=True),
    Option("searchdomain", Words(" "), None, _CLOUDINIT, presence=True),
    Option("sshkeys", special.SshKeys(), "", _CLOUDINIT),
    # what PVE writes itself
    Option("digest", Text(longest=40), server_owned=True),
    Option("lock", choice(_LOCKS), server_owned=True, token_never=_ROOT),
    Option("meta", special.Unsettable(), server_owned=True, token_never=_ROOT),
    Option("parent", special.Unsettable(), server_owned=True, token_never=_ROOT),
    Option("running-nets-host-mtu", special.Unsettable(), server_owned=True),
    Option("runningcpu", special.Unsettable(), server_owned=True),
    Option("runningmachine", special.Unsettable(), server_owned=True),
    Option("snaptime", special.Unsettable(), server_owned=True, token_never=_ROOT),
    Option("vmstate", special.Unsettable(), server_owned=True),
)
