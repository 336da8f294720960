"""Who calls, and what they may do: API tokens and their privileges on paths.

A token's privileges on a path are those given on the nearest path above it; a nearer entry
replaces a farther one. recorded: 95-access/089, 094. What is given on a path alone is not handed
down, and leaves what is above it in force below (PVE: pve-access-control AccessControl.pm roles).
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from felhom_agent.devnode.world.refusal import denied, unauthenticated

AGENT_PRIVILEGES = (
    "VM.Audit",
    "VM.PowerMgmt",
    "VM.Config.Disk",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.HWType",
    "VM.Config.Options",
    "VM.Config.Cloudinit",
    "Sys.Audit",
)

FIRST_PRIVILEGES: Mapping[str, tuple[str, ...]] = {
    "/": AGENT_PRIVILEGES,
    "/sdn/zones/localnetwork": ("SDN.Use",),
}
"""What the first steps of docs/install.md give to a token."""

# The paths PVE always shows, besides those of the access list. FACTS 12.5
_FIXED_PATHS = (
    "/", "/vms", "/nodes", "/storage", "/pool", "/access", "/access/groups", "/sdn",
)  # fmt: skip

NOTHING_THERE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

_HEADER = re.compile(r"PVEAPIToken=(?P<id>[^=]+)=(?P<secret>.+)")


@dataclass(frozen=True)
class Caller:
    """An authenticated token: its name ("felhom-agent@pve!agent"), what it was given and hands
    down, and all that it has on the paths where something is not handed down.
    """

    name: str
    privileges: Mapping[str, tuple[str, ...]]
    there: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def on(self, path: str) -> tuple[str, ...]:
        """Given a path, return the privileges there."""
        return self.there[path] if path in self.there else self._handed_down(path)

    def _handed_down(self, path: str) -> tuple[str, ...]:
        while path not in self.privileges and path != "/":
            path = path.rpartition("/")[0] or "/"
        return self.privileges.get(path, ())

    def may(self, path: str, *wanted: str) -> bool:
        """Given a path, return whether any of the wanted privileges is there."""
        return any(privilege in self.on(path) for privilege in wanted)

    def may_bridge(self, zone: str, bridge: str, *wanted: str) -> bool:
        """Given a zone and a bridge of it, return whether any of the wanted privileges is there, or
        on a VLAN of it that a rule names. PVE: RPCEnvironment.pm check_sdn_bridge
        """
        path = f"/sdn/zones/{zone}/{bridge}"
        vlans = [p for p in self.privileges if p.rpartition("/")[0] == path]
        return any(self.may(p, *wanted) for p in (path, *vlans))

    def need(self, path: str, *wanted: str) -> None:
        """Raise `Refusal` (403) unless any of the wanted privileges is there."""
        if not self.may(path, *wanted):
            raise denied(f"Permission check failed ({path}, {'|'.join(wanted)})")

    def permissions(self) -> dict[str, dict[str, int]]:
        """Return what GET /access/permissions answers: 1 means that it is propagated."""
        paths = {*_FIXED_PATHS, *self.privileges, *self.there}
        return {
            path: {privilege: int(privilege in self._handed_down(path)) for privilege in held}
            for path in sorted(paths)
            if (held := self.on(path))
        }


def _by_path(given: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    return {path: tuple(privileges) for path, privileges in given.items()}


class Tokens:
    """The tokens this node knows."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Caller]] = {}

    def create(
        self,
        name: str,
        privileges: Mapping[str, Iterable[str]] | None,
        secret: str = "",
        there: Mapping[str, Iterable[str]] = NOTHING_THERE,
    ) -> str:
        """Given a token's name and privileges (None: the first steps'), and all that it has where
        not all of it is handed down, return its secret.
        """
        given = FIRST_PRIVILEGES if privileges is None else privileges
        secret = secret or str(uuid.uuid4())
        self._known[name] = (secret, Caller(name, _by_path(given), _by_path(there)))
        return secret

    def grant(
        self, name: str, privileges: Mapping[str, Iterable[str]], alone: Iterable[str] = ()
    ) -> None:
        """Given a token that there is, all its privileges by path, and the paths below which they
        do not hold, let it have these.
        """
        there = {path: privileges[path] for path in alone}
        down = {path: given for path, given in privileges.items() if path not in there}
        self.create(name, down, self._known[name][0], there)

    def forget(self, path: str) -> None:
        """Remove all that was given on a path, as PVE does when its guest is destroyed."""
        for name, (secret, caller) in self._known.items():
            kept, there = (
                {p: given for p, given in held.items() if p != path}
                for held in (caller.privileges, caller.there)
            )
            self._known[name] = (secret, Caller(caller.name, kept, there))

    def authenticate(self, header: str) -> Caller:
        """Given an Authorization header, return its caller. Raise `Refusal` (401) if unknown."""
        if not header.startswith("PVEAPIToken"):
            raise unauthenticated("No ticket")
        match = _HEADER.fullmatch(header)
        secret, caller = self._known.get(match["id"], ("", None)) if match else ("", None)
        if match and caller and hmac.compare_digest(secret.encode(), match["secret"].encode()):
            return caller
        raise unauthenticated("Authentication failed!")
