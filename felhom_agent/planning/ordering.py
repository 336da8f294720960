"""Which part of a change is written first, where PVE takes it only in two steps.

PVE compares a VM's new `memory` with the `balloon` that the file has, also where the same request
deletes that, and a new `balloon` with the file's `memory` likewise (recorded:
calls-9.2/202-values/232; PVE: qemu-server API2/Qemu.pm load_and_check_config). Two new values in
one request are compared with each other. So what is deleted is deleted first, and what it stood in
the way of comes with the next plan. A boot order comes after the CD drives that PVE adds to it
(`bootorder`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from felhom_agent.model import ABSENT, Action, Kind, SetConfig, TypeOfAbsent
from felhom_agent.planning.bootorder import writes_cd

_FILES_OWN = {"memory": "512"}  # PVE: qemu-server Memory.pm, where the file has none


def first_write(action: Action, present: Mapping[str, object]) -> Action:
    """Given an action and the guest's configuration, return the action, or of a change the part
    that PVE takes now.
    """
    if not isinstance(action, SetConfig) or action.kind is not Kind.QEMU:
        return action
    if any(map(writes_cd, action.changes)):
        rest = tuple(change for change in action.changes if change.key != "boot")
        action = replace(action, changes=rest)
    return _fitting(action, present)


def _fitting(action: SetConfig, present: Mapping[str, object]) -> SetConfig:
    """Return the part of a change whose memory and balloon PVE takes together."""
    after = {change.key: change.after for change in action.changes}
    for gone, kept in (("balloon", "memory"), ("memory", "balloon")):
        if after.get(gone) is ABSENT and after.get(kept, ABSENT) is not ABSENT:
            compared = {gone: present.get(gone, _FILES_OWN.get(gone)), kept: after[kept]}
            if _is_too_large(compared):
                rest = tuple(change for change in action.changes if change.key != kept)
                return replace(action, changes=rest)
    return action


def _is_too_large(values: Mapping[str, object | TypeOfAbsent]) -> bool:
    balloon, memory = (_mebibytes(values[key]) for key in ("balloon", "memory"))
    return balloon is not None and memory is not None and balloon > memory


def _mebibytes(value: object) -> int | None:
    """Return a number of MiB ("2048", "current=2048"); None if it is none."""
    found = re.fullmatch(r"(?:current=)?\+?(\d{1,12})", str(value))
    return int(found[1]) if found else None
