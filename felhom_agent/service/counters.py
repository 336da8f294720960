"""Counts what happens, for whoever asks for metrics later.

It belongs to the process, and outlives the agents that are assembled in it one after the other: a
counter that begins anew for no reason is read as a restart. It is passed to what counts, and needs
no library, so that counting costs a lock and an addition, whether or not anybody asks.

What it promises: memory and text stay bounded, whatever is counted. A family has at most
`MAX_SERIES` combinations of labels; what would be one more is counted under `other`.

Threads: any thread counts, and any may take a snapshot. `_lock` guards the tables; nothing is done
under it that waits. A snapshot is a copy.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from felhom_agent.service.families import FAMILIES, OTHER, Family, FamilyType

MAX_SERIES: Final = 300
"""How many combinations of labels a family has at the most, `other` not counted."""

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Distribution:
    """What was observed: how many in each bucket, the one without a bound last, and the sum."""

    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True)
class Counted:
    """All that was counted by a moment."""

    counters: Mapping[Family, Mapping[Labels, float]] = field(default_factory=dict)
    distributions: Mapping[Family, Mapping[Labels, Distribution]] = field(default_factory=dict)


@dataclass
class _Buckets:
    counts: list[int]
    total: float = 0.0


class Counters:
    """Counters and histograms of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[Family, dict[Labels, float]] = {}
        self._buckets: dict[Family, dict[Labels, _Buckets]] = {}
        for family in FAMILIES:
            if family.type is FamilyType.COUNTER:
                self._counters[family] = dict.fromkeys(family.always, 0.0)
            elif family.type is FamilyType.HISTOGRAM:
                self._buckets[family] = {labels: _empty(family) for labels in family.always}

    def add(self, family: Family, *labels: str, by: float = 1.0) -> None:
        """Given a counter and the values of its labels, count once, or as often as told."""
        with self._lock:
            table = self._counters[family]
            key = _bounded(table, family, labels)
            table[key] = table.get(key, 0.0) + by

    def observe(self, family: Family, seconds: float, *labels: str) -> None:
        """Given a histogram, what was measured and the values of its labels, note it."""
        with self._lock:
            table = self._buckets[family]
            key = _bounded(table, family, labels)
            found = table.setdefault(key, _empty(family))
            # A clock that was set back measures less than nothing.
            seconds = max(0.0, seconds)
            found.counts[bisect_left(family.buckets, seconds)] += 1
            found.total += seconds

    def snapshot(self) -> Counted:
        """Return all that was counted by now."""
        with self._lock:
            return Counted(
                {family: dict(table) for family, table in self._counters.items()},
                {
                    family: {
                        key: Distribution(tuple(each.counts), each.total)
                        for key, each in table.items()
                    }
                    for family, table in self._buckets.items()
                },
            )


def _empty(family: Family) -> _Buckets:
    return _Buckets([0] * (len(family.buckets) + 1))


def _bounded(table: Mapping[Labels, object], family: Family, labels: Labels) -> Labels:
    """Return under which labels to count."""
    if labels in table or len(table) < MAX_SERIES:
        return labels
    return (OTHER,) * len(family.labels)
