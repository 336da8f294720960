"""A line is a sentence and a tail."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import felhom_agent
from felhom_agent.config.secret import Secret
from felhom_agent.planning.plan import plan_guest
from felhom_agent.service.events import CONFIG_UNUSABLE, GUEST_CHANGED
from felhom_agent.service.logging import (
    MAX_LINE,
    JournaldHandler,
    LineHandler,
    TailFormatter,
    complain_to_journald,
    fields,
    journal_fields,
    log_warnings,
    set_up,
    to_journald,
    uncaught_errors_logged,
    within,
)
from felhom_agent.service.origins import place_of, trace_of


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
    root, ours, urllib3 = (logging.getLogger(n) for n in ("", "felhom_agent", "urllib3"))
    before = (root.handlers[:], root.level, ours.level, urllib3.level, logging.raiseExceptions)
    try:
        set_up(verbose=True)
        assert not logging.getLogger("proxmoxer.core").isEnabledFor(logging.INFO)
        assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.WARNING)
        assert not logging.getLogger("any.other.library").isEnabledFor(logging.INFO)
        assert logging.getLogger("felhom_agent").isEnabledFor(logging.DEBUG)
        assert not logging.raiseExceptions
    finally:
        root.handlers[:], *levels, logging.raiseExceptions = before
        for logger, level in zip((root, ours, urllib3), levels, strict=True):
            logger.setLevel(level)


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

    def test_what_ends_a_command_is_an_event_with_its_text(self) -> None:
        sent: list[tuple[str, dict[str, object]]] = []

        def send(message: str, **values: object) -> None:
            sent.append((message, values))

        assert complain_to_journald("agent.toml:3: endpont: no such\nkey", CONFIG_UNUSABLE, send)
        ((message, values),) = sent
        assert message == "agent.toml:3: endpont: no such; key"
        assert values["MESSAGE_ID"] == CONFIG_UNUSABLE.message_id
        assert values["PRIORITY"] == "3"
        assert values["SYSLOG_IDENTIFIER"] == "felhom-agent"
        assert str(values["CODE_FILE"]).startswith("felhom_agent/")

    def test_where_journald_does_not_take_it_the_command_has_to_print_it(self) -> None:
        def send(message: str, **values: object) -> None:
            raise FileNotFoundError

        assert not complain_to_journald("x", CONFIG_UNUSABLE, send)
        assert not complain_to_journald("x", CONFIG_UNUSABLE), "stderr is not journald's"


class TestWhoeverReads:
    """Fields are for who parses: journald, and a terminal where every detail is asked for."""

    @pytest.fixture(autouse=True)
    def _as_it_was(self) -> Iterator[None]:
        root, ours = logging.getLogger(), logging.getLogger("felhom_agent")
        before = (root.handlers[:], root.level, ours.level, logging.raiseExceptions)
        yield
        root.handlers[:], root.level, ours.level, logging.raiseExceptions = before

    def said(self, capsys: pytest.CaptureFixture[str]) -> str:
        logging.getLogger("felhom_agent.x").info("guest 101 web: done", extra=fields(vmid=101))
        return capsys.readouterr().err

    def test_a_person_reads_the_sentence_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up()
        assert self.said(capsys).endswith(" guest 101 web: done\n")

    def test_every_detail_comes_with_the_fields(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up(verbose=True)
        assert self.said(capsys).endswith(" guest 101 web: done vmid=101\n")

    def test_a_command_warns_without_fields(self, capsys: pytest.CaptureFixture[str]) -> None:
        logging.getLogger().handlers[:] = []
        log_warnings()
        logging.getLogger("felhom_agent.x").warning("odd", extra=fields(vmid=101))
        assert capsys.readouterr().err == "felhom-agent: odd\n"


class Unprintable:
    """A value whose class has a defect."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


HOSTILE = "\x1b]0;x\x07\nMAINPID=1\r\u202eabc\u2028\udce9\x00"


class TestWhateverIsLogged:
    """A record is one printable, bounded line, and logging it raises nothing."""

    @pytest.fixture
    def sent(self) -> list[tuple[str, dict[str, object]]]:
        return []

    @pytest.fixture
    def log(
        self, sent: list[tuple[str, dict[str, object]]], monkeypatch: pytest.MonkeyPatch
    ) -> logging.Logger:
        """A logger of its own, whose records go to journald and to stderr."""
        monkeypatch.setattr(logging, "raiseExceptions", True)

        def send(message: str, **values: object) -> None:
            message.encode("utf-8")
            sent.append((message, values))

        # One that pytest's own handlers, which raise, know nothing of.
        log = logging.Logger("felhom_agent.tests", logging.INFO)  # noqa: LOG001
        lines = LineHandler(TailFormatter(priorities=True))
        log.handlers[:] = [JournaldHandler(send, lines, {}), lines]
        return log

    @pytest.mark.parametrize(
        ("message", "arguments"),
        [
            (HOSTILE, ()),
            ("%s", (HOSTILE,)),
            ("%d guests", ("many",)),
            ("%s and %s", ("one",)),
            ("no place", ("for", "these")),
            ("%s", (Unprintable(),)),
            ("%(name)s", ({"other": 1},)),
            ("%s", ("x" * 10_000_000,)),
            ("%s", (b"\xff\x00",)),
        ],
    )
    def test_any_message_is_one_bounded_printable_line(
        self,
        log: logging.Logger,
        sent: list[tuple[str, dict[str, object]]],
        capsys: pytest.CaptureFixture[str],
        message: str,
        arguments: tuple[object, ...],
    ) -> None:
        log.info(message, *arguments, extra=fields(why=HOSTILE, odd=Unprintable(), n=0))
        ((said, values),) = sent
        line, rest = capsys.readouterr().err.split("\n")
        assert rest == ""
        for text in (said, line, *(str(v) for v in values.values())):
            assert text.isprintable()
            assert len(text) <= MAX_LINE
        assert values["ODD"] == "(Unprintable that cannot be printed)"

    def test_fields_are_few_and_named_as_journald_wants_it(
        self, log: logging.Logger, sent: list[tuple[str, dict[str, object]]]
    ) -> None:
        odd = {"_HIDDEN": 1, "a b\n=c": 2, "ü": 3, "9lives": 4, "MESSAGE": 5, "x" * 100: 6}
        log.info("x", extra=fields(None, **odd, **{f"f{n}": n for n in range(200)}))
        ((said, values),) = sent
        assert said == "x"
        assert {"HIDDEN", "A_B__C", "LIVES", "MESSAGE_", "FIELD"} <= values.keys()
        assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) for name in values)
        assert len(values) < 80

    def test_a_value_cannot_stand_in_for_what_the_agent_says_itself(
        self, log: logging.Logger, sent: list[tuple[str, dict[str, object]]]
    ) -> None:
        log.info("x", extra=fields(GUEST_CHANGED, priority=0, message_id="0", code_line=7))
        assert sent[0][1]["PRIORITY"] == "6"
        assert sent[0][1]["MESSAGE_ID"] == GUEST_CHANGED.message_id
        assert sent[0][1]["CODE_LINE"] != 7

    def test_a_record_names_its_place_without_the_machines_part(
        self, sent: list[tuple[str, dict[str, object]]]
    ) -> None:
        path = str(Path(felhom_agent.__file__).parent / "planning" / "plan.py")
        made = logging.LogRecord("x", logging.INFO, path, 12, "done", (), None, "plan_guest")
        JournaldHandler(
            lambda message, **values: sent.append((message, values)), logging.NullHandler(), {}
        ).emit(made)
        values = sent[0][1]
        assert values["CODE_FILE"] == "felhom_agent/planning/plan.py"
        assert (values["CODE_LINE"], values["CODE_FUNC"]) == (12, "plan_guest")

    @pytest.mark.parametrize(
        "error",
        [
            OSError(90, "Message too long"),
            UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
            ValueError("field"),
            TypeError("unexpected"),
            RuntimeError("?"),
            RecursionError(),
        ],
    )
    def test_what_journald_does_not_take_for_whatever_reason_is_a_line(
        self, capsys: pytest.CaptureFixture[str], error: Exception
    ) -> None:
        def send(message: str, **values: str) -> None:
            raise error

        lines = LineHandler(TailFormatter(priorities=True))
        JournaldHandler(send, lines, {}).emit(record(**fields(vmid=101)))
        assert capsys.readouterr().err == "<6>done vmid=101\n"

    def test_the_library_of_debian_takes_whatever_text_there_is(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        journal = pytest.importorskip("systemd.journal", reason="systemd-python is not here")
        lines = LineHandler(TailFormatter(priorities=True))
        JournaldHandler(journal.send, lines, {}).emit(record(text=HOSTILE, **fields(why=HOSTILE)))
        assert capsys.readouterr().err == "", "it had to be said in another way"

    @pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed"), OSError(28, "")])
    def test_a_stderr_that_fails_is_nobodys_error(
        self, monkeypatch: pytest.MonkeyPatch, log: logging.Logger, error: Exception
    ) -> None:
        class Broken(io.StringIO):
            def write(self, text: str) -> int:
                raise error

        monkeypatch.setattr(sys, "stderr", Broken())
        log.info("x")
        monkeypatch.setattr(sys, "stderr", None)
        log.info("x")


class TestErrors:
    """An error of ours is a line with its place; a traceback is for those who asked for detail."""

    @staticmethod
    def caught() -> logging.LogRecord:
        try:
            plan_guest(None, None)  # type: ignore[arg-type]
        except AttributeError:
            return logging.LogRecord(
                "felhom_agent.x", logging.ERROR, "", 0, "guest 1", (), sys.exc_info()
            )
        raise AssertionError

    def test_the_place_is_the_innermost_of_our_own_code(self) -> None:
        text = TailFormatter(priorities=True).format(self.caught())
        assert re.fullmatch(
            r"<3>guest 1: AttributeError: .* \(felhom_agent/planning/plan\.py:\d+ in \w+\)", text
        )

    def test_an_error_of_a_library_is_placed_where_we_called_it(self) -> None:
        ours = Path(felhom_agent.__file__).parent / "reconcile" / "made.py"
        code = compile("import json\ndef call():\n    json.loads('{')\n", str(ours), "exec")
        names: dict[str, Callable[[], None]] = {}
        exec(code, names)  # noqa: S102  # as if the agent had such a module
        with pytest.raises(json.JSONDecodeError) as caught:
            names["call"]()
        assert place_of(caught.value) == "felhom_agent/reconcile/made.py:3 in call"

    def test_an_error_that_never_was_raised_has_no_place(self) -> None:
        assert place_of(KeyError("x")) == ""

    @pytest.mark.parametrize(("level", "lines"), [(logging.INFO, 1), (logging.DEBUG, 3)])
    def test_the_way_an_error_came_is_told_line_by_line_to_who_wants_every_detail(
        self, capsys: pytest.CaptureFixture[str], level: int, lines: int
    ) -> None:
        logger = logging.getLogger("felhom_agent.x")
        before = logger.level
        logger.setLevel(level)
        try:
            LineHandler(TailFormatter(priorities=True)).emit(self.caught())
        finally:
            logger.setLevel(before)
        told = capsys.readouterr().err.splitlines()
        assert len(told) >= lines
        assert (len(told) == 1) == (lines == 1)
        assert "Traceback" not in told[0]
        assert all(line.startswith("<7>at ") for line in told[1:])
        assert all(line.isprintable() for line in told)

    def test_a_chain_of_causes_and_a_deep_recursion_are_bounded(self) -> None:
        def deep() -> None:
            deep()

        with pytest.raises(RecursionError) as caught:
            deep()
        assert len(list(trace_of(caught.value))) < 50
        caught.value.__cause__ = caught.value
        assert len(list(trace_of(caught.value))) < 50

    def test_what_nobody_caught_in_a_thread_is_a_line(
        self, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken() -> None:
            raise ZeroDivisionError("oops")

        with uncaught_errors_logged():
            thread = threading.Thread(target=broken, name="lane-101")
            thread.start()
            thread.join(10.0)
        (told,) = (r.getMessage() for r in caplog.records)
        assert told == "thread lane-101: internal error; please report it"
        assert "Traceback" not in capsys.readouterr().err


def test_a_secret_in_a_message_a_field_or_an_error_is_taken_out() -> None:
    secret = "0f7b2d1e-5c1a-4bcd-9e01-00000000aaaa"
    Secret(secret)
    made = record(text=f"401: {secret}", **fields(why=f"it says {secret}"))
    made.exc_info = (ValueError, ValueError(secret), None)
    assert secret not in TailFormatter(priorities=True).format(made)
    assert secret not in str(journal_fields(made))
