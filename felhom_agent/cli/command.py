"""How a command joins the parser, and how the parser speaks; shared by all commands.

Wrong usage is one line and exit code 64. A command's module is loaded when the command is named, so
that `--help` loads none. `--config` and `--debug` may stand before and after the command.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from felhom_agent.cli.codes import USAGE
from felhom_agent.cli.commands import COMMANDS, PACKAGES, NotInstalled
from felhom_agent.cli.out import complain, put_lines
from felhom_agent.config.suggest import did_you_mean
from felhom_agent.printable import MARK

Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it

_MAX_PART = 300
"""How much is told of the beginning and of the end of what is wrong: together more than the longest
list of what there is.
"""
_NUMBER = re.compile(r"-[0-9.]+")


class Formatter(argparse.HelpFormatter):
    """Wraps to the terminal, and breaks no word at a hyphen: it may be an option or a command."""

    def __init__(self, prog: str, **settings: Any) -> None:
        # What argparse takes, but never so little that a word like "felhom-agent" is broken.
        width = max(shutil.get_terminal_size().columns - 2, 20)
        super().__init__(prog, **{"width": width, **settings})

    def _format_usage(self, *arguments: Any) -> str:
        room, self._width = self._width, 10_000
        whole = " ".join(super()._format_usage(*arguments).split())
        self._width = room
        # What stands in brackets stays together.
        glued = re.sub(r"\[[^\[\]]*\]", lambda found: found[0].replace(" ", "\xa0"), whole)
        lines = textwrap.wrap(
            glued, room, subsequent_indent=" " * 4, break_on_hyphens=False, break_long_words=False
        )
        return "\n".join(lines).replace("\xa0", " ") + "\n\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        plain = " ".join(text.split())
        return textwrap.fill(
            plain, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


class Parser(argparse.ArgumentParser):
    """Prints usage and help as safe text, and tells what is wrong with what was typed in a line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Given what is wrong, tell it, and end with the exit code of wrong usage."""
        if len(message) > 2 * _MAX_PART:  # what was typed stands in the midst
            message = f"{message[:_MAX_PART]}{MARK}{message[-_MAX_PART:]}"
        end = "" if message.endswith("?") else ";"
        complain(f"{message}{end} `{self.prog} --help` tells how", prefix=f"{self.prog}: ")
        raise SystemExit(USAGE)

    # Typed differently in the versions of typeshed that know `Never` and that do not.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Given words, return what they say and what is left. Tell of a wrong option first: what
        else seems wrong may follow from it.
        """
        for word in self._own(args or ()):
            if wrong := self._wrong_option(word):
                self.error(wrong)
        return super().parse_known_args(args, namespace)

    def _own(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the words that are surely meant for this parser, and not for a command's."""
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return
            yield word

    def _wrong_option(self, word: str) -> str:
        """Return what is wrong with a word that must be an option, or nothing."""
        name = word.partition("=")[0]
        known = self._option_string_actions
        if len(word) < 2 or word[0] != "-" or " " in word or _NUMBER.fullmatch(word):
            return ""
        if word[1].isdigit():
            return f"{word!r} is neither an option nor a value that can stand there"
        if name in known or (word[1] != "-" and word[:2] in known):
            return ""
        return f"there is no option {name!r}{did_you_mean(name, known)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        guess = did_you_mean(str(value), known)
        if isinstance(action, LazyCommands):
            self.error(f"there is no command {value!r}{guess or ': ' + ', '.join(known)}")
        raise argparse.ArgumentError(action, f"{value!r} is none of {', '.join(known)}{guess}")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            put_lines(message, file)


class LazyCommands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001
    """The commands, of which one is loaded when it is named."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.choices: Any = tuple(COMMANDS)

    def load(self, name: str) -> argparse.ArgumentParser:
        """Given a command's name, return its parser. Raise NotInstalled if it is not here."""
        if name not in self._name_parser_map:
            _module(name).add(self)
        parser: argparse.ArgumentParser = self._name_parser_map[name]
        return parser

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Load the command that is named, and let it read what follows."""
        self.load(values[0])
        super().__call__(parser, namespace, values, option_string)


def _module(name: str) -> ModuleType:
    """Given a command's name, return its module. Raise NotInstalled if another package has it."""
    try:
        return importlib.import_module(f"felhom_agent.cli.{name}")
    except ModuleNotFoundError as error:
        package = PACKAGES.get(COMMANDS[name][0])
        if package is None or not str(error.name).startswith("felhom_agent."):
            raise
        raise NotInstalled(name, package) from None


class Once(argparse.Action):
    """Stores a value that may be given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value. Raise ArgumentError if there is one already."""
        del parser, option_string
        if hasattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "was given twice")
        setattr(namespace, self.dest, values)


def add_command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """Given a command's name, body and words, add it; return its parser for its arguments."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, description=summary, epilog=f"Example: felhom-agent {example}"
    )
    parser.set_defaults(run=run)
    add_global(parser, "config_after")
    return parser


def add_global(parser: argparse.ArgumentParser, config: str, default: str = "") -> None:
    """Let a parser take what every command takes; `config` is where the path of agent.toml goes."""
    parser.add_argument(
        "--config",
        dest=config,
        action=Once,
        type=file_path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help=f"agent.toml; default: {default}" if default else argparse.SUPPRESS,
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="tell where in the program an error came from" if default else argparse.SUPPRESS,
    )


def file_path(text: str) -> Path:
    """Given an argument, return it as the path of a file. Raise ArgumentTypeError if it is empty,
    as an unset variable of a shell is, or can only name a directory.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path of a file is needed, and this is empty")
    # A Path does not tell "x/" from "x", nor "x/." from "x".
    if text.rpartition("/")[2] in ("", ".", ".."):
        shown = repr(text)
        raise argparse.ArgumentTypeError(
            f"{shown} names a directory, and the path of a file is needed"
        )
    return Path(text)


def any_path(text: str) -> Path:
    """Given an argument, return it as a path. Raise ArgumentTypeError if it is empty, which would
    be the working directory.
    """
    if not text:
        raise argparse.ArgumentTypeError("a path is needed, and this is empty; . is this directory")
    return Path(text)


def some_text(text: str) -> str:
    """Given an argument, return it. Raise ArgumentTypeError if it is blank, as an unset variable of
    a shell is.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("a word is needed, and this is empty")
    return text


def vmid(text: str) -> int:
    """Given an argument, return it as a vmid. Raise ArgumentTypeError if it is none."""
    try:
        return whole(100, 999_999_999)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a vmid (100 to 999999999)") from None


def whole(least: int, most: int) -> Callable[[str], int]:
    """Given bounds, return what reads a whole number within them."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")

    return read


PORT = whole(0, 65535)
"""Reads a TCP port; 0 is any free one."""
