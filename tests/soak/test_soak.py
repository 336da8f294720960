"""The long run in short, and that its verdict can be bad."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.process import Usage
from tests.soak.report import Report
from tests.soak.soak import Course, soak

SHORT = Course(seconds=12, guests=40, seed=1, warm_up=0, drifts_per_second=5, rest=False)
GOOD = Report(beginning=Usage(20, 1, 40_000), end=Usage(20, 1, 40_100), mutations=50)


def test_after_drift_and_faults_the_agent_holds_no_more_than_before() -> None:
    told: list[str] = []
    report = soak(SHORT, told.append)
    assert not report.complaints(), "\n".join([*told, *report.table(), *report.complaints()])
    assert report.healed > SHORT.guests, "every guest once, and some again"


def test_so_it_is_where_the_host_tells_what_happens() -> None:
    told: list[str] = []
    course = replace(SHORT, seconds=6, guests=20, hints=True)
    report = soak(course, told.append)
    assert not report.complaints(), "\n".join([*told, *report.table(), *report.complaints()])
    assert report.healed > course.guests


def test_a_run_that_ends_as_it_began_is_good() -> None:
    assert GOOD.complaints() == []


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        (replace(GOOD, end=Usage(26, 1, 40_100)), "26 descriptors, 20 at the beginning"),
        (replace(GOOD, end=Usage(20, 2, 40_100)), "2 threads, 1 at the beginning"),
        (replace(GOOD, end=Usage(20, 1, 43_000)), "3000 KiB more than at the beginning"),
        (replace(GOOD, grown=3_000), "3000 KiB grown during the drift"),
        (replace(GOOD, end=Usage()), "the end was never measured"),
        (replace(GOOD, changed_in_calm=1), "1 changes although all was as declared"),
        (replace(GOOD, exit_code=1), "exit code 1"),
        (replace(GOOD, defects=["guest 100: out of line"]), "guest 100: out of line"),
    ],
)
def test_a_run_that_ends_worse_is_bad(worse: Report, words: str) -> None:
    (complaint,) = worse.complaints()
    assert words in complaint
