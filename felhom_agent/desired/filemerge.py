"""What all guest files of a directory declare together, given what was in force before.

A guest that is declared wrongly, or by two files, stays as it was, or is held: nothing is done to
it, and nobody else may speak for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from felhom_agent.desired.readfile import FileState
from felhom_agent.model import DesiredGuest, Place, Problem

MAX_NAMED: Final = 10
"""How many guests one line names."""
MAX_TWICE: Final = 20
"""How many guests that are declared twice have a line of their own."""


class Merge:
    """What all files declare together, given what was in force before."""

    def __init__(
        self, files: Mapping[Path, FileState], before: Callable[[int], DesiredGuest | None]
    ) -> None:
        """`before` tells how a guest was declared that was in force before."""
        self._before = before
        self.guests: dict[int, DesiredGuest] = {}
        self.held: dict[int, str] = {}
        self.remarks: dict[int, str] = {}
        self.problems: list[Problem] = []
        self._twice = 0
        said: dict[int, list[Place]] = {}
        for state in sorted(files.values(), key=lambda state: state.gone):
            for vmid, place in state.places().items():
                # Where a file was renamed, what its new name says goes before what is remembered.
                if not (state.gone and vmid in said):
                    said.setdefault(vmid, []).append(place)
                    self._take(state, vmid)
        for vmid, places in said.items():
            if len(places) > 1:
                self._settle_twice(vmid, places)
        if self._twice > MAX_TWICE:
            text = f"and {self._twice - MAX_TWICE} more guests are declared twice"
            self.problems.append(Problem(Place(), text))
        for state in files.values():
            self._tell_wrong(state)

    def _take(self, state: FileState, vmid: int) -> None:
        if guest := state.guests.get(vmid):
            self.guests[vmid] = guest
            if vmid in state.remarks:
                self.remarks[vmid] = state.remarks[vmid]
        else:
            self._keep(vmid, str(state.wrong[vmid]))

    def _keep(self, vmid: int, why: str) -> bool:
        """Leave a guest as it was before, or hold it; return whether it was in force before."""
        self.guests.pop(vmid, None)
        self.remarks.pop(vmid, None)
        if guest := self._before(vmid):
            self.guests[vmid] = guest
            self.held.pop(vmid, None)
            return True
        self.held[vmid] = why
        return False

    def _settle_twice(self, vmid: int, places: list[Place]) -> None:
        first, *others = places
        text = f"guest {vmid} is declared twice, first at {first}"
        kept = self._keep(vmid, f"it is declared twice, at {first} and {others[0]}")
        words = "what was in force before stays so" if kept else "it is left alone"
        self._twice += 1
        if self._twice <= MAX_TWICE:
            self.problems.extend(Problem(o, f"{text}; {words}") for o in others[:MAX_NAMED])

    def _tell_wrong(self, state: FileState) -> None:
        kept = state.wrong.keys() & self.guests.keys()
        held = state.wrong.keys() & self.held.keys()
        place = Place(next((p.place.file for p in state.wrong.values()), ""))
        if kept:
            text = f"has errors; the last good declaration stays in force of: {named(kept)}"
            self.problems.append(Problem(place, text, follows=True))
        if held:
            text = f"has errors; held until they are mended: {named(held)}"
            self.problems.append(Problem(place, text, follows=True))


def numbered(vmid: int) -> str:
    """Given a guest whose name is not known, return what it is called."""
    return f"guest {vmid}"


def named(vmids: set[int], called: Callable[[int], str] = numbered) -> str:
    """Given guests and what each is called, return them in a line, the first ones of many."""
    ordered = sorted(vmids)
    words = ", ".join(map(called, ordered[:MAX_NAMED]))
    more = len(ordered) - MAX_NAMED
    return f"{words} and {more} more" if more > 0 else words
