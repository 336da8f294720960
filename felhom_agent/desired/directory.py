"""A directory of guest files.

All `*.toml` of the directory speak, in the order of their names. What is wrong costs its own part:

* a guest whose table is wrong keeps its last good declaration, and the other guests of the file
  follow the new text;
* a file that cannot be read or parsed, or was emptied or cut off, keeps its last good version;
* a directory that cannot be listed keeps everything.

Where there was nothing good before, a guest is *held*: nothing is done to it, and nobody else may
speak for it. Trouble is reported until it is mended, and never reads as "nothing desired". A guest
that two files declare is a problem that names both; it stays as it was, or is held.

A file is read again only if it changed by its stamp, and parsed again only if its content changed,
so that what did not change is the same object as before.

All of this survives a restart where `last_good` keeps it (`lastgood`).

A file that was removed is no longer spoken for: its guests become unmanaged, and nothing is done to
them. What changed is believed only once it has been left alone for a while (`settle`).
"""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from felhom_agent import regularfile
from felhom_agent.config import tomlfile
from felhom_agent.desired.filemerge import Merge, named, numbered
from felhom_agent.desired.lastgood import LastGood
from felhom_agent.desired.readfile import FileState, parsed, unread
from felhom_agent.desired.settle import CHANGING, Clock, Settling
from felhom_agent.desired.told import restored
from felhom_agent.errors import ConfigError
from felhom_agent.model import Desired, DesiredGuest, Place, Problem
from felhom_agent.regularfile import Stamp

MAX_FILES: Final = 5000
"""How many guest files a directory may have."""
MAX_ENTRIES: Final = 100_000
"""How many names of any kind a directory may have before it is not listed to its end."""
MAX_BYTES: Final = 50_000_000
"""How large all guest files may be together."""
MAX_PROBLEMS: Final = 500
"""How many problems are told at once."""

TICK: Final = 2.0
"""How coarse, in seconds, the times of a file system may be: two changes within that time may have
the same stamp, so it tells nothing before it is older (FAT has the coarsest)."""

_NOTHING: Final = Desired()

Forbids = Callable[[Path], str]
"""Given a path, returns why it counts as one that cannot be read, in words that follow the path;
empty if it does not. For who sees more than the user of whom it is told what is in force.
"""


@dataclass(frozen=True)
class _Found:
    """What is in a file; `aged` tells that a later change of it will show in its stamp."""

    data: bytes
    stamp: Stamp
    aged: bool


class TomlDirectoryProvider:
    """Reads a directory again at each `load`; belongs to one thread.

    A file must be left alone for `settle` seconds before it is believed; `now` tells seconds since
    the epoch, `clock` monotonic ones. `between` is called between two files: reading many may take
    seconds. What `forbids` names is not read. `called` tells what a guest is called.
    """

    def __init__(
        self,
        directory: Path,
        settle: float = 0.0,
        now: Clock = time.time,
        clock: Clock = time.monotonic,
        between: Callable[[], None] = lambda: None,
        last_good: LastGood | None = None,
        forbids: Forbids = lambda _: "",
        called: Callable[[int], str] = numbered,
    ) -> None:
        self._directory = directory
        self._place = Place(tomlfile.name_of(directory))
        self._settling = Settling(settle, now, clock)
        self._now = now
        self._between = between
        self._files: dict[Path, FileState] = {}
        self._called = called
        self._last = _NOTHING
        self._last_good = last_good or LastGood(None, directory)
        self._forbids = forbids
        self._begun = False

    def load(self) -> Desired:
        """Return what the files declare now, with all problems in them."""
        try:
            paths = [self._directory / name for name in self._names()]
        except ConfigError as error:
            return self._kept_whole(error)
        first, self._begun = not self._begun, True
        waits: dict[Path, float] = {}
        there = frozenset(paths)
        if first:
            # What was removed while no agent ran is removed as it is at any other time.
            self._files = self._last_good.states(lambda path: path not in there)
        gone = self._files.keys() - there
        self._files = {**self._gone(gone, waits), **self._present(paths, waits)}
        merge = Merge(self._files, self._before)
        news = self._news(merge)
        self._last_good.keep(self._files, merge.guests, self._between)
        kept = self._last_good.kept(self._files)
        problems = (*self._told(waits), *merge.problems, *self._last_good.problems(self._files))
        if len(problems) > MAX_PROBLEMS:
            text = f"and {len(problems) - MAX_PROBLEMS} more problems in the files here"
            problems = (*problems[:MAX_PROBLEMS], Problem(self._place, text))
        self._last = Desired(
            guests=MappingProxyType(merge.guests),
            problems=problems,
            remarks=MappingProxyType(merge.remarks),
            held=MappingProxyType(merge.held),
            complete=all(state.known for state in self._files.values()),
            unsettled=tuple(tomlfile.name_of(path) for path in waits if path not in gone),
            settles_in=max(waits.values(), default=0.0),
            news=(*news, *(restored(kept) if first else ())),
            kept=kept,
        )
        return self._last

    def _kept_whole(self, error: ConfigError) -> Desired:
        """Return what was last read, with what is held: a directory comes back."""
        if not self._begun:
            self._begun = True
            self._files = self._last_good.states(lambda _: True)
            merge = Merge(self._files, self._before)
            self._last_good.keep(self._files, merge.guests, self._between)
            self._last = Desired(
                guests=MappingProxyType(merge.guests),
                remarks=MappingProxyType(merge.remarks),
                held=MappingProxyType(merge.held),
            )
        since = self._last_good.newest()
        return dataclasses.replace(
            self._last,
            problems=(*error.problems, *self._last_good.problems(self._files)),
            complete=False,
            news=(),
            unsettled=(),
            settles_in=0.0,
            kept=MappingProxyType({str(self._place): since} if since else {}),
        )

    def _before(self, vmid: int) -> DesiredGuest | None:
        """Return how a guest was declared that was in force, before a restart if need be."""
        return self._last.guests.get(vmid) or self._last_good.guest(vmid)

    def _state(self, path: Path) -> FileState:
        """Given a path, return what the file said before, to this process or an earlier one."""
        found = self._files.get(path)
        return found if found is not None else self._last_good.state(path)

    def _names(self) -> list[str]:
        """Return the names of the guest files in order. Raise ConfigError if there are too many, or
        they cannot be listed.
        """
        kept = "what was last read stays in force"
        try:
            names = sorted(self._listed())
        except OSError as error:
            text = (
                f"cannot be listed: {error.strerror}; {kept}; see [desired] directory in agent.toml"
            )
            raise ConfigError((Problem(self._place, text),)) from None
        except ValueError as error:
            raise ConfigError((Problem(self._place, f"{error}; {kept}"),)) from None
        return names

    def _listed(self) -> Iterator[str]:
        files = 0
        if why := self._forbids(self._directory):
            raise PermissionError(errno.EACCES, why)
        with os.scandir(self._directory) as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_ENTRIES:
                    raise ValueError(f"holds more than {MAX_ENTRIES:,} files")
                if entry.name.endswith(".toml") and not entry.name.startswith("."):
                    files += 1
                    yield entry.name
                if files > MAX_FILES:
                    raise ValueError(f"holds more than {MAX_FILES:,} guest files; join some")

    def _gone(self, gone: set[Path], waits: dict[Path, float]) -> dict[Path, FileState]:
        """Return the files that are no longer there, as long as that is not believed yet."""
        kept: dict[Path, FileState] = {}
        for path, state in self._files.items():
            if path not in gone:
                continue
            if left := self._settling.left(path, None):
                waits[path] = left
                kept[path] = dataclasses.replace(state, gone=True)
            else:
                self._settling.forget(path)
        return kept

    def _present(self, paths: list[Path], waits: dict[Path, float]) -> dict[Path, FileState]:
        total = 0
        states: dict[Path, FileState] = {}
        for path in paths:
            self._between()
            try:
                if total > MAX_BYTES:
                    words = f"is not read: the guest files have more than {MAX_BYTES:,} bytes"
                    raise regularfile.FileUnreadable(words)
                found = self._found(path)
            except regularfile.FileUnreadable as error:
                self._settling.forget(path)
                states[path] = unread(self._state(path), tomlfile.no_guest_file(path, error))
            else:
                total += len(found.data)
                states[path] = self._believed(path, found, waits)
        return states

    def _found(self, path: Path) -> _Found:
        """Return what is in a file, without reading it again if its stamp shows that it is the same
        as before. Raise FileUnreadable.
        """
        if why := self._forbids(path):
            raise regularfile.FileUnreadable(f"cannot be read: {why}")
        before = self._files.get(path, FileState())
        if before.data is not None and before.stamp and regularfile.stamp(path) == before.stamp:
            return _Found(before.data, before.stamp, aged=True)
        begun = self._now()
        content = regularfile.read(path)
        latest = max(content.stamp.modified, content.stamp.changed)
        return _Found(content.data, content.stamp, aged=begun - latest > TICK)

    def _believed(self, path: Path, found: _Found, waits: dict[Path, float]) -> FileState:
        """Given what is in a file now, return what it says, as far as that is to be believed."""
        before = self._state(path)
        left = self._settling.left(path, found.stamp)
        stamp = found.stamp if found.aged else None
        if before.data == found.data:
            return dataclasses.replace(before, gone=False, news=(), stamp=stamp)
        if not left:
            return dataclasses.replace(parsed(before, path, found.data), stamp=stamp)
        waits[path] = left
        return dataclasses.replace(before, gone=False, news=())

    def _told(self, waits: dict[Path, float]) -> Iterator[Problem]:
        for path, state in self._files.items():
            yield from state.problems
            if path in waits and not state.gone and self._settling.restless(path):
                yield Problem(Place(tomlfile.name_of(path)), CHANGING)

    def _news(self, merge: Merge) -> tuple[Problem, ...]:
        news = [item for state in self._files.values() for item in state.news]
        before = self._last.guests.keys() | self._last_good.vmids()
        if lost := set(before - merge.guests.keys() - merge.held.keys()):
            text = f"no longer declared, and not managed any more: {named(lost, self._called)}"
            news.append(Problem(self._place, text))
        return tuple(news)
