"""`felhom-agent check`: is the configuration good, and does the node answer? Changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain

from felhom_agent.cli import health
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say
from felhom_agent.cli.privileges import of_privileges
from felhom_agent.config.agentfile import load


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "check",
        run,
        summary="Check configuration, guest files, connection, token and its privileges.",
        example="check",
    )


def run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    say(health.Finding(True, f"{config.path} is good"))
    return show(chain(health.of_files(config), health.of_connection(config), of_privileges(config)))


def show(findings: Iterable[health.Finding]) -> int:
    """Given findings, print each as it comes; return the exit code they stand for."""
    good = True
    for finding in findings:
        say(finding)
        for line in finding.remedy:
            say(f"        {line}")
        good = good and finding.good
    return 0 if good else 1
