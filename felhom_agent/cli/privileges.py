"""Whether the token may do what is declared, and the `pveum` lines that grant what it lacks.

What the token may do is one question for all paths. A path that its answer does not list is asked
for by itself, since PVE also leaves out what a rule shuts; a guest that is seen is not shut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from felhom_agent.cli.health import Finding, bad, good, note
from felhom_agent.cli.inforce import desired_in_force
from felhom_agent.config.settings import Config
from felhom_agent.daemon.reloaded import counted
from felhom_agent.errors import FelhomError
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

_OwnLacks = dict[tuple[str, ...], list[Required]]
_Lacks = dict[tuple[Required, ...], list[str]]


def of_privileges(
    config: Config, node: Node, desired: Desired, actual: Actual
) -> Iterator[Finding]:
    """Given the configuration, the node, what is desired and what is there, yield what the token
    may not do that is declared; guests that are fine are told by their number alone.

    The privileges are those that the declared values need, no more. Raise FelhomError if PVE cannot
    be asked.
    """
    if not desired.guests and not desired.problems:
        where = config.desired.directory or "any file: [desired] in agent.toml has no directory"
        text = f"node {config.proxmox.node} has {len(actual.guests)} guests, and none is declared"
        adopting = ("felhom-agent adopt --all --observe",) if config.desired.directory else ()
        yield note(f"{text} in {where}", *adopting)
        return
    yield from _absent(desired, actual)
    if actual.facts.rights is None:
        yield bad("PVE does not tell what the token may do (GET /access/permissions)")
        return
    here = {v: actual.guests[v] for v in sorted(desired.guests) if v in actual.guests}
    for guest in here.values():
        if guest.unread:
            yield bad(f"guest {_called(guest)}: {guest.unread}")
    asked = _Asked(node, actual.facts, actual.facts.rights)
    own: _OwnLacks = {}
    elsewhere: _Lacks = {}
    readable = [guest for guest in here.values() if not guest.unread]
    for guest in readable:
        _judge(desired.guests[guest.vmid], guest, actual, asked, own, elsewhere)
    for needs in own.values():
        yield _of_guests(node, needs, asked.rights)
    for others, users in elsewhere.items():
        yield _of_others(node, others, users, asked.rights)
    if readable and not own and not elsewhere:
        yield good(f"the token has every privilege that is needed ({counted(len(readable))})")


def lacking_commands(config: Config) -> tuple[str, ...]:
    """Given a configuration, return the commands that grant what the declared guests need and the
    token lacks. Raise FelhomError if PVE does not tell.
    """
    desired = desired_in_force(config)
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
        return commands_in_role(lacks, node.client.token_id, actual.facts.rights)
    finally:
        node.client.close()


def _absent(desired: Desired, actual: Actual) -> Iterator[Finding]:
    """Yield which declared guests are not on this node."""
    absent = [vmid for vmid in sorted(desired.guests) if vmid not in actual.guests]
    if away := [f"{v} ({actual.elsewhere[v]})" for v in absent if v in actual.elsewhere]:
        yield note(f"on other nodes, which keep them: guests {_listed(away)}")
    unseen = [str(vmid) for vmid in absent if vmid not in actual.elsewhere]
    if len(unseen) == 1:
        yield bad(f"guest {unseen[0]} is not seen; does it exist, may we see it?")
    elif unseen:
        yield bad(f"guests {_listed(unseen)} are not seen; do they exist, may we see them?")


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - _MAX_LINES} more" if len(words) > _MAX_LINES else ""
    return ", ".join(words[:_MAX_LINES]) + more


def _judge(
    declared: DesiredGuest,
    guest: ActualGuest,
    actual: Actual,
    asked: _Asked,
    own: _OwnLacks,
    elsewhere: _Lacks,
) -> None:
    """Add what the token lacks for a guest on its own path to `own`, by the privileges, and what it
    lacks on other paths to `elsewhere`.
    """
    path = f"/vms/{guest.vmid}"
    here, others = dict[Required, None](), dict[str, list[Required]]()
    for key, need in needs_of(declared, guest, actual):
        if not asked.lacks(need):
            continue
        if need.path == path:
            here[need] = None
        else:
            others.setdefault(key, []).append(need)
    for key, needs in others.items():
        elsewhere.setdefault(tuple(needs), []).append(f"{key} of {_called(guest)}")
    if here:
        names = tuple(dict.fromkeys(need.any_of[0] for need in here))
        own.setdefault(names, []).extend(here)


def _of_guests(node: Node, needs: list[Required], rights: Rights) -> Finding:
    """Return what the token lacks on the guests' own paths, the same on each."""
    names = ",".join(dict.fromkeys(need.any_of[0] for need in needs))
    paths = list(dict.fromkeys(need.path for need in needs))
    text = f"{_listed(paths)}: the token lacks {names}{_hint(needs)}; as root:"
    return bad(text, *_bounded(commands(needs, node.client.token_id, rights), len(paths)))


def _bounded(lines: tuple[str, ...], paths: int) -> tuple[str, ...]:
    if len(lines) <= _MAX_LINES:
        return lines
    return (*lines[:_MAX_LINES], f"# and so on, for {paths} paths")


def _of_others(
    node: Node, needs: tuple[Required, ...], users: list[str], rights: Rights
) -> Finding:
    named = ", ".join(users[:_MAX_USERS])
    more = len(users) - _MAX_USERS
    who = named + (f" and {more} more" if more > 0 else "")
    lines = _bounded(commands(needs, node.client.token_id, rights), len(needs))
    return bad(f"{told(needs)}, for {who}{_hint(needs)}; as root:", *lines)


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

    @property
    def rights(self) -> Rights:
        """What the token may do, as far as it is known by now."""
        return Rights(MappingProxyType(dict(self._paths)))

    def lacks(self, need: Required) -> bool:
        """Return whether the token lacks that. Raise FelhomError if PVE cannot be asked."""
        path = need.path
        unknown = "<" in path  # no path of PVE's
        if path not in self._paths and not path.startswith("/vms/") and self._left and not unknown:
            self._left -= 1
            self._paths[path] = read_rights_on(self._node.client, path)
            self._facts = replace(self._facts, rights=self.rights)
        return bool(lacking((need,), self._facts))
