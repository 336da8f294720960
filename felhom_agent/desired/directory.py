"""A directory of guest files.

All `*.toml` of the directory speak, in the order of their names. A file that became invalid keeps
its last good version in force and is reported until it is mended; it never reads as "nothing
desired". A file that was removed is no longer spoken for: its guests become unmanaged, and nothing
is done to them. A guest that two files declare is a problem that names both; what was in force
for it before stays so, and if nothing was, the guest is left alone.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType

from felhom_agent import tomlfile
from felhom_agent.desired.guestfile import guests_of
from felhom_agent.errors import ConfigError
from felhom_agent.model import Desired, DesiredGuest, Place, Problem

Guests = dict[int, DesiredGuest]


class TomlDirectoryProvider:
    """Reads a directory anew at each `load`; belongs to one thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._good: dict[Path, Guests] = {}
        self._in_force: Guests = {}

    def load(self) -> Desired:
        """Return what the files declare now, with all problems in them."""
        try:
            paths = sorted(p for p in self._directory.iterdir() if _is_guest_file(p))
        except OSError as error:
            problem = Problem(
                Place(str(self._directory)),
                f"cannot be listed: {error.strerror}; what was last read stays in force",
            )
            return Desired(MappingProxyType(dict(self._in_force)), (problem,))
        problems: list[Problem] = []
        self._good = {path: self._read(path, problems) for path in paths}
        self._in_force = self._merge(problems)
        return Desired(MappingProxyType(self._in_force), tuple(problems))

    def _read(self, path: Path, problems: list[Problem]) -> Guests:
        """Return the guests of one file: as it is, or as it last was when it was good."""
        try:
            guests, found = guests_of(tomlfile.read(path))
        except ConfigError as error:
            guests, found = {}, list(error.problems)
        if not found:
            return guests
        problems += found
        before = self._good.get(path, {})
        kept = "its last good version stays in force" if before else "nothing of it is in force"
        problems.append(Problem(Place(str(path)), f"has errors; {kept}"))
        return before

    def _merge(self, problems: list[Problem]) -> Guests:
        merged: Guests = {}
        twice: dict[int, list[DesiredGuest]] = {}
        for guests in self._good.values():
            for vmid, guest in guests.items():
                if vmid in merged:
                    twice.setdefault(vmid, [merged[vmid]]).append(guest)
                merged.setdefault(vmid, guest)
        for vmid, declarations in twice.items():
            self._settle_twice(vmid, declarations, merged, problems)
        return merged

    def _settle_twice(
        self, vmid: int, declarations: list[DesiredGuest], merged: Guests, problems: list[Problem]
    ) -> None:
        first, *others = declarations
        before = self._in_force.get(vmid)
        kept = "what was in force before stays so" if before else "it is left alone"
        problems.extend(
            Problem(o.place, f"guest {vmid} is declared twice, first at {first.place}; {kept}")
            for o in others
        )
        if before:
            merged[vmid] = dataclasses.replace(before)
        else:
            del merged[vmid]


def _is_guest_file(path: Path) -> bool:
    return path.suffix == ".toml" and not path.name.startswith(".")
