"""Lines and tables on real terminals, of any width, and in pipes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from felhom_agent.cli import terminal
from felhom_agent.cli.terminal import Part, Style
from tests.cli.pty_of import on_terminal, plain

HAS_RICH = importlib.util.find_spec("rich") is not None
needs_rich = pytest.mark.skipif(not HAS_RICH, reason="rich is not installed")
HEAD = ["VMID", "NAME", "STATE", "AS DECLARED", "NOTE"]
ROWS = [
    ["101", "web", "running", "waits", "needs a restart: memory 2048 -> 3072, as shop.toml says"],
    ["999999999", "日本語の名前", "stopped", "", "x"],
]
UPID = "UPID:pve1:00001234:00005678:65432100:qmstart:102:felhom-agent@pve!agent:"
SENTENCE = f"102 build restarts, as memory 日本語 8192 -> 4096 needs it; {UPID} [red]says[/red] so"

_SCRIPT = """
import json, sys
if {without_rich}:
    sys.modules["rich"] = None
from felhom_agent.cli.terminal import Part, Style, put, put_table
given = json.loads(sys.argv[1])
def part(cell):
    return cell if isinstance(cell, str) else Part(cell[0], Style(cell[1]) if cell[1] else None)
if "line" in given:
    put([part(each) for each in given["line"]], hang=given.get("hang", 0))
else:
    put_table(given["head"], [[part(cell) for cell in row] for row in given["rows"]])
assert given.get("rich") or "rich" not in sys.modules or {without_rich}, "rich was loaded"
"""


def command(given: Mapping[str, object], *, without_rich: bool = False) -> list[str]:
    script = _SCRIPT.format(without_rich=without_rich)
    return [sys.executable, "-c", script, json.dumps(given)]


def shown(
    given: Mapping[str, object],
    columns: int,
    environment: Mapping[str, str] = MappingProxyType({}),
    *,
    without_rich: bool = False,
) -> list[str]:
    """Return the lines that a terminal gets."""
    whole = command({**given, "rich": True}, without_rich=without_rich)
    code, lines = on_terminal(whole, columns, {"PYTHONIOENCODING": "utf-8", **environment})
    assert code == 0, lines
    return lines


def piped(given: Mapping[str, object], encoding: str = "utf-8") -> list[str]:
    """Return the lines that a pipe gets, though a terminal's width is told."""
    environment = {**os.environ, "COLUMNS": "20", "TERM": "xterm", "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        command(given), capture_output=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8").splitlines()


def cells(text: str) -> int:
    """Return how many cells a text takes, as Unicode's own table has it."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class TestLines:
    @pytest.mark.parametrize("without_rich", [False, True])
    @pytest.mark.parametrize("columns", [20, 40, 41, 80, 132])
    def test_a_terminal_gets_no_line_that_is_wider_and_every_word(
        self, columns: int, without_rich: bool
    ) -> None:
        lines = shown({"line": [SENTENCE], "hang": 4}, columns, without_rich=without_rich)
        assert max(cells(plain(line)) for line in lines) <= columns
        assert all(line.startswith("    ") for line in lines[1:])
        assert "".join("".join(lines).split()) == "".join(SENTENCE.split())

    def test_a_pipe_gets_a_line_whole_and_plain(self) -> None:
        line = [["102 ", "strong"], SENTENCE]
        assert piped({"line": line, "hang": 4}) == [f"102 {SENTENCE}"]

    def test_a_stream_that_has_no_such_letters_gets_escapes(self) -> None:
        assert piped({"line": ["日本 ü"]}, "ascii") == [r"\u65e5\u672c \xfc"]

    def test_blanks_that_align_are_kept(self) -> None:
        assert shown({"line": ["  ~ memory   2048"]}, 40) == ["  ~ memory   2048"]

    def test_a_hang_that_leaves_no_room_is_less(self) -> None:
        lines = shown({"line": ["one two three four five six"], "hang": 500}, 20)
        assert max(map(len, lines)) <= 20
        assert " ".join(" ".join(lines).split()) == "one two three four five six"

    def test_columns_of_the_environment_come_first(self) -> None:
        lines = shown({"line": [SENTENCE]}, 200, {"COLUMNS": "30"})
        assert max(map(cells, lines)) <= 30
        assert len(shown({"line": ["x " * 50]}, 200, {"COLUMNS": "wide"})) == 1

    def test_a_terminal_that_knows_no_width_has_the_usual_one(self) -> None:
        assert max(map(len, shown({"line": ["word " * 40]}, 0))) in range(70, 81)

    @pytest.mark.parametrize("kind", ["terminal", "pipe"])
    def test_what_acts_on_a_terminal_is_shown_and_markup_is_text(self, kind: str) -> None:
        given = {"line": [["\x1b[2J\u202e[bold]a[/bold]\n", "bad"], ":smile: http://x"]}
        lines = shown(given, 80) if kind == "terminal" else piped(given)
        expected = r"\x1b[2J\u202e[bold]a[/bold]\n:smile: http://x"
        assert [plain(line) for line in lines] == [expected]

    def test_a_secret_that_spans_two_parts_is_not_shown(self) -> None:
        script = (
            "from felhom_agent import redaction; from felhom_agent.cli.terminal import *; "
            "redaction.remember('token-of-the-owner'); "
            "put([Part('it is token-of', Style.BAD), '-the-owner.'])"
        )
        code, lines = on_terminal([sys.executable, "-c", script], 80)
        assert (code, lines) == (0, ["it is (secret)."])


COLOURED = {"line": [["good", "good"], " ", ["bad", "bad"], " ", ["warn", "warn"], " and so"]}


class TestColour:
    @needs_rich
    def test_a_terminal_with_rich_gets_the_terminals_own_colours(self) -> None:
        assert shown(COLOURED, 80) == [
            "\x1b[32mgood\x1b[0m \x1b[1;31mbad\x1b[0m \x1b[33mwarn\x1b[0m and so"
        ]

    def test_a_terminal_without_rich_gets_none(self) -> None:
        assert shown(COLOURED, 80, without_rich=True) == ["good bad warn and so"]

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}])
    def test_who_wants_none_gets_none(self, environment: dict[str, str]) -> None:
        assert shown(COLOURED, 80, environment) == ["good bad warn and so"]

    @needs_rich
    def test_a_no_color_that_is_empty_says_nothing(self) -> None:
        assert "\x1b[32m" in shown(COLOURED, 80, {"NO_COLOR": ""})[0]

    def test_a_pipe_gets_none_and_loads_no_rich(self) -> None:
        assert piped(COLOURED) == ["good bad warn and so"]

    @needs_rich
    def test_each_style_is_told_from_the_others(self) -> None:
        lines = [shown({"line": [["x", str(style)]]}, 80)[0] for style in Style]
        assert len(set(lines)) == len(Style)


class TestTables:
    def test_a_pipe_gets_columns_in_line_whatever_they_hold(self) -> None:
        assert piped({"head": HEAD, "rows": ROWS}) == [
            "  VMID       NAME          STATE    AS DECLARED  NOTE",
            f"  101        web           running  waits        {ROWS[0][4]}",
            "  999999999  日本語の名前  stopped               x",
        ]

    def test_on_a_terminal_the_last_column_wraps_under_itself(self) -> None:
        lines = [plain(line) for line in shown({"head": HEAD, "rows": ROWS}, 80)]
        start = lines[0].index("NOTE")
        assert lines[1].index("needs") == start
        assert lines[2] == " " * start + lines[2].strip()
        assert max(map(cells, lines)) <= 80

    @pytest.mark.parametrize("columns", [20, 30, 40, 60])
    def test_where_there_is_no_room_each_row_is_a_list(self, columns: int) -> None:
        lines = [plain(line) for line in shown({"head": HEAD, "rows": ROWS}, columns)]
        assert max(map(cells, lines)) <= columns
        assert lines[0] == "  101 web"
        words = " ".join(" ".join(lines).split())
        assert "STATE running AS DECLARED waits NOTE needs a restart: memory 2048" in words
        # What is empty is left out.
        assert words.endswith("STATE stopped NOTE x")

    def test_a_table_without_rows_is_its_head(self) -> None:
        assert piped({"head": HEAD, "rows": []}) == ["  VMID  NAME  STATE  AS DECLARED  NOTE"]

    @pytest.mark.parametrize("columns", [20, 40])
    def test_a_table_of_two_columns_stays_one(self, columns: int) -> None:
        rows = [["a", "one two three four five six seven eight nine ten"]]
        lines = shown({"head": ["K", "VALUE"], "rows": rows}, columns, {"NO_COLOR": "1"})
        assert lines[0] == "  K  VALUE"
        assert all(line.startswith("     ") for line in lines[2:])
        assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    "parts", [["a b"], ["a", " b"], ["a ", "b"], ["", "a", "", " ", "b"]], ids=str
)
def test_where_a_part_ends_is_no_place_to_break(parts: Sequence[str]) -> None:
    made = [[part.text for part in row] for row in terminal.wrapped([*map(Part, parts)], 20)]
    assert ["".join(row) for row in made] == ["a b"]
    glued = terminal.wrapped([Part("one"), Part("two"), Part(" three,"), Part(".")], 8)
    assert ["".join(part.text for part in row) for row in glued] == ["onetwo", "three,."]
