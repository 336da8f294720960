"""What was said of each matter, so that it is said once, and again when it is news.

A matter (the report, the envelope, the desired state, ...) has one complaint at a time. The same
one is not repeated; a different one is said; and the same one is said again if all was well in
between. What is remembered is one complaint per matter, however many there were.

A matter of many parts (the rows of a list) has a line for each; what is news of them is said.

Belongs to the hub loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from felhom_agent.service.events import Event
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

MAX_SAID: Final = 5
"""How many parts of a matter are said at once."""


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

    def say_each(self, matter: str, lines: Iterable[str], event: Event) -> None:
        """Given what is wrong with the parts of a matter, one text each, log those that were not
        said last, `MAX_SAID` of them at most, and how many more there are.
        """
        known, said = self._said.get(matter, ()), tuple(dict.fromkeys(lines))
        self._said[matter] = said
        fresh = [line for line in said if line not in known]
        for line in fresh[:MAX_SAID]:
            _log.error("%s", line, extra=fields(event))
        if len(fresh) > MAX_SAID:
            text = "%d more lines of this kind are not shown"
            _log.error(text, len(fresh) - MAX_SAID, extra=fields(event))

    def well(self, matter: str) -> bool:
        """Hear that all is well with a matter; return whether it was not."""
        return self._said.pop(matter, None) is not None
