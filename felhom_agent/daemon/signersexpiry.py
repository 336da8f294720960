"""Warns of a set of signers that ends: from 30 days before, once a day, and once it has ended.

Threads: belongs to the lane that looks, but for `end`, which is replaced as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from felhom_agent.authz.signers import SignerSet
from felhom_agent.errors import FelhomError
from felhom_agent.printable import moment_text
from felhom_agent.service.events import AGENT_WARNED
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

WARNED_SECONDS: Final = 30 * 86400.0
"""How many seconds before its end a set is warned of."""
_AGAIN: Final = 86400.0


class SignersExpiry:
    """Warns of the end of the set that `signers` returns."""

    def __init__(self, signers: Callable[[], SignerSet]) -> None:
        self._signers = signers
        self._said = float("-inf")
        self._end: float | None = None

    @property
    def end(self) -> float | None:
        """When the set ends that was in force at the last `tell`, in seconds since the epoch; None:
        it does not end. For any thread.
        """
        return self._end

    def tell(self, now: float) -> None:
        """Given the time (seconds since the epoch), warn if that is due."""
        try:
            found = self._signers()
        except FelhomError as error:
            _log.debug("who may sign cannot be told now: %s", error)
            return
        if found.expires != self._end:
            self._end, self._said = found.expires, float("-inf")
        if found.expires is None or now < found.expires - WARNED_SECONDS:
            return
        over = found.is_over(now)
        if now - self._said < _AGAIN and not (over and self._said < found.expires):
            return
        self._said = now
        text = (
            "the set of signers, version %d, has ended at %s: what cannot be undone is held until "
            "another comes; rotate it, or provision one as root"
            if over
            else "the set of signers, version %d, ends at %s; rotate it before "
            "(docs/signed-operations.md)"
        )
        _log.warning(text, found.version, moment_text(found.expires), extra=fields(AGENT_WARNED))
