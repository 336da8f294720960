"""How it goes with the node as a whole, and how long to wait until the next pass.

A pass that fails is said once, and once that it works again; a failure for another reason is said,
too. While passes fail, the next one comes sooner than the interval, and later with each failure.

Belongs to the main thread.
"""

from __future__ import annotations

import logging

from felhom_agent.config.settings import ReconcileConfig
from felhom_agent.errors import FelhomError, PveError
from felhom_agent.reconcile.backoff import Backoff
from felhom_agent.service.events import INTERNAL_ERROR, NODE_AWAY, NODE_BACK, PASS_FAILED
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)


class Health:
    """Counts the passes in a row that failed."""

    def __init__(self) -> None:
        self._failures = 0
        self._said: set[str] = set()
        self._why = ""
        self._slow = False

    def failed(self, error: Exception) -> None:
        """Note that a pass failed."""
        self._failures += 1
        if isinstance(error, PveError):
            self._trouble("the node cannot be observed", error.text, NODE_AWAY, str(error))
        elif isinstance(error, FelhomError):
            self._trouble("nothing is done", str(error), PASS_FAILED, str(error))
        else:
            self._why = f"internal error in a pass: {described(error)}"
            if self._why not in self._said:
                text = "internal error in a pass; please report it"
                _log.error(text, exc_info=error, extra=fields(INTERNAL_ERROR))
            self._said.add(self._why)

    def observed(self, *, slowly: bool) -> None:
        """Note whether the node let questions time out while it was observed."""
        if slowly and not self._slow:
            text = "the node does not answer all questions in time; trying on"
            _log.error(text, extra=fields(NODE_AWAY))
        elif self._slow and not slowly:
            _log.info("the node answers all questions again", extra=fields(NODE_BACK))
        self._slow = slowly

    @property
    def trouble(self) -> str:
        """Why the latest pass failed, or what troubles the node; empty if nothing does."""
        return self._why or ("the node does not answer all questions in time" if self._slow else "")

    def ended_well(self) -> None:
        """Note that a pass did what it had to do."""
        if self._failures:
            extra = fields(NODE_BACK, failed_passes=self._failures)
            _log.info("the node answers again", extra=extra)
        self._failures = 0
        self._said.clear()
        self._why = ""

    def pause(self, settings: ReconcileConfig, backoff: Backoff) -> float:
        """Given the settings, return the seconds until the next pass."""
        spread = 1.0 + settings.jitter * (backoff.chance() - 0.5)
        if not self._failures:
            return settings.interval * spread
        return min(settings.interval, backoff.delay(self._failures))

    def _trouble(self, what: str, why: str, event: object, text: str) -> None:
        self._why = f"{what}: {why}"
        if self._why not in self._said:
            _log.error("%s; trying on: %s", what, text, extra=fields(event))  # type: ignore[arg-type]
        self._said.add(self._why)
