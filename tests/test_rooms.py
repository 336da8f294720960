"""The rooms are as docs/architecture.md draws them, and a module without a test is seen."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import felhom_agent
from tools.untested import LIST, untested

ROOT = Path(felhom_agent.__file__).parent
PAGE = (ROOT.parent / "docs" / "architecture.md").read_text()
APART = {"devnode", "devhub"}


def test_every_module_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGE))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_page_draws_every_room() -> None:
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    drawn = set(re.findall(r'^    (?:\w+ --> )?(\w+)\["', PAGE, re.MULTILINE))
    drawn |= set(re.findall(r"--> (\w+)$", PAGE, re.MULTILINE))
    assert rooms - APART <= drawn
    assert drawn - {"model"} <= rooms


def test_every_class_that_the_page_names_exists() -> None:
    known = {name for names in _classes().values() for name in names}
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    assert named - known == set()


def test_a_new_module_without_a_test_file_of_its_own_is_noticed() -> None:
    """Write a test, or run `python -m tools.untested > tests/untested.txt` and say why."""
    assert list(untested()) == LIST.read_text().splitlines()


def test_no_two_rooms_have_a_class_of_the_same_name() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for room, names in _classes().items():
        for name in names:
            if not name.startswith("_") and room not in APART:
                rooms[name].add(room)
    assert {name: found for name, found in rooms.items() if len(found) > 1} == {}


def _classes() -> dict[str, set[str]]:
    """Return the names of the classes of each room."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        found[room] |= {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    return found
