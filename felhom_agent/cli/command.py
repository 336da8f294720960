"""How a command joins the parser; shared by all commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from felhom_agent.cli.out import put_lines

Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it


class Parser(argparse.ArgumentParser):
    """Prints usage, help and complaints, which quote what was typed, as safe text."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            put_lines(message, file)


def add_command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """Given a command's name, body and words, add it; return its parser for its arguments."""
    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example: felhom-agent {example}"
    )
    parser.set_defaults(run=run)
    return parser


def vmid(text: str) -> int:
    """Given an argument, return it as a vmid. Raise ArgumentTypeError if it is none."""
    if not text.isascii() or not text.isdigit() or not 100 <= int(text) <= 999_999_999:
        raise argparse.ArgumentTypeError(f"{text!r} is not a vmid (100 to 999999999)")
    return int(text)
