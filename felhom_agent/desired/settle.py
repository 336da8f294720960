"""Whether a file has been left alone for long enough to be believed.

Who writes a file seldom writes it at once, and half of a guest file may be a valid one. So what
changed is believed only once it has stayed the same for some seconds; a file that is gone, only
once it has stayed away. Its own times tell how long that has been already when it is first seen;
from then on the monotonic clock alone counts, so that a time in the future (a clock that was put
back, a file from elsewhere) holds a file up no longer than that.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final

from felhom_agent.desired.provider import DesiredProvider
from felhom_agent.model import Desired, Place, Problem
from felhom_agent.regularfile import Stamp

Clock = Callable[[], float]

PATIENCE: Final = 30.0
"""Seconds for which a file may keep changing before that is a problem."""
GRACE: Final = 3.0
"""Seconds for which a command waits for files that change again while it waits for them."""
CHANGING: Final = "keeps changing, and is not believed before it is left alone"


class Settling:
    """Knows since when each path has been as it is; belongs to one thread.

    `seconds` is how long a path must be left alone, `now` tells seconds since the epoch, as the
    files' times are, and `clock` monotonic ones.
    """

    def __init__(self, seconds: float, now: Clock, clock: Clock) -> None:
        self._seconds = seconds
        self._now = now
        self._clock = clock
        self._seen: dict[Path, tuple[Hashable, float]] = {}
        self._restless: dict[Path, float] = {}

    def left(self, path: Path, stamp: Stamp | None) -> float:
        """Given a path and the stamp of what is there (None: nothing is), return for how many more
        seconds it is not to be believed; 0 if it is.
        """
        seen, since = self._seen.get(path, ("", 0.0))
        if seen != stamp:
            since = self._clock() - (self._age(stamp) if stamp else 0.0)
            self._seen[path] = (stamp, since)
        left = max(0.0, self._seconds - (self._clock() - since))
        if left:
            self._restless.setdefault(path, self._clock())
        else:
            self._restless.pop(path, None)
        return left

    def restless(self, path: Path) -> bool:
        """Return whether a path has kept changing for so long that somebody should hear of it."""
        since = self._restless.get(path)
        return since is not None and self._clock() - since > self._seconds + PATIENCE

    def forget(self, path: Path) -> None:
        """Drop what is known of a path."""
        self._seen.pop(path, None)
        self._restless.pop(path, None)

    def _age(self, stamp: Stamp) -> float:
        """Return for how long what is there has been so, by its own times; 0 if they cannot be."""
        return max(0.0, self._now() - max(stamp.modified, stamp.changed))


def load_settled(
    provider: DesiredProvider,
    wait: Callable[[float], object],
    clock: Clock = time.monotonic,
) -> Desired:
    """Given a provider and how to wait for some seconds, return what is desired once its source
    has been left alone; what changes again, for `GRACE` more seconds, is a problem.

    `wait` may return early (`Event.wait`); it is called again then, or no more once time is over.
    """
    desired = provider.load()
    until = clock() + desired.settles_in + GRACE
    while desired.settles_in > 0 and clock() < until:
        wait(min(desired.settles_in, until - clock()))
        again = provider.load()
        desired = dataclasses.replace(again, news=desired.news + again.news)
    changing = tuple(Problem(Place(name), CHANGING) for name in desired.unsettled)
    return dataclasses.replace(desired, problems=desired.problems + changing)
