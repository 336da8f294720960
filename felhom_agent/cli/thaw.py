"""`felhom-agent thaw`: ends a freeze."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    add_command(commands, "thaw", run, summary="End a freeze of this host.", example="thaw")


def run(arguments: argparse.Namespace) -> int:
    ask.tell(arguments.config, "/v1/thaw")
    return 0
