"""No path and no name that a person can type is taken for a bug of ours, or for another one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from felhom_agent.cli.command import any_path, file_path, some_text
from felhom_agent.cli.main import main, parsers
from tests.conftest import Site

FILES = (
    "adopt 100 -o {}",
    "request destroy 100 -o {}",
    "request rotate-signers --signers {} -o x",
    "request rotate-signers --revoked {} -o x",
    "request revoke-key --key {} -o x",
    "sign {}",
    "sign x --key {}",
    "sign x -o {}",
    "signers init --key {}",
    "signers init --key x --recovery {}",
    "signers make --key x -o {}",
    "verify {}",
    "verify x {}",
    "submit {}",
    "submit x {}",
    "submit x y {}",
    "submit --envelope x {}",
    "devhub --db {}",
    "--config {} plan",
    "plan --config {}",
)
PATHS = ("check {}", "check x {}", "devnode --dir {}")
NAMES = (
    "adopt --tag {}", "adopt --pool {}", "init --pool {}", "devhub --host {}", "approve {}",
    "freeze --why {}", "request rollback 100 {} -o x", "request rotate-signers --until {} -o x",
    "signers make --until {}", "signers make --expires {}",
)  # fmt: skip
DIRECTORIES = (".", "..", "/", "//", "./", "x/", "x//", "/x/", "x/.", "x/..", "../", " /")


def typed(line: str, argument: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    words = [argument if word == "{}" else word for word in line.split()]
    try:
        code = main(words)
    except SystemExit as left:
        code = int(str(left.code))
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("argument", DIRECTORIES)
@pytest.mark.parametrize("line", FILES)
def test_what_names_a_directory_is_refused_where_a_file_is_needed(
    line: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, said = typed(line, argument, capsys)
    assert (code, out, said.count("\n")) == (64, "", 1)
    assert f"{argument!r} names a directory, and the path of a file is needed" in said


@pytest.mark.parametrize("line", [*FILES, *PATHS])
def test_an_empty_path_is_refused_and_is_not_the_working_directory(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, said = typed(line, "", capsys)
    assert (code, out, said.count("\n")) == (64, "", 1)
    assert "is needed, and this is empty" in said


@pytest.mark.parametrize("argument", ["", " ", "\t"])
@pytest.mark.parametrize("line", NAMES)
def test_an_empty_name_is_refused_and_is_not_left_out(
    line: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, said = typed(line, argument, capsys)
    assert (code, out, said.count("\n")) == (64, "", 1)
    assert "is needed, and this is empty" in said


@pytest.mark.parametrize("argument", ["\udcff", "x" * 300, "a\nb", "\x1b[31m", "/dev/null/x"])
@pytest.mark.parametrize("line", [*FILES[4:5], *FILES[11:17], "--config {} plan", "check {}"])
def test_no_file_has_too_odd_a_name(
    line: str, argument: str, site: Site, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(site.directory)
    code, _, said = typed(line, argument, capsys)
    assert code in (1, 64, 78)
    assert "internal error" not in said
    assert "\x1b" not in said


def test_these_are_all_commands_that_take_a_path() -> None:
    top, commands = parsers()
    counts = {file_path: 0, any_path: 0, some_text: 0}
    for parser in (top, *commands.values()):
        for action in parser._actions:
            assert action.type is not Path, f"{parser.prog} {action.dest}: file_path, or any_path"
            if action.type in counts and "--config" not in action.option_strings:
                counts[action.type] += 1
    lines = [" ".join(line.split()) for line in FILES if "--config" not in line]
    twice = ("submit --envelope x {}", "submit x y {}")  # of one argument
    assert counts[file_path] == len([line for line in lines if line not in twice])
    assert counts[any_path] == len(PATHS) - 1
    assert counts[some_text] == len(NAMES)


def test_a_path_is_taken_as_it_was_typed() -> None:
    for text in ("x", "./x", "../x", "/x/y", " x", "x.", "..x", "~/x", "-"):
        assert file_path(text) == any_path(text) == Path(text)
    with pytest.raises(argparse.ArgumentTypeError):
        file_path("x/")


def test_what_is_not_given_is_not_judged() -> None:
    for parser in parsers()[1].values():
        for action in parser._actions:
            if isinstance(action.default, str) and callable(action.type):
                action.type(action.default)
