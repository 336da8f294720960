"""The command line: finds the command, runs it, and turns what went wrong into one line.

Exit codes: 0 done, 1 an error, 2 there is drift (or wrong usage), 65 the journal is damaged, 70 a
bug of ours, 78 the configuration is wrong (EX_DATAERR, EX_SOFTWARE and EX_CONFIG of sysexits(3); 65
and 78 tell systemd not to try again), 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from felhom_agent import __version__
from felhom_agent.cli.command import Parser
from felhom_agent.cli.out import OutputFailed, ReaderLeft, complain, give_up_stdout
from felhom_agent.config.settings import DEFAULT_PATH
from felhom_agent.errors import ConfigError, FelhomError, JournalDamaged
from felhom_agent.service.events import BROKEN, CONFIG_UNUSABLE, JOURNAL_DAMAGED, NOT_DONE
from felhom_agent.service.logging import log_warnings, uncaught_errors_logged
from felhom_agent.service.origins import described, trace_of

COMMANDS = ("run", "plan", "check", "explain", "selftest", "history", "reconcile", "pause",
            "resume", "freeze", "thaw", "approve", "journal", "hub", "demo", "demohub", "devnode",
            "devhub")  # fmt: skip
EX_ERROR, EX_DATAERR, EX_SOFTWARE, EX_CONFIG, EX_INTERRUPTED = 1, 65, 70, 78, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Given command line arguments, run the command and return the exit code."""
    with uncaught_errors_logged():
        try:
            return _run(arguments)
        except KeyboardInterrupt:
            return EX_INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    log_warnings()
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        parsed = parser(_wanted(words)).parse_args(words)
        code: int = parsed.run(parsed)
    except ConfigError as error:
        for problem in error.problems:
            complain(problem, event=CONFIG_UNUSABLE)
        return EX_CONFIG
    except ReaderLeft:
        give_up_stdout()
        return EX_ERROR
    except OutputFailed as error:
        complain(error)
        return EX_ERROR
    except FelhomError as error:
        damaged = isinstance(error, JournalDamaged)
        complain(error, event=JOURNAL_DAMAGED if damaged else NOT_DONE)
        return EX_DATAERR if damaged else EX_ERROR
    except Exception as error:  # a bug of ours; an operator gets a line, not a traceback
        complain(f"internal error, please report it: {described(error)}", event=BROKEN)
        _explain(error)
        return EX_SOFTWARE
    return code


def _explain(error: Exception) -> None:
    """Tell where an error came through, if every detail is logged (`--verbose`)."""
    if logging.getLogger("felhom_agent").isEnabledFor(logging.DEBUG):
        for line in trace_of(error):
            complain(line, prefix="  ")


def _wanted(words: Sequence[str]) -> Sequence[str]:
    """Given the words of a command line, return the command that it surely names, or all.

    A command brings what it needs, and some need much: what is not asked for is not loaded.
    """
    at = 0
    if words and words[0].startswith("--config"):
        at = 1 if "=" in words[0] else 2
    named = words[at : at + 1]
    return named if set(named) & set(COMMANDS) else COMMANDS


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Given the names of commands, return the parser of the command line with these."""
    top = Parser(
        prog="felhom-agent",
        description="Keeps the guests of a Proxmox VE host as their operator declared them.",
        epilog="Example: felhom-agent --config /etc/felhom-agent/agent.toml plan",
    )
    top.add_argument("--version", action="version", version=f"felhom-agent {__version__}")
    top.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s"
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name in names:
        importlib.import_module(f"felhom_agent.cli.{name}").add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
