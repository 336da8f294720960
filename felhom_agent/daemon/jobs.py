"""One-shot jobs that wait for their place among the guests."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from felhom_agent.journal.operation import Operation
from felhom_agent.model import Action


@dataclass(frozen=True)
class Job:
    """A one-shot job that waits for its place."""

    key: str
    action: Action
    expires: float | None
    future: Future[Operation]

    @property
    def vmid(self) -> int:
        return self.action.vmid


def hand_over(done: Future[Any], to: Future[Any]) -> None:
    """Give one future, which runs, what came of another."""
    error = CancelledError() if done.cancelled() else done.exception(timeout=0)
    if error is None:
        to.set_result(done.result(timeout=0))
    else:
        to.set_exception(error)
