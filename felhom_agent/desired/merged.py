"""Files on the host and the wishes of a hub, together: for each guest the file goes before."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

from felhom_agent.desired.provider import DesiredProvider
from felhom_agent.model import Desired

BOTH = "a file on this host declares it, and so does the hub; the file counts"


class MergedProvider:
    """Desires what the local provider desires, and of other guests what the hub does."""

    def __init__(self, local: DesiredProvider, hub: DesiredProvider) -> None:
        self._local = local
        self._hub = hub

    def load(self) -> Desired:
        """Return both, with the problems of both, and a remark on each guest that both declare."""
        local, hub = self._local.load(), self._hub.load()
        both = dict.fromkeys(sorted(local.guests.keys() & hub.guests.keys()), BOTH)
        return dataclasses.replace(
            local,
            guests=MappingProxyType({**hub.guests, **local.guests}),
            problems=(*local.problems, *hub.problems),
            remarks=MappingProxyType({**local.remarks, **both}),
        )
