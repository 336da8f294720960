"""The world of a node: its guests, tasks and tokens, and a person's hands on them.

`World` is both what the server answers from and what a test holds in its hand. Time is the `now`
it was given; nothing runs in the background: all that is due happens when somebody looks.

One lock, `World.guard`, is taken by every public word and by every call of the API, so that the
world may be used from any thread. It is never held while a request or an answer travels.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from felhom_agent.devnode.world import release
from felhom_agent.devnode.world.access import NOTHING_THERE, Caller, Tokens
from felhom_agent.devnode.world.authorize import Datacenter, allowed_tags
from felhom_agent.devnode.world.broadcast import Broadcasts
from felhom_agent.devnode.world.bulk import BulkOrder, start_all, stop_all
from felhom_agent.devnode.world.conf import Conf, Json
from felhom_agent.devnode.world.guest import (
    NOUN,
    TASK_PREFIX,
    Behaviour,
    Guest,
    behaviour_from,
    file_text,
    lock_file,
)
from felhom_agent.devnode.world.ha import ROOT, HaManager
from felhom_agent.devnode.world.hands import Hands
from felhom_agent.devnode.world.readback import DISK, TagStyle, description, split_drive
from felhom_agent.devnode.world.tasks import Task, TaskBook
from felhom_agent.devnode.world.volumes import switched_off
from felhom_agent.devnode.world.worker import EventQueue, Flock, Steps


class World(Hands):
    """A node with its guests, as `node` names it.

    `now` tells the time in seconds since the epoch. `lock_wait` is how long a config write really
    waits for a guest's lock before it answers, in seconds; PVE waits ten, a test waits none.
    A call that waits for its task (`background_delay`) lets the time pass by `waits`, in seconds;
    without that it waits really where time is, and not at all by a clock that a test moves.
    `tag_style` is the text of datacenter.cfg's tag-style, `max_workers` its setting of that name
    (None: it has none). `bridges` are those the node has, `cpu_models` the custom ones,
    `peers` the other nodes it knows, none of which answers, `offline` those of them that are off.
    `version` is the one of PVE that it answers as, "9.1" or "9.2"; `newer_parts` are parts of
    property strings that it takes and that the table of options does not know. /cluster/resources
    is up to `resources_lag` seconds late; PVE's up to 12. The list of tasks tells an end up to
    `tasks_lag` seconds late; PVE's up to 0.1.
    `zones` has the zone of each virtual network, `user_allow`, `user_allow_list` and
    `registered_tags` are datacenter.cfg's rules on tags.
    """

    def __init__(
        self,
        node: str = "pve1",
        now: Callable[[], float] = time.time,
        *,
        lock_wait: float = 0.0,
        waits: Callable[[float], None] | None = None,
        tag_style: str = "",
        version: str = release.OLDEST,
        resources_lag: float = 0.0,
        tasks_lag: float = 0.0,
        newer_parts: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.node = node
        self.lock_wait = lock_wait
        self.waits = waits
        self.in_real_time = now is time.time
        self.version = release.exact(version)
        self.cleanup_gap = release.cleanup_gap(self.version)
        self.newer_parts = frozenset(newer_parts)
        self.broadcasts = Broadcasts(resources_lag)
        self.offline: set[str] = set()
        self.tag_style = TagStyle(
            case_sensitive="case-sensitive=1" in tag_style,
            keep_order="ordering=config" in tag_style,
        )
        self.max_workers: int | None = None
        self.zones: dict[str, str] = {}
        self.user_allow = "free"
        self.user_allow_list: frozenset[str] = frozenset()
        self.registered_tags: frozenset[str] = frozenset()
        self.guard = threading.RLock()
        self.events = EventQueue(now())
        self.tasks = TaskBook(node, self.events, tasks_lag)
        self.tokens = Tokens()
        self.guests: dict[int, Guest] = {}
        self.peers: set[str] = set()
        self.bridges = {"vmbr0"}
        self.cpu_models: set[str] = set()
        self.manager = HaManager(self)
        self.born = self.events.moment
        self._now = now
        self._addresses = count(1)

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], now: Callable[[], float] = time.time) -> World:
        """Given the JSON of a world, return it. Raise `KeyError` or `TypeError` if it is wrong."""
        words = {
            k: spec[k]
            for k in ("tag_style", "version", "resources_lag", "tasks_lag", "newer_parts")
            if k in spec
        }
        world = cls(spec.get("node", "pve1"), now, **words)
        world.storages.update(spec.get("storages", {}))
        for vmid, guest in spec.get("guests", {}).items():
            world.add(
                guest["kind"],
                int(vmid),
                guest.get("config", {}),
                running=guest.get("running", False),
                behaviour=behaviour_from(guest.get("behaviour", {})),
            )
            if guest.get("lock"):
                world.lock(int(vmid), guest["lock"])
            if guest.get("node"):
                world.move(int(vmid), guest["node"])
            if guest.get("ha"):
                world.ha(int(vmid), guest["ha"])
            if guest.get("pool"):
                world.pool(int(vmid), guest["pool"])
            for name in guest.get("snapshots", ()):
                world.snapshot(int(vmid), name)
        return world

    def datacenter(self, caller: Caller) -> Datacenter:
        """Given who asks, return what of the datacenter decides who may change what.

        PVE: pve-guest-common GuestHelpers.pm get_allowed_tags
        """
        seen = (g for g in self.guests.values() if caller.may(f"/vms/{g.vmid}", "VM.Audit"))
        tags = (str(g.conf.values.get("tags", "")) for g in seen)
        existing = frozenset(tag for text in tags for tag in re.split("[,; ]+", text) if tag)
        return Datacenter(
            version=self.version,
            zones=dict(self.zones),
            user_allow=self.user_allow,
            allowed=allowed_tags(
                self.user_allow, self.user_allow_list, existing, self.registered_tags
            ),
            registered=self.registered_tags,
        )

    def catch_up(self) -> None:
        """Let everything happen that is due by now. The caller holds `guard`."""
        self.events.advance(self._now())

    def add(
        self,
        kind: str,
        vmid: int,
        config: Mapping[str, object] | None = None,
        *,
        running: bool = False,
        behaviour: Behaviour | None = None,
    ) -> None:
        """Given a kind ("qemu", "lxc") and a number, make a guest with that configuration."""
        if kind not in NOUN:
            raise ValueError(f"no such kind of guest: {kind!r}")
        with self.guard:
            guest = Guest(
                vmid=vmid,
                kind=kind,
                node=self.node,
                conf=Conf(kind),
                behaviour=behaviour or Behaviour(),
                flock=Flock(lock_file(kind, vmid)),
            )
            self.adopt(guest)
            self.guests[vmid] = guest
            self._write(guest, config or {})
            if running:
                guest.started(self.events.moment)

    def token(
        self,
        name: str,
        privileges: Mapping[str, Iterable[str]] | None = None,
        secret: str = "",
        there: Mapping[str, Iterable[str]] = NOTHING_THERE,
    ) -> str:
        """Given a token's full name, its privileges by path, its secret, if it is to keep one, and
        all its privileges on the paths that do not hand all of them down, return its secret.
        """
        with self.guard:
            return self.tokens.create(name, privileges, secret, there)

    def grant(self, name: str, privileges: Mapping[str, Iterable[str]]) -> None:
        """Given a token that there is, and all its privileges by path, let it have these."""
        with self.guard:
            self.tokens.grant(name, privileges)

    def config(self, vmid: int) -> dict[str, Json]:
        """Given a guest, return what GET config would answer now."""
        with self.guard:
            self.catch_up()
            return self.guests[vmid].conf.answer()

    def running(self, vmid: int) -> bool:
        """Given a guest, return whether it runs now."""
        with self.guard:
            self.catch_up()
            return self.guests[vmid].running

    def edit(self, vmid: int, changes: Mapping[str, object], delete: Iterable[str] = ()) -> None:
        """Given a guest, change its file by hand, at once, as a person with an editor does."""
        with self.guard:
            self.catch_up()
            guest = self.guests[vmid]
            self._write(guest, changes)
            for key in delete:
                guest.conf.drop(key)

    def behave(self, vmid: int, behaviour: Behaviour) -> None:
        """Given a guest, let it behave otherwise from now on."""
        with self.guard:
            self.guests[vmid].behaviour = behaviour

    def start(self, vmid: int) -> None:
        """Let a person (root@pam) start a guest; it runs at once."""
        self._by_hand("start", vmid, lambda guest: guest.started(self.events.moment))

    def stop(self, vmid: int) -> None:
        """Let a person (root@pam) stop a guest; it is off at once."""
        self._by_hand("stop", vmid, lambda g: switched_off(g, writable=self.quorate))

    def bulk(self, verb: str, user: str = ROOT) -> None:
        """Let the node "startall" or "stopall" its guests, as it does when it is booted or shut
        down; the task goes on for as long as its guests take.
        """
        with self.guard:
            self.catch_up()
            steps = start_all if verb == "startall" else stop_all
            order = BulkOrder(user, force=verb == "stopall")
            self.tasks.start(verb, "", user, lambda task: steps(self, order, task))

    def suspend(self, vmid: int) -> None:
        """Let a person pause a guest: it is still `running`, its QEMU says `paused`."""
        self._by_hand("pause", vmid, _pause)

    def resume(self, vmid: int) -> None:
        """Let a person wake a paused guest."""
        self._by_hand("resume", vmid, _resume)

    def lock(self, vmid: int, word: str) -> None:
        """Put a lock ("backup", ...) into a guest's file."""
        self.edit(vmid, {"lock": word})

    def unlock(self, vmid: int) -> None:
        """Take the lock out of a guest's file."""
        self.edit(vmid, {}, delete=["lock"])

    def remove(self, vmid: int) -> None:
        """Let a person destroy a guest; it is gone at once."""

        def destroy(guest: Guest) -> None:
            del self.guests[guest.vmid]

        self._by_hand("destroy", vmid, destroy)

    def create(self, kind: str, vmid: int, config: Mapping[str, object] | None = None) -> None:
        """Let a person create a guest, as `add` does and with the task that PVE makes of it."""
        self.add(kind, vmid, config)
        self._by_hand("create", vmid, lambda _: None)

    def move(self, vmid: int, node: str) -> None:
        """Migrate a guest to another node, which is known but does not answer here."""
        with self.guard:
            self.catch_up()
            self.guests[vmid].node = node
            if node != self.node:
                self.peers.add(node)

    def peer(self, node: str, *, online: bool = True) -> None:
        """Let another node be known to the cluster; it does not answer here either way."""
        with self.guard:
            self.peers.add(node)
            (self.offline.discard if online else self.offline.add)(node)

    def ha(self, vmid: int, state: str) -> None:
        """Put a guest under the HA manager ("started", "stopped", "ignored", ...; "": out)."""
        with self.guard:
            self.catch_up()
            self.manager.manage(self.guests[vmid], state)

    def disarm_ha(self, mode: str) -> None:
        """Disarm HA with that resource mode ("freeze", "ignore"); "" arms it again."""
        with self.guard:
            self.catch_up()
            self.manager.disarm(mode)

    def pool(self, vmid: int, name: str) -> None:
        """Put a guest into a pool; an empty name takes it out of the one that it is in."""
        with self.guard:
            self.catch_up()
            self.guests[vmid].pool = name

    def here(self, kind: str, vmid: int) -> Guest | None:
        """Given a kind and number, return the guest if this node has it."""
        guest = self.guests.get(vmid)
        found = guest is not None and guest.kind == kind and guest.node == self.node
        return guest if found else None

    def all_here(self) -> list[Guest]:
        """Return this node's guests."""
        return [guest for guest in self.guests.values() if guest.node == self.node]

    def changed(self, guest: Guest) -> None:
        """Hear that a guest was started or stopped."""
        if not guest.running:
            guest.stopped_at = self.events.moment
        self.manager.watch(guest)

    def mac(self) -> str:
        """Return a new MAC address with the prefix of Proxmox."""
        number = next(self._addresses)
        return f"BC:24:11:{number >> 16 & 255:02X}:{number >> 8 & 255:02X}:{number & 255:02X}"

    def _by_hand(self, verb: str, vmid: int, act: Callable[[Guest], None]) -> None:
        with self.guard:
            self.catch_up()
            guest = self.guests[vmid]

            def work(task: Task) -> Steps:
                del task
                act(guest)
                self.changed(guest)
                yield 0.0

            self.tasks.start(f"{TASK_PREFIX[guest.kind]}{verb}", vmid, ROOT, work)

    def _write(self, guest: Guest, changes: Mapping[str, object]) -> None:
        for key, value in _flat(changes).items():
            text: str | None = file_text(value)
            if key == "description":
                text = description(guest.kind, str(value))
            if text is None:
                guest.conf.drop(key)
                continue
            guest.conf.put(key, text)
            volume, parts = split_drive(text)
            if DISK.fullmatch(key) and "size" in parts:
                guest.sizes[volume] = parts["size"]


def _flat(config: Mapping[str, object]) -> dict[str, object]:
    """Return a configuration with the pairs of `lxc` as the lines of their keys."""
    flat = {key: value for key, value in config.items() if key != "lxc"}
    pairs = config.get("lxc", ())
    for key, line in pairs if isinstance(pairs, (list, tuple)) else ():
        flat[key] = f"{flat[key]}\n{line}" if key in flat else line
    return flat


def _pause(guest: Guest) -> None:
    guest.paused = guest.running


def _resume(guest: Guest) -> None:
    guest.paused = False
