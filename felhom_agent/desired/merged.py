"""Files on the host and the desired state of a hub, together: for each guest the file goes before.

The hub speaks for a guest only where the owner named it (`[hub] guests`, which its provider sees
to), no file here declares it, none did before, and none that cannot be read may. Otherwise the
guest is held: nothing is done to it, and the reason is told.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

from felhom_agent.desired.claims import Claims
from felhom_agent.desired.hubfile import problem_of
from felhom_agent.desired.provider import DesiredProvider
from felhom_agent.model import Desired, Problem

BOTH = "a file on this host declares it, and so does the hub; the file counts"


class MergedProvider:
    """Desires what the local provider desires, and of other guests what the hub does."""

    def __init__(self, local: DesiredProvider, hub: DesiredProvider, claims: Claims) -> None:
        self._local = local
        self._hub = hub
        self._claims = claims
        self._to_release = False

    def load(self) -> Desired:
        """Return both, with the problems of both, and a remark on each guest that both declare."""
        local, hub = self._local.load(), self._hub.load()
        here = frozenset(local.guests.keys() | local.held.keys())
        self._release(local, here)
        granted = self._claims.share(here, hub.guests.keys(), complete=local.complete)
        held = {
            vmid: self._claims.why_not(vmid, complete=local.complete)
            for vmid in hub.guests.keys() - here - granted
        }
        both = local.guests.keys() & hub.guests.keys()
        return dataclasses.replace(
            local,
            guests=MappingProxyType({**{v: hub.guests[v] for v in granted}, **local.guests}),
            problems=(*local.problems, *hub.problems, *self._trouble()),
            remarks=MappingProxyType({**local.remarks, **dict.fromkeys(sorted(both), BOTH)}),
            held=MappingProxyType({**held, **local.held}),
        )

    def release(self) -> None:
        """Leave to the hub what no file here declares any more: the owner's word, at a reload.

        It counts at the next look that finds the files left alone. If one of them cannot be read
        then, nothing is left to the hub, and the owner has to say it again.
        """
        self._to_release = True

    def _release(self, local: Desired, here: frozenset[int]) -> None:
        if not self._to_release or local.settles_in > 0:
            return
        self._to_release = False
        if local.complete:
            self._claims.release(here)

    def _trouble(self) -> tuple[Problem, ...]:
        """Return what is wrong with the memory of whose guests are whose."""
        return tuple(problem_of(text) for text in self._claims.trouble)
