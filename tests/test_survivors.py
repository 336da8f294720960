"""The mutations that are known to survive: each is one of today's code, with a reason."""

from __future__ import annotations

from tools.mutations import mutations
from tools.survivors import explained, outdated


def test_each_survivor_that_is_explained_is_as_many_mutations_of_todays_code_as_it_says() -> None:
    assert outdated() == [], "take these out of tools/survivors.toml, or run make mutants"


def test_each_survivor_has_a_reason() -> None:
    assert [survivor for survivor, why in explained().items() if len(why.split()) < 3] == []


def test_a_mutation_knows_where_it_is_and_what_it_changes() -> None:
    source = (
        "class Door:\n"
        "    '''A docstring is left alone.'''\n"
        "    def opens(self, key: int) -> bool:\n"
        "        return key == 1\n"
    )
    found = [(m.where, m.line, m.change) for m in mutations(source.encode())]
    assert found == [
        ("Door.opens", 4, "return key == 1  ->  return None"),
        ("Door.opens", 4, "key == 1  ->  (key != 1)"),
        ("Door.opens", 4, "1  ->  2"),
    ]


def test_a_mutated_source_is_the_source_with_that_one_change() -> None:
    source = "def f(a):\n    return a < 2  # ü\n".encode()
    (comparison,) = (m for m in mutations(source) if "<=" in m.after)
    assert comparison.of(source) == "def f(a):\n    return (a <= 2)  # ü\n".encode()
