"""The metrics of a running agent, in Prometheus' text format.

Made when somebody asks, of snapshots that are replaced as a whole and of what was counted: nothing
here waits for the main loop, nothing is asked of the node, and no disk is read but `/proc`. Only
this module needs prometheus-client, and it is imported only where metrics are asked for
(`metricsfile.metrics_of`).

What it promises: every family is one of `service/families`, with its help and type. Text of others
(names of guests) is without secrets, printable and bounded, so that the format holds whatever they
are called. A guest costs ten samples at the most.

Threads: any thread may ask; nothing is kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from felhom_agent import __version__
from felhom_agent.authz.jobs import JobState
from felhom_agent.daemon.controlview import Access
from felhom_agent.daemon.guestmetrics import of_guests
from felhom_agent.daemon.waiting import Activity
from felhom_agent.journal.suspensions import ALL
from felhom_agent.service.counters import Counted, Distribution, Labels
from felhom_agent.service.families import (
    ACTIONS,
    ACTIVE_LANES,
    BUILD_INFO,
    CPU,
    ENFORCING,
    FAMILIES,
    FILE_ERRORS,
    FROZEN,
    GENERATION,
    HELD,
    HINTS,
    HINTS_MISSED,
    HINTS_WORKING,
    HUB,
    HUB_SUCCESS,
    IN_FLIGHT,
    JOURNAL_SIZE,
    LONGEST,
    MEMORY,
    OPEN_FILES,
    OTHER,
    PASS_SUCCESS,
    PAUSED,
    QUEUE_DEPTH,
    SIGNED_JOBS,
    SIGNERS_EXPIRY,
    START_TIME,
    THREADS,
    UNKNOWN,
    Family,
    FamilyType,
)

_SELF: Final = Path("/proc/self")

Sample = tuple[Family, Labels, float]


def text_of(access: Access) -> str:
    """Given a running agent, return its metrics."""
    registry = CollectorRegistry()
    registry.register(_Once(_metrics(access)))
    return generate_latest(registry).decode("utf-8")


class _Once(Collector):
    """Gives what was collected already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metrics(access: Access) -> Iterator[Metric]:
    """Yield each family that has a sample, in the table's order."""
    counted = access.counters.snapshot()
    gauges: dict[Family, list[tuple[Labels, float]]] = {}
    for family, labels, value in _samples(access):
        gauges.setdefault(family, []).append((labels, value))
    absent = _absent(access)
    for family in FAMILIES:
        if family in absent:
            continue
        if family.type is FamilyType.HISTOGRAM:
            yield _histogram(family, counted.distributions[family])
        elif samples := gauges.get(family) or _of_counter(family, counted):
            yield _simple(family, samples)


def _of_counter(family: Family, counted: Counted) -> list[tuple[Labels, float]]:
    return list(counted.counters.get(family, {}).items())


def _absent(access: Access) -> frozenset[Family]:
    """Return the families of what this agent has not: a hub, hints of the host."""
    found: set[Family] = set()
    if access.hub is None:
        found |= {HUB, HUB_SUCCESS, GENERATION}
    if not access.eyes.listens:
        found |= {HINTS, HINTS_MISSED, HINTS_WORKING}
    return frozenset(found)


def _simple(family: Family, samples: Iterable[tuple[Labels, float]]) -> Metric:
    make = CounterMetricFamily if family.type is FamilyType.COUNTER else GaugeMetricFamily
    metric = make(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, found: Mapping[Labels, Distribution]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(str, family.buckets), "+Inf"]
    for labels, each in found.items():
        metric.add_metric(labels, list(zip(bounds, accumulate(each.counts), strict=True)),
                          each.total)  # fmt: skip
    return metric


def _samples(access: Access) -> Iterator[Sample]:
    """Yield what is read off the agent as it is now."""
    facts, passed, activity = access.facts(), access.latest(), access.activity()
    yield BUILD_INFO, (__version__, ".".join(map(str, access.pve()))), 1
    yield START_TIME, (), facts.started
    yield PASS_SUCCESS, (), passed.succeeded
    yield FILE_ERRORS, (), sum(not problem.follows for problem in passed.desired.problems)
    yield ENFORCING, (), facts.enforces
    yield HINTS_WORKING, (), access.eyes.working
    yield HELD, (), len(access.held().vmids)
    yield from of_guests(facts, passed, access.operations.changed())
    yield from _of_queue(access, activity)
    yield from _of_operations(access)
    yield from _of_suspensions(access, len(passed.declared))
    yield from _of_signing(access)
    if access.hub is not None:
        yield GENERATION, (), access.hub.kept.generation
        yield HUB_SUCCESS, (), access.hub.reported
    yield from _of_process()


def _of_queue(access: Access, activity: Activity) -> Iterator[Sample]:
    yield QUEUE_DEPTH, (), len(activity.queued)
    yield ACTIVE_LANES, (), len(activity.running)
    since = activity.since
    yield LONGEST, (), 0.0 if since is None else max(0.0, access.operations.now() - since)


def _of_operations(access: Access) -> Iterator[Sample]:
    operations = access.operations
    known = Counter(
        each.action if each.action in ACTIONS else OTHER for each in operations.in_flight()
    )
    for action in dict.fromkeys((*ACTIONS[:3], *sorted(known))):
        yield IN_FLIGHT, (action,), known[action]
    yield UNKNOWN, (), operations.unknown_count
    yield JOURNAL_SIZE, (), operations.journal_size


def _of_suspensions(access: Access, declared: int) -> Iterator[Sample]:
    pauses = [each for each in access.suspensions.all() if not each.freeze]
    everybody = any(each.vmid == ALL for each in pauses)
    yield PAUSED, (), declared if everybody else len(pauses)
    yield FROZEN, (), bool(access.suspensions.frozen())


def _of_signing(access: Access) -> Iterator[Sample]:
    ready = access.signing.ready
    if ready is None:
        return
    counts = ready.jobs.counts()
    for state in JobState:
        yield SIGNED_JOBS, (str(state),), counts[state]
    if ready.signers_end is not None:
        yield SIGNERS_EXPIRY, (), ready.signers_end


def _of_process() -> Iterator[Sample]:
    yield CPU, (), time.process_time()
    yield THREADS, (), threading.active_count()
    try:
        pages = int((_SELF / "statm").read_text().split()[1])
        files = len(os.listdir(_SELF / "fd"))  # noqa: PTH208  # only their number
    except (OSError, ValueError, IndexError):
        return  # a system without /proc
    yield MEMORY, (), pages * os.sysconf("SC_PAGE_SIZE")
    yield OPEN_FILES, (), files
