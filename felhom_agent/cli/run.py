"""`felhom-agent run`: the daemon."""

from __future__ import annotations

import argparse
import dataclasses

from felhom_agent.cli.codes import OK, WOULD_CHANGE
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.config.agentfile import load
from felhom_agent.config.settings import Config
from felhom_agent.daemon import run as daemon
from felhom_agent.model import Mode
from felhom_agent.service import logging


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "run",
        run,
        summary="Keep the guests as declared until stopped (SIGHUP: read everything again).",
        example="run --once --dry-run",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="look once, do what is needed, and end: 0 if all is as declared afterwards, 2 if "
        "not, 75 if the node cannot be reached",
    )
    parser.add_argument("--dry-run", action="store_true", help="plan and report, change nothing")
    parser.add_argument("--verbose", action="store_true", help="log every detail")


def run(arguments: argparse.Namespace) -> int:
    logging.set_up(verbose=arguments.verbose)

    def reread() -> Config:
        config = load(arguments.config)
        if not arguments.dry_run:
            return config
        return dataclasses.replace(
            config, reconcile=dataclasses.replace(config.reconcile, mode=Mode.OBSERVE)
        )

    config = reread()
    if arguments.once:
        # Not at the top: the daemon needs nothing of what this loads.
        from felhom_agent.cli.asowner import run_as_owner

        code = run_as_owner(config.journal.directory, arguments.words)
        if code is not None:
            return code
    logging.set_up(verbose=arguments.verbose, node=config.proxmox.node)
    return OK if daemon.run(config, reread, once=arguments.once) else WOULD_CHANGE
