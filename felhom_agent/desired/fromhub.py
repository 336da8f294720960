"""What a hub desires, as far as it was found good, and kept on the disk.

A generation is validated whole, by the same rules as a guest file and some more, stored durably,
and only then used; or it is refused whole, and the one before stays. It survives a restart, and is
used while the hub is away. A generation that goes back is refused.

The hub may wish for what can be undone. What only the host's owner may say is refused from it: to
pull a plug (`stop`), to restart (`restart`), to confirm another guest (`identity`).

Threads: one lock guards what is in force. `accept` and `block` belong to the hub loop, `load` to
the main loop; the disk is written outside of the lock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from felhom_agent.desired.guestfile import guests_of
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.journal.disk import DISK, Disk, prepare
from felhom_agent.journal.file import write_in_place
from felhom_agent.journal.line import Unreadable, body_of, decode, encode
from felhom_agent.model import Desired, DesiredGuest, Place, Problem
from felhom_agent.tomlfile import TomlFile

NAME = "hub.json"
OWNERS_WORDS = ("stop", "restart", "identity")
MOST_GUESTS = 5000


@dataclass(frozen=True)
class Kept:
    """What the disk has: the state as the hub gave it, its generation and ETag, and the block."""

    generation: int = 0
    etag: str = ""
    blocked: bool = False
    state: Mapping[str, Any] | None = None


class HubProvider:
    """Desires what the hub last wished and was found good."""

    def __init__(self, directory: Path, disk: Disk = DISK) -> None:
        """Raise FelhomError if what was kept cannot be read; it is then not guessed at."""
        self._path = directory / NAME
        self._disk = disk
        self._lock = threading.Lock()
        self._kept = _read(self._path)
        guests, problems = read_state(self._kept.state or {}, self._source())
        # Rules may have grown since it was accepted; then nothing of it is in force.
        self._problems = tuple(problems)
        self._guests = {} if problems else guests

    @property
    def kept(self) -> Kept:
        """What is in force, as it is kept on the disk."""
        with self._lock:
            return self._kept

    def load(self) -> Desired:
        """Return what is desired, with what is wrong with it."""
        with self._lock:
            return Desired(MappingProxyType(dict(self._guests)), self._problems)

    def accept(self, generation: int, state: object, etag: str = "") -> None:
        """Given a generation of the desired state, put it in force once it is durable.

        Raise ConfigError with all that is wrong with it, FelhomError if it is not newer or cannot
        be kept; what was in force stays so.
        """
        kept = self.kept
        if generation <= kept.generation:
            raise FelhomError(
                f"generation {generation} is not newer than {kept.generation}, which stays in force"
            )
        if not isinstance(state, dict):
            raise FelhomError("the desired state is no object")
        guests, problems = read_state(state, f"generation {generation} of the hub")
        if problems:
            raise ConfigError(tuple(problems))
        fresh = replace(kept, generation=generation, etag=etag, state=state)
        self._keep(fresh)
        with self._lock:
            self._kept, self._guests, self._problems = fresh, guests, ()

    def block(self, *, blocked: bool) -> None:
        """Keep whether the hub has blocked this host. Raise FelhomError if that cannot be kept."""
        fresh = replace(self.kept, blocked=blocked)
        self._keep(fresh)
        with self._lock:
            self._kept = fresh

    def _source(self) -> str:
        return f"generation {self._kept.generation} of the hub"

    def _keep(self, kept: Kept) -> None:
        record = {"generation": kept.generation, "etag": kept.etag, "blocked": kept.blocked,
                  "state": kept.state}  # fmt: skip
        try:
            prepare(self._path.parent, self._disk)
            write_in_place(self._disk, self._path, encode(1, body_of(record)))
        except OSError as error:
            raise FelhomError(f"{self._path}: cannot be written: {error.strerror}") from None


def read_state(
    state: Mapping[str, Any], source: str
) -> tuple[dict[int, DesiredGuest], list[Problem]]:
    """Given a desired state as JSON, return its guests and all that is wrong with it."""
    guests, problems = guests_of(TomlFile(source, state))
    if len(guests) > MOST_GUESTS:
        problems.append(Problem(Place(source), f"more than {MOST_GUESTS} guests"))
    table = state.get("guest")
    for name, body in table.items() if isinstance(table, dict) else ():
        for word in OWNERS_WORDS:
            if isinstance(body, dict) and word in body:
                text = f"guest {name}: {word} is for a file on the host; a hub cannot say it"
                problems.append(Problem(Place(source), text))
    return guests, problems


def _read(path: Path) -> Kept:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise FelhomError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        _, record = decode(data.rstrip(b"\n"))
        return Kept(record["generation"], record["etag"], record["blocked"], record["state"])
    except (Unreadable, KeyError, json.JSONDecodeError):
        raise FelhomError(
            f"{path}: is damaged; move it away, and the hub is asked for its state anew"
        ) from None
