"""Findings on this host: the journal and its disk, the clock, and what was left behind."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from felhom_agent import hintshelper
from felhom_agent.cli.access import ENTER, READ, WRITE, obstacle
from felhom_agent.cli.health import Finding, bad, good, note, of_error
from felhom_agent.cli.serviceuser import Service, user_name
from felhom_agent.config.settings import Config
from felhom_agent.errors import JournalError
from felhom_agent.journal.content import NAME, read
from felhom_agent.journal.operation import replay
from felhom_agent.printable import printable

COPIES: Final = Path("/run")
"""Where commands that root runs as the service's user keep its credentials meanwhile."""

_MAX_FILES: Final = 10_000
_MAX_NAMED: Final = 5
_MAX_PATH: Final = 300
_HOUR: Final = 3600.0
_LEAST_FREE: Final = 1_000_000
"""Bytes with which an agent cannot go on for long."""
_MEGABYTE: Final = 1_000_000


def of_journal(config: Config, service: Service) -> Iterator[Finding]:
    """Given the configuration and as whom its agent runs, yield how journal and disk are."""
    directory = config.journal.directory
    place = next(p for p in (directory, *directory.parents) if os.path.lexists(p))
    faults = list(_disk(config, place))
    # Else what cannot be written follows from that.
    if all(finding.good for finding in faults) and not service.is_closed:
        faults += [*_access(directory, place, service), *_owners(directory, service)]
    yield from faults
    if service.is_closed and not os.access(place, os.R_OK | os.X_OK):
        yield note(f"the journal in {_shown(directory)} is not ours to read; run this as root")
        return
    path = directory / NAME
    try:
        operations = replay(read(path, absent_ok=True))
    except JournalError as error:
        yield from of_error(error)
        return
    if not faults:
        in_flight = sum(operation.in_flight for operation in operations)
        yield good(f"the journal holds {len(operations)} operations, {in_flight} in flight")


def _access(directory: Path, place: Path, service: Service) -> Iterator[Finding]:
    """Yield what keeps the agent from writing its journal."""
    if why := protected(directory, service):
        yield bad(f"the journal's directory {_shown(directory)} {why}")
    elif service.is_other and service.user is not None:
        if place != directory and _is_made_by_systemd(directory, service):
            return
        if found := obstacle(place, service.user, READ | WRITE | ENTER):
            fault = bad(f"the journal belongs into {_shown(directory)}; {found.text}; as root:",
                        *found.remedy)  # fmt: skip
            yield dataclasses.replace(fault, cause=found.cause)
    elif not os.access(place, os.W_OK):
        yield bad(f"{_shown(place)} cannot be written, and the journal belongs there")


def protected(directory: Path, service: Service) -> str:
    """Given a directory, return how the unit keeps the service from writing into it; empty if it
    does not.
    """
    unit = service.unit
    if unit.get("ProtectSystem") != "strict" or _is_made_by_systemd(directory, service):
        return ""
    open_to_it = f"{unit.get('ReadWritePaths', '')} {unit.get('BindPaths', '')}".split()
    real = Path(os.path.realpath(directory))
    if any(real.is_relative_to(path.lstrip("-+").split(":")[0]) for path in open_to_it):
        return ""
    return (
        "is read-only for the service (ProtectSystem=strict of its unit), and must be written;"
        " add ReadWritePaths= for it in a drop-in"
    )


def _is_made_by_systemd(directory: Path, service: Service) -> bool:
    names = service.unit.get("StateDirectory", "").split()
    real = Path(os.path.realpath(directory))
    return any(real.is_relative_to(Path("/var/lib", name)) for name in names)


def _owners(directory: Path, service: Service) -> Iterator[Finding]:
    """Yield whose files in the journal's directory are that are not the service's."""
    if not service.is_other or service.user is None:
        return
    others: Counter[int] = Counter()
    names: list[str] = []
    for path in _files(directory):
        owner = path.lstat().st_uid
        if owner != service.user.uid:
            others[owner] += 1
            names.append(printable(str(path.relative_to(directory)), 100))
    if names:
        whose = " and ".join(user_name(uid) for uid in others)
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        yield bad(
            f"of {_shown(directory)} these belong to {whose}, and the agent runs as user"
            f" {service.user.name}: {', '.join(names[:_MAX_NAMED])}{more}; as root:",
            f"chown -R {service.user.name} {_shown(directory)}",
        )


def _files(directory: Path) -> Iterator[Path]:
    """Yield what is in a directory and those in it; nothing if we may not look."""
    if not os.access(directory, os.R_OK | os.X_OK):
        return
    for path in islice(directory.iterdir(), _MAX_FILES):
        yield path
        if path.is_dir() and not path.is_symlink() and os.access(path, os.R_OK | os.X_OK):
            yield from islice(path.iterdir(), _MAX_FILES)


def _disk(config: Config, place: Path) -> Iterator[Finding]:
    """Yield whether the disk under the journal takes what the agent must write before it acts."""
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    wanted = int(2 * config.journal.max_megabytes * _MEGABYTE)
    where = f"the disk of {_shown(place)}"
    without = "without a journal the agent changes nothing"
    if disk.f_flag & os.ST_RDONLY:
        yield bad(f"{where} is read-only; {without}; `dmesg` tells why, if nobody meant it")
    elif disk.f_files and not disk.f_favail:
        yield bad(f"{where} takes no more files (df -i); {without}; remove some")
    elif free < _LEAST_FREE:
        yield bad(f"{where} is full: {free:,} bytes are free (df); {without}; make room")
    elif free < wanted:
        left, needs = free // _MEGABYTE, wanted // _MEGABYTE
        yield note(
            f"{where} has {left} MB left; the journal may need {needs} MB while it is made smaller"
            " (max_megabytes in [journal])"
        )


def of_clock() -> Iterator[Finding]:
    """Yield whether this host's clock follows others, where the kernel tells that it does not."""
    if hintshelper.clock_state() == hintshelper.TIME_ERROR:
        yield note("this host's clock is not synchronised; see:", "timedatectl", "chronyc tracking")


def of_leftovers(config: Config, copies: Path = COPIES) -> Iterator[Finding]:
    """Given the configuration, yield what crashed commands and repairs have left behind."""
    now = time.time()
    for path in sorted(copies.glob("felhom-agent-*")):
        if path.is_dir() and now - path.lstat().st_mtime > _HOUR:
            text = "holds copies of secrets that a command has left behind; as root:"
            yield note(f"{_shown(path)} {text}", f"rm -r {_shown(path)}")
    directories = {config.path.resolve().parent, config.desired.directory}
    for directory in sorted(filter(None, directories)):
        for path in sorted(directory.glob(".*.*.new")):
            if now - path.lstat().st_mtime > _HOUR:
                text = "was left behind by a command that was cut off; nothing reads it:"
                yield note(f"{_shown(path)} {text}", f"rm {_shown(path)}")
    for path in _files(config.journal.directory):
        if path.suffix in (".broken", ".damaged"):
            text = "is what was damaged and set aside; nothing reads it. Once it was looked at:"
            yield note(f"{_shown(path)} {text}", f"rm {_shown(path)}")


def _shown(path: Path) -> str:
    return printable(str(path), _MAX_PATH)
