"""Problems are told with the time of what is in force instead."""

from __future__ import annotations

from types import MappingProxyType

from felhom_agent.desired.told import told
from felhom_agent.model import Desired, Place, Problem
from felhom_agent.printable import local_text

NOW = 1_800_000_000.0


def problem(file: str, text: str) -> Problem:
    return Problem(Place(file, 3), text)


def test_the_first_problem_of_each_file_says_of_when_its_guests_are() -> None:
    desired = Desired(
        problems=(problem("a", "x"), problem("a", "y"), problem("b", "z"), problem("c", "w")),
        kept=MappingProxyType({"a": NOW, "b": NOW - 30 * 86400, "d": NOW}),
    )
    assert [str(each) for each in told(desired, NOW)] == [
        f"a:3: x; its guests: last good version of {local_text(NOW)[11:]}",
        "a:3: y",
        f"b:3: z; its guests: last good version of {local_text(NOW - 30 * 86400)}",
        "c:3: w",
    ]


def test_any_time_has_a_text() -> None:
    for seconds in (-1e300, -1.0, 0.0, NOW, 1e300):
        assert len(local_text(seconds)) == len("2027-01-15 09:00")
        assert len(local_text(seconds, seconds)) == len("09:00")
