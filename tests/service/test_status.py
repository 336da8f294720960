"""How it goes, in one sentence."""

from __future__ import annotations

import pytest

from felhom_agent.model import Blocked, Converged, Outcome, Place, Problem, Refused, Retry
from felhom_agent.service.names import Names
from felhom_agent.service.status import sentence

LOCKED = Blocked("locked (backup)")
NAMES = Names({101: "web", 102: "db"})


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({}, "no guest is declared"),
        ({1: Converged()}, "1 guest as declared"),
        (
            {**{v: Converged() for v in range(12)}, 101: LOCKED},
            "12 guests as declared, 1 waits: 101 web: locked (backup)",
        ),
        (
            {101: Refused("no such option"), 102: Retry(4.2, "busy")},
            "1 refused, 1 tried again: 101 web: no such option; 102 db: busy",
        ),
        (
            dict.fromkeys(range(5), Blocked("no")),
            "5 wait: 0: no; 1: no; 2: no (and 2 more)",
        ),
        (
            {101: Blocked("would start", observed=True), 102: LOCKED},
            "1 waits, 1 only observed: 102 db: locked (backup); 101 web: would start",
        ),
    ],
)
def test_it_counts_and_names_who_is_not_as_declared(
    outcomes: dict[int, Outcome], words: str
) -> None:
    assert sentence(outcomes, names=NAMES) == words


def test_what_troubles_all_comes_first_and_turns_are_counted() -> None:
    told = sentence({1: Converged()}, running=2, trouble="the node cannot be looked at: no route")
    assert told == (
        "the node cannot be looked at: no route; 1 guest as declared, 2 being reconciled"
    )


def test_errors_in_files_are_counted_and_the_first_is_told_without_its_directory() -> None:
    wrong = [
        Problem(Place("/etc/felhom-agent/guests.d/web.toml", 3), "[guest.x]: must be a number"),
        Problem(Place("/etc/felhom-agent/guests.d/dns.toml", 5), "corse: no such option"),
    ]
    told = sentence({1: Converged()}, problems=wrong[1:])
    assert told == "files: 1 error: dns.toml:5 corse: no such option; 1 guest as declared"
    assert sentence({}, problems=wrong).startswith("files: 2 errors: dns.toml:5 corse: ")


def test_a_long_error_leaves_room_for_the_guests() -> None:
    wrong = Problem(Place("/etc/felhom-agent/guests.d/dns.toml", 5), "x" * 5000)
    assert sentence({1: Converged()}, problems=[wrong]).endswith("...; 1 guest as declared")


def test_a_guest_that_was_not_looked_at_yet_is_not_taken_for_none() -> None:
    assert sentence({}, declared=2) == "2 not observed yet"
    assert sentence({1: Converged()}, declared=2) == "1 guest as declared, 1 not observed yet"


def test_it_is_one_line_of_bearable_length() -> None:
    told = sentence({1: Blocked("why " * 200)})
    assert len(told) == 400
    assert told.endswith("...")
