"""The commands with which root gives the token what it lacks, and nothing more.

A role by kind of path: what a guest's options need goes into the role that the guests have already,
anything else into a role of its own, on the very path. PVE gives a privilege-separated token what
both its user and the token itself have there, so both get the role. What is needed on a path is not
handed down to those below it: `Sys.Modify` on `/` would hold for the node itself, and a bridge for
each of its VLANs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from felhom_agent.planning.privileges import Required

ROLE: Final = "FelhomAgent"
# By what the path begins with; what is not here is the host's.
_ROLES: Final = {
    "vms": ROLE, "pool": ROLE, "nodes": ROLE, "storage": "FelhomAgentStorage",
    "sdn": "FelhomAgentSDN", "mapping": "FelhomAgentMapping",
}  # fmt: skip
_HOST: Final = "FelhomAgentHost"
_HERE: Final = (_HOST, _ROLES["sdn"])
_NESTING: Final = "FelhomAgentNesting"
_BRIDGE_DEPTH: Final = "/sdn/zones/ZONE/BRIDGE".count("/")
_ROOT: Final = "root@pam"
_OWN: Final = {
    "Sys.Audit": ROLE,
    # With it a guest can be destroyed: never in the role that all guests have.
    "VM.Allocate": _NESTING,
    # Volumes can be made with it: not on the storages of which a token need only see the images.
    "Datastore.AllocateSpace": "FelhomAgentSpace",
}


def commands(lacks: Iterable[Required], token_id: str) -> tuple[str, ...]:
    """Given what the token lacks, and its id, return the commands that grant it, for root."""
    roles: dict[str, dict[str, None]] = {}
    places: dict[str, dict[str, None]] = {}
    for need in lacks:
        role, privilege = _role_of(need), need.any_of[0]
        roles.setdefault(role, {})[privilege] = None
        places.setdefault(need.path, {})[role] = None
    lines = [role_line(role, ",".join(privileges)) for role, privileges in roles.items()]
    for path, held in places.items():
        # An entry on a guest's own path replaces what the guest has from above.
        own = tuple(dict.fromkeys([ROLE, *held]) if path.startswith("/vms/") else held)
        here = [role for role in own if role in _HERE and _has_more_below(path)]
        down = [role for role in own if role not in here]
        for given, end in ((down, ""), (here, " --propagate 0")):
            lines += (f"{line}{end}" for line in acl_lines(path, ",".join(given), token_id))
    return tuple(lines)


def commands_in_role(lacks: Iterable[Required], token_id: str) -> tuple[str, ...]:
    """Given what the token lacks, and its id, return the commands that grant it where the role of
    the guests is given already wherever the token sees a guest.
    """
    needs = list(dict.fromkeys(lacks))
    own = [need for need in needs if need.path.startswith("/vms/") and _role_of(need) == ROLE]
    privileges = ",".join(sorted({need.any_of[0] for need in own}))
    line = (role_line(ROLE, privileges),) if privileges else ()
    return (*line, *commands((need for need in needs if need not in own), token_id))


def role_command(need: Required) -> str:
    """Given what is lacking, return the command that puts it into its role."""
    return role_line(_role_of(need), need.any_of[0])


def _role_of(need: Required) -> str:
    kind = need.path.split("/")[1] if need.path != "/" else ""
    return _OWN.get(need.any_of[0]) or _ROLES.get(kind, _HOST)


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
