"""A value that may be a secret is known again from the journal, and cannot be read there."""

from __future__ import annotations

from felhom_agent.journal.hiddenvalue import is_mark, mark_of, stands_for

SECRET = "DB_PASSWORD=hunter2"


def test_a_mark_stands_for_its_value_and_no_other() -> None:
    mark = mark_of(SECRET)
    assert is_mark(mark)
    assert stands_for(mark, SECRET)
    assert not stands_for(mark, SECRET + " ")
    assert not stands_for(mark, "")
    assert SECRET not in mark


def test_two_marks_of_a_value_are_not_alike() -> None:
    assert mark_of(SECRET) != mark_of(SECRET)


def test_what_an_earlier_version_wrote_is_no_mark() -> None:
    assert not any(map(is_mark, ("", "A=1", "hidden:", SECRET)))
