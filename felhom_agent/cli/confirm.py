"""Asking a person before something is changed; shared by the commands that do."""

from __future__ import annotations

import sys
from typing import TextIO

from felhom_agent.cli.out import say
from felhom_agent.errors import FelhomError


def agreed(question: str, what: str) -> bool:
    """Given what would be done, and what asks ("hub forget"), return whether a person says yes.

    Raise FelhomError if nobody is there to be asked: stdin is no terminal.
    """
    if not is_terminal(sys.stdin):
        raise FelhomError(f"{what} asks first, and there is no terminal; say --yes")
    return answered(question)


def answered(question: str) -> bool:
    """Given what would be done, return whether stdin, whatever that is, says yes."""
    for line in question.splitlines():
        say(line)
    say("Do this? [y/N] ", end="")
    try:
        answer = sys.stdin.readline() if sys.stdin is not None else ""
    except (OSError, ValueError):  # it cannot be read, or is no text
        return False
    return answer.strip().lower() in ("y", "yes")


def is_terminal(stream: TextIO | None) -> bool:
    """Given stdin or stdout, return whether a person is there."""
    try:
        # Started with its stdin closed (`<&-`), Python has none.
        return stream is not None and stream.isatty()
    except ValueError:
        return False
