"""Structure-aware junk in the place of PVE's answers.

`one` spoils a sound world as its bytes say, shows it to the observer and uses what that sees as the
agent does: prints it, hashes it, writes it down. Only documented errors may come of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from felhom_agent.config.secret import Secret
from felhom_agent.config.settings import ProxmoxConfig
from felhom_agent.errors import PveError, StillRunning
from felhom_agent.model import Actual, ActualGuest
from felhom_agent.proxmox import bodies
from felhom_agent.proxmox.cancel import Cancellation
from felhom_agent.proxmox.client import Client
from felhom_agent.proxmox.guests import Guests
from felhom_agent.proxmox.observer import Observer
from felhom_agent.proxmox.tasks import Tasks
from tests.hostile.odd_node import OddNode

UPID = "UPID:pve1:00006138:00037EA0:6B04A81C:qmstart:100:felhom-agent@pve!agent:"
CONFIG = ProxmoxConfig(endpoint="https://127.0.0.1:1", node="pve1", token_id="a@pve!b")
JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 100, 101, 2**31, 2**63, 10**30, 0.0, -0.5, 1e308, 1e999, "", " ",
    "0", "1", "100", "101", "running", "stopped", "qemu", "lxc", "node", "pve1", "pve2", "x" * 3000,
    "\x00\x1b[2J", "\u202e", "\ud800", "a\nb", "\u0661\u0660\u0660", UPID,
    UPID[:-1], [], {}, [[]], [{}], {"": []},
    {"key": "cores"}, {"vmid": 100}, {"state": "started", "managed": 1}, [None] * 50, ["digest"],
]  # fmt: skip
KEYS = [
    "vmid", "type", "node", "status", "lock", "template", "ha", "name", "key", "value", "pending",
    "delete", "digest", "hastate", "qmpstatus", "cgroup-mode", "tag-style", "version", "cores", "",
    "VM.Audit", "/vms", "/vms/300", "upid", "exitstatus", "t", "n",
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return choices that spoil each of the first places with each third piece of junk."""
    return [
        b"".join(number.to_bytes(2, "little") for number in (place, 1, way, 1, way, 4, junk))
        for place in range(12)
        for way in range(3)
        for junk in range(0, len(JUNK), 3)
    ]


class _Bytes:
    """Choices, drawn from bytes; where they end, the first of everything."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, limit: int) -> int:
        value = int.from_bytes(self._data[self._at : self._at + 2], "little")
        self._at += 2
        return value % limit

    @property
    def spent(self) -> bool:
        return self._at >= len(self._data)


class CannedClient(Client):
    """A client whose answers lie ready, as the bytes of a body that is read as any other."""

    def __init__(self, node: OddNode) -> None:
        super().__init__(CONFIG, Secret("x"))
        self._answers = node

    def _call(self, method: str, path: Any, params: Any) -> dict[str, Any]:
        where = "/" + "/".join(str(p) for p in path)
        body = {"data": self._answers(where), "total": self._answers("total")}
        try:
            # As a node could: a number of a thousand nines is an infinity to whoever reads it.
            text = json.dumps(body).replace("Infinity", "1e999")
            return bodies.parse(text.encode(), bodies.limit_of(path))
        except (ValueError, RecursionError):
            raise PveError("not JSON") from None


def one(data: bytes) -> None:
    """Given bytes, do one round. Raise what no caller of the observer is told of."""
    choices = _Bytes(data)
    node = OddNode()
    task = f"/nodes/pve1/tasks/{UPID}"
    node.answers[f"{task}/status"] = {"status": "stopped", "exitstatus": "failed"}
    node.answers[f"{task}/log"] = [{"n": 1, "t": "line"}, {"n": 2, "t": "TASK ERROR: failed"}]
    node.answers["/nodes/pve1/tasks"] = [
        {"upid": UPID, "type": "qmstart", "status": "failed", "starttime": 1, "endtime": 2}
    ]
    node.answers["total"] = 2
    while not choices.spent:
        _spoil(node.answers, choices)
    client = CannedClient(node)
    observer = Observer(client, Guests(client), threading.Event())
    looks: list[Callable[[], Actual]] = [
        lambda: observer.snapshot([100, 101, 200, 201, 300]),
        lambda: observer.observe_guest(100),
        lambda: observer.observe_guest(101),
        lambda: observer.observe_guest(300),
    ]
    for see in looks:
        try:
            actual = see()
        except PveError as error:
            str(error).encode()
            continue
        for guest in actual.guests.values():
            _use(guest)
        json.dumps(
            [sorted(actual.elsewhere.items()), sorted(actual.hidden), sorted(actual.offline)]
        )
        hash(actual.hidden)
        json.dumps(dict(actual.facts.packages))
    tasks = Tasks(client, Cancellation())
    asks: list[Callable[[], object]] = [
        lambda: tasks.end(UPID),
        lambda: tasks.find(100, "qmstart", 0.0),
        lambda: tasks.wait(UPID, 0.0),
    ]
    for ask in asks:
        try:
            str(ask()).encode()
        except (PveError, StillRunning) as error:
            str(error).encode()


def _use(guest: ActualGuest) -> None:
    assert guest.unread.isprintable()
    assert len(guest.unread) < 300
    assert not (guest.config is not None and guest.unread)
    json.dumps([guest.name, guest.lock, guest.ha_state, guest.digest]).encode()
    f"{guest.name}{guest.lock}{guest.ha_state}{guest.digest}{guest.node}".encode()
    if guest.config is not None:
        json.dumps(dict(guest.config), allow_nan=False).encode()
        json.dumps(dict(guest.pending), allow_nan=False).encode()
        "".join(str(v) for v in guest.config.values()).encode()
    assert replace(guest) == guest


def _spoil(whole: dict[str, Any], choices: _Bytes) -> None:
    """Change one place in the answers, wherever the choices lead."""
    paths = sorted(whole)
    holder: Any = whole
    key: Any = paths[choices.below(len(paths))]
    while isinstance(holder[key], dict | list) and holder[key] and choices.below(4):
        holder = holder[key]
        places = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = places[choices.below(len(places))]
    how = choices.below(5)
    value = JUNK[choices.below(len(JUNK))]
    if how == 0 and isinstance(holder, dict) and holder is not whole:
        holder[KEYS[choices.below(len(KEYS))]] = value
    elif how == 1 and holder is not whole:
        del holder[key]
    elif how == 2 and isinstance(holder, list):
        holder.append(holder[key])
    elif how == 3 and isinstance(holder[key], list):
        holder[key] = [*holder[key], value]
    else:
        holder[key] = value
