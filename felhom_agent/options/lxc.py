"""The options of an LXC guest: one line each.

A new PVE option is one new line here. Types and bounds: the API schema; run-time defaults:
pve-container `LXC.pm update_lxc_config`; privileges: recorded: 150-privilege-matrix/002, the
rest by `LXC.pm check_ct_modify_config_perm`.
"""

from __future__ import annotations

import re
from typing import Final

from felhom_agent.options import devices, drives, formats, special
from felhom_agent.options.addresses import Addresses
from felhom_agent.options.since import pve_container
from felhom_agent.options.table import Option, Table
from felhom_agent.options.types import Boolean, Number, Text, Words, choice, integer

_BOOL: Final = Boolean()
_CPU: Final = ("VM.Config.CPU",)
_MEMORY: Final = ("VM.Config.Memory",)
_OPTIONS: Final = ("VM.Config.Options",)
_NETWORK: Final = ("VM.Config.Network",)
_DISK: Final = ("VM.Config.Disk",)
_ROOT_DEVICE: Final = "configuring device passthrough is only allowed for root@pam"
_ROOT_HOOK: Final = "changing the hookscript is only allowed for root@pam"
_OS_TYPES: Final = (
    "debian devuan ubuntu centos fedora opensuse archlinux alpine gentoo nixos unmanaged"
)
_LOCKS: Final = (
    "backup create destroyed disk fstrim migrate mounted rollback snapshot snapshot-delete"
)
# All but control characters. What the recorded schema forbids is not what it meant: it lets
# through \x09-\x0f, later versions only the tab; the narrower set is right for both.
_LINE: Final = r"[^\x00-\x08\x0a-\x1f\x7f]"

LXC: Final = Table(
    # what the guest is called and how the host treats it
    Option("debug", _BOOL, "0", _OPTIONS),
    Option("description", special.Description(longest=8192, newline=True), "", _OPTIONS),
    Option("hookscript", Text(formats.volume_id), None, token_never=_ROOT_HOOK),
    Option("hostname", Text(formats.dns_name, longest=255), None, _NETWORK),
    Option("onboot", _BOOL, "0", _OPTIONS),
    Option("protection", _BOOL, "0", _OPTIONS),
    Option("startup", special.Startup(), None, _OPTIONS),
    Option("tags", special.Tags(";", formats.tag, unordered=True, fold=True), "", _OPTIONS),
    Option("template", _BOOL, "0", _OPTIONS),
    # processors and memory
    Option("cores", integer(1, 8192), None, _CPU),
    Option("cpulimit", Number(0, 8192), "0", _CPU),
    Option("cpuunits", integer(0, 500000), "100", _CPU),
    Option("memory", integer(16), "512", _MEMORY, required=True),
    # PVE: the schema's 512 holds only when a guest is made
    Option("swap", integer(0), "0", _MEMORY),
    # the system inside
    # recorded: 20-writes-lxc/060: without `arch` every later write fails, so it has no default
    Option("arch", choice("amd64 i386 arm64 armhf riscv32 riscv64"), None, _OPTIONS),
    Option("cmode", choice("shell console tty"), "tty", _OPTIONS),
    Option("console", _BOOL, "1", _OPTIONS),
    Option(
        "entrypoint",
        Text(pattern=f"{_LINE}+", words="a command in one line, like /sbin/init"),
        "/sbin/init",
        _OPTIONS,
        since=pve_container("6.0.15", "9.1"),
    ),
    Option("env", special.Environment(), "", _OPTIONS, since=pve_container("6.0.15", "9.1")),
    Option("features", devices.FEATURES, "", _OPTIONS, also="VM.Allocate"),
    Option("nameserver", Addresses(" ", formats.link_local_ip), None, _NETWORK, presence=True),
    Option("ostype", choice(_OS_TYPES), None, _OPTIONS, required=True),
    Option("searchdomain", Words(" ", formats.dns_name), None, _NETWORK, presence=True),
    Option("timezone", Text(formats.timezone), None, _OPTIONS),
    Option("tty", integer(0, 6), "2", _OPTIONS),
    Option("unprivileged", _BOOL, "0", read_only=True),
    # devices and volumes
    Option(
        "dev[n]",
        devices.HOST_DEVICE,
        None,
        (),
        256,
        token_never=_ROOT_DEVICE,
        since=pve_container("5.0.7", "8.1"),
    ),
    Option("mp[n]", drives.MOUNT_POINT, None, _DISK, 256),
    Option("net[n]", devices.CONTAINER_NET, None, _NETWORK, 32, also="SDN.Use"),
    Option("rootfs", drives.ROOTFS, None, _DISK, required=True),
    Option("unused[n]", drives.UNUSED_VOLUME, None, _DISK, 256, server_owned=True),
    # what PVE writes itself
    Option("digest", Text(longest=40), server_owned=True),
    Option("lock", choice(_LOCKS), None, _OPTIONS, server_owned=True),
    Option("lxc", special.Unsettable(), server_owned=True),
    Option("parent", special.Unsettable(), server_owned=True),
    Option("snaptime", special.Unsettable(), server_owned=True),
)

_BY_HAND: Final = "only root can set '{key}', by hand in the container's configuration file"


def raw_line(key: str) -> Option | None:
    """Given a key of LXC itself ("lxc.cap.drop"), return its option; `None` if it is no such key.

    No call of PVE's API takes one; GET config answers with the pairs of all of them.
    """
    # PVE: pve-container LXC/Config.pm parse_pct_config
    if re.fullmatch(r"lxc(?:\.[a-z0-9_-]+)+", key) is None:
        return None
    return Option(key, special.RawLines(), None, token_never=_BY_HAND.format(key=key))
