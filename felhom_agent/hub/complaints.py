"""What was said of each matter, so that it is said once, and again when it is news.

A matter (the report, the envelope, the desired state, ...) has one complaint at a time. The same
one is not repeated; a different one is said; and the same one is said again if all was well in
between. What is remembered is one complaint per matter, however many there were.

Belongs to the hub loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from felhom_agent.service.events import Event
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)


class Complaints:
    """The present complaint of each matter."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, ...]] = {}

    def say(self, matter: str, lines: Sequence[str], event: Event) -> None:
        """Given what is wrong with a matter, one text a line, log it unless it was said last."""
        said = tuple(lines)
        if self._said.get(matter) == said:
            return
        self._said[matter] = said
        for line in said:
            _log.error("%s", line, extra=fields(event))

    def well(self, matter: str) -> bool:
        """Hear that all is well with a matter; return whether it was not."""
        return self._said.pop(matter, None) is not None
