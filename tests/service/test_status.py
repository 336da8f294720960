"""How it goes, in one sentence."""

from __future__ import annotations

import pytest

from felhom_agent.model import Blocked, Converged, Outcome, Refused, Retry
from felhom_agent.service.status import sentence

LOCKED = Blocked("it is locked (backup)")


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({}, "no guest is declared"),
        ({1: Converged()}, "1 guest converged"),
        (
            {**{v: Converged() for v in range(12)}, 101: LOCKED},
            "12 guests converged, 1 blocked: 101 blocked: it is locked (backup)",
        ),
        (
            {1: Refused("no such option"), 2: Retry(4.2, "busy")},
            "1 refused, 1 retry: 1 refused: no such option; 2 retry in 4 s: busy",
        ),
        (
            dict.fromkeys(range(5), Blocked("no")),
            "5 blocked: 0 blocked: no; 1 blocked: no; 2 blocked: no (and 2 more)",
        ),
    ],
)
def test_it_counts_and_names_who_is_not_converged(outcomes: dict[int, Outcome], words: str) -> None:
    assert sentence(outcomes) == words


def test_what_troubles_all_comes_first_and_turns_are_counted() -> None:
    told = sentence({1: Converged()}, running=2, trouble="the node cannot be looked at: no route")
    assert told == ("the node cannot be looked at: no route; 1 guest converged, 2 being reconciled")


def test_a_guest_that_was_not_looked_at_yet_is_not_taken_for_none() -> None:
    assert sentence({}, declared=2) == "2 not observed yet"
    assert sentence({1: Converged()}, declared=2) == "1 guest converged, 1 not observed yet"


def test_it_is_one_line_of_bearable_length() -> None:
    told = sentence({1: Blocked("why " * 200)})
    assert len(told) == 240
    assert told.endswith("...")
