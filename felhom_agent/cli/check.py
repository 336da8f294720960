"""`felhom-agent check`: is the configuration good, and does the node answer? Changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain

from felhom_agent.cli import health
from felhom_agent.cli.codes import CONFIG, ERROR, OK
from felhom_agent.cli.command import Commands, add_command
from felhom_agent.cli.out import say, say_json
from felhom_agent.cli.privileges import of_privileges
from felhom_agent.config.agentfile import load
from felhom_agent.errors import ConfigError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "check",
        run,
        summary="Check configuration, guest files, connection, token and its privileges.",
        example="check",
    )
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json/check.json)")


def run(arguments: argparse.Namespace) -> int:
    try:
        config = load(arguments.config)
    except ConfigError as error:
        if not arguments.json:
            raise
        _show_json([health.Finding(False, str(problem)) for problem in error.problems])
        return CONFIG
    findings = chain(
        [health.Finding(True, f"{config.path} is good")],
        health.of_files(config),
        health.of_connection(config),
        of_privileges(config),
    )
    return _show_json(list(findings)) if arguments.json else show(findings)


def _show_json(findings: list[health.Finding]) -> int:
    good = all(finding.good for finding in findings)
    rows = [{"good": f.good, "text": f.text, "remedy": list(f.remedy)} for f in findings]
    say_json({"good": good, "findings": rows})
    return OK if good else ERROR


def show(findings: Iterable[health.Finding]) -> int:
    """Given findings, print each as it comes; return the exit code they stand for."""
    good = True
    for finding in findings:
        say(finding)
        for line in finding.remedy:
            say(f"        {line}")
        good = good and finding.good
    return OK if good else ERROR
