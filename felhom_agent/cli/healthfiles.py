"""Findings on files: agent.toml, the secrets and CAs that it names, and the guest files.

They are judged by what the service's user can read. Where an agent runs, it is asked what it makes
of the guest files, so that `check` and the agent agree on what is in force. Each fault is told
once, whoever knows of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from felhom_agent.cli import answers
from felhom_agent.cli.access import ENTER, READ, Obstacle, obstacle
from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.healthagent import Agent
from felhom_agent.cli.hiding import hidden
from felhom_agent.cli.serviceuser import Service
from felhom_agent.config import tomlfile
from felhom_agent.config.place import CREDENTIALS
from felhom_agent.config.settings import Config, HubConfig, ProxmoxConfig
from felhom_agent.daemon.reloaded import counted
from felhom_agent.desired.givenfiles import overlooked
from felhom_agent.desired.told import told
from felhom_agent.model import Desired, Place, Problem
from felhom_agent.printable import printable

MAX_FILES: Final = 20
"""How many files that cannot be read, or are not, have a line of their own."""
_MAX_ENTRIES: Final = 100_000

# What `desired.told` adds to a problem; the time in it is another one on another day.
_IN_FORCE: Final = "; its guests: last good version"
_HANDED: Final = (
    ProxmoxConfig().token_file,
    ProxmoxConfig().ca_file,
    HubConfig().key_file,
    CREDENTIALS["notify-token"],
)


def of_settings(config: Config, service: Service) -> Iterator[Finding]:
    """Given the configuration and as whom its agent runs, yield how agent.toml and what it names
    are.
    """
    yield good(f"{config.path} is good")
    if service.is_closed:
        yield note(
            "this is neither root nor the agent's user; what cannot be read here the agent may well"
            " read: run it as root"
        )
    for path, name in ((config.path, ""), *_named(config)):
        where = f"{name} in {config.path}: " if name else ""
        for finding in seen(path, service, READ):
            yield _with_start(where, by_credential(finding, path, service))


def by_credential(finding: Finding, path: Path, service: Service) -> Finding:
    """Given what keeps the service from a file that agent.toml names, return it with the better
    remedy where the unit hands it that very file: not to name it. /etc/pve takes no chmod.
    """
    if not service.unit or path not in _HANDED:
        return finding
    text = finding.text.removesuffix("; as root:")
    end = "remove the line: without it systemd reads the file for the service (LoadCredential=)"
    return bad(f"{text}; {end}")


def _named(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the files that agent.toml names, which the service reads itself; what it does not name
    the service gets from systemd, which reads it as root (LoadCredential=).
    """
    data = tomlfile.read(config.path).data
    pve, hub = _table(data, "proxmox"), _table(data, "hub")
    if "token_file" in pve:
        yield config.proxmox.token_file, "token_file"
    if "ca_file" in pve and not (config.proxmox.fingerprint or config.proxmox.insecure):
        yield config.proxmox.ca_file, "ca_file"
    if config.hub.url and "key_file" in hub:
        yield config.hub.key_file, "key_file"
    if config.hub.url and config.hub.ca_file is not None:
        yield config.hub.ca_file, "ca_file of [hub]"
    notify = config.notify
    if notify.url and notify.token_file is not None and "token_file" in _table(data, "notify"):
        yield notify.token_file, "token_file of [notify]"
    if notify.url and notify.ca_file is not None:
        yield notify.ca_file, "ca_file of [notify]"


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def seen(path: Path, service: Service, wanted: int) -> Iterator[Finding]:
    """Given a path and what the service wants of it, yield what keeps it from that, if anything
    does.
    """
    if not service.is_other or service.user is None:
        return
    if why := hidden(path, service.unit):
        yield bad(f"{printable(str(path), 300)} {why}")
    elif found := obstacle(path, service.user, wanted):
        yield _of_obstacle(path, found)


def _of_obstacle(path: Path, found: Obstacle) -> Finding:
    shown = printable(str(path), 300)
    where = "" if found.path == path else f"{shown}: "
    return dataclasses.replace(
        bad(f"{where}{found.text}; as root:", *found.remedy), cause=found.cause
    )


def _with_start(start: str, finding: Finding) -> Finding:
    return dataclasses.replace(finding, text=f"{start}{finding.text}")


def of_guest_files(
    config: Config, service: Service, agent: Agent, desired: Desired
) -> Iterator[Finding]:
    """Given also what the running agent tells and what is desired, yield how the files are."""
    if config.desired.directory is None:
        yield good("no [desired] directory is configured: nothing is desired")
    unread = dict(_unread(config.desired.directory, service))
    ours = told(desired)
    wrong = tuple(_problems(ours, agent, unread))
    yield from _of_unread(unread, agent, ours)
    yield from wrong
    for vmid, text in desired.remarks.items():
        yield note(f"guest {vmid}: {text}")
    if config.desired.directory is not None:
        yield from of_overlooked(config.desired.directory)
    if not wrong and not unread:
        yield good(f"guest files declare {counted(len(desired.guests))}")
        yield from _not_taken_up(desired, agent)


def of_overlooked(directory: Path) -> Iterator[Finding]:
    """Given a directory of guest files, yield what is there that is not read and looks like one."""
    for path in overlooked(directory)[:MAX_FILES]:
        text = "not read: its name must end in .toml, in small letters"
        yield note(f"{tomlfile.name_of(path)}: {text}")


def _unread(directory: Path | None, service: Service) -> Iterator[tuple[Path, Finding]]:
    """Yield each guest file, or the directory, that we can read and the service's user cannot."""
    if directory is None or not service.is_other or not directory.is_dir():
        return  # what is no directory is told with what is declared
    found = list(seen(directory, service, READ | ENTER))
    if found:
        yield directory, found[0]
        return
    with os.scandir(directory) as entries:
        names = sorted(
            entry.name
            for entry in islice(entries, _MAX_ENTRIES)
            if entry.name.endswith(".toml") and not entry.name.startswith(".")
        )
    for name in names:
        yield from (
            (directory / name, finding) for finding in seen(directory / name, service, READ)
        )


def _of_unread(
    unread: Mapping[Path, Finding], agent: Agent, ours: Iterable[Problem]
) -> Iterator[Finding]:
    kept = [problem for problem in ours if _IN_FORCE in problem.text]
    known = [*agent.problems, *kept]
    for path, finding in islice(unread.items(), MAX_FILES):
        yield _with_end(finding, _in_force(tomlfile.name_of(path), known))
    if (more := len(unread) - MAX_FILES) > 0:
        yield bad(f"and {more} more guest files that the service's user may not read")


def _in_force(name: str, known: Iterable[Problem]) -> str:
    """Return what the running agent keeps of a file that it cannot read."""
    texts = [problem.text for problem in known if problem.place.file == name]
    since = next((t.partition(_IN_FORCE)[2] for t in texts if _IN_FORCE in t), None)
    if since is not None:
        return f"its last good version{since} stays in force"
    return "nothing of it is in force" if texts else ""


def _with_end(finding: Finding, end: str) -> Finding:
    if not end:
        return finding
    text, lead = finding.text.removesuffix("; as root:"), finding.text.endswith("; as root:")
    return dataclasses.replace(finding, text=f"{text}; {end}{'; as root:' if lead else ''}")


def _problems(
    local: Iterable[Problem], agent: Agent, unread: Mapping[Path, Finding]
) -> Iterator[Finding]:
    """Yield what is wrong in the files, by our own reading and by the running agent's."""
    hidden_files = {tomlfile.name_of(path) for path in unread}
    ours = {_key(each): each for each in local if not _is_in(each.place.file, hidden_files)}
    theirs = {
        _key(problem): problem
        for problem in agent.problems
        if problem.place.file not in hidden_files
    }
    found: list[Problem] = []
    for key, problem in ours.items():
        news = agent.status and key not in theirs and problem.place.file not in hidden_files
        end = " (the running agent has not read that yet)" if news else ""
        found.append(_longer(theirs.get(key, problem), end))
    for key, problem in theirs.items():
        if key not in ours:
            found.append(_longer(problem, " (so the running agent, as it last read it)"))
    yield from (bad(str(problem)) for problem in joined(found))


def _is_in(name: str, hidden_files: Collection[str]) -> bool:
    """Return whether a file is one of these, or in a directory that is."""
    return name in hidden_files or name.rpartition("/")[0] in hidden_files


def joined(problems: Iterable[Problem]) -> list[Problem]:
    """Given problems, return them with what is said of a file as a whole at the end of what was
    said of it before: it is no fault of its own.
    """
    found: list[Problem] = []
    latest: dict[str, int] = {}
    for problem in problems:
        file = problem.place.file
        if file in latest and not problem.place.line:
            found[latest[file]] = _longer(found[latest[file]], f"; {problem.text}")
        else:
            latest[file] = len(found)
            found.append(problem)
    return found


def _longer(problem: Problem, end: str) -> Problem:
    return dataclasses.replace(problem, text=problem.text + end) if end else problem


def _key(problem: Problem) -> tuple[Place, str]:
    return problem.place, problem.text.partition(_IN_FORCE)[0]


def _not_taken_up(desired: Desired, agent: Agent) -> Iterator[Finding]:
    """Say so if the running agent goes by other files than those that are there."""
    if not agent.status or not answers.table(agent.status, "last_pass"):
        return
    count = answers.whole(answers.table(agent.status, "counts"), "declared")
    if count is not None and count != len(desired.guests.keys() | desired.held.keys()):
        yield note(
            f"the running agent knows {count} declared guests: it has not read the files as they"
            " are now; it does at its next pass, or at once:",
            "felhom-agent reconcile",
        )
