"""All benchmarks as one run, one after the other: `python -m benchmarks`, or `make bench`.

The tables go to standard output, one line per step to standard error, all figures to
`build/bench.json`. `--markdown` writes the tables into docs/performance.md too. Nothing here fails
because of a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from benchmarks.steps import FULL, PARTS, SHORT, Step
from benchmarks.tables import markdown

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


class Failed(Exception):
    """A step that ended with an error; it has told so itself."""


def run(step: Step) -> list[Row]:
    """Given a step, return its rows, each figure the median of its rounds. Raise Failed."""
    begun = time.monotonic()
    print(f"{step} ...", end=" ", file=sys.stderr, flush=True)
    rounds = [_once(step) for _ in range(step.rounds)]
    print(f"{time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return [median_of(rows) for rows in zip(*rounds, strict=True)]


def _once(step: Step) -> list[Row]:
    words = [sys.executable, "-m", f"benchmarks.{step.part}", *step.words]
    try:
        ended = subprocess.run(  # noqa: S603  ourselves
            words, stdout=subprocess.PIPE, check=True, timeout=step.deadline
        )
    except subprocess.SubprocessError as error:
        raise Failed(str(step)) from error
    rows: list[Row] = json.loads(ended.stdout)
    return rows


def median_of(rows: tuple[Row, ...]) -> Row:
    """Given the same row of several rounds, return it with the median of each figure."""
    return {
        key: statistics.median(row[key] for row in rows) if _is_figure(value) else value
        for key, value in rows[0].items()
    }


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def machine() -> dict[str, Any]:
    """Return what the figures depend on, beside the program."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def _about(found: dict[str, Any]) -> str:
    return (
        f"Run of {found['date']}: Python {found['python']}, {found['processors']} processors, "
        f"a load of {found['load']:.1f} when it began."
    )


def put_into(page: str, tables: str) -> str:
    """Given the text of a page and tables, return it with them between its two markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables}{END}{tail}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="which, of: " + ",".join(PARTS))
    parser.add_argument("--json", type=Path, default=Path("build") / "bench.json")
    parser.add_argument("--markdown", action="store_true", help="write docs/performance.md, too")
    parser.add_argument("--short", action="store_true", help="tiny numbers, without peers")
    given = parser.parse_args()
    parts = given.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    about, rows, failed = machine(), list[Row](), list[str]()
    for step in SHORT if given.short else FULL:
        if step.part not in parts:
            continue
        try:
            rows += run(step)
        except Failed as error:
            failed.append(str(error))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({"machine": about, "failed": failed, "rows": rows}, indent=1))
    tables = markdown(rows, _about(about))
    print(tables)
    if given.markdown:
        PAGE.write_text(put_into(PAGE.read_text(), tables))
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
