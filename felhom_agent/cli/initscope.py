"""Which guests `init` is for: those that a person named and that there are, in PVE's tree.

They are looked up as root before anything is done, so that a slip costs a line and nothing else,
and no right is given on a guest that somebody makes later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from felhom_agent.cli import pvesh
from felhom_agent.cli.adoptguests import MAX_NAMED, Range
from felhom_agent.errors import FelhomError
from felhom_agent.model import Facts
from felhom_agent.planning.privileges import AUDIT, Required, lacking
from felhom_agent.proxmox import rows
from felhom_agent.proxmox.tokenrights import rights_of

MAX_GUESTS: Final = 200
"""How many guests may be named by number: each has two lines in PVE's access list."""
EVERYWHERE: Final = "/"


@dataclass(frozen=True)
class Scope:
    """Some guests of a node: by number, those of a pool, or (neither) all that there are and will
    be. `vmids` are those that are there now, as far as that is known.
    """

    node: str
    vmids: tuple[int, ...] = ()
    pool: str = ""

    @property
    def is_named(self) -> bool:
        return bool(self.pool or self.vmids)

    def paths_to_look(self, permissions: Mapping[str, Any]) -> tuple[str, ...]:
        """Given what the token may do (GET /access/permissions), return the paths on which it lacks
        the right to look.
        """
        found = tuple(self._guests(permissions))
        node = f"/nodes/{self.node}"
        needs_node = EVERYWHERE not in found and lacking(
            (Required(node, ("Sys.Audit",)),), Facts(rights=rights_of(permissions))
        )
        return (*found, node) if needs_node else found

    def _guests(self, permissions: Mapping[str, Any]) -> Iterator[str]:
        unseen = [v for v in self.vmids if not rows.may_audit(permissions, v)]
        if self.pool:
            its = permissions.get(f"/pool/{self.pool}")
            seen = isinstance(its, Mapping) and AUDIT in its
            if unseen or not (seen or self.vmids):
                yield f"/pool/{self.pool}"
        elif self.vmids:
            yield from (f"/vms/{vmid}" for vmid in unseen)
        # What a person once gave it fewer guests for is not widened by a run that names none.
        elif not rows.may_audit_any(permissions):
            yield EVERYWHERE


def scope_of(ranges: Sequence[Range], pool: str, node: str) -> Scope:
    """Given the numbers or the pool that a person named, and the node, return which guests that is.

    Raise FelhomError if one of them is not there. On a host that is none of PVE's only the numbers
    that were named one by one are known.
    """
    if not (ranges or pool):
        return Scope(node)
    if not pvesh.is_here():
        return Scope(node, tuple(r.low for r in ranges if r.low == r.high), pool)
    found = pvesh.guests()
    here = sorted(vmid for vmid, guest in found.items() if guest.node == node)
    if pool:
        return _of_pool(pool, node, [vmid for vmid in here if found[vmid].pool == pool])
    meant = tuple(vmid for vmid in here if any(vmid in each for each in ranges))
    told = "; ".join(_absent(ranges, meant, found, node))
    if told:
        raise FelhomError(f"{told}; nothing was done")
    if len(meant) > MAX_GUESTS:
        raise FelhomError(f"more than {MAX_GUESTS} guests by number: put them into a pool, or all")
    return Scope(node, meant)


def _of_pool(pool: str, node: str, members: Collection[int]) -> Scope:
    pools = pvesh.pools()
    if pool not in pools:
        has = f"there are: {', '.join(pools[:MAX_NAMED])}" if pools else "there is none"
        raise FelhomError(f"there is no pool {pool!r} ({has}); nothing was done")
    if not members:
        raise FelhomError(f"the pool {pool!r} has no guest on node {node}; nothing was done")
    return Scope(node, tuple(members), pool)


def _absent(
    ranges: Sequence[Range], meant: Collection[int], found: Mapping[int, pvesh.Found], node: str
) -> Iterator[str]:
    """Yield what was named and is not on this node."""
    for each in ranges:
        if any(vmid in each for vmid in meant):
            continue
        other = found.get(each.low)
        if each.low == each.high and other is not None:
            yield f"{each}: it is on node {other.node}; run init there"
        else:
            noun = "is no such guest" if each.low == each.high else "is no guest of these"
            yield f"{each}: there {noun} on node {node}"
