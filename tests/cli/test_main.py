"""The command line as a whole: what is loaded, what is told of wrong usage, and when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import felhom_agent.cli
from felhom_agent.cli.commands import COMMANDS
from felhom_agent.cli.main import main, parsed_words, parsers
from felhom_agent.config.place import DEFAULT_PATH
from tests.conftest import Site

# They speak to PVE or a hub, or are big for something else.
HEAVY = {"proxmoxer", "requests", "urllib3", "ssl", "http.client", "email.parser", "sqlite3",
         "asyncio", "multiprocessing", "trustme", "rich"}  # fmt: skip
# Whatever was there before is not the command's: coverage, when it is measured.
LOADED = """
import sys
before = set(sys.modules)
import felhom_agent.cli.main as m
try:
    m.{call}(sys.argv[1:])
except SystemExit as left:
    assert not left.code, left.code
print(*(set(sys.modules) - before))
"""


def loaded(*words: str, call: str = "parsed_words") -> set[str]:
    """Given the words of a command line, return the modules that are loaded to understand it."""
    command = [sys.executable, "-c", LOADED.format(call=call), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Given words that are wrong usage, return the one line that is said of them."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("--help` tells how\n")
    return captured.err


class TestLoading:
    @pytest.mark.parametrize("words", [["--help"], ["--version"]])
    def test_help_loads_no_command_and_no_library(self, words: list[str]) -> None:
        modules = loaded(*words)
        assert modules & HEAVY == set()
        assert not modules & {f"felhom_agent.cli.{name}" for name in COMMANDS}
        assert "felhom_agent.model" not in modules

    @pytest.mark.parametrize(
        "words",
        [["history"], ["journal", "verify"], ["explain", "lxc", "tags", "a", "a"],
         ["pause", "--all"], ["freeze", "--why", "x"], ["thaw"]],
    )  # fmt: skip
    def test_a_command_that_asks_nobody_loads_nothing_that_asks(self, words: list[str]) -> None:
        modules = loaded(*words)
        assert modules & HEAVY == set()
        others = {f"felhom_agent.cli.{name}" for name in COMMANDS} - {
            f"felhom_agent.cli.{words[0]}"
        }
        assert modules & others == set()

    def test_the_daemon_loads_no_library_that_it_does_not_need(self) -> None:
        unneeded = {"requests", "urllib3", "sqlite3", "asyncio", "multiprocessing", "subprocess"}
        modules = loaded("run")
        assert "proxmoxer.core" in modules
        assert modules & unneeded == set()
        apart = ("felhom_agent.devnode", "felhom_agent.devhub")
        assert not any(module.startswith(apart) for module in modules)

    def test_a_node_is_asked_without_requests(self, site: Site) -> None:
        """It takes as much memory as half of the agent, and a tenth of a second."""
        modules = loaded("--config", str(site.write_config()), "plan", call="main")
        assert len(site.devnode.requests) > 0
        assert "http.client" in modules
        assert modules & {"requests", "urllib3"} == set()


class TestTable:
    def test_every_module_with_a_command_is_in_the_table(self) -> None:
        room = Path(felhom_agent.cli.__file__).parent
        found = {
            path.stem
            for path in room.glob("*.py")
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == "add"
        }
        assert found == set(COMMANDS)

    def test_help_names_every_command_once_with_what_it_is_for(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as left:
            main(["--help"])
        assert left.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        for name, (_, summary) in COMMANDS.items():
            assert [line.split() for line in lines].count([name, *summary.split()]) == 1
        for group in {group for group, _ in COMMANDS.values()}:
            assert f"{group}:" in lines

    @pytest.mark.parametrize("columns", [40, 60, 100])
    @pytest.mark.parametrize("name", ["", *COMMANDS])
    def test_help_fits_the_terminal_has_an_example_and_breaks_no_word(
        self, name: str, columns: int, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as left:
            main([*filter(None, [name]), "--help"])
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= columns
        assert f"Example: felhom-agent {name}".rstrip() in " ".join(text.split())
        assert not any(line.endswith("felhom-") for line in text.splitlines())

    @pytest.mark.parametrize("columns", ["0", "1", "2", "3", "12", "-5", "x", "9" * 20, ""])
    @pytest.mark.parametrize("name", ["", *COMMANDS])
    def test_help_is_told_on_a_terminal_of_any_width(
        self, name: str, columns: str, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit) as left:
            main([*filter(None, [name]), "--help"])
        assert left.value.code == 0
        assert "Example: felhom-agent" in " ".join(capsys.readouterr().out.split())


class TestUsage:
    @pytest.mark.parametrize(
        "words",
        [["plan", "{}"], ["{}"], ["--{}"], ["plan", "--{}"], ["history", "--since", "{}"],
         ["pause", "--for={}"], ["run", "{}"], ["explain", "{}", "a", "b", "c"], ["adopt", "{}"],
         ["adopt", "--only", "{}"], ["devnode", "--port", "{}"], ["verify", "{}/"],
         ["--config", "{}/", "plan"], ["journal", "{}"], ["devnode", "--dir", "x", "{}", "{}"]],
    )  # fmt: skip
    @pytest.mark.parametrize("long", ["x" * 50_000, "'" * 50_000, "\x1b" * 50_000, "1" * 50_000])
    def test_no_line_is_as_long_as_what_was_typed(
        self, words: list[str], long: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = told(capsys, *(word.format(long) for word in words))
        assert len(said) < 800

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["plna"], "felhom-agent: there is no command 'plna'; did you mean 'plan'? `"),
            (["plan", "--jsn"], "felhom-agent plan: there is no option '--jsn'; did you mean"),
            (["freeze", "--wy", "x"], "there is no option '--wy'; did you mean '--why'?"),
            (["freeze"], "felhom-agent freeze: the following arguments are required: --why"),
            (["run", "-x"], "felhom-agent run: there is no option '-x'; `felhom-agent run"),
            (["run", "101"], "felhom-agent run: takes no further words, and was given '101'"),
            (["--conf", "x", "plan"], "there is no option '--conf'; did you mean '--config'?"),
            (["pause", "101", "--for", "-5s"], "'-5s' is neither an option nor a value that"),
            (["plan", "-5"], "'-5' is not a vmid (100 to 999999999)"),
            (["plan", "--", "-5"], "'-5' is not a vmid (100 to 999999999)"),
            (["plan", "9" * 5000], "is not a vmid (100 to 999999999)"),
            (["plan", "१०१"], "is not a vmid (100 to 999999999)"),
            (["journal", "verfy"], "'verfy' is none of verify, repair; did you mean 'verify'?"),
            (["explain", "vm", "a", "b", "c"], "'vm' is none of qemu, lxc"),
            (["devnode", "--port", "65536"], "'65536' is no whole number from 0 to 65535"),
            (["devnode", "--guests", "-1"], "'-1' is no whole number from 1 to 100000"),
            (["plan", "a\nb"], r"'a\nb' is not a vmid"),
            ([], "felhom-agent: the following arguments are required: COMMAND"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line_with_what_was_meant(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert said in told(capsys, *words)

    def test_a_word_like_no_command_is_told_with_those_there_are(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = told(capsys, "xyzzy")
        assert all(command in line for command in COMMANDS)


class TestGlobalOptions:
    @pytest.mark.parametrize(
        "words",
        [["--config", "a", "plan"], ["--config=a", "plan"], ["plan", "--config", "a"],
         ["plan", "101", "--config=a"], ["plan", "--config", "a", "101"]],
    )  # fmt: skip
    def test_the_file_may_be_named_before_and_after_the_command(self, words: list[str]) -> None:
        assert parsed_words(words).config == Path("a")

    def test_without_one_it_is_the_one_of_the_package(self) -> None:
        assert parsed_words(["plan"]).config == DEFAULT_PATH

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--config", "a", "--config", "b", "plan"], "argument --config: was given twice"),
            (["plan", "--config", "a", "--config=a"], "argument --config: was given twice"),
            (["--config", "a", "plan", "--config", "a"], "argument --config: was given twice"),
            (["--config", "", "plan"], "the path of a file is needed, and this is empty"),
            (["plan", "--config="], "the path of a file is needed, and this is empty"),
            (["plan", "--config"], "argument --config: expected one argument"),
        ],
    )
    def test_a_file_that_is_named_twice_or_not_is_wrong_usage(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert said in told(capsys, *words)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_takes_them(self, name: str) -> None:
        _, commands = parsers()
        options = commands[name]._option_string_actions
        assert {"--config", "--debug", "--help"} <= set(options)

    @pytest.mark.parametrize("words", [["--debug", "history"], ["history", "--debug"]])
    def test_with_debug_an_error_is_told_with_the_places_it_came_through(
        self, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*words, "--config", "/nonexistent/agent.toml"]) == 78
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("felhom-agent: /nonexistent/agent.toml: cannot be read")
        assert any("  at felhom_agent/cli/history.py:" in line for line in lines[1:])
        assert "Traceback" not in "".join(lines)
