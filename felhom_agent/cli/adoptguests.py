"""Which guests a person means: by number, range, tag or pool, or all of the node's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from felhom_agent.cli.command import vmid
from felhom_agent.errors import FelhomError
from felhom_agent.model import Actual
from felhom_agent.options.formats import split_list
from felhom_agent.proxmox import rows
from felhom_agent.proxmox.node import Node

MAX_NAMED: Final = 20
"""How many guests are told of one by one; of the others only their number."""


@dataclass(frozen=True)
class Range:
    """Guests from a number to another one, both included."""

    low: int
    high: int

    def __contains__(self, vmid: int) -> bool:
        return self.low <= vmid <= self.high

    def __str__(self) -> str:
        return f"{self.low}-{self.high}" if self.high > self.low else str(self.low)


@dataclass(frozen=True)
class Asked:
    """Guests as they were asked for; all of the node's if nothing else is said."""

    ranges: tuple[Range, ...] = ()
    tag: str = ""
    pool: str = ""


@dataclass(frozen=True)
class Selected:
    """The guests of this node that are meant, in order, with their names, and how many of them
    other nodes have.
    """

    names: Mapping[int, str]
    elsewhere: int = 0


def guests(text: str) -> Range:
    """Given an argument like 101 or 200-210, return the guests. Raise ArgumentTypeError if it is
    none.
    """
    low, dash, high = text.partition("-")
    if not low:
        vmid(text)
    found = Range(vmid(low), vmid(high if dash else low))
    if found.high < found.low:
        raise argparse.ArgumentTypeError(f"{text!r} runs backwards; say {found.high}-{found.low}")
    return found


def select(node: Node, asked: Asked) -> Selected:
    """Given a node and which guests were asked for, return those that there are.

    Raise FelhomError if one that was named is not here, or there is none at all.
    """
    listed = node.observer.snapshot(())
    if asked.tag or asked.pool:
        return _marked(node, listed, asked)
    named = {r.low for r in asked.ranges if r.low == r.high}
    if absent := sorted(named - listed.guests.keys()):
        seen = node.observer.snapshot(absent)
        told = "; ".join(f"{v}: {why_absent(v, seen)}" for v in absent[:MAX_NAMED])
        more = f"; and {len(absent) - MAX_NAMED} more" if len(absent) > MAX_NAMED else ""
        raise FelhomError(f"{told}{more}; nothing was written")
    return _chosen(node, asked, listed, (*listed.guests, *listed.elsewhere))


def why_absent(vmid: int, actual: Actual) -> str:
    """Given a number that no guest of a snapshot has, return why, as far as that is known."""
    if other := actual.elsewhere.get(vmid):
        return f"it is on node {other}; adopt it there"
    if vmid in actual.hidden:
        return f"the token may not see it, if it exists: it lacks VM.Audit on /vms/{vmid}"
    return "there is no such guest"


def _marked(node: Node, listed: Actual, asked: Asked) -> Selected:
    """Return the guests with a tag, or of a pool."""
    answer = node.client.get("cluster", "resources", type="vm")
    found = (row for row in answer if isinstance(row, Mapping)) if isinstance(answer, list) else ()
    folded = not listed.facts.case_sensitive_tags
    having = [v for row in found if (v := rows.vmid_of(row.get("vmid"))) and (
        row.get("pool") == asked.pool if asked.pool else asked.tag in _tags(row, asked, folded)
    )]  # fmt: skip
    return _chosen(node, asked, listed, having)


def _tags(row: Mapping[str, Any], asked: Asked, folded: bool) -> Iterator[str]:
    for tag in split_list(str(row.get("tags") or "")):
        yield asked.tag if folded and tag.lower() == asked.tag.lower() else tag


def _chosen(node: Node, asked: Asked, listed: Actual, having: Iterable[int]) -> Selected:
    meant = {v for v in having if not asked.ranges or any(v in r for r in asked.ranges)}
    here = {v: listed.guests[v].name for v in sorted(meant & listed.guests.keys())}
    elsewhere = len(meant & listed.elsewhere.keys())
    if not here:
        raise FelhomError(_nobody(node, asked, listed, elsewhere))
    return Selected(MappingProxyType(here), elsewhere)


def _nobody(node: Node, asked: Asked, listed: Actual, elsewhere: int) -> str:
    what = (
        f" in the pool {asked.pool!r}" if asked.pool
        else f" with the tag {asked.tag!r}" if asked.tag
        else f" in {', '.join(map(str, asked.ranges[:MAX_NAMED]))}" if asked.ranges
        else ""
    )  # fmt: skip
    words = f"the token sees no guest{what} on node {listed.node}"
    if elsewhere:
        return f"{words}; other nodes have {elsewhere}: adopt them there"
    held = node.client.get("access", "permissions")
    if not isinstance(held, Mapping) or not rows.may_audit_any(held):
        return f"{words}: it lacks VM.Audit on /vms"
    return words
