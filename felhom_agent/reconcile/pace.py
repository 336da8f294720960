"""How long from one pass to the next, and whether the node answers.

The interval of the settings, longer or shorter by chance so that many hosts do not come in step;
while the node cannot be looked at, a shorter wait that doubles from failure to failure. That it
cannot is said once, and once that it can again.

Belongs to the main loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from felhom_agent.config import ReconcileConfig
from felhom_agent.errors import PveError
from felhom_agent.service.events import NODE_AWAY, NODE_BACK
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_MOST_DOUBLINGS = 16


class Pace:
    """Counts the looks in a row that failed; `chance` returns a number from 0 to 1.

    `trouble` is why the node cannot be looked at, empty if it can.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._failures = 0
        self.trouble = ""

    def failed(self, error: PveError) -> None:
        """Note that the node could not be looked at."""
        self._failures += 1
        self.trouble = f"the node cannot be looked at: {error.text}"
        if self._failures == 1:
            text = "the node cannot be looked at; trying on: %s"
            _log.error(text, error, extra=fields(NODE_AWAY))

    def answered(self) -> None:
        """Note that it could."""
        if self._failures:
            extra = fields(NODE_BACK, failed_looks=self._failures)
            _log.info("the node answers again", extra=extra)
        self._failures = 0
        self.trouble = ""

    def pause(self, settings: ReconcileConfig) -> float:
        """Given the settings, return the seconds until the next pass."""
        if self._failures:
            backoff = settings.backoff_first * 2.0 ** min(self._failures - 1, _MOST_DOUBLINGS)
            return min(backoff, settings.interval, settings.backoff_cap)
        return settings.interval * (1.0 + settings.jitter * (self._chance() - 0.5))
