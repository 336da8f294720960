"""Whose configuration was written, from copies of pmxcfs' `.vmlist` and `.version`.

pmxcfs gives a guest a new version with each write of its configuration, by whomever and on whatever
node (recorded on 8.4 and 9.2). The versions begin anew with each pmxcfs; `.version` has its
`starttime`. A root helper (`felhom_agent/hintshelper.py`) copies the two files to where the agent's
user may read them, and gives `.version` a new time every few seconds.

What is promised: a write that the copies tell of is in `written`, or `everything` says why all must
be looked at. A copy that is absent, stale, garbage, or not of the same moment as the other one is
lost; from then on nothing is told until it is back, and then everything must be looked at once.
"""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from felhom_agent import regularfile

STALE_SECONDS: Final = 15.0
"""How long the time of `.version` may stay the same; three times what the helper promises."""

_FIRST: Final = "the first look"
_BACK: Final = "hints are back"
_MAX_VMID: Final = 999_999_999


@dataclass(frozen=True)
class Told:
    """What one of the two sources told since the look before; `Heard` has both."""

    guests: frozenset[int] = frozenset()
    everything: str = ""
    working: bool = False


class _Lost(Exception):
    """A copy cannot be used; `str()` says why."""


@dataclass(frozen=True)
class _Guest:
    node: str
    version: int


@dataclass(frozen=True)
class _State:
    """What the copies say; `session` is another one each time that they came back."""

    began: int
    version: int
    guests: Mapping[int, _Guest]
    session: str = ""


@dataclass
class _Copy:
    """One of the two files, as it was read last."""

    path: Path
    stamp: tuple[int, ...] = ()
    data: bytes = b""
    content: dict[str, Any] = field(default_factory=dict)

    def read(self) -> bool:
        """Read it if it was touched; return whether it has other content. Raise _Lost."""
        try:
            found = self.path.lstat()
            if not stat.S_ISREG(found.st_mode):
                raise _Lost(f"{self.path.name} is not a regular file")
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if stamp == self.stamp:
                return False
            data = regularfile.read(self.path).data
        except FileNotFoundError:
            raise _Lost(f"{self.path.name} is not there") from None
        except OSError as error:
            raise _Lost(f"{self.path.name}: {error.strerror}") from None
        except regularfile.FileUnreadable as error:
            raise _Lost(f"{self.path.name} {error}") from None
        changed = data != self.data
        if changed:
            self.content = _parsed(data, self.path.name)
        self.stamp, self.data = stamp, data
        return changed

    @property
    def modified(self) -> int:
        """When it was touched last, in nanoseconds since the epoch."""
        return self.stamp[2]


class HintFiles:
    """The two copies in a directory; used by one thread, the one that looks."""

    def __init__(
        self,
        directory: Path,
        node: str,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._node = node
        self._clock = clock
        self._wall = wall
        self._state: _State | None = None
        self._looked = False
        self._begin()

    def _begin(self) -> None:
        self._version = _Copy(self._directory / ".version")
        self._vmlist = _Copy(self._directory / ".vmlist")
        self._session = _Copy(self._directory / "session")
        self._state = None
        self._modified: int | None = None
        self._alive = 0.0

    def look(self) -> Told:
        """Return what was written since the look before. Raise nothing, wait for nothing."""
        first, self._looked = not self._looked, True
        before = self._state
        try:
            # In this order: the helper writes them in the other one.
            changed = self._version.read()
            changed = self._vmlist.read() or changed
            changed = self._session.read() or changed
            self._see_life()
            state = self._read_state() if changed else before
        except _Lost as lost:
            self._begin()
            why = f"hints were lost: {lost}" if before else ""
            return Told(everything=_FIRST if first else why)
        if state is None:
            return Told()
        self._state = state
        if before is None:
            return Told(everything=_FIRST if first else _BACK, working=True)
        if state is before:
            return Told(working=True)
        return self._difference(before, state)

    def _read_state(self) -> _State:
        session = self._session.content.get("session")
        if not isinstance(session, str):
            raise _Lost("session is of an odd shape")
        return replace(_state(self._version.content, self._vmlist.content), session=session)

    def _see_life(self) -> None:
        """Raise _Lost if the helper has not shown for too long that it lives."""
        modified, now = self._version.modified, self._clock()
        if self._modified is None:
            # Nobody has seen this file before: its time must be about now.
            self._alive = now - abs(self._wall() - modified / 1e9)
        elif modified < self._modified:
            raise _Lost(".version is older than the one before")
        elif modified > self._modified:
            self._alive = now
        self._modified = modified
        if now - self._alive > STALE_SECONDS:
            raise _Lost(f".version was not written again for {STALE_SECONDS:.0f} s")

    def _difference(self, before: _State, after: _State) -> Told:
        if after.began != before.began:
            return Told(everything="pmxcfs began anew", working=True)
        if after.session != before.session:
            return Told(everything=_BACK, working=True)
        if after.version < before.version or any(
            guest.version < before.guests[vmid].version
            for vmid, guest in after.guests.items()
            if vmid in before.guests
        ):
            return Told(everything="the versions of pmxcfs went down", working=True)
        rows = before.guests.items() ^ after.guests.items()
        mine = {vmid for vmid, guest in rows if guest.node == self._node}
        return Told(frozenset(mine), working=True)


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _Lost(f"{name} is no JSON") from None
    if not isinstance(content, dict):
        raise _Lost(f"{name} is of an odd shape")
    return content


def _state(version: Mapping[str, Any], vmlist: Mapping[str, Any]) -> _State:
    """Return what they say together. Raise _Lost if they are of an odd shape, or do not fit."""
    ids = vmlist.get("ids")
    if not isinstance(ids, dict):
        raise _Lost(".vmlist is of an odd shape")
    state = _State(
        _count(version.get("starttime"), ".version"),
        _count(vmlist.get("version"), ".vmlist"),
        dict(_guest(name, row) for name, row in ids.items()),
    )
    if len(state.guests) != len(ids):
        raise _Lost(".vmlist has a guest twice")
    if state.version < _count(version.get("vmlist"), ".version"):
        raise _Lost(".vmlist is older than .version")
    return state


def _guest(name: str, row: object) -> tuple[int, _Guest]:
    vmid = vmid_of(name)
    node = row.get("node") if isinstance(row, dict) else None
    if vmid is None or not isinstance(row, dict) or not isinstance(node, str) or not node:
        raise _Lost(".vmlist is of an odd shape")
    return vmid, _Guest(node, _count(row.get("version"), ".vmlist"))


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Lost(f"{name} is of an odd shape")
    return value


def vmid_of(name: str) -> int | None:
    """Given a name, return the guest's number that it is, or None if it is none."""
    if not (name.isascii() and name.isdigit() and len(name) <= len(str(_MAX_VMID))):
        return None
    return int(name) if name[0] != "0" else None
