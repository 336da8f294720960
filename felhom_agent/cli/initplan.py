"""What `init` has root do, as lines for `pveum`: made of what is there, without running anything.

The token begins with the right to look. What keeping the adopted guests needs comes afterwards,
from what they declare (`planning/granting.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from felhom_agent.planning.granting import ROLE

USER = "felhom-agent@pve"
TOKEN = "agent"
LOOK = ("VM.Audit", "Sys.Audit")
"""The privileges that looking takes."""


@dataclass(frozen=True)
class Existing:
    """What PVE has already: its roles, its users, and the tokens of ours."""

    roles: frozenset[str]
    users: frozenset[str]
    tokens: frozenset[str]


@dataclass(frozen=True)
class Steps:
    """The lines that give the right to look, the line that makes the token, and its full name."""

    before: tuple[str, ...]
    token_line: str
    after: tuple[str, ...]
    token_id: str

    @property
    def lines(self) -> tuple[str, ...]:
        return (*self.before, self.token_line, *self.after)


def token_name(access: Existing, node: str) -> str:
    """Given what PVE has and the node's name, return a name for a new token: every host of a
    cluster has one of its own. Empty if both names are taken.
    """
    wanted = (TOKEN, f"{TOKEN}-{node}")
    return next((name for name in wanted if name not in access.tokens), "")


def steps(access: Existing, name: str, paths: Sequence[str], node: str) -> Steps:
    """Given what PVE has, the token's name, the paths of the guests it shall see ("/": all) and the
    node, return the lines.
    """
    token_id = f"{USER}!{name}"
    return Steps(
        before=tuple(_before(access)),
        token_line=f"pveum user token add {USER} {name} --privsep 1",
        after=tuple(_acl(_with_node(paths, node), token_id)),
        token_id=token_id,
    )


def _before(access: Existing) -> Iterator[str]:
    privileges = " ".join(LOOK)
    if ROLE in access.roles:
        yield f'pveum role modify {ROLE} --append 1 --privs "{privileges}"'
    else:
        yield f'pveum role add {ROLE} --privs "{privileges}"'
    if USER not in access.users:
        yield f"pveum user add {USER} --comment felhom-agent"


def _with_node(paths: Sequence[str], node: str) -> tuple[str, ...]:
    """The node's own figures and tasks are seen by Sys.Audit on its path."""
    return tuple(paths) if "/" in paths else (*paths, f"/nodes/{node}")


def _acl(paths: Sequence[str], token_id: str) -> Iterator[str]:
    for path in paths:
        where = shlex.quote(path)
        yield f"pveum acl modify {where} --users {USER} --roles {ROLE}"
        yield f"pveum acl modify {where} --tokens {shlex.quote(token_id)} --roles {ROLE}"
