"""What `init` has root do, as lines for `pveum`: made of what is there, without running anything.

The token begins with the right to look. What keeping the adopted guests needs comes afterwards,
from what they declare (`planning/granting.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from felhom_agent.planning.granting import ROLE, acl_lines

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
class NewToken:
    """The lines that make a token's user, the one that makes the token, and its full name."""

    before: tuple[str, ...]
    line: str
    token_id: str


def token_name(access: Existing, node: str) -> str:
    """Given what PVE has and the node's name, return a name for a new token: every host of a
    cluster has one of its own. Empty if both names are taken.
    """
    wanted = (TOKEN, f"{TOKEN}-{node}")
    return next((name for name in wanted if name not in access.tokens), "")


def new_token(access: Existing, name: str) -> NewToken:
    """Given what PVE has, and the token's name, return the lines that make it; it may do nothing
    yet.
    """
    user = () if USER in access.users else (f"pveum user add {USER} --comment felhom-agent",)
    line = f"pveum user token add {USER} {name} --privsep 1"
    return NewToken(user, line, f"{USER}!{name}")


def look_lines(roles: Iterable[str], paths: Iterable[str], token_id: str) -> tuple[str, ...]:
    """Given the roles that PVE has, the paths on which a token lacks the right to look ("/":
    everything), and its full name, return the lines that give it; none if it lacks nothing.
    """
    return tuple(_look_lines(roles, tuple(paths), token_id))


def _look_lines(roles: Iterable[str], paths: tuple[str, ...], token_id: str) -> Iterator[str]:
    if not paths:
        return
    privileges = " ".join(LOOK)
    if ROLE in roles:
        yield f'pveum role modify {ROLE} --append 1 --privs "{privileges}"'
    else:
        yield f'pveum role add {ROLE} --privs "{privileges}"'
    for path in paths:
        yield from acl_lines(path, ROLE, token_id)
