"""The commands with which root gives the token what it lacks, and nothing more.

A role tells by its name what is in it, so that nobody who has it gets more by a later command: some
privileges have a role of their own, and any others one whose name ends with a digest of them. PVE
gives a privilege-separated token what both its user and the token itself have there, so
both get the role. An entry on a path replaces what comes from above, so the role has that, too.
What is needed on a path is not handed down to those below it: `Sys.Modify` on `/` would hold for
the node itself, and a bridge for each of its VLANs.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from felhom_agent.model import Rights
from felhom_agent.planning.privileges import Required

ROLE: Final = "FelhomAgent"
_OF_ONE: Final = {
    "Sys.Audit": "FelhomAgentAudit",
    "Sys.Modify": "FelhomAgentHost",
    "SDN.Use": "FelhomAgentSDN",
    "Mapping.Use": "FelhomAgentMapping",
    "Datastore.Audit": "FelhomAgentStorage",
    "Datastore.AllocateSpace": "FelhomAgentSpace",
    "Datastore.Allocate": "FelhomAgentVolumes",
    "VM.Allocate": "FelhomAgentNesting",
}
# What of a privilege's name tells that it counts on such a path.
_COUNTS: Final = {
    "vms": "VM.", "pool": "VM.", "nodes": "Sys.", "storage": "Datastore.", "sdn": "SDN.",
    "mapping": "Mapping.",
}  # fmt: skip
_NOT_BELOW: Final = frozenset({"Sys.Modify", "Sys.Console", "SDN.Use"})
_BRIDGE_DEPTH: Final = "/sdn/zones/ZONE/BRIDGE".count("/")
_ROOT: Final = "root@pam"


def commands(
    lacks: Iterable[Required], token_id: str, rights: Rights | None = None
) -> tuple[str, ...]:
    """Given what the token lacks, its id and what it has, return the commands that grant it, for
    root.
    """
    places: dict[str, dict[str, None]] = {}
    for need in lacks:
        places.setdefault(need.path, {})[need.any_of[0]] = None
    roles: dict[str, str] = {}
    acls: list[str] = []
    for path, lacking in places.items():
        here = [name for name in lacking if name in _NOT_BELOW and _has_more_below(path)]
        down = [name for name in lacking if name not in here]
        for given, end in ((down, ""), (here, " --propagate 0")):
            if given:
                names = [*_from_above(path, rights), *given]
                role = _role_of(path, names)
                roles[role] = ",".join(dict.fromkeys(names))
                # What the guest has from above is not known: it is what the agent's role has.
                both = f"{ROLE},{role}" if rights is None and path.startswith("/vms/") else role
                acls += (f"{line}{end}" for line in acl_lines(path, both, token_id))
    return (*(role_line(role, privileges) for role, privileges in roles.items()), *acls)


def _from_above(path: str, rights: Rights | None) -> list[str]:
    counts = _COUNTS.get(path.split("/")[1], "") if path != "/" else ""
    if rights is None or not counts:
        return []
    return sorted(name for name in rights.on(path) if name.startswith(counts))


def commands_in_role(
    lacks: Iterable[Required], token_id: str, rights: Rights | None = None
) -> tuple[str, ...]:
    """Given what the token lacks, its id and what it has, return the commands that grant it where
    the role of the guests is given already wherever the token sees a guest.
    """
    needs = list(dict.fromkeys(lacks))
    # With VM.Allocate a guest can be destroyed: never in the role that all guests have.
    own = [n for n in needs if n.path.startswith("/vms/") and n.any_of[0] != "VM.Allocate"]
    privileges = ",".join(sorted({need.any_of[0] for need in own}))
    line = (role_line(ROLE, privileges),) if privileges else ()
    return (*line, *commands((need for need in needs if need not in own), token_id, rights))


def _role_of(path: str, privileges: Iterable[str]) -> str:
    names = sorted(set(privileges))
    if len(names) == 1 and names[0] in _OF_ONE:
        return _OF_ONE[names[0]]
    digest = hashlib.sha256(",".join(names).encode()).hexdigest()[:8]
    return f"{ROLE}{'Guest' if path.startswith('/vms/') else ''}-{digest}"


def role_line(role: str, privileges: str) -> str:
    """Given a role and privileges, return the command that puts them into it."""
    change = f"pveum role modify {role} --append 1 --privs {privileges}"
    return change if role == ROLE else f"pveum role add {role} --privs {privileges} || {change}"


def _has_more_below(path: str) -> bool:
    return path == "/" or (path.startswith("/sdn/zones/") and path.count("/") == _BRIDGE_DEPTH)


def acl_lines(path: str, roles: str, token_id: str) -> Iterator[str]:
    """Given a path, roles and the token's id, yield the commands that give the roles there; none
    for no role.
    """
    if not roles:
        return
    user = token_id.partition("!")[0]
    where = shlex.quote(path)
    if user != _ROOT:
        yield f"pveum acl modify {where} --users {shlex.quote(user)} --roles {roles}"
    yield f"pveum acl modify {where} --tokens {shlex.quote(token_id)} --roles {roles}"
