"""`felhom-agent plan`: what would be done, what that leads to, what is withheld. It only looks."""

from __future__ import annotations

import argparse

from felhom_agent.cli import plantext, whatnext
from felhom_agent.cli.codes import DIFFERS, ERROR, OK, WOULD_CHANGE
from felhom_agent.cli.command import Commands, add_command, vmid
from felhom_agent.cli.out import complain, say_json
from felhom_agent.cli.outlook import Outlook, look
from felhom_agent.cli.planjson import as_json
from felhom_agent.cli.terminal import put
from felhom_agent.config.agentfile import load
from felhom_agent.desired.told import told
from felhom_agent.proxmox.node import Node


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "plan",
        run,
        summary="Show what would be done to bring the guests in line, with the restarts that it "
        "leads to, and what is withheld. Exit code 0: nothing; 2: something would be changed, by "
        "the agent or by `apply`; 3: something differs and will not be changed (observed, held, "
        "waits, refused); 1: an error.",
        example="plan 101 --json",
    )
    parser.add_argument("vmid", nargs="*", type=vmid, help="only these guests")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    node = Node.connect(config.proxmox)
    try:
        outlook = look(config, node, arguments.vmid)
    finally:
        node.client.close()
    for problem in told(outlook.desired):
        complain(problem)
    if arguments.json:
        say_json(as_json(outlook))
    else:
        show(outlook, config.reconcile.stop_timeout)
        for sentence in whatnext.sentences(outlook):
            put(sentence)
    return code_of(outlook)


def show(outlook: Outlook, stop_timeout: float) -> None:
    """Given an outlook and the seconds that a shutdown is given, print it."""
    for line in plantext.lines(outlook, stop_timeout):
        put(line, hang=plantext.HANG)


def code_of(outlook: Outlook) -> int:
    """Given an outlook, return the exit code that it stands for: the first that applies."""
    guests = outlook.guests.values()
    if outlook.failed:
        return ERROR
    if any(guest.would_change for guest in guests):
        return WOULD_CHANGE
    return DIFFERS if any(guest.differs for guest in guests) else OK
