"""What a lane tells the main loop: it is done with a guest, or needs its place no more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from felhom_agent.errors import Interrupted, QueueClosed
from felhom_agent.model import Retry
from felhom_agent.reconcile.reconciliation import Reconciled
from felhom_agent.service.events import INTERNAL_ERROR
from felhom_agent.service.logging import fields
from felhom_agent.service.origins import described

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """A lane's word to the main loop: what came of a guest; None if it was interrupted.

    `scheduler` is whom it is for: an agent that was assembled again has another one.
    """

    scheduler: object
    vmid: int
    result: Reconciled | None


@dataclass(frozen=True)
class Released:
    """A lane's word that it has started or stopped its guest, and only reads from now on."""

    scheduler: object
    vmid: int


Report = Callable[[Ended | Released], None]


def result_of(future: Future[Reconciled]) -> Reconciled | None:
    """Return what came of a guest; None if its lane was interrupted."""
    try:
        return future.result(timeout=0)
    except (Interrupted, QueueClosed, CancelledError):
        return None
    except BaseException as error:  # whatever it is, the guest's place must become free
        why = f"internal error: {described(error)}"
        _log.error("a guest's outcome was lost: %s", why, extra=fields(INTERNAL_ERROR))
        return Reconciled(Retry(0.0, why))
