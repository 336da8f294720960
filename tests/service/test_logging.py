"""A line is a sentence and a tail."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from felhom_agent.service.events import GUEST_CHANGED
from felhom_agent.service.logging import (
    JournaldHandler,
    TailFormatter,
    fields,
    journal_fields,
    set_up,
    to_journald,
    within,
)


def line(level: int, text: str, *, priorities: bool = True, **values: object) -> str:
    record = logging.LogRecord("x", level, "", 0, text, (), None)
    record.__dict__.update(fields(None, **values))
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
    assert text.startswith("<3>a; b: ValueError: two; lines (test_logging.py:")
    assert text.isprintable()


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


def record(level: int = logging.INFO, text: str = "done", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("x", level, "", 0, text, (), None)
    made.__dict__.update(extra)
    return made


class TestJournald:
    """Where stderr is journald's, a record is a sentence with fields beside it."""

    def test_fields_have_the_names_that_one_asks_journalctl_for(self) -> None:
        extra = fields(GUEST_CHANGED, vmid=101, action="Start", op="01", upid="UPID:x")
        with within(**{"pass": 7}):
            shown = journal_fields(record(**extra))
        assert shown == {
            "PRIORITY": "6",
            "SYSLOG_IDENTIFIER": "felhom-agent",
            "THREAD_NAME": "MainThread",
            "MESSAGE_ID": GUEST_CHANGED.message_id,
            "FELHOM_EVENT": "guest-changed",
            "PASS": "7",
            "VMID": "101",
            "ACTION": "Start",
            "OP_ID": "01",
            "UPID": "UPID:x",
        }

    def test_what_holds_within_a_block_ends_with_it(self) -> None:
        with within(a=1), within(b=2):
            assert {"A", "B"} <= journal_fields(record()).keys()
        assert not {"A", "B"} & journal_fields(record()).keys()

    def test_a_defect_of_ours_is_an_event_by_itself(self) -> None:
        made = record(logging.ERROR, exc_info=(ValueError, ValueError("x"), None))
        assert journal_fields(made)["FELHOM_EVENT"] == "internal-error"

    def test_a_record_is_sent_whole_with_what_every_record_has(self) -> None:
        sent: list[tuple[str, dict[str, str]]] = []

        def send(message: str, **values: str) -> None:
            sent.append((message, values))

        JournaldHandler(send, logging.NullHandler(), {"NODE": "pve1"}).emit(
            record(text="two\nlines", **fields(node="pve2"))
        )
        ((message, values),) = sent
        assert message == "two; lines"
        assert values["NODE"] == "pve2", "its own word goes before"

    def test_a_record_that_journald_does_not_take_is_a_line(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def send(message: str, **values: str) -> None:
            raise FileNotFoundError

        lines = logging.StreamHandler(sys.stderr)
        lines.setFormatter(TailFormatter(priorities=True))
        JournaldHandler(send, lines, {}).emit(record(**fields(vmid=101)))
        assert capsys.readouterr().err == "<6>done vmid=101\n"

    def test_journald_is_where_systemd_says_that_stderr_leads(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with capfd.disabled():
            stderr = os.fstat(sys.stderr.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
            assert to_journald()
            monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino + 1}")
            assert not to_journald(), "it was a parent's, and stderr was led elsewhere"
            monkeypatch.delenv("JOURNAL_STREAM")
            assert not to_journald()
