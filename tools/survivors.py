"""Mutations that no test can mind, each with the reason: `tools/survivors.toml`.

An entry names the module, the function or class, the change as `tools.mutants` prints it, and why
it makes no difference that a test could see, or which difference is accepted. One that stands for
several places of a function says so (`times`): otherwise it would explain one that nobody looked
at.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.mutations import Mutation, mutations

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Survivor:
    """A mutation that is known to survive, by its place and its change."""

    module: str
    where: str
    change: str


def explained() -> dict[Survivor, str]:
    """Return each mutation that is known to survive, with the reason."""
    return {_of_entry(entry): str(entry["why"]) for entry in _entries()}


def of(module: str, mutation: Mutation) -> Survivor:
    """Given a mutation of a module, return what an entry of the table calls it."""
    return Survivor(module, mutation.where, mutation.change)


def outdated() -> list[Survivor]:
    """Return the entries that do not fit as many mutations of today's code as they say."""
    times = {_of_entry(entry): entry.get("times", 1) for entry in _entries()}
    there = Counter(
        of(module, mutation)
        for module in {survivor.module for survivor in times}
        if (ROOT / module).exists()
        for mutation in mutations((ROOT / module).read_bytes())
    )
    return [survivor for survivor, number in times.items() if there[survivor] != number]


def _entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["survivor"]
    return found


def _of_entry(entry: Mapping[str, Any]) -> Survivor:
    return Survivor(entry["module"], entry["where"], entry["change"])
