"""A mutation is killed by what minds it, and by nothing else."""

from __future__ import annotations

import shutil

import pytest

from tools.mutants import ROOT, Shown, Tree
from tools.mutations import Mutation, mutations

DOOR = """\
KEYS = 7


def opens(key: int, night: bool) -> bool:
    if night:
        return key == 1
    return key >= 0


def called() -> str:
    return "door"
"""
TESTS = """\
from felhom_agent.door import KEYS, opens


def test_a_wrong_key_opens_nothing_at_night():
    assert not opens(2, True)


def test_the_key_opens_at_night():
    assert opens(1, True)


def test_there_are_seven_keys():
    assert KEYS == 7
"""
MODULE = "felhom_agent/door.py"
FILE = "tests/test_door.py"
DEADLINE = 60.0


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A little project, with the plugin that the tests run under."""
    source = tmp_path_factory.mktemp("source")
    for path, text in ((MODULE, DOOR), (FILE, TESTS), ("felhom_agent/__init__.py", "")):
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(text)
    (source / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "onlythese.py", source / "tools")
    return Tree(tmp_path_factory.mktemp("tree"), source)


@pytest.fixture(scope="module")
def shown(tree: Tree) -> Shown:
    return Shown(*tree.first([FILE]), tree.root)


def mutation(change: str) -> Mutation:
    (found,) = (each for each in mutations(DOOR.encode()) if each.change == change)
    return found


def killer(tree: Tree, tests: list[str], change: str) -> str | None:
    return tree.killer(MODULE, mutation(change).of(DOOR.encode()), tests, DEADLINE)


def test_the_tests_that_run_a_line_are_shown_its_mutations_and_no_other(shown: Shown) -> None:
    assert len(shown.of(MODULE, mutation("key == 1  ->  (key != 1)"))) == 2
    assert shown.of(MODULE, mutation("key >= 0  ->  (key > 0)")) == []


def test_what_is_made_at_import_is_shown_to_tests_that_run_no_line_of_the_module(
    shown: Shown,
) -> None:
    assert f"{FILE}::test_there_are_seven_keys" in shown.of(MODULE, mutation("7  ->  8"))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("key == 1  ->  (key != 1)", f"{FILE}::test_a_wrong_key_opens_nothing_at_night"),
        ("1  ->  2", f"{FILE}::test_a_wrong_key_opens_nothing_at_night"),
        ("night  ->  (not (night))", f"{FILE}::test_a_wrong_key_opens_nothing_at_night"),
        # No test runs these lines.
        ("key >= 0  ->  (key > 0)", None),
        ('return "door"  ->  return None', "mypy"),
    ],
)
def test_a_mutation_is_killed_by_the_first_that_minds_it_or_survives(
    tree: Tree, shown: Shown, change: str, name: str | None
) -> None:
    tests = sorted(shown.of(MODULE, mutation(change)))
    assert killer(tree, tests, change) == name
    assert (tree.root / MODULE).read_text() == DOOR


def test_a_test_that_is_not_there_any_more_kills_nothing(tree: Tree) -> None:
    assert killer(tree, [f"{FILE}::test_of_old"], "key >= 0  ->  (key > 0)") is None


def test_a_project_that_mypy_minds_as_it_is_is_known(tree: Tree) -> None:
    assert tree.is_typed()
    file = tree.root / MODULE
    file.write_text('x: int = "one"\n')
    assert not tree.is_typed()
    file.write_text(DOOR)
