"""What was done to the guests, as a person reads it and as a script does.

A person gets a line for each operation, newest last, under the day on which it began; days are
those of this host's clock, whatever its changes. A clock that went back shows as a day that comes
again: the order is that in which things were done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from felhom_agent.cli.moment import day_of, day_text
from felhom_agent.cli.terminal import Line, Part, Style, cells, wrapped
from felhom_agent.journal.operation import Operation, State
from felhom_agent.printable import printable

MAX_TEXT = 4096
"""The longest that a script is told of one operation in each of its words, in characters."""
MAX_SHOWN = 300
"""The longest that a person is told of it."""
HANG = 12
"""How far a line is indented that goes on below, on a terminal: to where the guest stands."""

_MAX_PADDED = (32, 44, 9, 8)
"""Up to which width the columns are aligned: the guest, what was done, the outcome, the seconds."""
_GAPS = 3 * 2
_MIN_TEXT = 12
"""Cells that what was done needs; where they are not there, nothing is aligned."""

_STYLES = MappingProxyType({State.SUCCEEDED: Style.GOOD, State.FAILED: Style.BAD})

Row = Sequence[str]


@dataclass
class Story:
    """Tells operations, each under its day; it remembers which day it told last, and how wide the
    columns have become. `columns` is how many cells a line has (None: as many as it needs).
    """

    today: date
    columns: int | None = None
    _day: date | None = None
    _widths: Sequence[int] = (0, 0, 0, 0)

    def lines(self, operations: Iterable[Operation]) -> Iterator[Line]:
        """Given operations, yield them as lines, with the days between them."""
        told = list(operations)
        rows = [row(operation) for operation in told]
        self._widths = [
            max([known, *(min(cells(each[at]), most) for each in rows)])
            for at, (known, most) in enumerate(zip(self._widths, _MAX_PADDED, strict=True), start=1)
        ]
        for operation, each in zip(told, rows, strict=True):
            if (day := day_of(operation.begun)) != self._day:
                if self._day is not None:
                    yield ("",)
                yield (Part(day_text(day, self.today), Style.STRONG),)
                self._day = day
            yield from self._told(each, _STYLES.get(operation.state, Style.WARN))

    def _told(self, row: Row, style: Style) -> Iterator[Line]:
        """Yield an operation's line, and what of it goes on below where the columns have to be
        narrower than it is.
        """
        clock, guest, text, outcome, seconds, remarks = row
        widths = _fitting(self._widths, self.columns)
        (guest, text), *more = _pieces((guest, text), widths, self.columns)
        start = f"  {clock}  {_padded(guest, widths[0])}  {_padded(text, widths[1])}  "
        end = f"{' ' * (widths[2] - len(outcome))}  {seconds:>{widths[3]}}"
        line = (start, Part(outcome, style), end)
        size = cells(f"{start}{outcome}{end}   {remarks}")
        if self.columns is None or not any(widths) or (not more and size <= self.columns):
            yield (*line, f"   {remarks}")
            return
        yield line
        indent = " " * HANG
        for guest, text in more:
            yield (f"{indent}{_padded(guest, widths[0])}  {text}",)
        if remarks:
            yield (indent + remarks,)


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
        _shown(operation.guest, MAX_SHOWN),
        _shown(operation.text, MAX_SHOWN),
        "in flight" if operation.in_flight else str(operation.state),
        "-" if seconds is None else f"{seconds:.1f} s",
        "   ".join(_shown(remark, MAX_SHOWN) for remark in remarks if remark),
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


def _fitting(widths: Sequence[int], columns: int | None) -> Sequence[int]:
    """Return as wide columns as a line of so many cells has room for; zeros if there is too little
    for columns.
    """
    if columns is None:
        return widths
    guest, text, outcome, seconds = widths
    room = columns - HANG - _GAPS - outcome - seconds
    guest = min(guest, room // 2)
    left = min(text, room - guest)
    return (guest, left, outcome, seconds) if left >= min(text, _MIN_TEXT) else (0, 0, 0, 0)


def _pieces(
    texts: Sequence[str], widths: Sequence[int], columns: int | None
) -> list[tuple[str, ...]]:
    """Return texts side by side, in as many lines as they need in columns of these widths."""
    if columns is None or not any(widths):
        return [tuple(texts)]
    found = [
        ["".join(part.text for part in line) for line in wrapped([Part(text)], size)]
        for text, size in zip(texts, widths, strict=False)
    ]
    return list(zip_longest(*found, fillvalue=""))


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - cells(text))


def _shown(text: str, most: int = MAX_TEXT) -> str:
    return printable(text, most)


def _rfc3339(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
