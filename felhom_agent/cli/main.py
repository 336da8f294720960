"""The command line: finds the command, runs it, and returns how it ended (`cli/codes.py`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from felhom_agent import __version__
from felhom_agent.cli.codes import INTERRUPTED
from felhom_agent.cli.command import LazyCommands, Parser, add_global
from felhom_agent.cli.commands import COMMANDS
from felhom_agent.cli.failures import told
from felhom_agent.config.place import DEFAULT_PATH
from felhom_agent.service.logging import log_warnings, uncaught_errors_logged


def main(arguments: Sequence[str] | None = None) -> int:
    """Given command line arguments, run the command and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    with uncaught_errors_logged():
        try:
            return _run(words)
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:
            return told(error, debug="--debug" in words)


def _run(words: Sequence[str]) -> int:
    log_warnings()
    parsed = parsed_words(words)
    code: int = parsed.run(parsed)
    return code


def parsed_words(words: Sequence[str]) -> argparse.Namespace:
    """Given the words of a command line, return what they say, the command's module loaded.

    Raise SystemExit, told on stderr, if they say nothing that can be done.
    """
    top, commands = _parser()
    parsed = argparse.Namespace()
    _, left = top.parse_known_args(words, parsed)
    if left:
        words_left = " ".join(map(repr, left[:5]))
        commands.load(parsed.command).error(f"takes no further words, and was given {words_left}")
    if hasattr(parsed, "config_after"):
        if hasattr(parsed, "config"):
            top.error("argument --config: was given twice, before and after the command")
        parsed.config = parsed.config_after
    parsed.config = getattr(parsed, "config", DEFAULT_PATH)
    parsed.words = list(words)
    return parsed


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and that of each command, all loaded."""
    top, commands = _parser()
    return top, {name: commands.load(name) for name in COMMANDS}


class _Top(Parser):
    """Tells the commands by what a person wants."""

    def format_help(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
            formatter.start_section(group)
            for name, (its_group, summary) in COMMANDS.items():
                if its_group == group:
                    formatter.add_argument(_Row([], name, help=summary, metavar=name))
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([a for a in self._actions if a.option_strings])
        formatter.end_section()
        formatter.add_text("`felhom-agent COMMAND --help` tells more of each command.")
        formatter.add_text(self.epilog)
        return formatter.format_help()


class _Row(argparse.Action):
    """A line of `--help`."""


def _parser() -> tuple[Parser, LazyCommands]:
    top = _Top(
        prog="felhom-agent",
        usage="felhom-agent [--config FILE] [--debug] COMMAND ...",
        description="Keeps the guests of a Proxmox VE host as their operator declared them.",
        epilog="Example: felhom-agent plan 101",
    )
    words = f"felhom-agent {__version__}"
    top.add_argument("--version", action="version", version=words, help="print the version")
    add_global(top, "config", str(DEFAULT_PATH))
    commands = top.add_subparsers(
        metavar="COMMAND",
        dest="command",
        required=True,
        prog="felhom-agent",
        action=LazyCommands,
        parser_class=Parser,
    )
    assert isinstance(commands, LazyCommands)  # noqa: S101  # typeshed has no word for it
    return top, commands


if __name__ == "__main__":
    sys.exit(main())
