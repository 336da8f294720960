"""In which order guests are started that are to be started together: PVE's own option `startup`.

PVE starts the guests of a lower order first, those without one last, and after a guest with `up` it
waits that many seconds before it starts the next (PVE: API2/Nodes.pm startall).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from felhom_agent.model import EMPTY, ActualGuest, DesiredGuest
from felhom_agent.options import special

_PARTS = special.Startup().parts


@dataclass(frozen=True)
class StartRank:
    """A guest's place among others that start; `up` are seconds."""

    order: float = math.inf
    up: float = 0.0


def startup_of(declared: DesiredGuest, guest: ActualGuest) -> StartRank:
    """Given a guest's declaration and how it is, return its place among others that start."""
    config = guest.config or EMPTY
    present = "" if "startup" in declared.unset else config.get("startup", "")
    parts = _PARTS(str(declared.config.get("startup", present)))
    return StartRank(parts.get("order", math.inf), parts.get("up", 0))
