"""What a journal keeps when it is made smaller.

Kept whatever the limits:

* operations in flight, since recovery needs them;
* one-shot jobs until they expire, since they must not be begun twice;
* what happened within `RECENT` seconds of now or of the oldest operation in flight, since a task
  that is nobody's in PVE's list must really be nobody's;
* who is known under each vmid;
* the latest word on each pause and freeze that has not ended;
* of signed operations the highest time ever seen, and the nonces for as long as their jobs could be
  taken for new ones (`signed.py`);
* every record that is not understood.

Of the rest, the newest are kept, as long as they are younger than `Limits.days` and all together
fill no more than half of `Limits.size`, so that the next time is not at once. One record, the
*mark*, stands for what was let go: the highest operation id that was ever given, and until when
jobs were forgotten.

Clocks jump. The order of operations is their ids', which never go back; an age is the sum of the
times between one operation and the next, down to now. A step back in time counts as none. A stretch
of more than `Limits.days` in which nothing happened counts as half of them: it looks like a clock
that was put ahead, and where really nothing happened, half of the history costs nothing. So a jump
of years, there or back, leaves the younger half of the history, and what decides about an act does
not depend on ages: in flight, identities, and jobs, but for their ends; and of a job that a clock
let go too early the mark says that it has expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from felhom_agent.durable.line import Record, encode_file
from felhom_agent.journal.operation import Operation, replay
from felhom_agent.journal.signed import retain_signed

RECENT = 3600.0
_JUDGED = frozenset({"op", "mark", "identity", "suspend", "signed"})
_DAY = 86400.0


@dataclass(frozen=True)
class Limits:
    """How much of the past is kept: at most so many days, and so many bytes."""

    days: float = 90.0
    size: int = 8_000_000


@dataclass(frozen=True)
class Watermark:
    """What is known of operations that the journal no longer holds.

    `last_id` is the highest id ever given, `forgotten` the latest expiry (seconds since the epoch)
    of a one-shot job that was let go.
    """

    last_id: int = 0
    forgotten: float = 0.0

    def include(self, operations: Iterable[Operation]) -> Watermark:
        """Return the mark that stands for these operations too."""
        found = list(operations)
        return Watermark(
            max([self.last_id, *(int(o.op_id, 16) for o in found)]),
            max([self.forgotten, *(o.expires or 0.0 for o in found if o.key)]),
        )


def watermark_of(records: Iterable[Record]) -> Watermark:
    """Given a journal's records, return the mark that stands for what it no longer holds."""
    mark = Watermark()
    for record in records:
        if "mark" in record:
            last_id, forgotten = int(record["mark"], 16), record["forgotten"]
            mark = Watermark(max(mark.last_id, last_id), max(mark.forgotten, forgotten))
    return mark


def retain(records: list[Record], now: float, limits: Limits) -> list[Record]:
    """Given a journal's records and the time in seconds since the epoch, return those to keep."""
    operations = replay(records)
    ages = _ages(operations, now, limits.days * _DAY)
    needed = _needed(operations, ages, now)
    kept = needed | _history(records, operations, needed, ages, limits)
    mark = watermark_of(records).include(o for o in operations if o.op_id not in kept)
    return [mark_record(mark), *_others(records), *(r for r in records if r.get("op") in kept)]


def mark_record(mark: Watermark) -> Record:
    """Given a mark, return the record that it is kept as."""
    return {"mark": f"{mark.last_id:012x}", "forgotten": mark.forgotten}


def _ages(operations: list[Operation], now: float, limit: float) -> dict[str, float]:
    """Return how many seconds ago each operation was; `limit` tells a stretch from a jump."""
    ages: dict[str, float] = {}
    age, later = 0.0, now
    for operation in reversed(operations):
        moment = max(operation.begun, operation.ended)
        gap = max(0.0, later - moment)
        age += gap if gap <= limit else limit / 2
        ages[operation.op_id], later = age, moment
    return ages


def _needed(operations: list[Operation], ages: Mapping[str, float], now: float) -> set[str]:
    # What is in flight lies on this side of the horizon by itself.
    horizon = max([0.0, *(ages[o.op_id] for o in operations if o.in_flight)]) + RECENT
    return {o.op_id for o in operations if ages[o.op_id] <= horizon or _is_good_job(o, now)}


def _is_good_job(operation: Operation, now: float) -> bool:
    return bool(operation.key) and (operation.expires is None or operation.expires > now)


def _history(
    records: list[Record],
    operations: list[Operation],
    needed: set[str],
    ages: Mapping[str, float],
    limits: Limits,
) -> set[str]:
    """Return the ids of the newest operations that fit beside what is needed."""
    sizes = _sizes(records)
    room = limits.size // 2 - sum(size for op_id, size in sizes.items() if op_id in needed)
    found = set()
    for operation in reversed(operations):
        if operation.op_id in needed:
            continue
        room -= sizes[operation.op_id]
        if room < 0 or ages[operation.op_id] > limits.days * _DAY:
            break
        found.add(operation.op_id)
    return found


def _sizes(records: list[Record]) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for record in records:
        if isinstance(op_id := record.get("op"), str):
            sizes[op_id] = sizes.get(op_id, 0) + len(encode_file([record]))
    return sizes


def _others(records: list[Record]) -> list[Record]:
    """Return the records that are of no operation: the latest word on each guest and on each
    suspension, and the rest.
    """
    latest = {r["guest"]: r for r in records if "identity" in r}
    suspended = {(r["suspend"], r["freeze"]): r for r in records if "suspend" in r}
    open_ = [r for r in suspended.values() if "ended" not in r]
    rest = [r for r in records if not r.keys() & _JUDGED]
    return [*latest.values(), *open_, *retain_signed(records), *rest]
