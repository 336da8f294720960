"""A line is a sentence and a tail."""

from __future__ import annotations

import logging
import sys

import pytest

from felhom_agent.service.logging import TailFormatter, fields, set_up


def line(level: int, text: str, *, priorities: bool = True, **values: object) -> str:
    record = logging.LogRecord("x", level, "", 0, text, (), None)
    record.__dict__.update(fields(**values))
    return TailFormatter(priorities=priorities).format(record)


def test_fields_stand_behind_the_sentence() -> None:
    assert line(logging.INFO, "done: start", vmid=101, op="01") == "<6>done: start vmid=101 op=01"


def test_empty_fields_are_left_out_and_zero_is_not_empty() -> None:
    assert line(logging.INFO, "done", upid="", why=None, n=0) == "<6>done n=0"


def test_a_value_with_blanks_or_quotes_is_quoted() -> None:
    assert line(logging.INFO, "x", why='a "b"') == "<6>x why='a \"b\"'"


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
    ],
)
def test_under_systemd_a_line_begins_with_its_priority(level: int, prefix: str) -> None:
    assert line(level, "x") == f"{prefix}x"


def test_elsewhere_a_line_begins_with_time_and_level() -> None:
    assert line(logging.WARNING, "x", priorities=False).split()[1:] == ["warning", "x"]


def test_a_record_is_one_line_whatever_it_holds() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "a\nb", (), sys.exc_info())
    text = TailFormatter(priorities=True).format(record)
    assert text == "<3>a; b: ValueError: two; lines"


def test_libraries_that_print_requests_are_silenced_even_when_verbose() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        set_up(verbose=True)
        assert not logging.getLogger("proxmoxer.core").isEnabledFor(logging.INFO)
        assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.DEBUG)
        assert logging.getLogger("felhom_agent").isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:], root.level = before
