"""Looking: a snapshot of the node, or of one guest.

A snapshot joins three listings (the cluster's resources, which tell where each guest lives and
whether HA manages it, and the node's two guest listings, which are live) with the configuration of
each guest that is declared. The cluster's resources lag behind in name and state by some 10 s, but
not in place, lock and HA (recorded: 70-resources-lag), so state is always taken from the listings.

Configurations are read side by side, `READERS` at a time. A guest that vanishes between listing
and reading is left without one; it will be missing at the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from felhom_agent.errors import Missing
from felhom_agent.model import Actual, ActualGuest, Kind, RunState
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.guests import Guests

READERS = 4
_UNMANAGED_BY_HA = frozenset({"", "ignored"})

Row = Mapping[str, Any]


class Observer:
    """Sees the client's node."""

    def __init__(self, client: Client, guests: Guests) -> None:
        self._client = client
        self._guests = guests
        self._node = client.config.node

    def snapshot(self, vmids: Collection[int]) -> Actual:
        """Given the guests that are declared, return the node as it is now.

        Raise Unchanged if PVE cannot be asked.
        """
        placed = self._placed()
        here = {g.vmid: g for kind in Kind for g in self._listing(kind, placed)}
        wanted = [here[vmid] for vmid in sorted(vmids) if vmid in here]
        with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
            here.update((g.vmid, g) for g in pool.map(self._with_config, wanted))
        return Actual(self._node, here, _elsewhere(placed, here, self._node))

    def look(self, vmid: int) -> Actual:
        """Given a guest, return a snapshot that holds it alone, as live as PVE can be asked.

        Raise Unchanged if PVE cannot be asked.
        """
        placed = self._placed()
        row = placed.get(vmid)
        guest = self._live(vmid, row) if row and row.get("node") == self._node else None
        here = {vmid: guest} if guest else {}
        return Actual(self._node, here, _elsewhere(placed, here, self._node))

    def _placed(self) -> dict[int, Row]:
        rows = self._client.get("cluster", "resources", type="vm")
        return {int(row["vmid"]): row for row in rows if row.get("type") in set(Kind)}

    def _listing(self, kind: Kind, placed: Mapping[int, Row]) -> Iterable[ActualGuest]:
        for row in self._client.get("nodes", self._node, kind):
            vmid = int(row["vmid"])
            yield _guest(vmid, kind, self._node, row, placed.get(vmid, {}))

    def _live(self, vmid: int, row: Row) -> ActualGuest | None:
        kind = Kind(row["type"])
        try:
            guest = _guest(vmid, kind, self._node, self._guests.status(kind, vmid), row)
        except Missing:
            return None
        guest = self._with_config(guest)
        return guest if guest.config is not None else None

    def _with_config(self, guest: ActualGuest) -> ActualGuest:
        try:
            config = self._guests.config(guest.kind, guest.vmid)
        except Missing:
            return guest
        lock = str(config.get("lock", guest.lock))
        template = guest.template or bool(config.get("template"))
        digest = str(config.get("digest", ""))
        return replace(guest, config=config, digest=digest, lock=lock, template=template)


def _guest(vmid: int, kind: Kind, node: str, row: Row, placed: Row) -> ActualGuest:
    return ActualGuest(
        vmid=vmid,
        kind=kind,
        node=node,
        state=_state(row.get("status")),
        name=str(row.get("name", "")),
        lock=str(row.get("lock") or ""),
        template=bool(row.get("template")),
        ha_state=_ha_state(row, placed),
        paused=row.get("qmpstatus") in ("paused", "suspended"),
    )


def _state(status: object) -> RunState | None:
    return next((state for state in RunState if state == status), None)


def _ha_state(row: Row, placed: Row) -> str:
    """Return how HA holds the guest: its state there, "managed" if only that is known, or ""."""
    ha = row.get("ha") or {}
    state = str(placed.get("hastate") or ha.get("state") or "")
    if not state and ha.get("managed"):
        return "managed"
    return "" if state in _UNMANAGED_BY_HA else state


def _elsewhere(
    placed: Mapping[int, Row], here: Mapping[int, ActualGuest], node: str
) -> dict[int, str]:
    """Return the node of each guest that the cluster knows and this node does not have."""
    others = ((vmid, str(row.get("node", ""))) for vmid, row in placed.items())
    return {vmid: other for vmid, other in others if vmid not in here and other != node}
