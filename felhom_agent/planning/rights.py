"""What an API token may not write, by the value that is sent and by the one that it replaces.

PVE compares the caller with root@pam itself, so that no privilege and no root token will do
(recorded: 150-privilege-matrix/002). What differs there is root's to mend, and its command is told.
"""

from __future__ import annotations

import shlex
from typing import Final

from felhom_agent.options import Option, PropertyString, beyond_token, holds_secrets
from felhom_agent.planning.context import Context

_MAX_TOLD: Final = 300
_TOOLS: Final = {"qemu": "qm", "lxc": "pct"}
# PVE: qemu-server API2/Qemu.pm update_vm_api: the device that goes counts like the one that comes
_OLD_COUNTS: Final = frozenset({"usb", "hostpci", "serial"})
_PRIVILEGED: Final = "changing feature flags for privileged container is only allowed for root@pam"


def roots_alone(option: Option, key: str, wire: str, actual: str, context: Context) -> str:
    """Given the text to send and the present one, return why no token may send it.

    PVE's words; empty where a token may. `actual` is empty where the key is not set.
    """
    if option.read_only:
        # recorded: 11-lxc-roundtrip/141
        return f"unable to modify read-only option: '{key}'"
    if option.name == "features":
        return _features(option, key, wire, actual, context)
    why = beyond_token(option, key, wire)
    if why or not actual.strip() or option.family not in _OLD_COUNTS:
        return why
    return beyond_token(option, key, actual)


def roots_alone_to_unset(option: Option, key: str, actual: str, context: Context) -> str:
    """Given the present text of a key, return why no token may delete it; empty if one may."""
    if option.read_only:
        return f"unable to delete read-only option: '{key}'"
    if option.name == "features" and _is_privileged(context):
        return _PRIVILEGED
    return beyond_token(option, key, actual)


def features_wire(option: Option, wire: str, actual: str) -> str:
    """Given declared features and the present ones, return the text that changes least.

    PVE compares them as they are written, so that `fuse=0` over nothing is root's; what means the
    same stays as it is.
    """
    if not isinstance(option.type, PropertyString):
        return wire
    wanted, present = option.type.split(wire), option.type.split(actual)
    meant, means = option.type.parts(wire), option.type.parts(actual)
    kept = {key: text for key, text in present.items() if meant.get(key) == means.get(key)}
    new = {key: text for key, text in wanted.items() if meant.get(key) != means.get(key)}
    return option.type.print(new | kept)


def root_command(kind: str, key: str, wire: str, context: Context) -> str:
    """Given an option's text, return the command with which root sets it."""
    return f"{_TOOLS[kind]} set {context.vmid or '<vmid>'} --{key} {_bounded(shlex.quote(wire))}"


def root_remedy(option: Option, kind: str, key: str, wire: str | None, context: Context) -> str:
    """Given an option and the text it shall have (`None`: none), return what root can do."""
    vmid = context.vmid or "<vmid>"
    if option.read_only:
        return f"it was fixed when the {kind} guest was made; a restore of a backup can change it"
    if key.startswith("lxc."):
        told = "" if wire is None else _bounded(" and ".join(wire.split("\n")))
        told = "what is declared" if holds_secrets(option) else told
        line = f"remove {key}" if wire is None else f"write {key} = {told}"
        return f"as root: {line} in /etc/pve/lxc/{vmid}.conf"
    if wire is None:
        return f"as root: {_TOOLS[kind]} set {vmid} --delete {key}"
    told = "VALUE" if holds_secrets(option) else wire
    return f"as root: {root_command(kind, key, told, context)}"


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_TOLD else f"{text[:_MAX_TOLD]}..."


def _features(option: Option, key: str, wire: str, actual: str, context: Context) -> str:
    # PVE: pve-container LXC.pm check_ct_modify_config_perm
    if _is_privileged(context):
        return _PRIVILEGED
    if not isinstance(option.type, PropertyString):
        return ""
    new, old = option.type.split(wire), option.type.split(actual)
    changed = {part for part in new.keys() | old.keys() if new.get(part) != old.get(part)}
    return beyond_token(option, key, ",".join(f"{part}=1" for part in changed))


def _is_privileged(context: Context) -> bool:
    return bool(context.config) and str(context.config.get("unprivileged", 0)) != "1"
