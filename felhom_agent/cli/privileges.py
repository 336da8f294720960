"""Whether the token may do what is declared, and the `pveum` lines that grant what it lacks.

What the token may do is one question for all paths. A path that its answer does not list is asked
for by itself, since PVE also leaves out what a rule shuts; a guest that is seen is not shut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from felhom_agent.cli.health import Finding
from felhom_agent.config.settings import Config
from felhom_agent.daemon.assembly import desired_now
from felhom_agent.errors import ConfigError, FelhomError
from felhom_agent.model import Actual, ActualGuest, Desired, DesiredGuest, Facts, Rights
from felhom_agent.planning.granting import commands, commands_in_role
from felhom_agent.planning.needs import needs_of
from felhom_agent.planning.privileges import Required, lacking, told
from felhom_agent.proxmox.node import Node
from felhom_agent.proxmox.tokenrights import read_rights_on

_MAX_ASKED: Final = 64
"""How many paths are asked for by themselves; a card may have thousands of VLANs."""
_MAX_LINES: Final = 20
_MAX_USERS: Final = 3
_STRONG: Final = {"Sys.Modify", "Sys.Console", "VM.Allocate", "Datastore.Allocate"}

_Lacks = dict[tuple[Required, ...], list[str]]


def of_privileges(config: Config) -> Iterator[Finding]:
    """Given a configuration, yield for each declared guest whether the token may do what it asks.

    The privileges are those that the declared values need, no more.
    """
    desired = desired_now(config)
    try:
        node = Node.connect(config.proxmox)
    except ConfigError:
        return
    try:
        yield from _findings(config, node, desired)
    except FelhomError as error:
        yield Finding(False, str(error))
    finally:
        node.client.close()


def lacking_commands(config: Config) -> tuple[str, ...]:
    """Given a configuration, return the commands that grant what the declared guests need and the
    token lacks. Raise FelhomError if PVE does not tell.
    """
    desired = desired_now(config)
    node = Node.connect(config.proxmox)
    try:
        actual = node.observer.snapshot(desired.guests.keys(), desired.raw)
        if actual.facts.rights is None:
            raise FelhomError("PVE does not tell what the token may do")
        asked = _Asked(node, actual.facts, actual.facts.rights)
        lacks = [
            need
            for vmid, declared in sorted(desired.guests.items())
            if vmid in actual.guests and not actual.guests[vmid].unread
            for _, need in needs_of(declared, actual.guests[vmid], actual)
            if asked.lacks(need)
        ]
        return commands_in_role(lacks, node.client.token_id)
    finally:
        node.client.close()


def _findings(config: Config, node: Node, desired: Desired) -> Iterator[Finding]:
    actual = node.observer.snapshot(desired.guests.keys(), desired.raw)
    if not desired.guests and not desired.problems:
        where = config.desired.directory or "any file: [desired] in agent.toml has no directory"
        text = f"note: node {config.proxmox.node} has {len(actual.guests)} guests, and none is"
        yield Finding(True, f"{text} declared in {where}")
    if actual.facts.rights is None:
        yield Finding(False, "PVE does not tell what the token may do (GET /access/permissions)")
        return
    elsewhere: _Lacks = {}
    asked = _Asked(node, actual.facts, actual.facts.rights)
    for vmid, declared in sorted(desired.guests.items()):
        present = actual.guests.get(vmid)
        if present is None:
            yield _not_here(vmid, actual)
        elif present.unread:
            yield Finding(False, f"guest {_called(present)}: {present.unread}")
        else:
            yield _of_guest(node, declared, present, actual, asked, elsewhere)
    for needs, users in elsewhere.items():
        yield _of_others(node, needs, users)


def _not_here(vmid: int, actual: Actual) -> Finding:
    where = actual.elsewhere.get(vmid)
    text = f"is on node {where}" if where else "is not seen; does it exist, may we see it?"
    return Finding(bool(where), f"guest {vmid} {text}")


def _of_guest(
    node: Node,
    declared: DesiredGuest,
    guest: ActualGuest,
    actual: Actual,
    asked: _Asked,
    elsewhere: _Lacks,
) -> Finding:
    """Return what a guest's own path lacks; what other paths lack is added to `elsewhere`."""
    path, own, others = f"/vms/{guest.vmid}", dict[Required, None](), dict[str, list[Required]]()
    for key, need in needs_of(declared, guest, actual):
        if not asked.lacks(need):
            continue
        if need.path == path:
            own[need] = None
        else:
            others.setdefault(key, []).append(need)
    for key, needs in others.items():
        elsewhere.setdefault(tuple(needs), []).append(f"{key} of {_called(guest)}")
    if not own:
        return Finding(True, f"{path}: the token has every privilege that is needed")
    names = ",".join(dict.fromkeys(need.any_of[0] for need in own))
    text = f"{path}: the token lacks {names}{_hint(own)}; as root:"
    return Finding(False, text, commands(own, node.client.token_id))


def _of_others(node: Node, needs: tuple[Required, ...], users: list[str]) -> Finding:
    named = ", ".join(users[:_MAX_USERS])
    more = len(users) - _MAX_USERS
    who = named + (f" and {more} more" if more > 0 else "")
    lines = commands(needs, node.client.token_id)
    if len(lines) > _MAX_LINES:
        lines = (*lines[:_MAX_LINES], f"# and so on, for {len(needs)} paths")
    return Finding(False, f"{told(needs)}, for {who}{_hint(needs)}; as root:", lines)


def _hint(needs: Iterable[Required]) -> str:
    strong = sorted({need.any_of[0] for need in needs} & _STRONG)
    if not strong:
        return ""
    return f" ({strong[0]} is a strong privilege; better set that by hand, and do not declare it)"


def _called(guest: ActualGuest) -> str:
    return f"{guest.vmid} {guest.name}".rstrip()


class _Asked:
    """What the token may do, with the paths that were asked for by themselves."""

    def __init__(self, node: Node, facts: Facts, rights: Rights) -> None:
        self._node = node
        self._facts = facts
        self._paths = dict(rights.paths)
        self._left = _MAX_ASKED

    def lacks(self, need: Required) -> bool:
        """Return whether the token lacks that. Raise FelhomError if PVE cannot be asked."""
        path = need.path
        if path not in self._paths and not path.startswith("/vms/") and self._left:
            self._left -= 1
            self._paths[path] = read_rights_on(self._node.client, path)
            self._facts = replace(self._facts, rights=Rights(MappingProxyType(dict(self._paths))))
        return bool(lacking((need,), self._facts))
