"""Placeholder of the interface; the branch `hints` has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """What the host told since the look before."""

    written: frozenset[int] = frozenset()
    power: frozenset[int] = frozenset()
    everything: str = ""
    working: bool = False


class Hints:
    def __init__(self, directory: object, node: str) -> None:
        self.told: list[Heard] = []
        self.works = False

    def look(self) -> Heard:
        if self.told:
            return self.told.pop(0)
        return Heard(working=self.works)

    def close(self) -> None: ...
