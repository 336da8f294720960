"""How the routes of the control socket answer, and how the log hears what they were told."""

from __future__ import annotations

import logging

from felhom_agent.service.control import ControlAnswer
from felhom_agent.service.events import CONTROLLED
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)


def done(text: str, *, status: int = 200, done: bool = True) -> ControlAnswer:
    """Given what was done, in a sentence, and whether that was anything, return the answer."""
    return ControlAnswer(status, {"done": done, "text": text})


def tell(words: str, by: str) -> None:
    """Given what somebody told the agent, and who, log it."""
    _log.warning("%s, by the word of %s", words, by, extra=fields(CONTROLLED, by=by))
