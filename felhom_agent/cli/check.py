"""`felhom-agent check`: is all as the agent needs it? Changes nothing.

Without a word it looks at this host, its service, its node and what is declared; with files or
directories, at these guest files alone, for which it needs neither agent.toml nor a node.

The exit code is 0 where there is no fault, 78 where agent.toml (or one of the files that were
named) is wrong, 65 where the journal is damaged, 75 where the node cannot be reached and that is
all, and 1 for every other fault.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from felhom_agent.cli import (
    health,
    healthagent,
    healthfiles,
    healthhost,
    healthhub,
    healthmetrics,
    healthnode,
    healthnotify,
    healthsigners,
)
from felhom_agent.cli.codes import CONFIG
from felhom_agent.cli.command import Commands, add_command, any_path
from felhom_agent.cli.health import Finding, Level, bad, good, note, once, probed
from felhom_agent.cli.healthagent import Agent
from felhom_agent.cli.inforce import desired_in_force
from felhom_agent.cli.out import say_json
from felhom_agent.cli.serviceuser import service_of
from felhom_agent.cli.terminal import Part, Style, put
from felhom_agent.config.agentfile import load
from felhom_agent.config.place import DEFAULT_PATH
from felhom_agent.config.settings import Config
from felhom_agent.daemon.reloaded import counted
from felhom_agent.desired.givenfiles import read_given
from felhom_agent.errors import ConfigError
from felhom_agent.model import Desired

_WORDS: Final = {
    Level.GOOD: Part("ok  ", Style.GOOD),
    Level.NOTE: Part("note", Style.WARN),
    Level.BAD: Part("FAIL", Style.BAD),
}

_MAX_SILENT: Final = 20
"""Of how many files and directories it is told that they declare nothing."""


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "check",
        run,
        summary="Check all that the agent needs: configuration, files as its service reads them, "
        "connection, TLS, token, privileges, clock, journal, hub, notifications, signers, the "
        "service; or guest files alone, without a node (exit code 0: no fault, 1: faults, 65: the "
        "journal is damaged, 75: the node cannot be reached, and that is all, 78: agent.toml, or a "
        "file that was named, is wrong).",
        example="check",
    )
    parser.add_argument(
        "path", nargs="*", type=any_path, help="only these guest files, or directories of them"
    )
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json/check.json)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.path:
        findings = of_paths(arguments.path)
        return show_json(findings) if arguments.json else show(findings)
    try:
        config = load(arguments.config)
    except ConfigError as error:
        if not arguments.json:
            raise
        return show_json(_wrong(error))
    findings = examine(config)
    return show_json(findings) if arguments.json else show(findings)


def examine(config: Config) -> Iterator[Finding]:
    """Given the configuration, look at all that the agent needs on this host, and yield how it is,
    as it is found, each fault once.
    """
    yield from once(_examined(config))


def _examined(config: Config) -> Iterator[Finding]:
    service = service_of(config)
    agent = healthagent.agent_of(config)
    desired: list[Desired] = []  # filled by the first probe that ends before the others begin

    def files() -> Iterator[Finding]:
        # What the agent alone could not read is told as its own word.
        desired.append(desired_in_force(config, service, Agent()))
        yield from healthfiles.of_guest_files(config, service, agent, desired[0])

    yield from probed("agent.toml", lambda: healthfiles.of_settings(config, service))
    yield from probed("the guest files", files)
    yield from healthnode.of_node(config, lambda: desired[0] if desired else None)
    yield from probed("this host's clock", healthhost.of_clock)
    yield from probed("the journal", lambda: healthhost.of_journal(config, service))
    yield from probed("the hub", lambda: healthhub.of_hub(config, agent))
    yield from probed("the notifications", lambda: healthnotify.of_notify(config, service))
    yield from probed("the signers", lambda: healthsigners.of_signers(config, service))
    yield from probed("the service", lambda: healthagent.of_agent(config, service, agent))
    yield from probed("the metrics", lambda: healthmetrics.of_metrics(config, service))
    yield from probed("what was left behind", lambda: healthhost.of_leftovers(config))


def of_paths(paths: Iterable[Path]) -> Iterator[Finding]:
    """Given guest files and directories of them, yield what is wrong in them, and how many guests
    they declare. A file of the name agent.toml is checked as one.
    """
    guests: list[Path] = []
    settings = 0
    for path in paths:
        if path.name == DEFAULT_PATH.name and not path.is_dir():
            settings += 1
            yield from _of_settings(path)
        else:
            guests.append(path)
    if not guests:
        return
    given = read_given(guests)
    desired = given.desired
    for problem in desired.problems:
        yield bad(str(problem), code=CONFIG)
    for vmid, text in sorted(desired.remarks.items()):
        yield note(f"guest {vmid}: {text}")
    for path in guests:
        yield from healthfiles.of_overlooked(path)
    yield from (note(text) for text in given.silent[:_MAX_SILENT])
    if (more := len(given.silent) - _MAX_SILENT) > 0:
        yield note(f"and in {more} more of the files and directories that were named")
    text = f"guest files declare {counted(len(desired.guests))}"
    if desired.problems:
        yield note(f"{text} rightly")
    elif desired.guests:
        yield good(text)


def _of_settings(path: Path) -> Iterator[Finding]:
    try:
        load(path)
    except ConfigError as error:
        yield from _wrong(error)
    else:
        yield good(f"{path} is good")


def _wrong(error: ConfigError) -> list[Finding]:
    return [bad(str(problem), code=CONFIG) for problem in error.problems]


def show_json(findings: Iterable[Finding]) -> int:
    """Given findings, print them as JSON when all are known; return the exit code."""
    found = list(findings)
    rows = [
        {"good": f.good, "level": str(f.level), "text": f.text, "remedy": list(f.remedy)}
        for f in found
    ]
    say_json({"good": all(f.good for f in found), "summary": summary(found), "findings": rows})
    return health.code_of(found)


def show(findings: Iterable[Finding]) -> int:
    """Given findings, print each as it comes, and a summary; return the exit code."""
    found: list[Finding] = []
    for finding in findings:
        found.append(finding)
        put_finding(finding)
    put([Part(summary(found), Style.STRONG)])
    return health.code_of(found)


def put_finding(finding: Finding) -> None:
    """Given a finding, print it, and what to do."""
    put([_WORDS[finding.level], "  ", finding.text], hang=6)
    for line in finding.remedy:
        put(["        ", line], hang=10)


def summary(findings: Iterable[Finding]) -> str:
    """Given all findings, return how it is, in a line."""
    levels = [finding.level for finding in findings]
    faults, notes = levels.count(Level.BAD), levels.count(Level.NOTE)
    parts = [f"{faults} {'fault' if faults == 1 else 'faults'}" if faults else "No fault"]
    if notes:
        parts.append(f"{notes} {'note' if notes == 1 else 'notes'}")
    return f"{', '.join(parts)}; {levels.count(Level.GOOD)} good."
