"""Whose guests are whose: which of them files on this host declared, and which are the hub's.

A guest that a file on this host once declared is the host's, whatever becomes of the file: a hub
gets it only when the owner says so, by a reload at which all files are good. So an editor that
truncates or renames a file hands nothing over, neither for one look nor across a restart.

Kept beside the hub's state and apart from it, so that the one survives damage to the other. Where
it is damaged nobody knows what was declared, and no guest is the hub's until the next such reload.

Belongs to the main loop's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from felhom_agent.desired.hubfile import HubFile, OddContent
from felhom_agent.durable.disk import DISK, Disk
from felhom_agent.errors import FelhomError

NAME = "hub-guests.json"
TO_RELEASE = "to leave it to the hub: systemctl reload felhom-agent"
DECLARED = f"a file on this host declared it before; {TO_RELEASE}"
UNKNOWN = f"it is not known whether a file on this host declared it before; {TO_RELEASE}"
INCOMPLETE = (
    "a file on this host cannot be read, and may declare it; the hub has to wait until that is "
    "mended"
)


@dataclass(frozen=True)
class Shares:
    """Guests that were ever declared here, and those that were the hub's when all files here were
    last known; `known` is false where the memory of it was lost.
    """

    declared: frozenset[int] = frozenset()
    hubs: frozenset[int] = frozenset()
    known: bool = True


class Claims:
    """Remembers whose guests are whose."""

    def __init__(self, directory: Path, disk: Disk = DISK, *, keeps: bool = True) -> None:
        """Without `keeps` it only looks, and what it learns is forgotten with it."""
        self._file = HubFile(directory / NAME, disk, keeps=keeps)
        found, self._damage = self._file.read(_understood)
        self._unwritten = ""
        self._shares = found or Shares(known=not self._damage)
        self._written = found or Shares()

    @property
    def declared(self) -> frozenset[int]:
        """The guests that files on this host declared, now or before."""
        return self._shares.declared

    @property
    def trouble(self) -> tuple[str, ...]:
        """What is wrong with the memory of it, each with the file's path in front."""
        return tuple(text for text in (self._damage, self._unwritten) if text)

    def share(
        self, declared: Iterable[int], asked_for: Iterable[int], *, complete: bool
    ) -> frozenset[int]:
        """Given the guests that files here declare now, those that the hub asks to speak for, and
        whether all files here could be read, return which of the latter are the hub's.
        """
        kept = self._shares
        mine = kept.declared | frozenset(declared)
        asked = frozenset(asked_for) - mine if kept.known else frozenset()
        hubs = asked if complete else asked & kept.hubs
        # While files are missing, a guest that the hub leaves out for a while stays its own.
        self._keep(Shares(mine, hubs if complete else kept.hubs, kept.known))
        return hubs

    def release(self, declared: Iterable[int]) -> None:
        """Given the guests that files here declare now, all of them being good, let the hub speak
        for those that they no longer declare.
        """
        self._damage = ""
        self._keep(Shares(frozenset(declared), self._shares.hubs))

    def why_not(self, vmid: int, *, complete: bool) -> str:
        """Return why a guest that is not the hub's is not; empty if nothing stands in the way."""
        if vmid in self._shares.declared:
            return DECLARED
        if not self._shares.known:
            return UNKNOWN
        return "" if complete else INCOMPLETE

    def _keep(self, fresh: Shares) -> None:
        """Remember; what cannot be written is tried again with the next look."""
        self._shares = fresh
        if fresh == self._written:
            return
        record = {
            "declared": sorted(fresh.declared), "hubs": sorted(fresh.hubs), "known": fresh.known
        }  # fmt: skip
        try:
            self._file.write(record)
        except FelhomError as error:
            self._unwritten = str(error)
        else:
            self._written, self._unwritten = fresh, ""


def _understood(record: Mapping[str, Any]) -> Shares:
    known = record.get("known")
    if not isinstance(known, bool):
        raise OddContent("is damaged")
    return Shares(_vmids(record.get("declared")), _vmids(record.get("hubs")), known)


def _vmids(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not all(type(v) is int for v in value):
        raise OddContent("is damaged")
    return frozenset(value)
