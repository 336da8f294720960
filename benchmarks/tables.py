"""What was measured, as Markdown: a table per kind of row, its ratios first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Row


@dataclass(frozen=True)
class Column:
    """A key of the rows, its heading, and how its figures are written."""

    key: str
    heading: str
    form: str = ""

    def show(self, row: Row) -> str:
        value = row.get(self.key)
        if value is None:
            return ""
        return format(value, self.form)


@dataclass(frozen=True)
class Table:
    """The rows of a name, what they are, and their columns: names, ratios, figures."""

    name: str
    title: str
    columns: tuple[Column, ...]

    def lines(self, rows: Sequence[Row]) -> list[str]:
        """Given the rows of a run, return the table; nothing if it has none of them."""
        own = [row for row in rows if row["table"] == self.name]
        if not own:
            return []
        head = [column.heading for column in self.columns]
        body = [[column.show(row) for column in self.columns] for row in own]
        rule = ["---" if not column.form else "--:" for column in self.columns]
        return ["", self.title, "", *(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))]


_RATIO = ".2f"
TABLES = (
    Table(
        "fleet",
        "**Passes and changes, beside the ideal** that the same delays and limits would leave "
        "(seconds, MiB):",
        (
            Column("case", "case"),
            Column("guests", "guests", "d"),
            Column("cap", "starts at once", "d"),
            Column("ratio", "wall : ideal", _RATIO),
            Column("ideal", "ideal", ".2f"),
            Column("wall", "wall", ".2f"),
            Column("first", "first change", ".2f"),
            Column("cpu", "CPU", ".2f"),
            Column("rss", "RSS", ".0f"),
            Column("peak", "most", ".0f"),
            Column("requests", "requests", ".0f"),
            Column("writes", "writes", ".0f"),
            Column("left", "left", ".0f"),
        ),
    ),
    Table(
        "process",
        "**The daemon as a process** (seconds; CPU and requests per idle minute; MiB):",
        (
            Column("guests", "guests", "d"),
            Column("ready", "READY", ".2f"),
            Column("first_pass", "first pass over", ".2f"),
            Column("begin_cpu", "CPU till then", ".2f"),
            Column("idle_cpu", "CPU per minute", ".2f"),
            Column("idle_requests", "requests per minute", ".0f"),
            Column("rss", "RSS", ".0f"),
            Column("peak", "most", ".0f"),
        ),
    ),
    Table(
        "quiet",
        "**A quiet host that tells what happens** (per minute, with the helper of the hints; then "
        "the seconds till what a person did is put back):",
        (
            Column("guests", "guests", "d"),
            Column("seconds", "quiet for", ".0f"),
            Column("requests", "requests", ".1f"),
            Column("cpu", "CPU", ".3f"),
            Column("helper", "of it the helper's", ".3f"),
            Column("change", "a changed key", ".1f"),
            Column("settle", "settle", ".0f"),
            Column("stop", "a stop from inside", ".1f"),
        ),
    ),
    Table(
        "queue",
        "**The queue, LaneQueue : other** (a round trip in microseconds; callbacks a second):",
        (
            Column("guests", "guests", "d"),
            Column("beside", "other"),
            Column("ratio_p50", "p50", _RATIO),
            Column("ratio_p99", "p99", _RATIO),
            Column("ratio_rate", "rate", _RATIO),
            Column("p50", "p50, ours", ".0f"),
            Column("other_p50", "other", ".0f"),
            Column("p99", "p99, ours", ".0f"),
            Column("other_p99", "other", ".0f"),
            Column("rate", "rate, ours", ",.0f"),
            Column("other_rate", "other", ",.0f"),
        ),
    ),
    Table(
        "journal",
        "**The journal beside a sync per record, and beside the bare disk** (appends a second):",
        (
            Column("disk", "disk"),
            Column("threads", "threads", "d"),
            Column("ratio_single", ": a sync per record", ".1f"),
            Column("ratio_raw", ": bare disk", ".1f"),
            Column("raw_ms", "bare write and sync, ms", ".2f"),
            Column("rate", "ours", ",.0f"),
            Column("single", "a sync per record", ",.0f"),
            Column("raw", "bare disk", ",.0f"),
            Column("share", "records per sync", ".1f"),
        ),
    ),
    Table(
        "opening",
        "**Opening and compacting a journal** (seconds):",
        (
            Column("megabytes", "MB", "g"),
            Column("open", "open", ".2f"),
            Column("compact", "compact", ".2f"),
        ),
    ),
    Table(
        "planner",
        "**Planning** (microseconds per guest):",
        (
            Column("options", "options", "d"),
            Column("ratio", "unchanged : first", _RATIO),
            Column("first", "first", ".1f"),
            Column("unchanged", "unchanged", ".1f"),
        ),
    ),
    Table(
        "peers",
        "**One command each, tool : felhom-agent, on the same node** (seconds, MiB of the largest "
        "process):",
        (
            Column("case", "case"),
            Column("guests", "guests", "d"),
            Column("tool", "tool"),
            Column("ratio_wall", "wall", _RATIO),
            Column("ratio_requests", "requests", _RATIO),
            Column("ratio_cpu", "CPU", _RATIO),
            Column("wall", "wall", ".2f"),
            Column("requests", "requests", ".0f"),
            Column("writes", "writes", ".0f"),
            Column("cpu", "CPU", ".2f"),
            Column("rss", "RSS", ".0f"),
            Column("left", "left", ".0f"),
        ),
    ),
)


def markdown(rows: Iterable[Row], about: str) -> str:
    """Given the rows of a run and a sentence on it, return its tables."""
    found = list(rows)
    lines = [about, *(line for table in TABLES for line in table.lines(found))]
    return "\n".join(lines) + "\n"
