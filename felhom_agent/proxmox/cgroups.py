"""Whose process came or went, from the directories that the kernel keeps for running guests.

A VM that is killed or switched off from the inside moves no file of pmxcfs (recorded); its cgroup
goes all the same. With cgroup v2 these are `qemu.slice/N.scope` and `lxc/N`; with v1, the same
below each controller's directory, all of which are watched.

`qemu.slice` and `lxc` come with the first guest and may go with the last, so that their parent is
watched, too, and each look compares the directory that is watched with the one that is there:
removing a cgroup gives its own watch no event (tried on Linux 6.18). Whenever a directory is
watched anew it is listed, and who was known in the old one or is in the new one counts as come or
gone.

What is promised: who came or went while `working` is in `guests`, or `everything` says why all must
be looked at: the kernel's queue was too short, a directory came and went unseen, or a watch could
not be had (ENOSPC: max_user_watches). Then it is tried again every `RETRY_SECONDS`, and everything
is looked at once when it works again. Who starts and stops again in the moment between the making
of a directory and its watch, while others stay in it, is off before and after, and is not told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from felhom_agent.proxmox.hintfiles import Told, vmid_of
from felhom_agent.proxmox.inotify import DirectoryEvent, Inotify

RETRY_SECONDS: Final = 10.0

_SUFFIXES: Final = {"qemu.slice": ".scope", "lxc": ""}
_UNIFIED: Final = "cgroup.controllers"
_HIERARCHIES: Final = frozenset(
    {"systemd", "unified", "cpu", "cpuacct", "cpu,cpuacct", "cpuset", "memory", "devices", "misc"}
    | {"freezer", "blkio", "pids", "net_cls", "net_prio", "net_cls,net_prio", "perf_event"}
    | {"hugetlb", "rdma"}
)


@dataclass
class _Watched:
    """A directory: the watch on it, which one it was, the guests that were seen in it."""

    path: Path
    suffix: str | None
    watch: int = -1
    identity: tuple[int, int] | None = None
    stale: bool = True
    created: int = 0
    guests: set[int] = field(default_factory=set)

    def vmid(self, name: str) -> int | None:
        if self.suffix is None or not name.endswith(self.suffix):
            return None
        return vmid_of(name.removesuffix(self.suffix))


class Cgroups:
    """Watches on the guests' cgroups; used by one thread, which closes them in the end."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock
        self._inotify: Inotify | None = None
        self._directories: list[_Watched] = []
        self._looked = False
        self._not_before = 0.0

    def look(self) -> Told:
        """Return who came or went since the look before. Raise nothing, wait for nothing."""
        first, self._looked = not self._looked, True
        was_working = self._inotify is not None
        try:
            if self._inotify is None and not self._begin():
                return Told(everything="the first look" if first else "")
            guests, everything = self._read()
        except OSError as error:
            self.close()
            self._not_before = self._clock() + RETRY_SECONDS
            why = f"cgroups cannot be watched: {error.strerror}" if was_working else ""
            return Told(everything="the first look" if first else why)
        if not was_working:
            # Who is there already did not come.
            guests, everything = set(), "the first look" if first else "cgroups are watched again"
        return Told(frozenset(guests), everything, working=True)

    def close(self) -> None:
        """End all watches; a later look would begin anew."""
        if self._inotify is not None:
            self._inotify.close()
        self._inotify, self._directories, self._not_before = None, [], 0.0

    def _begin(self) -> bool:
        if self._clock() < self._not_before:
            return False
        self._inotify = Inotify()
        for parent in _parents(self._root):
            self._directories.append(_Watched(parent, None))
            self._directories += [_Watched(parent / n, s) for n, s in _SUFFIXES.items()]
        return True

    def _read(self) -> tuple[set[int], str]:
        """Raise OSError if something cannot be watched."""
        assert self._inotify is not None  # noqa: S101  # look() begins first
        guests, everything = self._heard(self._inotify.read())
        for directory in self._directories:
            there = _identity(directory.path)
            if directory.created > (there is not None):
                everything = everything or f"{directory.path.name} came and went unseen"
            directory.created = 0
            if there != directory.identity or directory.stale:
                guests |= _watch(self._inotify, directory, there)
        return guests, everything

    def _heard(self, events: Iterable[DirectoryEvent]) -> tuple[set[int], str]:
        by_watch = {d.watch: d for d in self._directories if d.watch >= 0}
        by_path = {d.path: d for d in self._directories}
        guests: set[int] = set()
        everything = ""
        for event in events:
            if event.lost:
                everything = "the kernel told more than it could keep"
                for directory in self._directories:
                    directory.stale = True
            elif (where := by_watch.get(event.watch)) is None:
                # What is left of a watch that has ended.
                continue
            elif not event.name:
                where.stale = True
            elif where.suffix is None:
                if (child := by_path.get(where.path / event.name)) is not None:
                    child.stale = True
                    child.created += event.came
            elif (vmid := where.vmid(event.name)) is not None:
                guests.add(vmid)
                (where.guests.add if event.came else where.guests.discard)(vmid)
        return guests, everything


def _watch(inotify: Inotify, directory: _Watched, there: tuple[int, int] | None) -> set[int]:
    """Watch the directory that is there now; return who came or went unseen. Raise OSError."""
    old, before, known = directory.watch, directory.identity, directory.guests
    directory.watch, directory.identity, directory.stale = -1, None, False
    directory.guests = set()
    if there is None and directory.suffix is None:
        raise FileNotFoundError(2, f"{directory.path} is not there")
    if there is not None:
        # It may go at any moment; then the next look finds out.
        with suppress(FileNotFoundError):
            directory.watch = inotify.watch(directory.path)
            directory.identity = there
            names = [entry.name for entry in directory.path.iterdir()]
            directory.guests = {v for n in names if (v := directory.vmid(n)) is not None}
    if (directory.watch, there) == (old, before):
        return known ^ directory.guests
    if old >= 0 and old != directory.watch:
        # What still waits to be read of the old one is not understood any more.
        inotify.unwatch(old)
    return known | directory.guests


def _parents(root: Path) -> list[Path]:
    """Return the directories that qemu.slice and lxc may be in: v2 has one, v1 one a controller."""
    if (root / _UNIFIED).exists() or not root.is_dir():
        return [root]
    with os.scandir(root) as entries:
        found = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    return [root, *(root / name for name in sorted(_HIERARCHIES & set(found)))]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
