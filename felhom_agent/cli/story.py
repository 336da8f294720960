"""What was done to the guests, as a person reads it and as a script does.

A person gets a line for each operation, newest last, under the day on which it began; days are
those of this host's clock, whatever its changes. A clock that went back shows as a day that comes
again: the order is that in which things were done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

from felhom_agent.cli.moment import day_of, day_text
from felhom_agent.cli.terminal import Line, Part, Style, cells
from felhom_agent.journal.operation import Operation, State
from felhom_agent.printable import printable

MAX_TEXT = 4096
"""The longest that is told of one operation in each of its words, in characters."""
HANG = 12
"""How far a line is indented that goes on below, on a terminal: to where the guest stands."""

_MAX_PADDED = (32, 44)
"""Up to which width the columns of the guest and of what was done are aligned."""
_OUTCOME_WIDTH, _SECONDS_WIDTH = 9, 8

_STYLES = MappingProxyType({State.SUCCEEDED: Style.GOOD, State.FAILED: Style.BAD})

Row = Sequence[str]


@dataclass
class Story:
    """Tells operations, each under its day; it remembers which day it told last."""

    today: date
    _day: date | None = None

    def lines(self, operations: Iterable[Operation]) -> Iterator[Line]:
        """Given operations, yield them as lines, with the days between them."""
        told = list(operations)
        rows = [row(operation) for operation in told]
        widths = [
            min(max((cells(each[at]) for each in rows), default=0), most)
            for at, most in enumerate(_MAX_PADDED, start=1)
        ]
        for operation, each in zip(told, rows, strict=True):
            if (day := day_of(operation.begun)) != self._day:
                if self._day is not None:
                    yield ("",)
                yield (Part(day_text(day, self.today), Style.STRONG),)
                self._day = day
            yield _line(operation, each, widths)


def row(operation: Operation) -> Row:
    """Given an operation, return its cells: the time, the guest, what was done, the outcome, the
    seconds that it took, and why, with the UPID where somebody may want to look at the task.
    """
    begun = datetime.fromtimestamp(operation.begun).astimezone()
    needs_upid = operation.state is not State.SUCCEEDED and operation.upid
    remarks = [operation.why, operation.upid if needs_upid else ""]
    seconds = seconds_of(operation)
    return (
        f"{begun:%H:%M:%S}",
        _shown(operation.guest),
        _shown(operation.text),
        "in flight" if operation.in_flight else str(operation.state),
        "-" if seconds is None else f"{seconds:.1f} s",
        "   ".join(_shown(remark) for remark in remarks if remark),
    )


def as_json(operation: Operation) -> dict[str, Any]:
    """Given an operation, return it as plain data (docs/json/history.json)."""
    return {
        "op": operation.op_id,
        "vmid": operation.vmid,
        "name": operation.name,
        "kind": str(operation.kind),
        "action": operation.action,
        "text": _shown(operation.text),
        "state": "in flight" if operation.in_flight else str(operation.state),
        "begun": _rfc3339(operation.begun),
        "ended": None if operation.in_flight else _rfc3339(operation.ended),
        "seconds": seconds_of(operation),
        "why": _shown(operation.why),
        "upid": _shown(operation.upid),
    }


def seconds_of(operation: Operation) -> float | None:
    """Return how long an operation took; None while it has not ended, and where the clock was put
    back meanwhile.
    """
    if operation.in_flight or operation.ended < operation.begun:
        return None
    return round(operation.ended - operation.begun, 3)


def _line(operation: Operation, row: Row, widths: Sequence[int]) -> Line:
    clock, guest, text, outcome, seconds, remarks = row
    return (
        f"  {clock}  {_padded(guest, widths[0])}  {_padded(text, widths[1])}  ",
        Part(outcome, _STYLES.get(operation.state, Style.WARN)),
        f"{' ' * (_OUTCOME_WIDTH - len(outcome))}  {seconds:>{_SECONDS_WIDTH}}   {remarks}",
    )


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - cells(text))


def _shown(text: str) -> str:
    return printable(text, MAX_TEXT)


def _rfc3339(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
