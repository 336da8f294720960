"""`felhom-agent resume`: ends the pause of guests."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "resume",
        run,
        summary="End the pause of guests, or (`--all`) the pause of all.",
        example="resume 101",
    )
    ask.add_guests(parser)
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    for guest in ask.guests_of(arguments):
        ask.tell(arguments.config, "/v1/resume", {"vmid": guest})
    return 0
