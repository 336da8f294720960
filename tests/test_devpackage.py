"""What is only for desks: it is another package's, and a host that lacks it says so."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from felhom_agent.cli.commands import COMMANDS, PACKAGES, TRY
from tests.process import SOON

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "felhom_agent"
RULES = (ROOT / "packaging" / "debian" / "rules").read_text()
DEV = (re.findall(r"^DEV = ((?:.*\\\n)*.*)$", RULES, re.MULTILINE) or [""])[0]
PARTS = DEV.replace("\\\n", " ").split()
TRIES = [name for name, (group, _) in COMMANDS.items() if group == TRY]
# Every other command is loaded, with what it imports; then its help is printed.
LOAD = """
from felhom_agent.cli.commands import COMMANDS, TRY
from felhom_agent.cli.main import parsed_words
for name, (group, _) in COMMANDS.items():
    if group != TRY:
        try:
            parsed_words([name, "--help"])
        except SystemExit as left:
            assert not left.code, name
"""


@cache
def imports() -> dict[str, frozenset[str]]:
    """Return what each module imports of this program, wherever in its text that stands."""
    return {module_of(path): frozenset(_imported(path)) for path in AGENT.rglob("*.py")}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def in_dev(module: str) -> bool:
    """Return whether a module belongs to the package for desks."""
    path = module.removeprefix("felhom_agent.").replace(".", "/")
    return any(path == part.removesuffix(".py") or path.startswith(f"{part}/") for part in PARTS)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as a host has it."""
    directory = tmp_path_factory.mktemp("host")
    shutil.copytree(AGENT, directory / "felhom_agent")
    for part in PARTS:
        path = directory / "felhom_agent" / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return directory


def typed(host: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=host,
        env={"PYTHONPATH": str(host), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )


def test_every_part_that_is_only_for_desks_is_there_and_has_the_node_and_the_hub() -> None:
    assert {"devnode", "devhub"} <= set(PARTS)
    assert [part for part in PARTS if not (AGENT / part).exists()] == []


def test_nothing_that_a_host_gets_imports_what_it_does_not_get() -> None:
    wrong = {
        module: sorted(found)
        for module, needed in imports().items()
        if not in_dev(module) and (found := {name for name in needed if in_dev(name)})
    }
    assert wrong == {}


def test_the_commands_to_try_things_with_are_those_that_a_host_does_not_get() -> None:
    assert [name for name in COMMANDS if in_dev(f"felhom_agent.cli.{name}")] == TRIES
    control = (ROOT / "packaging" / "debian" / "control").read_text()
    assert f"Package: {PACKAGES[TRY]}\n" in control


@pytest.mark.parametrize("words", [(), ("--help",), ("--nonsense",)], ids=["alone", "help", "odd"])
@pytest.mark.parametrize("name", TRIES)
def test_a_command_that_is_not_installed_names_the_package_that_brings_it(
    host: Path, name: str, words: tuple[str, ...]
) -> None:
    done = typed(host, "-m", "felhom_agent", name, *words)
    told = (
        f"felhom-agent: {name} is not installed; it is in the package felhom-agent-dev "
        "(apt install felhom-agent-dev)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (69, "", told)


def test_every_other_command_is_whole_on_a_host(host: Path) -> None:
    done = typed(host, "-W", "error", "-c", LOAD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "felhom-agent plan" in done.stdout
    assert "devnode" in typed(host, "-m", "felhom_agent", "--help").stdout


def test_a_part_of_the_program_itself_that_is_missing_is_not_told_as_another_package(
    host: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(host, tmp_path / "broken")
    (broken / "felhom_agent" / "cli" / "plan.py").unlink()
    done = typed(broken, "-m", "felhom_agent", "plan")
    assert done.returncode == 70
    assert "felhom-agent-dev" not in done.stderr
