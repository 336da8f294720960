"""The property strings that are no drives: network cards, CPU, display and the rest.

Defaults are those of run time. PVE: qemu-server QemuServer.pm and the file under QemuServer/
that each is named after; pve-container LXC/Config.pm for what says so.
"""

from __future__ import annotations

from typing import Final

from felhom_agent.options import formats, special
from felhom_agent.options.addresses import Address, MachineType
from felhom_agent.options.propstring import Key, PropertyString, spelled
from felhom_agent.options.since import pve_container, qemu_server
from felhom_agent.options.types import (
    Boolean,
    Number,
    NumberSet,
    Text,
    Words,
    choice,
    integer,
)

_OFF: Final = Key(Boolean(), "0")
_ON: Final = Key(Boolean(), "1")
_UUID: Final = Text(pattern=formats.UUID, fold=True, words="a UUID")
_MAC: Final = Text(formats.mac_address, fold=True)
_NAME: Final = Text(
    pattern=r"[-_.\w]+", words="a name of letters, digits, dots, dashes and underscores"
)
# PVE: qemu-server QemuServer/Memory.pm $numa_fmt, QemuServer/Network.pm $net_fmt
_NUMBERS: Final = NumberSet(
    ";", "value does not match the regex pattern", r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"
)
_HEX_ID: Final = Key(
    Text(pattern=r"0x[0-9a-fA-F]{4}", fold=True, words="0x and four hexadecimal digits"),
    since=qemu_server("7.1-5", "7.2"),
)
_BASE64: Final = Key(Text(pattern=r"[A-Za-z0-9+/]+={0,2}", words="text in base64"))
_IPV4: Final = Address(formats.ipv4_config)
_IPV6: Final = Address(formats.ipv6_config)
_GATEWAY: Final = Address(formats.ipv4)
_GATEWAY6: Final = Address(formats.ipv6)

# Network.pm $nic_model_list
_MODELS: Final = (
    "e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er ne2k_isa"
    " ne2k_pci pcnet rtl8139 virtio vmxnet3"
)
NET: Final = PropertyString(
    {
        "model": Key(choice(_MODELS), required=True),
        "macaddr": Key(_MAC, owned=True),
        "bridge": Key(Text(formats.bridge_id)),
        "firewall": _OFF,
        "host-tunnel": Key(Boolean(), since=qemu_server("9.1.18", "9.2")),
        "link_down": _OFF,
        "mtu": Key(integer(1, 65520)),
        "queues": Key(integer(0, 64), "0"),
        "rate": Key(Number(0), "0"),
        "tag": Key(integer(1, 4094)),
        "trunks": Key(_NUMBERS),
    },
    "model",
    key_aliases=dict.fromkeys(_MODELS.split(), ("model", "macaddr")),
)
IP_CONFIG: Final = PropertyString(
    {
        "ip": Key(_IPV4),
        "gw": Key(_GATEWAY, needs="ip"),
        "ip6": Key(_IPV6),
        "gw6": Key(_GATEWAY6, needs="ip6"),
    }
)
CONTAINER_NET: Final = PropertyString(
    {
        "name": Key(_NAME, required=True),
        "bridge": Key(_NAME),
        "firewall": _OFF,
        "gw": Key(_GATEWAY),
        "gw6": Key(_GATEWAY6),
        "host-managed": Key(Boolean(), "0", since=pve_container("6.0.15", "9.1")),
        "hwaddr": Key(_MAC, owned=True),
        "ip": Key(_IPV4),
        "ip6": Key(_IPV6),
        "link_down": Key(Boolean(), "0", since=pve_container("4.4-3", "7.4")),
        "mtu": Key(integer(64, 65535)),
        "rate": Key(Number(), "0"),
        "tag": Key(integer(1, 4094)),
        "trunks": Key(
            Words(
                ";",
                pattern=r"\d+(?:;\d+)*",
                unordered=True,
                words="VLAN numbers with semicolons between, like 10;20",
            )
        ),
        "type": Key(choice("veth"), "veth", owned=True),
    }
)

MEMORY: Final = PropertyString({"current": Key(integer(16), required=True)}, "current")
NUMA_NODE: Final = PropertyString(
    {
        "cpus": Key(_NUMBERS, required=True),
        "hostnodes": Key(_NUMBERS),
        "memory": Key(Number()),
        "policy": Key(choice("preferred bind interleave")),
    }
)
SEV: Final = PropertyString(
    {
        "type": Key(choice("std es snp"), required=True),
        "allow-smt": Key(Boolean(), "1", since=qemu_server("8.3.10", "8.4")),
        "kernel-hashes": _OFF,
        "no-debug": _OFF,
        "no-key-sharing": _OFF,
    },
    "type",
)
TDX: Final = PropertyString(
    {
        "type": Key(choice("tdx"), required=True),
        "attestation": Key(Boolean(), "1", required=True, since=qemu_server("9.0.28", "9.1")),
        "vsock-cid": Key(integer(2), "2", since=qemu_server("9.0.28", "9.1")),
        "vsock-port": Key(integer(0), "4050", since=qemu_server("9.0.28", "9.1")),
    },
    "type",
)

_VERSION: Final = r"-\d+(?:\.\d+)+(?:\+pve\d+)?"
MACHINE: Final = PropertyString(
    {
        "type": Key(
            MachineType(
                pattern=rf"pc|pc(?:-i440fx)?{_VERSION}(?:\.pxe)?|q35|pc-q35{_VERSION}(?:\.pxe)?"
                r"|virt(?:-\d+(?:\.\d+)+)?(?:\+pve\d+)?",
                longest=40,
                words="a machine like q35, pc-q35-9.0 or pc",
            ),
            "pc",
        ),
        "aw-bits": Key(Number(32, 64), since=qemu_server("9.0.21", "9.1")),
        "enable-s3": Key(Boolean(), since=qemu_server("8.3.10", "8.4")),
        "enable-s4": Key(Boolean(), since=qemu_server("8.3.10", "8.4")),
        "viommu": Key(choice("intel virtio"), since=qemu_server("8.1.2", "8.2")),
    },
    "type",
)
SMBIOS: Final = PropertyString(
    {"uuid": Key(_UUID, owned=True, lasting=True), "base64": Key(Boolean())}
    | dict.fromkeys(("family", "manufacturer", "product", "serial", "sku", "version"), _BASE64),
    adjust=special.smbios_meaning,
    longest=512,
)
BOOT: Final = special.Boot(
    {
        "legacy": Key(Text(pattern="[acdn]{1,4}", words="up to four of the letters a, c, d and n")),
        "order": Key(Words(";", formats.boot_device)),
    },
    "legacy",
    adjust=special.boot_meaning,
)
AGENT: Final = PropertyString(
    {
        "enabled": Key(Boolean(), "0", required=True),
        "freeze-fs": Key(Boolean(), "1", since=qemu_server("7.3-4", "7.4")),
        "fstrim_cloned_disks": _OFF,
        "type": Key(choice("virtio isa"), "virtio"),
    },
    "enabled",
    dict.fromkeys(("freeze-fs-on-backup", "guest-fsfreeze"), "freeze-fs"),
    adjust=special.agent_meaning,
)
AUDIO: Final = PropertyString(
    {
        "device": Key(choice("ich9-intel-hda intel-hda AC97"), required=True),
        "driver": Key(choice("spice none"), "spice"),
    }
)
VGA: Final = PropertyString(
    {
        "type": Key(
            choice(
                "cirrus qxl qxl2 qxl3 qxl4 none serial0 serial1 serial2 serial3 std virtio"
                " virtio-gl vmware"
            ),
            "std",
        ),
        "clipboard": Key(choice("vnc"), since=qemu_server("8.0.9", "8.1")),
        "memory": Key(integer(4, 512)),
    },
    "type",
)
WATCHDOG: Final = PropertyString(
    {
        "model": Key(choice("i6300esb ib700"), "i6300esb"),
        # QEMU's own default
        "action": Key(choice("reset shutdown poweroff pause debug none"), "reset"),
    },
    "model",
)
RNG: Final = PropertyString(
    {
        "source": Key(choice("/dev/urandom /dev/random /dev/hwrng"), required=True),
        "max_bytes": Key(integer(), "1024"),
        "period": Key(integer(), "1000"),
    },
    "source",
)
SHARED_MEMORY: Final = PropertyString(
    {
        "size": Key(integer(1), required=True),
        "name": Key(Text(pattern=r"[a-zA-Z0-9\-]+", words="a name of letters, digits and dashes")),
    }
)
SPICE: Final = PropertyString(
    {"foldersharing": _OFF, "videostreaming": Key(choice("off all filter"), "off")}
)
USB: Final = PropertyString(
    {
        "host": Key(
            special.UsbDevice(
                pattern=r"(?:0x)?[0-9A-Fa-f]{4}:(?:0x)?[0-9A-Fa-f]{4}|\d+-\d+(?:\.\d+)*"
                "|[Ss][Pp][Ii][Cc][Ee]",
                words="a USB device like 1234:5678 or 1-2.3, or spice",
            )
        ),
        "mapping": Key(Text(formats.config_id), since=qemu_server("8.0.4", "8.0")),
        "usb3": _OFF,
    },
    "host",
)

_PCI: Final = r"(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?"
HOST_PCI: Final = PropertyString(
    {
        "host": Key(
            special.PciAddresses(
                pattern=f"{_PCI}(?:;{_PCI})*", words="a PCI address like 0000:01:00.0"
            )
        ),
        "device-id": _HEX_ID,
        "driver": Key(choice("vfio keep"), "vfio", since=qemu_server("9.0.25", "9.1")),
        "legacy-igd": _OFF,
        "mapping": Key(Text(formats.config_id), since=qemu_server("8.0.4", "8.0")),
        "mdev": Key(Text(pattern=r"[^/.:]+", words="a name without slash, dot and colon")),
        "pcie": _OFF,
        "rombar": _ON,
        "romfile": Key(Text(pattern="[^,;]+", words="a file name without comma and semicolon")),
        "sub-device-id": _HEX_ID,
        "sub-vendor-id": _HEX_ID,
        "vendor-id": _HEX_ID,
        "x-vga": _OFF,
    },
    "host",
    # PVE: PCI.pm $PCIRE takes lower case only
    rewrite=spelled(rf"(?i)(?:^|(?<=[,;=])){_PCI}(?=[,;]|$)", str.lower),
)
VIRTIOFS: Final = PropertyString(
    {
        "dirid": Key(Text(formats.config_id), required=True),
        "cache": Key(choice("auto always metadata never"), "auto"),
        "direct-io": _OFF,
        "expose-acl": _OFF,
        "expose-xattr": _OFF,
    },
    "dirid",
    adjust=special.virtiofs_meaning,
)
CLOUDINIT_FILES: Final = PropertyString(
    {
        **dict.fromkeys(("meta", "network", "user"), Key(Text(formats.volume_id))),
        "vendor": Key(Text(formats.volume_id), since=qemu_server("7.0-18", "7.1")),
    }
)

# LXC/Config.pm
FEATURES: Final = PropertyString(
    dict.fromkeys(("force_rw_sys", "fuse", "keyctl", "mknod", "nesting"), _OFF)
    | {
        "mount": Key(
            Words(
                ";",
                pattern="[a-zA-Z0-9_; ]+",
                unordered=True,
                words="file system types with semicolons between, like nfs;cifs",
            )
        )
    }
)
HOST_DEVICE: Final = PropertyString(
    {
        "path": Key(Text(formats.device_path)),
        "deny-write": Key(Boolean(), "0", since=pve_container("5.2.0", "8.3")),
        "gid": Key(integer(0), "0"),
        "mode": Key(Text(pattern="0[0-7]{3}", words="an octal mode like 0660"), "0660"),
        "uid": Key(integer(0), "0"),
    },
    "path",
)
