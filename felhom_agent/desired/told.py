"""The problems of what is desired, as people are told them: with the time of what is in force."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping

from felhom_agent.model import Desired, Place, Problem
from felhom_agent.printable import local_text


def told(desired: Desired, now: float | None = None) -> tuple[Problem, ...]:
    """Given what is desired and the present time (None: the clock's), return its problems. The
    first one of a file of which an earlier version is in force says of when that is.
    """
    at = time.time() if now is None else now
    left = dict(desired.kept)
    return tuple(_with_time(problem, left, at) for problem in desired.problems)


def restored(kept: Mapping[str, float]) -> Iterable[Problem]:
    """Given files and since when an earlier version of each is in force, say that for the log of an
    agent that has just begun.
    """
    for name, since in kept.items():
        text = f"its guests are in force by its last good version, of {local_text(since)}"
        yield Problem(Place(name), text)


def _with_time(problem: Problem, left: dict[str, float], now: float) -> Problem:
    since = left.pop(problem.place.file, None)
    if since is None:
        return problem
    text = f"{problem.text}; its guests: last good version of {local_text(since, now)}"
    return dataclasses.replace(problem, text=text)
