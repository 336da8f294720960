"""When to look again at a task that runs, so that its end is seen soon and few looks are made.

Two bounds hold for every task: between two looks lie at most `SPARSE` seconds or `SHARE` of the
time that the task has run, whichever is more; the answer's own time comes on top. What tasks of the
same type took before says where looks are worth more: one falls right before and one right after
each expected end, then they thin out again until the bounds. A type that was not met before is
expected to end at once.

`next_look` is pure. `Durations` holds no lock: its owner guards it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SPARSE = 0.2
"""Seconds between two looks at a young task, far from any expected end."""
SHARE = 0.05
"""The part of its run time by which the end of an older task may be seen late."""
FINE = 0.04
"""Seconds between the looks around an expected end."""

# Durations that lie closer together than this are one expected end.
_SAME = 2 * FINE
# By how much of the time since the expected end the pause grows.
_GROWTH = 0.5
# An end was at most this many seconds before the look that saw it, or half of the pause.
_LATE = 1.5 * FINE
_KEPT = 4
_TYPES = 64
# A look that is this near to the moment at which it was wanted was made then.
_NEAR = 0.001


def next_look(age: float, known: Iterable[float] = ()) -> float:
    """Given how many seconds a task has run, and what such tasks took, return the age at which to
    look at it next; it is greater than `age`.
    """
    longest = max(SPARSE, SHARE * age)
    ends = list(_ends(known)) or [0.0]
    return min(age + longest, *(_towards(end, age) for end in ends))


def _towards(end: float, age: float) -> float:
    """Return the age at which to look next for the sake of one expected end."""
    before, after = end - FINE / 2, end + FINE / 2
    if age < before - _NEAR:
        return before
    if age < after - _NEAR:
        return max(after, age + FINE / 2)
    return age + FINE + (age - after) * _GROWTH


def _ends(known: Iterable[float]) -> Iterator[float]:
    """Yield the expected ends: the mean of each group of durations that are nearly the same."""
    group: list[float] = []
    for duration in sorted(known):
        if group and duration - group[-1] > _SAME:
            yield sum(group) / len(group)
            group = []
        group.append(duration)
    if group:
        yield sum(group) / len(group)


class Durations:
    """What the last few tasks of each type took, in seconds."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[float, ...]] = {}

    def of(self, task_type: str) -> tuple[float, ...]:
        """Given a task's type, return what the last of them took, the latest last."""
        return self._of.get(task_type, ())

    def ended(self, task_type: str, running: float, ended: float) -> None:
        """Given a type, the age at which a task was last seen running, and the age at which it was
        seen to have ended, remember when it ended: in between.
        """
        took = max((running + ended) / 2, ended - _LATE)
        known = self._of.pop(task_type, ())
        self._of[task_type] = (*known, took)[-_KEPT:]
        if len(self._of) > _TYPES:
            # The names are PVE's; the type that was met longest ago is the least missed.
            del self._of[next(iter(self._of))]
