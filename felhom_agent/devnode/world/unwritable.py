"""What cannot stand in a guest's file, though the checks of a call let it pass.

PVE finds out when it makes the text of the file: of a PUT that is the answer, of a POST the task's
end. recorded: 9.2 202-values/249-310.
PVE: qemu-server QemuServer.pm check_type; pve-container LXC/Config.pm write_pct_config.
"""

from __future__ import annotations

import re

from felhom_agent.devnode.world.readback import DISK
from felhom_agent.devnode.world.schema import type_word

# What PVE encodes, or rewrites from what it has parsed, so that no line feed is left.
_ANEW = frozenset({"description", "tags", "cpuunits", "cipassword", "env"})
_STORED = {"integer": r"\d+", "number": r"\d+(\.\d+)?"}


def unwritable(kind: str, key: str, value: str) -> str:
    """Given a value, return why it cannot stand in the guest's file; empty if it can."""
    printed_anew = re.fullmatch(r"net\d+", key) or (DISK.fullmatch(key) and key != "rootfs")
    if key in _ANEW or printed_anew:
        return ""
    if kind == "lxc":
        return f"detected invalid newline inside property '{key}'" if "\n" in value else ""
    if re.search(r"[\r\n]", value):
        return f"unable to parse value of '{key}' - property contains a line feed"
    word = type_word("qemu", key)
    if word in _STORED and not re.fullmatch(_STORED[word], value):
        return f"unable to parse value of '{key}' - type check ('{word}') failed - got '{value}'"
    return ""
