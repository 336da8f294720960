"""The problems of what is desired, as people are told them: with the time of what is in force."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Final

from felhom_agent.model import Desired, Place, Problem
from felhom_agent.printable import local_text

_HELD: Final = "what was changed in it is not in force, because of another file"


def told(desired: Desired, now: float | None = None) -> tuple[Problem, ...]:
    """Given what is desired and the present time (None: the clock's), return its problems. The
    first one of a file of which an earlier version is in force says of when that is; a file that is
    good itself and whose text is held by another one has a problem of its own for that.
    """
    at = time.time() if now is None else now
    left = dict(desired.kept)
    found = [_with_time(problem, left, at) for problem in desired.problems]
    others = (_with_time(Problem(Place(file), _HELD, follows=True), left, at) for file in [*left])
    return (*found, *others)


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
