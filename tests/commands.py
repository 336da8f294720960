"""Commands as a person types them, run in this process, and what several tests of them share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from felhom_agent.cli.main import main
from tests.process import Process

SCHEMAS = Path(__file__).parent.parent / "docs" / "json"
QUICK = "[reconcile]\ninterval = 1\njitter = 0\nbackoff_first = 0.1\ndrain_timeout = 1\n"
"""Settings of an agent that is not waited for."""
DRIFTED = """
[guest.100]
state = "running"
[guest.100.config]
cores = 2
description = "The web\\nserver"
[guest.200.config]
cores = 1
[guest.300]
"""
"""Of the site: one guest that differs, one as declared, one that is missing."""

Felhom = Callable[..., tuple[int, str, str]]
"""Given words, runs a command; returns its exit code, stdout and stderr."""
Start = Callable[..., Process]
"""Given words and `settings`, starts an agent on the site."""


def typed(config: Path, capsys: pytest.CaptureFixture[str], *before: str) -> Felhom:
    """Given agent.toml, and words that stand before all others, return what runs a command."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what was said before is none of the command's
        try:
            code = main(["--config", str(config), *before, *words])
        except SystemExit as left:
            code = int(str(left.code))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def valid(name: str, found: object) -> None:
    """Raise ValidationError if it is not as the command's schema of that name says."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)


def validated(name: str, text: str) -> Any:
    """Given what a command printed with `--json`, return it; it is as its schema says, the number
    of its form first.
    """
    answer = json.loads(text)
    valid(name, answer)
    assert next(iter(answer)) == "schema"
    return answer
