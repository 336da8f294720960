"""Which sizes a running VM's memory can have, where it is plugged in modules.

PVE plugs and unplugs whole modules: from 1024 MiB on, 32 of 512 MiB, then 32 of twice that, and so
on; with hugepages of 1 GiB from 1024 MiB for each socket on, and of 1024 MiB first. It rounds up
where it plugs and down where it unplugs, writes what it has reached, and says that all is well
(PVE: qemu-server QemuServer/Memory.pm foreach_dimm, qemu_memory_hotplug). Another size would be
written again and again, to and fro. A VM is not started with one, either (Memory.pm config). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from felhom_agent.model import ABSENT, EMPTY, ActualGuest, Change, Kind, RunState
from felhom_agent.planning.plugging import features, mebibytes, whole

_STATIC, _FIRST, _OF_A_SIZE, _SIZES = 1024, 512, 32, 8


def why_not_reached(guest: ActualGuest, change: Change) -> str:
    """Given a change of a guest's configuration, return why its memory can have no such size while
    it runs, and which it can have; empty if it can, or if this changes no memory.
    """
    if guest.kind is not Kind.QEMU or change.key != "memory":
        return ""
    present = {k: str(v) for k, v in {**(guest.config or EMPTY), **guest.pending}.items() if v}
    if guest.state is not RunState.RUNNING or "memory" not in features(present.get("hotplug")):
        return ""
    wanted = mebibytes(None if change.after is ABSENT else str(change.after))
    if wanted == mebibytes(present.get("memory")):
        return ""
    below, above = _beside(wanted, present)
    if wanted in (below, above):
        return ""
    near = " or ".join(str(size) for size in (below, above) if size)
    return (
        f'{wanted} MiB cannot be plugged; with "memory" in hotplug PVE gives a VM whole modules: '
        f"declare {near}, or take it out of hotplug first"
    )


def _beside(wanted: int, present: Mapping[str, str]) -> tuple[int, int]:
    """Return the sizes next to one, 0 where there is none: the largest that is not larger, and the
    smallest that is not smaller.
    """
    below = above = 0
    for size in _sizes(present):
        if size <= wanted:
            below = size
        if size >= wanted:
            above = size
            break
    return below, above


def _sizes(present: Mapping[str, str]) -> Iterator[int]:
    huge = present.get("hugepages") == "1024"
    size = _STATIC * (whole(present.get("sockets"), 1) if huge else 1)
    module = 1024 if huge else _FIRST
    yield size
    for _ in range(_SIZES):
        for _ in range(_OF_A_SIZE):
            size += module
            yield size
        module *= 2
