"""`felhom-agent reconcile`: the running agent shall look at every guest now."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "reconcile",
        run,
        summary="Look at every guest now, and not only at the next interval.",
        example="reconcile",
    )


def run(arguments: argparse.Namespace) -> int:
    ask.tell(arguments.config, "/v1/reconcile")
    return 0
