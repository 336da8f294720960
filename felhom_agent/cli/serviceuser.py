"""As whom the service of this host runs, and how systemd has it.

The unit tells (`systemctl show`), where there is one for this very agent.toml. Where there is none,
the owner of the journal's directory is the one who works with it.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from felhom_agent.cli import programs
from felhom_agent.cli.asowner import owner_of
from felhom_agent.config.place import DEFAULT_PATH
from felhom_agent.config.settings import Config
from felhom_agent.errors import FelhomError

UNIT: Final = "felhom-agent.service"
SECONDS: Final = 5.0
"""How long systemd may take to answer."""

_PROPERTIES: Final = (
    "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NeedDaemonReload",
    "ExecMainStatus", "ExecStart", "User", "Group", "SupplementaryGroups", "ProtectHome",
    "PrivateTmp", "BindPaths", "BindReadOnlyPaths", "ProtectSystem", "StateDirectory",
    "ReadWritePaths", "IPAddressAllow", "IPAddressDeny",
)  # fmt: skip
_CONFIG: Final = re.compile(r"--config[ =](\S+)")


@dataclass(frozen=True)
class User:
    """A user with all groups that count, and the name of the group that files are given to."""

    name: str
    uid: int
    gids: frozenset[int]
    group: str


@dataclass(frozen=True)
class Service:
    """The user that the agent runs as (None: nobody knows), and what systemd tells of its unit
    (empty: there is none for this agent.toml, or systemd does not answer).
    """

    user: User | None
    unit: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_other(self) -> bool:
        """Whether we see what the service's user does not: we are root, and he is not."""
        return os.geteuid() == 0 and self.user is not None and self.user.uid != 0

    @property
    def is_closed(self) -> bool:
        """Whether we are neither root nor the service's user, and may not see what he does."""
        return self.user is not None and os.geteuid() not in (0, self.user.uid)


def service_of(config: Config) -> Service:
    """Given the configuration, return as whom its agent runs, and how systemd has it."""
    unit = unit_of(_shown(), config.path)
    return Service(_user(config, unit), MappingProxyType(unit))


def unit_of(text: str, config: Path) -> dict[str, str]:
    """Given what `systemctl show` printed, return the unit's properties; none if it is not there,
    or runs with another agent.toml.
    """
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        return {}
    named = _CONFIG.search(found.get("ExecStart", ""))
    its = Path(named[1]) if named else DEFAULT_PATH
    return found if its.resolve() == config.resolve() else {}


def user_name(uid: int) -> str:
    """Given a user's number, return the name; the number itself if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Given a group's number, return the name; the number itself if there is none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(config: Config, unit: Mapping[str, str]) -> User | None:
    try:
        entry = pwd.getpwnam(unit["User"]) if unit.get("User") else None
    except KeyError:
        entry = None
    entry = entry or owner_of(config.journal.directory)
    if entry is None:
        return None
    gids = {entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
    if unit.get("User") == entry.pw_name:
        names = [unit.get("Group", ""), *unit.get("SupplementaryGroups", "").split()]
        gids |= {gid for name in names if (gid := _gid(name)) is not None}
    return User(entry.pw_name, entry.pw_uid, frozenset(gids), group_name(entry.pw_gid))


def _gid(name: str) -> int | None:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _shown() -> str:
    """Return what systemd tells of the unit; nothing where it does not run, or does not answer."""
    words = ["systemctl", "show", UNIT, f"--property={','.join(_PROPERTIES)}"]
    try:
        done = programs.run(words, SECONDS)
    except FelhomError:
        return ""
    return done.stdout if done.returncode == 0 else ""
