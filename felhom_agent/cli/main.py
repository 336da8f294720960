"""The command line: finds the command, runs it, and turns what went wrong into one line.

Exit codes: 0 done, 1 an error, 2 there is drift (or wrong usage), 65 the journal is damaged, 70 a
bug of ours, 78 the configuration is wrong (EX_DATAERR, EX_SOFTWARE and EX_CONFIG of sysexits(3); 65
and 78 tell systemd not to try again), 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from felhom_agent import __version__
from felhom_agent.config import DEFAULT_PATH
from felhom_agent.errors import ConfigError, FelhomError, JournalDamaged
from felhom_agent.service.logging import to_journald

COMMANDS = ("run", "plan", "check", "explain", "selftest", "history", "journal", "hub", "demo",
            "demohub", "devnode", "devhub")  # fmt: skip
EX_ERROR, EX_DATAERR, EX_SOFTWARE, EX_CONFIG, EX_INTERRUPTED = 1, 65, 70, 78, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Given command line arguments, run the command and return the exit code."""
    parsed = parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except ConfigError as error:
        for problem in error.problems:
            _complain(f"felhom-agent: {problem}")
        return EX_CONFIG
    except BrokenPipeError:
        # The reader left (`| head`); point stdout elsewhere so that the exit stays quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_ERROR
    except FelhomError as error:
        _complain(f"felhom-agent: {error}")
        return EX_DATAERR if isinstance(error, JournalDamaged) else EX_ERROR
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except Exception as error:  # a bug of ours; an operator gets a line, not a traceback
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        _complain(
            f"felhom-agent: internal error, please report it: {type(error).__name__}: {error} "
            f"({where})"
        )
        return EX_SOFTWARE
    return code


def _complain(text: str) -> None:
    # For journald an error is one by its priority.
    print(f"<3>{text}" if to_journald() else text, file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with all commands."""
    top = argparse.ArgumentParser(
        prog="felhom-agent",
        description="Keeps the guests of a Proxmox VE host as their operator declared them.",
        epilog="Example: felhom-agent --config /etc/felhom-agent/agent.toml plan",
    )
    top.add_argument("--version", action="version", version=f"felhom-agent {__version__}")
    top.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="default: %(default)s"
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"felhom_agent.cli.{name}").add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
