"""Imports point down the list of floors, never up (docs: the rooms)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import felhom_agent

ROOT = Path(felhom_agent.__file__).parent
FLOORS = {
    "cli": 7,
    "__main__": 7,
    "daemon": 6,
    "mainloop": 6,
    "assembly": 5,
    "hub": 4,
    "reconcile": 4,
    "proxmox": 3,
    "desired": 3,
    "journal": 2,
    "service": 2,
    "config": 2,
    "secret": 2,
    "options": 2,
    "tomlfile": 1,
    "tomlscan": 1,
    "regularfile": 1,
    "printable": 0,
    "model": 0,
    "errors": 0,
    "redaction": 0,
}
MODULES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "felhom_agent":
                yield from (f"felhom_agent.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def ours(path: Path) -> Iterator[str]:
    for name in imports(path):
        if name.startswith("felhom_agent.") and name != "felhom_agent.__version__":
            yield name.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_from_its_own_floor_or_below(path: Path) -> None:
    here = room(path)
    for other in ours(path):
        if here == other:
            continue
        if here == "devhub":
            raise AssertionError(f"devhub stands apart, but imports {other}")
        if here == "devnode":
            assert other == "options", f"devnode stands apart, but imports {other}"
        elif other in ("devnode", "devhub"):
            assert here == "cli", f"only commands may use {other}, not {here}"
        else:
            assert FLOORS[other] <= FLOORS[here], f"{here} imports {other} from above"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_door_to_the_world_has_one_room(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(path)}
    here = room(path)
    # A browser is what `demohub` plays.
    if here not in ("proxmox", "hub") and path.name != "demohub.py":
        assert not names & {"requests", "urllib3"}
    if here != "proxmox":
        assert "proxmoxer" not in names
    if here not in ("daemon", "cli", "devnode"):
        assert "signal" not in names
    if here not in ("cli", "__main__", "devnode"):
        assert "exit(" not in path.read_text(), "only commands may end the process"
