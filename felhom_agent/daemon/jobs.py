"""One-shot jobs that wait for their place among the guests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any

from felhom_agent.planning.actions import Need


@dataclass(frozen=True)
class Job:
    """A one-shot job that waits for its place: its guest, what that place must allow, how it is
    handed to the guest's lane, and the future of what comes of it.
    """

    vmid: int
    need: Need
    begin: Callable[[], Future[Any]]
    future: Future[Any]


def hand_over(done: Future[Any], to: Future[Any]) -> None:
    """Give one future, which runs, what came of another."""
    error = CancelledError() if done.cancelled() else done.exception(timeout=0)
    if error is None:
        to.set_result(done.result(timeout=0))
    else:
        to.set_exception(error)
