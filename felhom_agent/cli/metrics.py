"""`felhom-agent metrics`: the running agent's metrics, as Prometheus reads them."""

from __future__ import annotations

import argparse
import sys

from felhom_agent.cli import ask
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import put_lines
from felhom_agent.service.controlclient import call_for_text


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    add_command(
        commands,
        "metrics",
        run,
        summary="Print the running agent's metrics in Prometheus' text format. What there is: "
        "docs/metrics.md. To have them scraped, set [metrics] textfile in agent.toml.",
        example="metrics",
    )


def run(arguments: argparse.Namespace) -> int:
    put_lines(call_for_text(ask.socket_of(arguments.config), "/v1/metrics"), sys.stdout)
    return 0
