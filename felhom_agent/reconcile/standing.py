"""How a guest stands, and since when."""

from __future__ import annotations

from dataclasses import dataclass

from felhom_agent.model import Outcome


@dataclass(frozen=True)
class Standing:
    """The outcome of a guest's latest look, and since when it is of that state.

    `since` is in seconds since the epoch.
    """

    outcome: Outcome
    since: float
