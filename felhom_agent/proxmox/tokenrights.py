"""What the node says of the token's own rights, and of what they depend on: zones and tags.

One answer tells of all paths that an access rule or a pool names; the rest is handed down (see
`Rights`). Where the node does not tell, or makes no sense, nothing is known, and PVE itself is left
to refuse. Every token may ask.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from felhom_agent.errors import Unchanged
from felhom_agent.model import Rights
from felhom_agent.proxmox.client import Client

_log = logging.getLogger(__name__)

_FREE = "free"


def read_rights(client: Client) -> Rights | None:
    """Return what the token may do; `None` if PVE does not tell."""
    held = _asked(client, "access", "permissions")
    return rights_of(held) if isinstance(held, Mapping) else None


def read_rights_on(client: Client, path: str) -> Mapping[str, bool]:
    """Given any path, return the token's privileges there, none of them handed down. Raise
    Unchanged if PVE does not tell.
    """
    # With a path PVE works out what holds there, whether or not a rule names it (recorded: 95/044).
    held = client.get("access", "permissions", path=path)
    found = held.get(path) if isinstance(held, Mapping) else None
    return dict.fromkeys(found, False) if isinstance(found, Mapping) else {}


def read_zones(client: Client) -> Mapping[str, str]:
    """Return the zone of each virtual network that the token may see; none if PVE has no SDN."""
    vnets = _asked(client, "cluster", "sdn", "vnets")
    return zones_of(vnets) if isinstance(vnets, list) else MappingProxyType({})


def read_bridges(client: Client) -> Mapping[str, bool] | None:
    """Return the networks of the node that the token may use or see, each with whether it is
    virtual; `None` if PVE does not tell.
    """
    found = _asked(client, "nodes", client.config.node, "network", type="any_bridge")
    return bridges_of(found) if isinstance(found, list) else None


def rights_of(permissions: Mapping[str, Any]) -> Rights:
    """Given what GET /access/permissions answers of all paths, return the token's rights."""
    return Rights(
        MappingProxyType(
            {
                str(path): MappingProxyType({str(k): v in (1, "1") for k, v in held.items()})
                for path, held in permissions.items()
                if isinstance(held, Mapping)
            }
        )
    )


def zones_of(vnets: list[Any]) -> Mapping[str, str]:
    """Given what GET /cluster/sdn/vnets answers, return the zone of each virtual network."""
    found: dict[str, str] = {}
    for row in vnets:
        net, zone = (row.get("vnet"), row.get("zone")) if isinstance(row, Mapping) else ("", "")
        if isinstance(net, str) and isinstance(zone, str) and net and zone:
            found[net] = zone
    return MappingProxyType(found)


def bridges_of(networks: list[Any]) -> Mapping[str, bool]:
    """Given what GET nodes/N/network answers, return its bridges, each with whether it is virtual.

    PVE: pve-manager API2/Network.pm index, pve-network SDN.pm get_local_vnets: those on which, or
    on a VLAN of which, the caller has SDN.Use or SDN.Audit.
    """
    rows = (row for row in networks if isinstance(row, Mapping))
    named = {row["iface"]: row.get("type") for row in rows if isinstance(row.get("iface"), str)}
    return MappingProxyType({name: kind == "vnet" for name, kind in named.items()})


def registered_tags(options: Mapping[str, Any]) -> frozenset[str]:
    """Given the datacenter's options, return the tags that take a right of their own."""
    return _tags(options.get("registered-tags")) or frozenset()


def free_tags(options: Mapping[str, Any]) -> frozenset[str] | None:
    """Given the datacenter's options, return the tags that anybody may give and take; `None` if all
    but the registered ones are.
    """
    # PVE: pve-guest-common GuestHelpers.pm get_allowed_tags; pve-manager API2/Cluster.pm
    # get_options answers with what it allows this very token.
    access = options.get("user-tag-access")
    if isinstance(access, Mapping):
        rule = access.get("user-allow", _FREE)
    else:
        found = re.search(r"(?:^|,)user-allow=([a-z]+)", str(access or ""))
        rule = found[1] if found else _FREE
    return None if rule == _FREE else _tags(options.get("allowed-tags"))


def _tags(value: object) -> frozenset[str] | None:
    """Return the tags of a list, or of a text as datacenter.cfg has it; `None` if it is neither."""
    if isinstance(value, str):
        return frozenset(re.split(r"[;, ]+", value)) - {""}
    return frozenset(str(tag) for tag in value) if isinstance(value, list) else None


def _asked(client: Client, *path: str, **params: str) -> object:
    try:
        return client.get(*path, **params)
    except Unchanged as error:
        _log.debug("PVE does not tell /%s: %s", "/".join(path), error)
        return None
