"""What is there: a snapshot of the node, or of one guest.

A snapshot joins the cluster's resources (where each guest lives, whether HA manages it, which
nodes are online), the node's two guest listings, which are live, and the configuration of each
guest that is declared. The resources lag behind in name and state by some 10 s, and say "unknown"
after a restart of pvestatd, but not in place, lock and HA (recorded: 70-resources-lag); so a run
state is never taken from there.

A running guest is read through /pending, which has both what is declared to PVE and what is in
effect until the next start. Configurations are read side by side, `READERS` at a time; one that
cannot be read, or makes no sense (`rows`), costs that guest this pass and nothing else.

Reading a thousand configurations takes seconds. So the guests are handed over in batches as they
are read (`arrived`), for whoever can begin with a part. PVE's version and the datacenter's options
change with an upgrade and by a person's hand; they are asked for again after `FACTS_AGE` seconds.

Where HA manages a guest, HA is asked whether it is armed; a guest's own rows do not tell
(`hastatus`).

One guest is looked at in two calls, its status and its configuration, by the kind that the latest
snapshot saw. Only where that does not find it are the resources asked, for it may have moved, gone
or been made again as the other kind, and they alone tell which.

Where a hub is to be told (`reporter`), a snapshot asks for the node's figures besides, and for the
configurations of the guests that the hub may see and nobody declares. Nothing of that is in the
snapshot, and what of it fails costs the report alone (`nodereport`).

A token without rights sees empty lists and no error (recorded: 02-auth/012). So declared guests
that are not seen are looked up in the token's permissions, in one question for all of them, before
anybody calls them gone.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

from felhom_agent.errors import Denied, Interrupted, Missing, Unchanged
from felhom_agent.model import Actual, ActualGuest, Facts, Kind
from felhom_agent.proxmox import rows
from felhom_agent.proxmox.answers import odd_answer
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.configurations import Reading, unexpected
from felhom_agent.proxmox.guests import Guests
from felhom_agent.proxmox.hastatus import HaStatus, ha_status_of
from felhom_agent.proxmox.nodereport import Reporter
from felhom_agent.proxmox.packages import installed
from felhom_agent.proxmox.rows import Listing, Odd, Resources, Row
from felhom_agent.proxmox.tokenrights import read_bridges, read_rights, read_zones
from felhom_agent.service.flag import Signal

_log = logging.getLogger(__name__)

READERS = 4
BATCH = 16
"""How many guests are handed over at once while the others are read."""
FACTS_AGE = 300.0
"""Seconds for which PVE's version and the datacenter's options are believed."""
_ROWS_A_STEP = 256

Arrived = Callable[[Actual], None]


def _ignore(part: Actual) -> None:
    del part


class Observer:
    """Sees the client's node; `facts` are those of the latest snapshot, `reporter` is who is told
    what a hub may know, if anybody is; it is set before the first snapshot.

    Threads: `facts`, `_kinds` (of what kind the guests are that the latest snapshot saw here),
    `_in_ha` (which of them HA manages) and `_raw` (whose raw lines are wanted) are replaced as a
    whole by `snapshot` and read as a whole by `observe_guest`, on any thread; `_outdated` is set on
    any thread and cleared by `snapshot`; the rest belongs to the thread that takes snapshots.
    """

    def __init__(
        self,
        client: Client,
        guests: Guests,
        shutting_down: Signal,
        beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`beat` is called at each step of a snapshot, on the thread that takes it;
        `shutting_down` ends a snapshot at once, and no observation of one guest. `clock` tells
        monotonic seconds.
        """
        self._beat = beat
        self._client = client
        self._shutting_down = shutting_down
        self._guests = guests
        self._node = client.config.node
        self._odd: dict[str, str] = {}
        self.facts = Facts()
        self.reporter: Reporter | None = None
        self._kinds: Mapping[int, Kind] = MappingProxyType({})
        self._in_ha: frozenset[int] = frozenset()
        self._raw: frozenset[int] = frozenset()
        self._packages: Mapping[str, str] = MappingProxyType({})
        self._packages_of: tuple[int, ...] = ()
        self._clock = clock
        self._facts_read = -math.inf
        self._outdated = threading.Event()

    def note_denied(self) -> None:
        """Hear, on any thread, that PVE denied what the token was thought to have: its rights are
        asked for again at the next snapshot.
        """
        self._outdated.set()

    def refresh(self) -> None:
        """Ask for the version and the datacenter's options again at the next snapshot; to be called
        on the thread that takes snapshots.
        """
        self._facts_read = -math.inf

    def snapshot(
        self,
        vmids: Collection[int],
        raw: Collection[int] = (),
        arrived: Arrived = _ignore,
        known: Mapping[int, ActualGuest] = MappingProxyType({}),
        readers: int = READERS,
    ) -> Actual:
        """Given the guests that are declared, and those of them with `lxc.*` lines, return the node
        as it is now. `arrived` is called on this thread with each `BATCH` of declared guests that
        was read while others still are. `known` are guests whose configuration is as it was, unless
        they were started or stopped since; `readers` is how many are read side by side.

        Raise Unchanged if PVE cannot be asked, Denied if the token may see no guest at all,
        Interrupted if the agent is shutting down.
        """
        self._raw = frozenset(raw)
        if self.reporter is not None:
            self.reporter.begin()
        client = self._client.abandoned_by(self._shutting_down)
        odd: dict[str, str] = {}
        resources = self._resources(client, self._steps)
        self.facts = replace(self._fresh_facts(client), cgroup=resources.cgroup)
        if resources.odd_rows or resources.guests.nameless:
            odd["cluster/resources"] = _left_out(resources.odd_rows + resources.guests.nameless)
        here, nameless = self._listed(client, resources, odd)
        self._in_ha = frozenset(vmid for vmid, guest in here.items() if guest.ha_state)
        if self._in_ha.intersection(vmids):
            ha = self._ha_status(client)
            here = {vmid: rows.under_ha(guest, ha) for vmid, guest in here.items()}
        self._kinds = {vmid: guest.kind for vmid, guest in here.items() if not guest.unread}
        rest = {vmid for vmid in vmids if not _take_known(here, known.get(vmid))}
        reading = self._configurations(client, here, rest, arrived, readers)
        self._say(odd)
        blurred = bool(nameless or resources.guests.nameless)
        # What is read for the hub besides is no part of what the pass sees.
        listed = dict(here)
        actual = self._actual(client, resources, here, vmids, blurred=blurred)
        if self.reporter is not None:
            reads = not reading.timed_out
            self._report(client, self.reporter, listed, vmids, reads=reads, cpu=resources.cpu)
        return replace(actual, timed_out=reading.timed_out)

    def observe_guest(self, vmid: int, *, place: bool = False) -> Actual:
        """Given a guest, return a snapshot that holds it alone, as live as PVE can be asked. With
        `place` the cluster's resources are asked in any case, and nothing rests on what an earlier
        snapshot saw.

        Raise Unchanged if PVE cannot be asked, or answers unexpectedly about this guest.
        """
        kind = None if place else self._kinds.get(vmid)
        if kind is not None and (found := self._where_it_was(vmid, kind)):
            return Actual(self._node, {vmid: found}, facts=self.facts)
        resources = self._resources(self._client, iter)
        guest = self._where_placed(vmid, resources)
        here = {vmid: guest} if guest else {}
        # A guest that is placed here and not found was removed a moment ago.
        gone = guest is None and vmid in resources.guests.rows
        blurred = resources.guests.nameless > 0 and not gone
        wanted = () if gone else (vmid,)
        return self._actual(self._client, resources, here, wanted, blurred=blurred, alone=True)

    def look_at(self, vmid: int) -> Actual:
        """As `observe_guest`, for the thread that takes snapshots. Raise Interrupted, too, once the
        agent is shutting down.
        """
        return self._abandoned().observe_guest(vmid)

    def read_again(self, guest: ActualGuest) -> ActualGuest:
        """Given a guest as it was seen, return it with its configuration as it is now, by one
        question; for the thread that takes snapshots. Raise Unchanged if PVE cannot be asked,
        Interrupted if the agent is shutting down.
        """
        guests = self._abandoned()._guests  # noqa: SLF001  # its own class
        return guests.configured(guest, raw=guest.vmid in self._raw)

    def _abandoned(self) -> Observer:
        """Return this observer, but that its reads end once the agent is shutting down."""
        view = copy.copy(self)
        view._client = self._client.abandoned_by(self._shutting_down)  # noqa: SLF001  # as above
        view._guests = Guests(view._client)  # noqa: SLF001  # as above
        return view

    def _resources(
        self, client: Client, steps: Callable[[list[object]], Iterator[object]]
    ) -> Resources:
        resources = Resources()
        for row in steps(_list(client, "cluster", "resources")):
            resources.add(row, self._node)
        return resources

    def _steps(self, listing: list[object]) -> Iterator[object]:
        """Given a listing, yield its rows; feed the watchdog meanwhile, and hear of a stop."""
        for number, row in enumerate(listing):
            if number % _ROWS_A_STEP == 0:
                self._step()
            yield row
        self._step()

    def _step(self) -> None:
        self._beat()
        if self._shutting_down.is_set():
            # Half a look would read as guests that cannot be read.
            raise Interrupted("the agent is stopping")

    def _fresh_facts(self, client: Client) -> Facts:
        """Return the facts, asked for again if they are old."""
        now = self._clock()
        if now - self._facts_read < FACTS_AGE and not self._outdated.is_set():
            return self.facts
        self._outdated.clear()
        facts = self._read_facts(client)
        self._facts_read = now
        return facts

    def _read_facts(self, client: Client) -> Facts:
        version = client.get("version")
        self._step()
        options = client.get("cluster", "options")
        self._step()
        try:
            facts = rows.facts_of(version, options)
        except Odd as odd:
            raise odd_answer("GET /version", client.config.endpoint, str(odd)) from None
        if facts.version != self._packages_of:
            self._packages, self._packages_of = _packages(client, self._node), facts.version
        rights, zones = read_rights(client), read_zones(client)
        bridges = read_bridges(client)
        self._step()
        if rights == self.facts.rights:
            rights = self.facts.rights  # the same object, so that plans compare it at once
        return replace(facts, packages=self._packages, rights=rights, zones=zones, bridges=bridges)

    def _listed(
        self, client: Client, resources: Resources, odd: dict[str, str]
    ) -> tuple[dict[int, ActualGuest], int]:
        """Return the guests of the node's listings, and how many rows tell no vmid."""
        here: dict[int, ActualGuest] = {}
        unclear = dict(resources.guests.unclear)
        nameless = 0
        for kind in Kind:
            listing = Listing()
            # Only in full does PVE tell of a VM that is paused, or hangs (recorded: 9.2 204/058).
            full = {"full": 1} if kind is Kind.QEMU else {}
            for row in self._steps(_list(client, "nodes", self._node, kind, **full)):
                listing.add(row)
            unclear |= listing.unclear
            unclear |= dict.fromkeys(listing.rows.keys() & here.keys(), "PVE lists it twice")
            for vmid, found in listing.rows.items():
                placed = resources.guests.rows.get(vmid, {})
                here[vmid] = rows.guest_of(vmid, kind, self._node, found, placed)
            if listing.nameless:
                odd[f"nodes/{self._node}/{kind}"] = _left_out(listing.nameless)
                nameless += listing.nameless
        for vmid, row in resources.guests.rows.items():
            kind = here[vmid].kind if vmid in here else _kind(row)
            if vmid in unclear:
                here[vmid] = ActualGuest(vmid, kind, self._node, None, unread=unclear[vmid])
        for vmid in unclear.keys() & here.keys():
            here[vmid] = ActualGuest(vmid, here[vmid].kind, self._node, None, unread=unclear[vmid])
        return here, nameless

    def _configurations(
        self,
        client: Client,
        here: dict[int, ActualGuest],
        vmids: Collection[int],
        arrived: Arrived = _ignore,
        readers: int = READERS,
    ) -> Reading:
        """Read the configurations of declared guests into `here`."""
        wanted = [here[vmid] for vmid in sorted(vmids) if vmid in here and not here[vmid].unread]
        guests = Guests(client)
        reading = Reading(
            lambda guest: guests.configured(guest, raw=guest.vmid in self._raw),
            self._shutting_down,
        )
        with ThreadPoolExecutor(readers, thread_name_prefix="read") as pool:
            batch: dict[int, ActualGuest] = {}
            for guest in pool.map(reading, wanted):
                here[guest.vmid] = guest
                if self.reporter is not None:
                    self.reporter.saw(guest)
                self._step()
                if len(batch) == BATCH:
                    arrived(Actual(self._node, batch, facts=self.facts))
                    batch = {}
                batch[guest.vmid] = guest
        self._step()
        return reading

    def _report(
        self,
        client: Client,
        reporter: Reporter,
        listed: dict[int, ActualGuest],
        declared: Collection[int],
        *,
        reads: bool,
        cpu: object,
    ) -> None:
        """Given the guests of the node's listings, leave behind what a hub may be told of them.

        Without `reads` no further configuration is asked for: the node did not answer in time.
        `cpu` is what the cluster's resources tell of the node's load: its status has what one
        worker saw since it was asked the last time, which is mostly nothing (PVE: pve-common
        ProcFSTools.pm read_proc_stat).
        """
        others = {vmid for vmid in listed if reporter.named(vmid)}.difference(declared)
        if others and reads:
            self._configurations(client, listed, others)
        try:
            status = _table(client, "nodes", self._node, "status")
        except Unchanged as error:
            reporter.withdraw(str(error))
        else:
            reporter.publish({**status, "cpu": cpu}, listed.values())

    def _actual(
        self,
        client: Client,
        resources: Resources,
        here: dict[int, ActualGuest],
        vmids: Collection[int],
        *,
        blurred: bool,
        alone: bool = False,
    ) -> Actual:
        elsewhere = {}
        for vmid, row in resources.guests.rows.items():
            if vmid in here:
                continue
            try:
                _, node = rows.place_of(row)
            except Odd as odd:
                if not alone or vmid in vmids:
                    here[vmid] = ActualGuest(vmid, _kind(row), self._node, None, unread=str(odd))
                continue
            if node != self._node:
                elsewhere[vmid] = node
        unseen = set(vmids) - here.keys() - resources.guests.rows.keys()
        hidden = self._hidden(client, resources, unseen, alone=alone)
        if blurred:
            hidden |= set(vmids) - here.keys() - elsewhere.keys()
        return Actual(
            node=self._node,
            guests=here,
            elsewhere=elsewhere,
            offline=frozenset(resources.offline),
            hidden=frozenset(hidden),
            facts=self.facts,
        )

    def _hidden(
        self, client: Client, resources: Resources, unseen: set[int], *, alone: bool
    ) -> set[int]:
        """Given declared guests that PVE does not list, return those that the token may not see.

        Raise Denied if it may see no guest at all.
        """
        if not unseen:
            return set()
        listed = resources.guests.rows or resources.guests.unclear
        if alone and listed:
            # For one path PVE works out what the list of all cannot tell (`rows.may_audit`).
            (vmid,) = unseen
            held = _table(client, "access", "permissions", path=f"/vms/{vmid}")
            return set() if rows.may_audit_any(held) else unseen
        held = _table(client, "access", "permissions")
        if not listed and not rows.may_audit_any(held):
            raise Denied(
                "the token may see no guest at all: it lacks VM.Audit",
                call="GET /access/permissions",
                path="/vms",
                privilege="VM.Audit",
            )
        return {vmid for vmid in unseen if not rows.may_audit(held, vmid)}

    def _where_it_was(self, vmid: int, kind: Kind) -> ActualGuest | None:
        """Return a guest of which the latest snapshot saw the kind; None if only the cluster's
        resources can tell what became of it, or how HA holds it.
        """
        try:
            status = self._guests.status(kind, vmid)
            if not rows.tells_ha(status):
                return None
            return self._read(vmid, kind, status, {})
        except (Missing, Denied):
            return None

    def _where_placed(self, vmid: int, resources: Resources) -> ActualGuest | None:
        """Return a guest that the resources place here; None if they do not, or it is gone."""
        row = resources.guests.rows.get(vmid)
        if row is None:
            return None
        try:
            if why := resources.guests.unclear.get(vmid):
                raise Odd(why)
            kind, node = rows.place_of(row)
        except Odd as odd:
            raise unexpected(vmid, odd) from None
        if node != self._node:
            return None
        try:
            return self._read(vmid, kind, self._guests.status(kind, vmid), row)
        except Missing:
            return None

    def _read(self, vmid: int, kind: Kind, status: Row, placed: Row) -> ActualGuest:
        """Given a guest's status and its row of the resources, return it with its configuration."""
        guest = rows.guest_of(vmid, kind, self._node, status, placed)
        if guest.unread:
            raise unexpected(vmid, Odd(guest.unread))
        if rows.hides_ha(guest, status, known=vmid in self._in_ha):
            # HA's own word; where the token may not hear it, that of the cluster's resources.
            guest = rows.under_ha(guest, self._ha_status(self._client, must_tell=not placed))
        return self._guests.configured(guest, raw=vmid in self._raw)

    def _ha_status(self, client: Client, *, must_tell: bool = False) -> HaStatus:
        """Return what HA tells; nothing where the token may not ask. Raise Denied instead if it
        `must_tell`.
        """
        try:
            return ha_status_of(client.get("cluster", "ha", "status", "current"))
        except Denied as error:
            if must_tell:
                raise
            _log.debug("whether HA is armed cannot be asked for: %s", error)
            return HaStatus()

    def _say(self, odd: dict[str, str]) -> None:
        """Given where PVE's listings make no sense, log what was not so the last time."""
        for where, what in odd.items():
            if where not in self._odd:
                text = "unexpected response from PVE: GET /%s: %s; see `pvesh get /%s`"
                _log.warning(text, where, what, where)
        self._odd = odd


def _take_known(here: dict[int, ActualGuest], known: ActualGuest | None) -> bool:
    """Given a guest as it was seen, take its configuration over into the guests here; return
    whether that makes sense.
    """
    listed = here.get(known.vmid) if known is not None else None
    if known is None or listed is None or listed.unread or known.config is None:
        return False
    # What is in effect changes at a start, and what waits may be applied at a stop.
    if (listed.kind, listed.state) != (known.kind, known.state):
        return False
    here[known.vmid] = replace(
        listed, config=known.config, digest=known.digest, pending=known.pending
    )
    return True


def _left_out(number: int) -> str:
    return f"rows that do not tell what they are of, and are left out: {number}"


def _kind(row: Row) -> Kind:
    return Kind.LXC if row.get("type") == Kind.LXC else Kind.QEMU


def _list(client: Client, *path: str, **params: int) -> list[object]:
    """Return a listing. Raise Unanswered if it is none."""
    answer = client.get(*path, **params)
    if not isinstance(answer, list):
        raise odd_answer(f"GET /{'/'.join(path)}", client.config.endpoint)
    return answer


def _packages(client: Client, node: str) -> Mapping[str, str]:
    """Return the versions of PVE's packages; none where the token may not ask for them."""
    try:
        found = _list(client, "nodes", node, "apt", "versions")
    except Unchanged as error:
        _log.debug("the packages' versions cannot be read: %s", error)
        return MappingProxyType({})
    return MappingProxyType(installed(row for row in found if isinstance(row, dict)))


def _table(client: Client, *path: str, **params: str) -> Row:
    """Return an object. Raise Unanswered if it is none."""
    answer = client.get(*path, **params)
    if not isinstance(answer, dict):
        raise odd_answer(f"GET /{'/'.join(path)}", client.config.endpoint)
    return answer
