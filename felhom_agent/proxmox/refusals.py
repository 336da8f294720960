"""What PVE says when it refuses a change of a configuration, and when it says it.

A 500 tells by its words alone. Each row here is a text of PVE with the place in PVE's source that
says it, and with the moment, which decides what the text proves:

* `FIRST`: before the first write, whatever else the request holds. PVE did nothing.
* `OWN_TURN`: a VM's keys are written one after another, in no order, and each may be refused as its
  turn comes (qemu-server API2/Qemu.pm update_vm_api). The text comes before that key's write and is
  never said after it: what fails then is collected, and said as a 400 of "unable to apply pending
  change" or "hotplug problem". So it proves that nothing was done where the request has one key.
  With more of them another may be written (recorded: calls-9.2/200b-post-worker-privileges/065).
* `EITHER`: before the write or after it. The row only tells whether PVE would say so again.

A text that is not here proves nothing. Where a text does not prove it, the file's digest can.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from felhom_agent.model import Kind

_QEMU = frozenset({Kind.QEMU})
_LXC = frozenset({Kind.LXC})
_BOTH = _QEMU | _LXC


class When(StrEnum):
    """When PVE says a text, measured by its writes of the guest's file."""

    FIRST = "first"
    OWN_TURN = "own turn"
    EITHER = "either"


@dataclass(frozen=True)
class Refusal:
    """A text of PVE: `text` is a pattern of the whole of it, `source` where PVE says it.

    `final` tells that PVE says it again to the same request, whatever the time.
    """

    text: re.Pattern[str]
    when: When
    kinds: frozenset[Kind]
    source: str
    final: bool = False


def _row(
    text: str, when: When, kinds: frozenset[Kind], source: str, *, final: bool = False
) -> Refusal:
    return Refusal(re.compile(text, re.DOTALL), when, kinds, source, final)


_UPDATE = "qemu-server API2/Qemu.pm update_vm_api"
_PERMS = "qemu-server API2/Qemu.pm check_vm_modify_config_perm"
_DISKS = "qemu-server API2/Qemu.pm create_disks"
_PCT = "pve-container LXC/Config.pm update_pct_config"
_LXC_API = "pve-container API2/LXC/Config.pm update_vm"

REFUSALS: tuple[Refusal, ...] = (
    # Before the first write.
    _row(r"no options specified", When.FIRST, _BOTH, f"{_UPDATE}; {_LXC_API}", final=True),
    _row(r"only root can set '[^']*' config", When.FIRST, _QEMU, _PERMS, final=True),
    _row(
        r"balloon value too large.*",
        When.FIRST,
        _QEMU,
        f"{_UPDATE} load_and_check_config",
        final=True,
    ),
    _row(
        r"SSH public key validation error.*",
        When.FIRST,
        _QEMU,
        "pve-common Tools.pm validate_ssh_public_keys",
        final=True,
    ),
    _row(
        r"cannot add non-(?:managed/pass-through|replicatable) volume to a replicated VM",
        When.FIRST,
        _BOTH,
        f"{_UPDATE} check_replication; {_LXC_API}",
    ),
    _row(
        r"Only root can pass arbitrary filesystem paths.*",
        When.FIRST,
        _BOTH,
        "pve-storage Storage.pm check_volume_access",
        final=True,
    ),
    _row(
        r"missing privileges to access .*",
        When.FIRST,
        _BOTH,
        "pve-storage Storage.pm check_volume_access",
    ),
    _row(
        r"unable to use volume \S+ - content type needs to be '[^']*'",
        When.FIRST,
        _BOTH,
        "pve-storage Storage.pm check_volume_access",
        final=True,
    ),
    _row(
        r"(?:VM|CT) is locked \(.*",
        When.FIRST,
        _BOTH,
        "pve-guest-common AbstractConfig.pm check_lock",
    ),
    # A container's file is written once, after all of these; what comes after that is regenerating
    # the runtime's configuration (pve-container LXC.pm update_lxc_config), which says none of them.
    _row(r"unable to delete required option '[^']*'", When.FIRST, _LXC, _PCT, final=True),
    _row(
        r"unable to (?:modify|delete) read-only option: '[^']*'", When.FIRST, _LXC, _PCT, final=True
    ),
    _row(
        r"can't (?:remove|update) CT \d+ drive '[^']*' - protection mode enabled",
        When.FIRST,
        _LXC,
        _PCT,
    ),
    _row(r"storage '[^']*' does not allow content type 'rootdir'.*", When.FIRST, _LXC, _PCT),
    # After the write it says the same without the full stop, of a card that may be another one.
    _row(
        r"net\d+: SLAAC is not supported for host-managed network configuration\.",
        When.FIRST,
        _LXC,
        _PCT,
        final=True,
    ),
    _row(
        r"invalid map entry '.*",
        When.FIRST,
        _LXC,
        "pve-container LXC.pm validate_id_maps",
        final=True,
    ),
    _row(
        r"detected invalid newline inside property '[^']*'",
        When.FIRST,
        _LXC,
        "pve-container LXC/Config.pm write_pct_config",
        final=True,
    ),
    _row(
        r"unable to parse (?:volume ID|directory volume name|\S+ volume name|volume filename) '.*",
        When.FIRST,
        _LXC,
        f"pve-storage Plugin.pm parse_volname, by {_PCT}",
        final=True,
    ),
    _row(r"storage '[^']*' does not exist", When.FIRST, _LXC, f"pve-storage Storage.pm, by {_PCT}"),
    # A VM's, as the key's own turn comes.
    _row(
        r"invalid bootorder: device '[^']*' does not exist'?",
        When.OWN_TURN,
        _QEMU,
        _UPDATE,
        final=True,
    ),
    _row(
        r"only root can (?:set|modify|delete) '[^']*' config for (?:real|non-mapped) devices",
        When.OWN_TURN,
        _QEMU,
        f"{_UPDATE}; check_usb_perm, check_hostpci_perm",
        final=True,
    ),
    _row(
        r"either 'host' or 'mapping' must be set\.",
        When.OWN_TURN,
        _QEMU,
        "qemu-server API2/Qemu.pm check_usb_perm, check_hostpci_perm",
        final=True,
    ),
    _row(
        r"cannot change TPM state version after creation",
        When.OWN_TURN,
        _QEMU,
        "qemu-server API2/Qemu.pm prohibit_tpm_version_change",
        final=True,
    ),
    _row(
        r"cannot set aw-bits if no vIOMMU is configured|"
        r"to use Intel vIOMMU please set the machine type to q35|"
        r"Intel vIOMMU supports only 39 or 48 bits as address width",
        When.OWN_TURN,
        _QEMU,
        "qemu-server QemuServer/Machine.pm assert_valid_machine_property",
        final=True,
    ),
    _row(
        r"vga type \S+ is not compatible with VNC clipboard",
        When.OWN_TURN,
        _QEMU,
        "qemu-server QemuServer.pm assert_clipboard_config",
        final=True,
    ),
    _row(
        r"EFI (?:base|vars) image '[^']*' not found|"
        r"no OVMF images known for architecture '[^']*'|efidisk format must be specified",
        When.OWN_TURN,
        _QEMU,
        "qemu-server QemuServer/OVMF.pm, by create_disks",
    ),
    _row(
        r"SEV-SNP uses consolidated read-only firmware and does not require an EFI disk|"
        r"Attempting to configure (?:SEV-SNP|TDX) with pflash devices.*",
        When.OWN_TURN,
        _QEMU,
        f"{_DISKS}; QemuServer/OVMF.pm",
        final=True,
    ),
    _row(
        r"cannot use volume \S+ - content type needs to be 'images' or 'iso'.*",
        When.OWN_TURN,
        _QEMU,
        _DISKS,
        final=True,
    ),
    _row(
        r"volume '[^']*' - (?:not a QEMU image|unknown import) format '[^']*'|"
        r"unable to parse format for import volume '[^']*'",
        When.OWN_TURN,
        _QEMU,
        "qemu-server QemuServer/Drive.pm checked_parse_volname",
        final=True,
    ),
    _row(r"\S+ - cloud-init drive is already attached at '[^']*'", When.OWN_TURN, _QEMU, _DISKS),
    _row(
        r"no storage ID specified \(and no default storage\)",
        When.OWN_TURN,
        _QEMU,
        _DISKS,
        final=True,
    ),
    _row(r"cannot import from '.*", When.OWN_TURN, _QEMU, _DISKS),
    _row(
        r"can't remove (?:unused disk|drive|vmstate) '[^']*' - protection mode enabled",
        When.OWN_TURN,
        _QEMU,
        f"{_UPDATE} check_protection",
    ),
    _row(
        r"unable to delete '[^']*' - volume is still in use \(snapshot\?\)",
        When.OWN_TURN,
        _QEMU,
        f"{_UPDATE} try_deallocate_drive",
    ),
    # Made into text, the file is not written yet (recorded: calls-9.2/202-values/249-310).
    _row(
        r"unable to parse value of '[^']*' - .*",
        When.OWN_TURN,
        _QEMU,
        "qemu-server QemuServer.pm write_vm_config check_type",
        final=True,
    ),
    # Of a worker: the status stands before the words.
    _row(
        r"403 Permission check failed.*", When.OWN_TURN, _QEMU, f"{_UPDATE} check_drive_perms ff."
    ),
    _row(
        # What comes after the write names what it did there.
        r"400 Parameter verification failed\.(?!.*(?:unable to apply pending|hotplug problem)).*",
        When.OWN_TURN,
        _QEMU,
        f"{_UPDATE} raise_param_exc",
        final=True,
    ),
    # After the write PVE makes the image of a cloud-init drive anew, of which the same may be said
    # (qemu-server QemuServer.pm vmconfig_apply_pending, vmconfig_update_cloudinit_drive).
    _row(
        r"drive '[^']*' - volume '[^']*' - 'format=[^']*' option different from storage format '.*",
        When.EITHER,
        _QEMU,
        f"{_DISKS}; QemuServer/Drive.pm get_path_and_format",
        final=True,
    ),
    _row(r"volume '?[^' ]+'? does not exist", When.EITHER, _QEMU, _DISKS),
    _row(
        r"unable to parse (?:volume ID|directory volume name|\S+ volume name|volume filename) '.*",
        When.EITHER,
        _QEMU,
        f"pve-storage Plugin.pm parse_volname, by {_DISKS}",
        final=True,
    ),
    _row(
        r"storage '[^']*' does not exist",
        When.EITHER,
        _QEMU,
        f"pve-storage Storage.pm, by {_DISKS}",
    ),
    _row(
        r"disk image '[^']*' already exists",
        When.EITHER,
        _QEMU,
        f"pve-storage Plugin.pm alloc_image, by {_DISKS}",
    ),
    _row(
        r"storage '[^']*' is (?:disabled|not online|not available on node '[^']*')",
        When.EITHER,
        _BOTH,
        "pve-storage Storage.pm storage_check_enabled, storage_check_node, activate_storage",
    ),
    _row(
        r"Too many unused volumes - please delete them first\.",
        When.EITHER,
        _BOTH,
        "pve-guest-common AbstractConfig.pm add_unused_volume",
    ),
    # A container's cards are looked at before the write, and again after it.
    _row(
        r"net\d+: MTU size '\d+' is bigger than bridge MTU '\d+'",
        When.EITHER,
        _LXC,
        f"{_PCT}; LXC.pm update_lxc_config",
    ),
    _row(
        r"bridge '[^']*' does not exist",
        When.EITHER,
        _LXC,
        "pve-common Network.pm read_bridge_mtu, before the write and after it",
    ),
)
"""What is known; a text is looked up in the order of the rows."""


def refusal(words: str, kind: Kind) -> Refusal | None:
    """Given PVE's words of a refused change and the guest's kind, return the row that they are of,
    if there is one.
    """
    line = words.strip()
    for row in REFUSALS:
        if kind in row.kinds and row.text.fullmatch(line):
            return row
    return None


def proves_nothing_done(words: str, kind: Kind, keys: int) -> bool:
    """Given PVE's words, the guest's kind and how many keys the change has, return whether PVE
    says so only before it has written anything.
    """
    row = refusal(words, kind)
    return row is not None and (row.when is When.FIRST or (row.when is When.OWN_TURN and keys == 1))
