"""What a command loads, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from felhom_agent.cli import main
from felhom_agent.cli.main import COMMANDS
from tests.conftest import Site

# They speak to PVE or a hub, or are big for something else.
HEAVY = {"proxmoxer", "requests", "urllib3", "ssl", "http.client", "email.parser", "sqlite3",
         "asyncio", "multiprocessing"}  # fmt: skip
# Whatever was there before is not the command's: coverage, when it is measured.
LOADED = (
    "import sys; before = set(sys.modules); import felhom_agent.cli.main as m; "
    "m.parser(m._wanted(sys.argv[1:])); print(*(set(sys.modules) - before))"
)


def loaded(*words: str) -> set[str]:
    """Given the words of a command line, return the modules that are loaded to understand it."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("command", ["history", "journal", "explain", "pause", "freeze"])
def test_a_command_that_asks_nobody_loads_nothing_that_asks(command: str) -> None:
    assert loaded(command) & HEAVY == set()


def test_the_daemon_loads_no_library_that_it_does_not_need() -> None:
    unneeded = {"requests", "urllib3", "sqlite3", "asyncio", "multiprocessing", "subprocess"}
    modules = loaded("run")
    assert "proxmoxer.core" in modules
    assert modules & unneeded == set()
    assert not any(m.startswith(("felhom_agent.devnode", "felhom_agent.devhub")) for m in modules)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["plan"], ["plan"]),
        (["plan", "run"], ["plan"]),
        (["--config", "run", "plan"], ["plan"]),
        (["--config=run", "plan", "--help"], ["plan"]),
        ([], list(COMMANDS)),
        (["--help"], list(COMMANDS)),
        (["--help", "plan"], list(COMMANDS)),
        (["--conf", "run", "plan"], list(COMMANDS)),
        (["--config"], list(COMMANDS)),
        (["nonsense"], list(COMMANDS)),
    ],
)
def test_the_command_that_is_surely_named_is_loaded_or_all(
    words: list[str], named: list[str]
) -> None:
    assert list(main._wanted(words)) == named


def test_a_command_that_is_none_is_told_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main.main(["nonsense"])
    told = capsys.readouterr().err
    assert all(command in told for command in COMMANDS)


def test_a_node_is_asked_without_requests(site: Site) -> None:
    """It takes as much memory as half of the agent, and a tenth of a second."""
    asked = LOADED.replace("m.parser(m._wanted(sys.argv[1:]))", "m.main(sys.argv[1:])")
    done = subprocess.run(
        [sys.executable, "-c", asked, "--config", str(site.write_config()), "plan"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert len(site.devnode.requests) > 0, done.stderr
    modules = set(done.stdout.splitlines()[-1].split())
    assert "http.client" in modules
    assert modules & {"requests", "urllib3"} == set()
