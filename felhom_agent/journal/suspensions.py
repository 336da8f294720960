"""Pauses and freezes: a person's word that nothing is changed, kept until a person or time ends it.

A *pause* holds one guest, or all; a *freeze* holds everything on this host. Both are facts of their
own in the journal. They outlive the process, compaction and the declaration of their guest:

    {"suspend":101,"freeze":false,"since":...,"left":7200.0,"why":"...","by":"root",
     "wall":...,"boottime":...,"boot":"..."}
    {"suspend":101,"freeze":false,"ended":...,"by":"root"}

`suspend` is the vmid, 0 for all guests. `left` is how many seconds there were to go when the record
was written, at the moment that `wall`, `boottime` and `boot` name; null: until a person ends it. A
pause that ends by itself once its guest is declared in another way has the fingerprint of that
declaration, `declared`. The latest record on each counts.

Clocks. No jump of the wall clock may end a freeze early, or keep it for ever. So:

* within one boot only CLOCK_BOOTTIME counts, whatever the wall clock does, and whoever restarts
  the agent;
* across boots there is nothing but the wall clock: what it says has passed since the latest record
  counts, and never less than nothing. What had passed before that record stays passed;
* therefore `keep`, called at each pass, writes a record anew: at the first pass of another boot;
  each minute in a young boot, and more and more seldom down to each hour; and as soon as the
  wall clock was moved against the time since boot, so that the next boot starts out from the
  right time;
* an end by time is written down, too, so that no clock brings it back.

What remains: a host whose clock is wrong at a boot by more than what is left (a dead battery, and
ahead) ends a suspension early; one that is behind makes it longer, by the time that it was off.

Threads: one lock is held by whoever writes, from the append to the new table, so that the table is
what a replay of the journal gives. The table is replaced as a whole and read without the lock, by
any thread. Nothing waits here but for the append.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from felhom_agent.durable.line import Record
from felhom_agent.journal.log import JournalLog
from felhom_agent.journal.shape import MAX_SUSPENSION, is_said, is_vmid
from felhom_agent.service.boot import boot_id, since_boot
from felhom_agent.service.events import GUEST_PAUSED, GUEST_RESUMED, HOST_FROZEN, HOST_THAWED
from felhom_agent.service.logging import fields
from felhom_agent.service.names import Names

_log = logging.getLogger(__name__)

ALL = 0
"""Stands for all guests where a vmid is expected."""
MAX_PAUSED = 5000
BY_TIME = "time"
"""Who ended a suspension whose time was over."""

# How far the wall clock may drift from the time since boot before that counts as moved, seconds.
_MOVED = 60.0
_SELDOM, _OFTEN, _SHARE = 3600.0, 60.0, 0.5


@dataclass(frozen=True)
class Suspension:
    """One pause (of a guest, or of all: vmid 0) or the freeze, as it stands.

    `since` is when it was said, in seconds since the epoch; `left` how many seconds it has yet to
    go (None: until a person ends it). `declared` is the fingerprint of the guest's declaration if
    the pause ends with that (empty: it does not).
    """

    vmid: int
    freeze: bool
    since: float
    left: float | None
    why: str
    by: str
    declared: str = ""


@dataclass(frozen=True)
class Moment:
    """One moment by three clocks: seconds since the epoch, since the boot, and which boot it is
    (empty: nobody knows).
    """

    wall: float
    boottime: float
    boot: str

    def is_moved(self, since: Moment) -> bool:
        """Given an earlier moment of this boot, return whether the wall clock was moved since."""
        return abs((self.wall - since.wall) - (self.boottime - since.boottime)) > _MOVED


@dataclass(frozen=True)
class _Entry:
    """What was said, `left` being as of the moment `at`, which is one of this boot.

    `until` is when it ends by the wall clock, for people; `written` whether the journal has it so.
    """

    said: Suspension
    at: Moment
    until: float | None
    written: bool = True

    def left(self, boottime: float) -> float | None:
        if self.said.left is None:
            return None
        return max(0.0, self.said.left - max(0.0, boottime - self.at.boottime))

    def is_over(self, boottime: float) -> bool:
        return self.left(boottime) == 0.0

    def is_due(self, now: Moment) -> bool:
        """Return whether the journal should have it anew."""
        if self.said.left is None:
            return False
        # So of a boot that lasts two minutes at least half is remembered, however often there is
        # another one.
        pause = min(_SELDOM, max(_OFTEN, self.at.boottime * _SHARE))
        return not self.written or now.boottime - self.at.boottime >= pause or now.is_moved(self.at)

    def at_moment(self, now: Moment) -> _Entry:
        left = self.left(now.boottime)
        until = self.until
        # Not for each drift of a second: the time is told to people, and the same each time.
        if left is None or until is None or abs(now.wall + left - until) > _MOVED:
            until = None if left is None else now.wall + left
        return _Entry(replace(self.said, left=left), now, until)


_Key = tuple[int, bool]
_Table = Mapping[_Key, _Entry]
_FREEZE: _Key = (ALL, True)


class Suspensions:
    """All pauses of guests, and the freeze of this host.

    `now` tells seconds since the epoch, `boottime` those since the boot whose id is `boot`.
    """

    def __init__(
        self,
        log: JournalLog,
        records: Iterable[Record],
        now: Callable[[], float],
        boottime: Callable[[], float] = since_boot,
        boot: str | None = None,
        names: Names | None = None,
    ) -> None:
        """`names` are what guests are called in the log."""
        self._names = names or Names()
        self._log = log
        self._now = now
        self._boottime = boottime
        self._boot = boot_id() if boot is None else boot
        self._writing = threading.Lock()
        self._table = _table(records, self._moment())

    def pause(
        self, vmid: int, seconds: float | None, why: str, by: str, declared: str = ""
    ) -> None:
        """Given a vmid (0: all guests), for how long (None: until a person ends it), why and who
        says so, pause; return when it is durable. It takes the place of an earlier one. With the
        fingerprint of the guest's declaration it is to be ended once that is another one.

        Raise ValueError if the words are not to be taken, JournalError if it cannot be kept.
        """
        if vmid != ALL and not is_vmid(vmid):
            raise ValueError(f"{vmid!r} is no vmid")
        self._begin(Suspension(vmid, False, self._now(), seconds, why, by, declared))

    def resume(self, vmid: int, by: str) -> bool:
        """Given a vmid and who says so, end its pause; return whether there was one. 0 ends the
        pause of all; a guest that was paused by itself stays so.

        Raise ValueError or JournalError as `pause` does.
        """
        return self._end((vmid, False), by)

    def freeze(self, seconds: float | None, why: str, by: str) -> None:
        """Given for how long (None: until a person ends it), why and who says so, hold everything
        on this host; return when it is durable. It takes the place of an earlier one.

        Raise ValueError or JournalError as `pause` does.
        """
        if not why:
            raise ValueError("a freeze must say why")
        self._begin(Suspension(ALL, True, self._now(), seconds, why, by))

    def thaw(self, by: str) -> bool:
        """Given who says so, end the freeze; return whether there was one.

        Raise ValueError or JournalError as `pause` does.
        """
        return self._end(_FREEZE, by)

    def reason(self, vmid: int) -> str:
        """Return why a guest is paused (0: why all are); empty if it is not."""
        keys: list[_Key] = [(vmid, False), (ALL, False)] if vmid else [(ALL, False)]
        return "; ".join(filter(None, map(self._reason, keys)))

    def is_paused(self, vmid: int) -> bool:
        """Return whether a guest is paused by itself."""
        return bool(self._reason((vmid, False)))

    def frozen(self) -> str:
        """Return why this host is frozen; empty if it is not."""
        return self._reason(_FREEZE)

    def all(self) -> tuple[Suspension, ...]:
        """Return what is in force: the freeze first, then the pause of all, then each guest's."""
        return _in_force(self._table, self._boottime())

    def paused(self) -> str:
        """Return in a few words which guests are paused by themselves; empty if none is."""
        found = [each.vmid for each in self.all() if each.vmid]
        named = ", ".join(map(self._names.of, found[:3])) + (", ..." if found[3:] else "")
        return f"paused by hand: {named} ({len(found)})" if found else ""

    def summary(self) -> str:
        """Return in a few words what is in force; empty if nothing is."""
        return "; ".join(filter(None, [self.frozen(), self.reason(ALL), self.paused()]))

    def text(self, found: Suspension) -> str:
        """Given what `all` returned, return the reason in words."""
        return self._reason((found.vmid, found.freeze))

    def keep(self) -> None:
        """Write down what must not be forgotten of the time that passes; end what is over.

        Raise JournalError if it cannot be kept; what is over is so all the same.
        """
        now = self._moment()
        with self._writing:
            over = {k: e for k, e in self._table.items() if e.is_over(now.boottime)}
            due = {
                k: e.at_moment(now)
                for k, e in self._table.items()
                if k not in over and e.is_due(now)
            }
            if not (over or due):
                return
            self._log.append(
                *(_end_record(key, now.wall, BY_TIME) for key in over),
                *(_record(entry) for entry in due.values()),
            )
            kept = {k: e for k, e in self._table.items() if k not in over}
            self._table = MappingProxyType({**kept, **due})
        for key in over:
            self._log_end(key, BY_TIME)

    def _begin(self, said: Suspension) -> None:
        said = _checked(said)
        key, now = (said.vmid, said.freeze), self._moment()
        until = None if said.left is None else now.wall + said.left
        entry = _Entry(said, now, until)
        with self._writing:
            if said.vmid and key not in self._table and self._is_full():
                raise ValueError(f"at most {MAX_PAUSED} guests can be paused; pause all instead")
            self._log.append(_record(entry))
            self._table = MappingProxyType({**self._table, key: entry})
        event = HOST_FROZEN if said.freeze else GUEST_PAUSED
        _log.warning(
            "%s%s", self._subject(said.vmid), _text(entry), extra=_extra(event, said.vmid, said.by)
        )

    def _end(self, key: _Key, by: str) -> bool:
        if not is_said(by) or not by:
            raise ValueError("who ends it must be one line of at most 200 characters")
        with self._writing:
            if key not in self._table:
                return False
            over = self._table[key].is_over(self._boottime())
            self._log.append(_end_record(key, self._now(), BY_TIME if over else by))
            rest = {k: e for k, e in self._table.items() if k != key}
            self._table = MappingProxyType(rest)
        self._log_end(key, BY_TIME if over else by)
        return not over

    def _log_end(self, key: _Key, by: str) -> None:
        vmid, freeze = key
        event = HOST_THAWED if freeze else GUEST_RESUMED
        what = "the freeze" if freeze else "the pause" if vmid else "the pause of all guests"
        how = "its time is over" if by == BY_TIME else f"ended by {by}"
        extra = _extra(event, vmid, by)
        _log.info("%s%s has ended: %s", self._subject(vmid), what, how, extra=extra)

    def _subject(self, vmid: int) -> str:
        return f"{self._names.guest(vmid)}: " if vmid else ""

    def _is_full(self) -> bool:
        return sum(1 for vmid, _ in self._table if vmid) >= MAX_PAUSED

    def _reason(self, key: _Key) -> str:
        entry = self._table.get(key)
        return "" if entry is None or entry.is_over(self._boottime()) else _text(entry)

    def _moment(self) -> Moment:
        return Moment(self._now(), self._boottime(), self._boot)


def in_force(records: Iterable[Record], now: Moment) -> tuple[Suspension, ...]:
    """Given a journal's records and the moment, return what is in force: for who reads the journal
    of an agent that does not run.
    """
    return _in_force(_table(records, now), now.boottime)


def reasons(records: Iterable[Record], now: Moment) -> dict[Suspension, str]:
    """Given a journal's records and the moment, return what is in force, each with its reason."""
    table = _table(records, now)
    found = {(each.vmid, each.freeze): each for each in _in_force(table, now.boottime)}
    return {each: _text(table[key]) for key, each in found.items()}


def _in_force(table: _Table, boottime: float) -> tuple[Suspension, ...]:
    found = [
        replace(entry.said, left=entry.left(boottime))
        for entry in table.values()
        if not entry.is_over(boottime)
    ]
    return tuple(sorted(found, key=lambda each: (not each.freeze, each.vmid)))


def _checked(said: Suspension) -> Suspension:
    if not (is_said(said.why) and is_said(said.by) and said.by and is_said(said.declared)):
        raise ValueError("why and by whom must be one line of at most 200 characters each")
    if said.left is None:
        return said
    if not 1 <= said.left <= MAX_SUSPENSION:
        raise ValueError("must last from one second to 366 days, or until a person ends it")
    return replace(said, left=float(said.left))


def _table(records: Iterable[Record], now: Moment) -> _Table:
    latest = {(r["suspend"], r["freeze"]): r for r in records if "suspend" in r}
    found = {key: _entry(r, now) for key, r in latest.items() if "ended" not in r}
    return MappingProxyType(found)


def _entry(record: Record, now: Moment) -> _Entry:
    at = Moment(record["wall"], record["boottime"], record["boot"])
    left = record["left"]
    said = Suspension(
        record["suspend"], record["freeze"], record["since"], left, record["why"], record["by"],
        record.get("declared", ""),
    )  # fmt: skip
    if left is None or (at.boot and at.boot == now.boot):
        return _Entry(said, at, None if left is None else at.wall + left)
    left = max(0.0, left - max(0.0, now.wall - at.wall))
    return _Entry(replace(said, left=left), now, now.wall + left, written=False)


def _record(entry: _Entry) -> Record:
    said, at = entry.said, entry.at
    more = {"declared": said.declared} if said.declared else {}
    return {
        "suspend": said.vmid, "freeze": said.freeze, "since": said.since, "left": said.left,
        "why": said.why, "by": said.by, "wall": at.wall, "boottime": at.boottime, "boot": at.boot,
        **more,
    }  # fmt: skip


def _end_record(key: _Key, now: float, by: str) -> Record:
    return {"suspend": key[0], "freeze": key[1], "ended": now, "by": by}


def _text(entry: _Entry) -> str:
    said = entry.said
    why = f": {said.why}" if said.why else ""
    until = "" if entry.until is None else f" until {_local(entry.until, said.since)}"
    if said.freeze:
        return f"frozen{until} by {said.by}{why}; `felhom-agent thaw` ends it"
    subject = "" if said.vmid else "all guests are "
    if until:
        return f"{subject}paused{until} by {said.by}{why}"
    command = f"`felhom-agent resume {said.vmid or '--all'}`"
    other = " or its declaration is changed" if said.declared else ""
    return f"{subject}paused by {said.by} until {command}{other}{why}"


def _local(seconds: float, since: float) -> str:
    """Return a time as this host's people read it; with its date if that is not the first day's."""
    then, began = (datetime.fromtimestamp(s).astimezone() for s in (seconds, since))
    return f"{then:%H:%M %Z}" if then.date() == began.date() else f"{then:%Y-%m-%d %H:%M %Z}"


def _extra(event: Any, vmid: int, by: str) -> dict[str, object]:
    return fields(event, vmid=vmid, by=by) if vmid else fields(event, by=by)
