"""What was last good of the guest files, kept so that it stays in force across a restart.

An agent that starts while a file is wrong, unreadable or half written would else forget its guests.
So whatever comes into force is written beside the journal at once, one copy for each guest file
(`goodcopy`), whole or not at all, for the service's user alone: guest files may hold passwords. A
copy follows its file: it is replaced when the file is good again, and removed with the file.

It is no second source: a copy speaks where its file is there and cannot, or its directory cannot be
listed; and no longer. A copy that is damaged costs what is in it, is set aside, and told. Who only
looks (`felhom-agent plan`) reads the copies and writes nothing.

Belongs to its provider's thread. What an earlier process left counts until the first `keep`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from felhom_agent.config import tomlfile
from felhom_agent.desired.goodcopy import GoodCopy, Version, bounded, copy_of, record_of
from felhom_agent.desired.hubfile import HubFile, problem_of
from felhom_agent.desired.readfile import FileState, parsed
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.errors import FelhomError
from felhom_agent.model import DesiredGuest, Place, Problem

DIRECTORY: Final = "guest-files"
"""Name of the copies' directory, in the journal's."""
_SUFFIX: Final = ".good"
_MAX_COPIES: Final = 10_000
"""How many copies are read; a directory of guest files has fewer."""


@dataclass(frozen=True)
class _Origin:
    """By which text of which file a guest is in force, and since when."""

    guest: DesiredGuest
    path: Path
    since: float
    text: bytes = field(repr=False)


class LastGood:
    """The copies of one directory's guest files; `now` tells seconds since the epoch."""

    def __init__(
        self,
        store: Path | None,
        directory: Path,
        disk: Disk = DISK,
        *,
        keeps: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Without a `store` nothing outlives this process; without `keeps` the store is read, and
        nothing is written.
        """
        self._store = store
        self._directory = directory
        self._disk = disk
        self._keeps = keeps
        self._now = now
        self._origins: dict[int, _Origin] = {}
        self._unwritten: dict[Path, str] = {}
        self._damaged: dict[Path, str] = {}
        self._trouble = ""
        self._copies = {copy.path: copy for copy in self._found()}
        self._earlier = dict(self._copies)
        self._states: dict[Path, FileState] = {}

    def state(self, path: Path) -> FileState:
        """Given a file's path, return what the file last said to an earlier process."""
        copy = self._earlier.get(path)
        if copy is None:
            return FileState()
        if path not in self._states:
            self._states[path] = self._state(copy)
        return self._states[path]

    def states(self, wanted: Callable[[Path], bool]) -> dict[Path, FileState]:
        """Return what the wanted ones of all files last said to an earlier process."""
        return {path: self.state(path) for path in sorted(self._earlier) if wanted(path)}

    def vmids(self) -> frozenset[int]:
        """Return the guests that were in force in an earlier process."""
        return frozenset(
            vmid
            for copy in self._earlier.values()
            for version in copy.versions
            for vmid in version.guests
        )

    def guest(self, vmid: int) -> DesiredGuest | None:
        """Given a guest, return how it was in force in an earlier process; None if it was not."""
        for path, copy in self._earlier.items():
            if any(vmid in version.guests for version in copy.versions):
                self.state(path)
        origin = self._origins.get(vmid) if self._earlier else None
        return origin.guest if origin else None

    def keep(
        self,
        files: Mapping[Path, FileState],
        guests: Mapping[int, DesiredGuest],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Given what all files say and which guests are in force by them, keep that; `between` is
        called between two copies that are written.
        """
        self._origins = self._traced(files, guests)
        by_path: dict[Path, dict[int, _Origin]] = {}
        for vmid, origin in self._origins.items():
            by_path.setdefault(origin.path, {})[vmid] = origin
        for path, state in files.items():
            copy = GoodCopy(path, self._versions(path, state, by_path.get(path, {})))
            if copy != self._copies.get(path, GoodCopy(path)) or path in self._unwritten:
                if self._store is not None and self._keeps:
                    between()
                self._write(copy)
        for path in [path for path in self._copies if path not in files]:
            self._drop(path)
        self._earlier, self._states = {}, {}

    def kept(self, files: Mapping[Path, FileState]) -> Mapping[str, float]:
        """Return the files of which an earlier text is in force than what is there now, each with
        the time since when it is; of several texts the oldest counts.
        """
        kept: dict[str, float] = {}
        for origin in self._origins.values():
            state = files.get(origin.path)
            if state is not None and not state.gone and state.data != origin.text:
                name = tomlfile.name_of(origin.path)
                kept[name] = min(origin.since, kept.get(name, origin.since))
        return MappingProxyType(kept)

    def newest(self) -> float:
        """Return since when the newest of all copies is in force; 0 if there is none."""
        return max((copy.newest for copy in self._copies.values()), default=0.0)

    def problems(self, files: Mapping[Path, FileState]) -> Iterator[Problem]:
        """Given what all files say, yield what is wrong with the copies of those that need one, and
        what could not be written.
        """
        needed = [path for path, state in files.items() if state.problems]
        if self._trouble and (self._keeps or needed or not files):
            yield problem_of(self._trouble)
        for path in needed:
            if text := self._damaged.get(self._place(path)):
                yield problem_of(text)
        if self._unwritten:
            path, text = next(iter(self._unwritten.items()))
            more = f" (and {len(self._unwritten) - 1} more)" if len(self._unwritten) > 1 else ""
            name = tomlfile.name_of(path)
            yield Problem(Place(name), f"what is in force of it is not kept{more}: {text}")

    def _found(self) -> Iterator[GoodCopy]:
        """Yield the copies of the directory's files; remove those of another directory."""
        for place in self._places():
            copy, damage = HubFile(place, self._disk, keeps=self._keeps).read(copy_of)
            if damage:
                self._damaged[place] = damage
            elif copy is None:
                continue
            elif copy.path.parent == self._directory and self._place(copy.path) == place:
                yield copy
            else:
                self._remove(place)

    def _places(self) -> list[Path]:
        if self._store is None:
            return []
        try:
            found = sorted(self._store.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self._trouble = f"{self._store}: cannot be listed: {error.strerror}"
            return []
        return [place for place in found if place.suffix == _SUFFIX][:_MAX_COPIES]

    def _place(self, path: Path) -> Path:
        """Return where the copy of a file is; a file's own name may be too long for more."""
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32] + _SUFFIX
        return (self._store or Path()) / name

    def _state(self, copy: GoodCopy) -> FileState:
        """Given a copy, return what its file said, and note by which text guests are in force."""
        guests: dict[int, DesiredGuest] = {}
        texts: dict[int, bytes] = {}
        found = {each: parsed(FileState(), copy.path, each.text) for each in copy.versions}
        for version, its in found.items():
            for vmid in version.guests & its.guests.keys():
                origin = _Origin(its.guests[vmid], copy.path, version.since, version.text)
                self._origins[vmid] = origin
            for vmid in version.declared & its.guests.keys():
                guests[vmid], texts[vmid] = its.guests[vmid], version.text
        good = found[copy.whole].good if copy.whole else None
        last = found[copy.last] if copy.last else FileState()
        # What was not good as a whole is read again, over what was before it.
        data = last.data if last.good else None
        return replace(last, data=data, guests=guests, texts=texts, good=good, news=())

    def _traced(
        self, files: Mapping[Path, FileState], guests: Mapping[int, DesiredGuest]
    ) -> dict[int, _Origin]:
        """Return by which text each guest is in force: the one that was just read, or as before."""
        found: dict[int, _Origin] = {}
        for path, state in files.items():
            for vmid in state.places():
                guest, before = guests.get(vmid), self._origins.get(vmid)
                if guest is None:
                    continue
                if before is not None and before.guest is guest:
                    # A file that is gone has left its guest to the one that declares it now.
                    held = before.path if before.path in files else path
                    found[vmid] = replace(before, path=held)
                elif state.guests.get(vmid) is guest:
                    text = state.texts[vmid]
                    found[vmid] = _Origin(guest, path, self._since(path, text), text)
        return found

    def _since(self, path: Path, text: bytes) -> float:
        copy = self._copies.get(path)
        known = copy.since(text) if copy else None
        return self._now() if known is None else known

    def _versions(
        self, path: Path, state: FileState, origins: Mapping[int, _Origin]
    ) -> tuple[Version, ...]:
        """Return the texts of a file that are in force, for a guest or as a file."""
        since = {origin.text: origin.since for origin in origins.values()}
        kept = (state.good, state.read, *state.texts.values(), *since)
        return bounded(
            Version(
                text,
                since[text] if text in since else self._since(path, text),
                frozenset(v for v, origin in origins.items() if origin.text == text),
                frozenset(v for v, its in state.texts.items() if its == text),
                whole=text == state.good,
                last=text == state.read,
            )
            for text in dict.fromkeys(kept)
            if text is not None
        )

    def _write(self, copy: GoodCopy) -> None:
        """Keep a copy; what cannot be written is tried again with the next look."""
        if not copy.versions:
            self._drop(copy.path)
            return
        try:
            if self._store is not None:
                HubFile(self._place(copy.path), self._disk, keeps=self._keeps).write(
                    record_of(copy)
                )
        except FelhomError as error:
            self._unwritten[copy.path] = str(error)
        else:
            self._unwritten.pop(copy.path, None)
            self._damaged.pop(self._place(copy.path), None)
        self._copies[copy.path] = copy

    def _drop(self, path: Path) -> None:
        self._copies.pop(path, None)
        self._unwritten.pop(path, None)
        self._damaged.pop(self._place(path), None)
        self._remove(self._place(path))

    def _remove(self, place: Path) -> None:
        """Remove a copy, with what a crash or damage has left of it. One that stays is of no harm:
        it is dropped when the agent starts.
        """
        if self._store is None or not self._keeps:
            return
        try:
            for name in (place.name, f"{place.name}.new", f"{place.name}.damaged"):
                self._disk.remove(place.with_name(name))
            self._disk.sync_directory(place.parent)
        except OSError as error:
            self._trouble = f"{place}: cannot be removed: {error.strerror}"
