"""A plugin of pytest for `tools.mutants`: it runs some tests, in a given order, and notes what
became of them.

The environment names two files. ONLYTHESE_TESTS has the tests, one id per line; without it all
that were collected run. ONLYTHESE_NOTES gets a line of JSON per test that ran: its id, how many
seconds it took, and whether it passed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the chosen tests, in their order."""
    name = os.environ.get("ONLYTHESE_TESTS")
    if name is None:
        return
    there = {item.nodeid: item for item in items}
    chosen = [there.pop(test) for test in json.loads(Path(name).read_text()) if test in there]
    config.hook.pytest_deselected(items=list(there.values()))
    items[:] = chosen


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test, and with it a failure before or after it."""
    if report.when == "call" or report.failed:
        with Path(os.environ["ONLYTHESE_NOTES"]).open("a") as notes:
            line = {"test": report.nodeid, "took": report.duration, "passed": not report.failed}
            notes.write(json.dumps(line) + "\n")
