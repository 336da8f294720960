"""The families of metrics: each one's name, type, labels and help, in one table.

What is counted, exported, documented (`docs/metrics.md`), alerted on and drawn is named here and
nowhere else, so that a name which does not exist is seen by a test and not in an empty graph. It
knows nothing of a metrics library, so that the code which counts needs none.

The conventions are those of Prometheus: one prefix, base units, `_total`, `_info`. A `vmid` is a
label of gauges alone: a counter or a histogram with it would grow with every guest there ever was.
The agent's own process has `felhom_process_...` and not `process_...`: node_exporter, which reads
the text file, has families of those names itself, and drops the second one with an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ACTIONS: Final = ("Start", "Stop", "SetConfig", "Destroy", "Rollback", "DeleteSnapshot",
                  "PullPlug")  # fmt: skip
"""Every value of `action` and `class`."""
OTHER: Final = "other"
"""The value of a label for whatever has none of its own."""


class FamilyType(StrEnum):
    """The type of a family, as the text format names it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One family. `labels` are the names of its labels, `always` the values with which it is there
    from the start, so that a first event is seen as an increase. Of a histogram, `buckets` are the
    upper bounds but the last, infinity; in seconds.
    """

    name: str
    type: FamilyType
    help: str
    labels: tuple[str, ...] = ()
    always: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"felhom_{name}", FamilyType.GAUGE, text, labels)


def _counter(name: str, text: str, **values: tuple[str, ...]) -> Family:
    """Return a counter; it is there from the start for each value of its only label."""
    labels = tuple(values)
    always = tuple((v,) for v in values[labels[0]]) if len(labels) == 1 else ()
    return Family(f"felhom_{name}", FamilyType.COUNTER, text, labels, always if labels else ((),))


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family:
    always = () if labels else ((),)
    return Family(f"felhom_{name}", FamilyType.HISTOGRAM, text, labels, always, buckets)


_CALLS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WORK: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_SYNCS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

BUILD_INFO: Final = _gauge("build_info", "Always 1: the versions of the agent and of PVE.",
                           "version", "pve")  # fmt: skip

GUEST_INFO: Final = _gauge("guest_info", "Always 1: name and kind of a declared guest.",
                           "vmid", "name", "kind")  # fmt: skip
GUEST_OUTCOME: Final = _gauge(
    "guest_outcome", "1 for the outcome that a declared guest has, 0 for the others: converged, "
    "retry, blocked (a person must act), refused, observed (it differs, and is only observed).",
    "vmid", "outcome",
)  # fmt: skip
GUEST_SINCE: Final = _gauge(
    "guest_outcome_since_timestamp_seconds", "Since when a guest has its outcome.", "vmid"
)
GUEST_DRIFT: Final = _gauge(
    "guest_drift_keys", "How many options of a guest would be set to bring it back, as of the last "
    "pass.", "vmid",
)  # fmt: skip
GUEST_CHANGED: Final = _gauge(
    "guest_changed_timestamp_seconds", "When the agent last changed, started or stopped a guest.",
    "vmid",
)  # fmt: skip
GUEST_RESTART: Final = _gauge(
    "guest_restart_required", "1 where a declared option waits for the guest's restart, else 0.",
    "vmid",
)  # fmt: skip
GUESTS: Final = _gauge("guests", "How many declared guests have an outcome; `none`: not observed "
                       "yet.", "outcome")  # fmt: skip
UNDECLARED: Final = _gauge("undeclared_guests", "How many guests of the node are not declared.")

PASS: Final = _counter("pass_total", "Passes over the node that ended.", result=("good", "failed"))
PASS_SECONDS: Final = _histogram("pass_duration_seconds", "How long a pass took.", _WORK)
PASS_SUCCESS: Final = _gauge(
    "pass_last_success_timestamp_seconds", "When the last pass that went well ended; 0: none did."
)
HINTS: Final = _counter(
    "hints_total", "Guests of which the host told that they were written to (config), or came or "
    "went (power).", source=("config", "power"),
)  # fmt: skip
HINTS_MISSED: Final = _counter("hints_missed_total", "Changes that a pass found and no hint told.")
HINTS_WORKING: Final = _gauge("hints_working", "1 while the host tells of every change, else 0.")

RECONCILE: Final = _counter(
    "reconcile_total", "What came of the guests that a lane was at work on.",
    result=("converged", "retry", "blocked", "refused", "interrupted"),
)  # fmt: skip
RECONCILE_SECONDS: Final = _histogram(
    "reconcile_duration_seconds", "How long a lane was at work on a guest.", _WORK
)
INTERNAL_ERRORS: Final = _counter(
    "reconcile_internal_errors_total", "Defects of the agent that a lane met; please report them."
)

QUEUE_DEPTH: Final = _gauge("queue_depth", "How many guests wait for a place.")
QUEUE_ADDS: Final = _counter("queue_adds_total", "Guests that were enqueued.")
QUEUE_RETRIES: Final = _counter("queue_retries_total", "Guests that are to be tried again later.")
QUEUE_WAIT: Final = _histogram(
    "queue_wait_duration_seconds", "How long a guest waited for its place.", _WORK
)
LONGEST: Final = _gauge(
    "queue_longest_running_seconds", "How long the lane that began first has been at work; 0: none."
)
ACTIVE_LANES: Final = _gauge("active_lanes", "How many guests lanes are at work on.")

OPERATIONS: Final = Family(
    "felhom_operations_total", FamilyType.COUNTER,
    "Operations on guests that ended: succeeded, failed, unknown (nobody can tell any more).",
    ("action", "result"),
    tuple((action, result) for action in ACTIONS[:3]
          for result in ("succeeded", "failed", "unknown")),
)  # fmt: skip
OPERATION_SECONDS: Final = _histogram(
    "operation_duration_seconds", "How long an operation took, from the intent to its outcome.",
    _WORK, "action",
)  # fmt: skip
IN_FLIGHT: Final = _gauge("operations_in_flight", "Operations that have no outcome yet.", "action")
UNKNOWN: Final = _gauge(
    "operations_unknown", "Operations in the journal of which nobody can tell what became of them."
)

API: Final = Family(
    "felhom_api_requests_total", FamilyType.COUNTER,
    "Requests to PVE's API, by HTTP status; `none`: no answer came.",
    ("method", "endpoint", "code"),
)  # fmt: skip
API_SECONDS: Final = _histogram(
    "api_request_duration_seconds", "How long PVE's API took to answer.", _CALLS, "method",
    "endpoint",
)  # fmt: skip

FSYNC: Final = _histogram(
    "journal_fsync_duration_seconds", "How long the disk took to make the journal durable.", _SYNCS
)
APPENDS: Final = _counter("journal_appends_total", "Records that were made durable.")
JOURNAL_SIZE: Final = _gauge("journal_size_bytes", "How many bytes the journal has.")
REPAIRS: Final = _counter(
    "journal_repairs_total", "Torn ends of the journal that were set aside when it was opened."
)

GENERATION: Final = _gauge("desired_generation", "The hub's generation in force; 0: none.")
FILE_ERRORS: Final = _gauge("file_errors", "How many errors guest files have.")
HUB: Final = _counter(
    "hub_requests_total", "Requests to the hub; away: no answer came, refused: none that counts.",
    result=("good", "away", "refused"),
)  # fmt: skip
HUB_SUCCESS: Final = _gauge(
    "hub_last_success_timestamp_seconds", "When the hub last took a report; 0: never."
)

GATE: Final = Family(
    "felhom_gate_decisions_total", FamilyType.COUNTER,
    "What the gate said to acts on guests. It is asked before an act is written down, and again "
    "before PVE is asked.", ("class", "decision"),
)  # fmt: skip
SIGNED_JOBS: Final = _gauge("signed_jobs", "Signed jobs that are known, by how they stand.",
                            "state")  # fmt: skip
SIGNERS_EXPIRY: Final = _gauge(
    "signers_expiry_timestamp_seconds", "When the set of signers ends; not there: it does not."
)
PAUSED: Final = _gauge("paused_guests", "How many declared guests a person has paused.")
FROZEN: Final = _gauge("frozen", "1 while a person has frozen this host, else 0.")
ENFORCING: Final = _gauge(
    "enforcing", "1 while nothing holds all guests of this host, 0 while something does."
)
HELD: Final = _gauge(
    "held_guests", "How many guests are held since unusually many would be changed at once."
)
UNSAFE: Final = _counter(
    "unsafe_plans_total", "Plans that were held since they would change unusually many guests."
)

CPU: Final = Family(
    "felhom_process_cpu_seconds_total", FamilyType.COUNTER, "Processor time of the agent's process."
)
MEMORY: Final = _gauge("process_resident_memory_bytes", "Memory of the agent's process.")
OPEN_FILES: Final = _gauge("process_open_fds", "Files and sockets that the agent has open.")
THREADS: Final = _gauge("process_threads", "Threads of the agent's process.")
START_TIME: Final = _gauge("process_start_time_seconds", "When the agent began.")

FAMILIES: Final = tuple(value for value in list(vars().values()) if isinstance(value, Family))
"""All of them, in the order in which they are told."""


def series_of(family: Family) -> tuple[str, ...]:
    """Given a family, return the names that its samples have."""
    if family.type is FamilyType.HISTOGRAM:
        return tuple(f"{family.name}_{part}" for part in ("bucket", "sum", "count"))
    return (family.name,)
