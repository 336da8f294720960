"""What pvestatd told the cluster of each guest, and when: why /cluster/resources is late.

A row of /cluster/resources joins what the cluster's file system knows at once (a guest's place,
tags, lock) with the figures of pvestatd's latest broadcast (name, status, memory, ...), which comes
every ten seconds or so. A guest without a broadcast is a row of five keys with status "unknown".
recorded: 70-resources-lag, 92-outages/015.
"""

from __future__ import annotations

from collections.abc import Callable

Row = dict[str, object]

_KNOWN_AT_ONCE = frozenset(
    {"id", "node", "type", "vmid", "tags", "lock", "template", "hastate", "pool"}
)
_OF_A_STRANGER = frozenset({"id", "node", "type", "vmid"})


class Broadcasts:
    """The latest broadcast of each guest; `cycle` is the time between two, 0 for no delay."""

    def __init__(self, cycle: float = 0.0) -> None:
        self.cycle = cycle
        self.lost = False
        self._told: dict[int, Row] = {}
        self._at = float("-inf")

    def forget(self) -> None:
        """Lose all that was told, as pmxcfs does when it starts again."""
        self._told.clear()

    def drop(self, vmid: int) -> None:
        """Lose what was told of a guest that is destroyed."""
        self._told.pop(vmid, None)

    def due(self, moment: float) -> bool:
        """Return whether pvestatd tells everything again at that moment, and note that it did."""
        if self.lost or moment - self._at < self.cycle:
            return False
        self._at = moment
        return True

    def row(self, vmid: int, live: Callable[[], Row], *, tell: bool) -> Row:
        """Given a guest and its row as it is, return the row that the cluster knows."""
        now = live()
        if tell:
            self._told[vmid] = now
        told = self._told.get(vmid)
        if told is None:
            return {key: now[key] for key in _OF_A_STRANGER} | {"status": "unknown"}
        late = {key: value for key, value in told.items() if key not in _KNOWN_AT_ONCE}
        return {**late, **{key: now[key] for key in now if key in _KNOWN_AT_ONCE}}
