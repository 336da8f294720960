"""Looking: a snapshot of the node, or of one guest.

A snapshot joins the cluster's resources (where each guest lives, whether HA manages it, which
nodes are online), the node's two guest listings, which are live, and the configuration of each
guest that is declared. The resources lag behind in name and state by some 10 s, and say "unknown"
after a restart of pvestatd, but not in place, lock and HA (recorded: 70-resources-lag); so a run
state is never taken from there.

A running guest is read through /pending, which has both what is declared to PVE and what is in
effect until the next start. Configurations are read side by side, `READERS` at a time; one that
cannot be read costs that guest its turn and nothing else.

A token without rights sees empty lists and no error (recorded: 02-auth/012). So a declared guest
that is not seen is looked up in the token's permissions before anybody calls it gone.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from felhom_agent.errors import Denied, Interrupted, Missing, Unanswered, Unchanged
from felhom_agent.model import Actual, ActualGuest, Facts, Kind, RunState
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.guests import Guests
from felhom_agent.proxmox.qmp import hung, is_paused

_log = logging.getLogger(__name__)

READERS = 4
_UNMANAGED_BY_HA = frozenset({"", "ignored"})
_KINDS = frozenset(Kind)

Row = Mapping[str, Any]


class Observer:
    """Sees the client's node; `facts` are those of the latest snapshot.

    Threads: `facts` is replaced as a whole by `snapshot` and read as a whole by `look`.
    """

    def __init__(
        self,
        client: Client,
        guests: Guests,
        leaving: threading.Event,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` is called at each step of a snapshot, on the thread that takes it."""
        self._beat = beat
        self._client = client
        self._leaving = leaving
        self._guests = guests
        self._node = client.config.node
        self.facts = Facts()

    def snapshot(self, vmids: Collection[int]) -> Actual:
        """Given the guests that are declared, return the node as it is now.

        Raise Unchanged if PVE cannot be asked, Denied if the token may see no guest at all,
        Interrupted if the agent is leaving.
        """
        resources = self._resources()
        self._beat()
        self.facts = self._read_facts(resources)
        self._beat()
        placed = _guest_rows(resources)
        here = {g.vmid: g for kind in Kind for g in self._listing(kind, placed)}
        wanted = [here[vmid] for vmid in sorted(vmids) if vmid in here]
        read = _Reading(self._configured, self._leaving)
        with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
            for guest in pool.map(read, wanted):
                here[guest.vmid] = guest
                self._beat()
        if self._leaving.is_set():
            # Half a look would read as guests that cannot be read.
            raise Interrupted("the agent is stopping")
        return self._actual(resources, here, set(vmids) - here.keys() - placed.keys())

    def look(self, vmid: int) -> Actual:
        """Given a guest, return a snapshot that holds it alone, as live as PVE can be asked.

        Raise Unchanged if PVE cannot be asked.
        """
        resources = self._resources()
        row = _guest_rows(resources).get(vmid)
        guest = self._live(vmid, row) if row and row.get("node") == self._node else None
        here = {vmid: guest} if guest else {}
        return self._actual(resources, here, set() if row else {vmid})

    def _resources(self) -> list[Row]:
        return self._rows("cluster", "resources")

    def _rows(self, *path: str) -> list[Row]:
        """Return a listing. Raise Unanswered if it is none."""
        rows = self._client.get(*path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Unanswered("PVE answers nonsense", call=f"GET /{'/'.join(path)}")
        return rows

    def _table(self, *path: str, **params: str) -> Row:
        """Return an object. Raise Unanswered if it is none."""
        row = self._client.get(*path, **params)
        if not isinstance(row, dict):
            raise Unanswered("PVE answers nonsense", call=f"GET /{'/'.join(path)}")
        return row

    def _read_facts(self, resources: Iterable[Row]) -> Facts:
        version = str(self._table("version").get("version", ""))
        nodes = (r for r in resources if r.get("type") == "node" and r.get("node") == self._node)
        cgroup = next((r["cgroup-mode"] for r in nodes if "cgroup-mode" in r), 2)
        return Facts(
            version=tuple(int(n) for n in re.findall(r"\d+", version)[:2]),
            cgroup=int(cgroup),
            case_sensitive_tags=_case_sensitive(self._table("cluster", "options")),
        )

    def _actual(
        self, resources: list[Row], here: Mapping[int, ActualGuest], unseen: set[int]
    ) -> Actual:
        placed = _guest_rows(resources)
        if unseen and not placed and not self._may_audit(""):
            raise Denied(
                "the token may see no guest at all: it lacks VM.Audit",
                call="GET /access/permissions",
                path="/vms",
                privilege="VM.Audit",
            )
        others = {vmid: str(row.get("node", "")) for vmid, row in placed.items()}
        return Actual(
            node=self._node,
            guests=here,
            elsewhere={v: n for v, n in others.items() if v not in here and n != self._node},
            offline=frozenset(
                str(r.get("node"))
                for r in resources
                if r.get("type") == "node" and r.get("status") == "offline"
            ),
            hidden=frozenset(v for v in unseen if not self._may_audit(f"/vms/{v}")),
            facts=self.facts,
        )

    def _may_audit(self, path: str) -> bool:
        """Return whether the token may see the guest of that path; of any path if it is empty."""
        params = {"path": path} if path else {}
        held = self._table("access", "permissions", **params)
        return any("VM.Audit" in privileges for privileges in held.values())

    def _listing(self, kind: Kind, placed: Mapping[int, Row]) -> Iterable[ActualGuest]:
        for row in self._rows("nodes", self._node, kind):
            vmid = int(row["vmid"])
            yield _guest(vmid, kind, self._node, row, placed.get(vmid, {}))

    def _live(self, vmid: int, row: Row) -> ActualGuest | None:
        kind = Kind(row["type"])
        try:
            status = self._guests.status(kind, vmid)
            return self._configured(_guest(vmid, kind, self._node, status, row))
        except Missing:
            return None

    def _configured(self, guest: ActualGuest) -> ActualGuest:
        """Return the guest with its configuration. Raise Unchanged if it cannot be had."""
        try:
            if guest.state is RunState.RUNNING:
                config, pending = _merged(self._guests.pending(guest.kind, guest.vmid))
            else:
                config, pending = self._guests.config(guest.kind, guest.vmid), {}
        except (TypeError, ValueError, KeyError, AttributeError):
            words = f"PVE answers nonsense for guest {guest.vmid}"
            raise Unanswered(words, status=200) from None
        return replace(
            guest,
            config=config,
            pending=pending,
            digest=str(config.get("digest", "")),
            lock=str(config.get("lock", guest.lock)),
            template=guest.template or config.get("template") in (1, "1"),
        )


class _Reading:
    """Reads configurations for one snapshot, and gives up once that makes no sense any more.

    A node that lets one question time out would let hundreds, one after the other; and an agent
    that is told to stop must not go on asking. What was given up is read at the next look.
    """

    def __init__(
        self, read: Callable[[ActualGuest], ActualGuest], leaving: threading.Event
    ) -> None:
        self._read = read
        self._leaving = leaving
        self._hopeless = threading.Event()

    def __call__(self, guest: ActualGuest) -> ActualGuest:
        """Given a guest, return it with its configuration, or without if it cannot be had."""
        if self._leaving.is_set() or self._hopeless.is_set():
            return guest
        try:
            return self._read(guest)
        except Unchanged as error:
            if not error.status:
                self._hopeless.set()
            _log.debug("guest %d: %s", guest.vmid, error)
            return guest


def _guest_rows(resources: Iterable[Row]) -> dict[int, Row]:
    return {int(row["vmid"]): row for row in resources if row.get("type") in _KINDS}


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
        paused=is_paused(row.get("qmpstatus")),
        hung=hung(row.get("qmpstatus")),
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


def _merged(rows: Iterable[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Given the rows of /pending, return the configuration to be, and what is in effect till then.

    GET config would do for the first, but it shows a key that is to go if its value is false
    (PVE: pve-guest-common GuestHelpers.pm config_with_pending_array).
    """
    config: dict[str, Any] = {}
    in_effect: dict[str, Any] = {}
    for row in rows:
        key = row["key"]
        waits = "pending" in row or row.get("delete")
        if waits:
            in_effect[key] = row.get("value")
        if not row.get("delete"):
            config[key] = row["pending"] if "pending" in row else row["value"]
    return config, in_effect


def _case_sensitive(options: Mapping[str, Any]) -> bool:
    style = options.get("tag-style") or {}
    if isinstance(style, str):
        return re.search(r"(?:^|,)case-sensitive=(?:1|on|yes|true)(?:,|$)", style) is not None
    return str(style.get("case-sensitive", 0)) == "1"
