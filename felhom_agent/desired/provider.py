"""Providers of desired state: whoever can say what is desired, now.

A provider is asked once per pass and always answers: trouble with its source is part of the
answer (`Desired.problems`), and never reads as "nothing is desired any more".
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Protocol

from felhom_agent.model import Desired, DesiredGuest


class DesiredProvider(Protocol):
    """Says what is desired."""

    def load(self) -> Desired:
        """Return the desired state in force, as of now."""
        ...


class EmptyProvider:
    """Desires nothing: what an agent without a directory does."""

    def load(self) -> Desired:
        return Desired()


class StaticProvider:
    """Desires always the same, given at the start."""

    def __init__(self, guests: Iterable[DesiredGuest]) -> None:
        self._desired = Desired(MappingProxyType({g.vmid: g for g in guests}))

    def load(self) -> Desired:
        return self._desired
