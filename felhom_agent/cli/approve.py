"""`felhom-agent approve`: lets a plan pass that the running agent holds."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command, some_text


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "approve",
        run,
        summary="Let exactly those changes pass that the agent holds under an id.",
        example="approve 3f9c2a71",
    )
    parser.add_argument(
        "plan", type=some_text, metavar="PLAN-ID", help="as the log and the guests' reasons name it"
    )


def run(arguments: argparse.Namespace) -> int:
    ask.tell(arguments.config, "/v1/approve", {"plan": arguments.plan})
    return 0
