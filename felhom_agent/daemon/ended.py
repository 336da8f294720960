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


def result_of(future: Future[Reconciled], guest: str) -> Reconciled | None:
    """Given a lane's future and what its guest is called, return what came of the guest; None if
    the lane was interrupted.
    """
    try:
        return future.result(timeout=0)
    except (Interrupted, QueueClosed, CancelledError):
        return None
    except BaseException as error:  # whatever it is, the guest's place must become free
        why = f"internal error: {described(error)}"
        text = "%s: its outcome was lost, and it is tried again: %s; please report it"
        _log.error(text, guest, why, extra=fields(INTERNAL_ERROR))
        return Reconciled(Retry(0.0, why), defect=True)
