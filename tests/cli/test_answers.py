"""What answered may be any program: nothing that it says is more than nothing."""

from __future__ import annotations

import pytest

from felhom_agent.cli import answers

ODD: list[object] = [None, True, False, 0, -1, 5, 1.5, float("nan"), float("inf"),
       10**400, "", "x", "\ud800",
       "2026-11-26", "2026-11-26T19:30:00",
       "9999-99-99T00:00:00Z", [], [1], [[]], [{}], {}, {"a": 1},
       [{"vmid": True}], [{"vmid": "101"}], [{"vmid": 99}], [{"vmid": 10**9}]]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_whatever_stands_there_something_of_the_right_type_is_read(odd: object) -> None:
    of = {"x": odd}
    assert isinstance(answers.text(of, "x"), str)
    assert isinstance(answers.number(of, "x"), float | None)
    assert isinstance(answers.whole(of, "x"), int | None)
    assert isinstance(answers.moment(of, "x"), float | None)
    assert all(isinstance(row, dict) for row in answers.rows(of, "x"))
    assert answers.guests(of, "x") == []
    assert isinstance(answers.table(of, "x"), dict)
    assert all(isinstance(each, str) for each in answers.texts(of, "x"))


def test_what_is_right_is_read_as_it_stands() -> None:
    of = {"t": "a", "n": 1.5, "w": 7, "m": "1970-01-01T00:01:00Z", "o": {"a": 1},
          "l": ["a", 1, "b"],
          "g": [{"vmid": 102}, 5, {"vmid": 101, "name": "x"}]}  # fmt: skip
    assert (answers.text(of, "t"), answers.number(of, "n"), answers.whole(of, "w")) == ("a", 1.5, 7)
    assert (answers.moment(of, "m"), answers.table(of, "o")) == (60.0, {"a": 1})
    assert answers.texts(of, "l") == ["a", "b"]
    assert [row["vmid"] for row in answers.guests(of, "g")] == [101, 102]


@pytest.mark.parametrize("odd", [0, 1, True, 1e18, -1, 1.0])
def test_a_number_that_is_no_whole_one_in_bounds_is_none(odd: object) -> None:
    assert answers.whole({"x": odd}, "x") == (odd if type(odd) is int and odd >= 0 else None)
