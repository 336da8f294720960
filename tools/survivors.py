"""Mutations that no test can mind, each with the reason: `tools/survivors.toml`.

An entry names the module, the function or class, the change as `tools.mutants` prints it, and why
it makes no difference that a test could see, or which difference is accepted.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

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
    entries = tomllib.loads(TABLE.read_text())["survivor"]
    return {Survivor(one["module"], one["where"], one["change"]): one["why"] for one in entries}


def of(module: str, mutation: Mutation) -> Survivor:
    """Given a mutation of a module, return what an entry of the table calls it."""
    return Survivor(module, mutation.where, mutation.change)


def outdated() -> list[Survivor]:
    """Return the entries that fit no mutation of today's code."""
    known = explained()
    modules = {survivor.module for survivor in known}
    there = {
        of(module, mutation)
        for module in modules
        if (ROOT / module).exists()
        for mutation in mutations((ROOT / module).read_bytes())
    }
    return [survivor for survivor in known if survivor not in there]
