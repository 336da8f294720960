"""`felhom-agent pause`: guests that the running agent shall leave alone for a while."""

from __future__ import annotations

import argparse

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "pause",
        run,
        summary="Leave guests alone until `resume`, or for a time. It outlives restarts.",
        example='pause 101 --for 2h --why "disk swap"',
    )
    ask.add_guests(parser)
    parser.add_argument(
        "--for", dest="seconds", type=ask.duration, metavar="TIME", help="90s, 15m, 2h, 1d"
    )
    parser.add_argument("--why", default="", metavar="TEXT", help="shown wherever it holds")
    parser.set_defaults(usage_error=parser.error)


def run(arguments: argparse.Namespace) -> int:
    guests = ask.guests_of(arguments)
    for guest in guests:
        given = {"vmid": guest, "seconds": arguments.seconds, "why": arguments.why}
        ask.tell(arguments.config, "/v1/pause", given)
    named = "--all" if arguments.all else " ".join(map(str, guests))
    say(f"`felhom-agent resume {named}` ends it.")
    return 0
