"""`pveum`, Proxmox VE's own command for users, tokens and roles: what is there, and running lines.

Lines are shown before they are run, as a person would type them, and run word by word, without a
shell. PVE: pve-access-control CLI/pveum.pm.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from felhom_agent.cli import programs
from felhom_agent.errors import FelhomError
from felhom_agent.redaction import remember

PROGRAM = "pveum"
TIMEOUT = 60.0
"""Seconds that one call may take."""
_MAX_WORDS = 300


def is_here() -> bool:
    """Return whether this host has it."""
    return programs.is_here(PROGRAM)


def names(*what: str, key: str) -> frozenset[str]:
    """Given what is to be listed ("role", "list") and which member names an entry, return the names
    of all. Raise FelhomError if that cannot be had.
    """
    rows = json_of([PROGRAM, *what, "--output-format", "json"])
    found = rows if isinstance(rows, list) else []
    return frozenset(str(row[key]) for row in found if isinstance(row, dict) and key in row)


def run(line: str) -> None:
    """Given a line as it was shown, run it; one that has alternatives (`a || b`) as a shell does.

    Raise FelhomError if it fails.
    """
    alternatives = [shlex.split(part) for part in line.split(" || ")]
    for words in alternatives[:-1]:
        if programs.run(words, TIMEOUT).returncode == 0:
            return
    _checked(alternatives[-1])


def new_token(line: str) -> str:
    """Given the line that makes a token, run it; return the token's secret, which PVE tells once.

    Raise FelhomError if it fails.
    """
    answer = json_of([*shlex.split(line), "--output-format", "json"])
    secret = answer.get("value") if isinstance(answer, dict) else None
    if not isinstance(secret, str) or not secret:
        raise FelhomError(f"`{line}` told no secret; remove that token again, and try once more")
    remember(secret)
    return secret


def json_of(words: list[str]) -> Any:
    """Given the words of a command, run it; return what it answers. Raise FelhomError if it fails,
    or answers what is no JSON.
    """
    try:
        return json.loads(_checked(words))
    except ValueError:
        raise FelhomError(f"`{shlex.join(words)}` answered what is no JSON") from None


def _checked(words: list[str]) -> str:
    done = programs.run(words, TIMEOUT)
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:_MAX_WORDS]
        raise FelhomError(f"`{shlex.join(words)}` failed: {said or done.returncode}")
    return done.stdout
