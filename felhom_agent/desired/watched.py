"""What is desired, with a word about what is newly wrong, or mended, in its source.

Belongs to the main loop's thread.
"""

from __future__ import annotations

import logging

from felhom_agent.desired.provider import DesiredProvider
from felhom_agent.model import Desired, Problem
from felhom_agent.service.events import AGENT_WARNED, CONFIG_GOOD, CONFIG_WRONG
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)


class Watched:
    """A provider whose problems are told once; `problems` are those that it has now."""

    def __init__(self, provider: DesiredProvider) -> None:
        self.provider = provider
        self.problems: frozenset[Problem] = frozenset()

    def load(self) -> Desired:
        """Return what is desired; say what is news about its problems."""
        desired = self.provider.load()
        for item in desired.news:
            _log.warning("%s", item, extra=fields(AGENT_WARNED))
        problems = frozenset(desired.problems)
        for problem in desired.problems:
            if problem not in self.problems:
                _log.error("%s", problem, extra=fields(CONFIG_WRONG))
        if self.problems and not problems:
            _log.info("all guest files are good again", extra=fields(CONFIG_GOOD))
        self.problems = problems
        return desired
