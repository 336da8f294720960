"""People are told of a guest by its number and its name."""

from __future__ import annotations

import threading

import pytest

from felhom_agent.service.names import MAX_NAME, Names, numbered


def test_a_guest_is_called_by_number_and_name_where_the_name_is_known() -> None:
    names = Names({101: "web"})
    assert (names.of(101), names.guest(101)) == ("101 web", "guest 101 web")
    assert (names.of(102), names.guest(102)) == ("102", "guest 102")


def test_the_names_are_those_that_were_seen_last() -> None:
    names = Names({101: "web", 102: "db"})
    names.learn({101: "shop"})
    assert (names.of(101), names.of(102)) == ("101 shop", "102")


def test_a_guest_that_is_kept_is_still_called_by_its_name_when_it_is_gone() -> None:
    names = Names({101: "web", 102: "db"})
    names.learn({103: "new"}, keep=frozenset({101, 104}))
    assert [names.of(vmid) for vmid in (101, 102, 103, 104)] == ["101 web", "102", "103 new", "104"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "101"),
        ("  ", "101"),
        ("VM 101", "101"),
        ("CT101", "101"),
        ("VM 102", "101 'VM 102'"),
        ("web-1.example", "101 web-1.example"),
        ("two words", "101 'two words'"),
        ("a: done", "101 'a: done'"),
        ("x\n<3>y", "101 'x\\\\n<3>y'"),
    ],
)
def test_an_odd_name_cannot_pass_for_words_of_ours(name: str, shown: str) -> None:
    assert numbered(101, name) == shown


def test_a_long_name_is_cut() -> None:
    assert len(numbered(101, "x" * 5000)) <= len("101 ''") + MAX_NAME


def test_lanes_that_learn_names_at_once_lose_none() -> None:
    names = Names()

    def learn(low: int) -> None:
        for vmid in range(low, low + 500):
            names.add({vmid: "x"})

    threads = [threading.Thread(target=learn, args=(low,)) for low in range(1000, 5000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert all(names.of(vmid) == f"{vmid} x" for vmid in range(1000, 5000))
