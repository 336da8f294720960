"""Which privileges PVE wants for a change, from the value that is sent and the one it replaces.

The option table has what each option needs on the guest itself, `privilegerules` what a value needs
besides, or instead. What no token may write at all is in `rights`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from felhom_agent.model import ABSENT, Facts, TypeOfAbsent
from felhom_agent.options import Option, lookup
from felhom_agent.options.since import Since, numbers
from felhom_agent.planning.privilegerules import BY_VALUE, RULES, UNKNOWN, Case, ValueRule

Value = str | TypeOfAbsent

WRITERS: Final[Mapping[str, tuple[str, ...]]] = {
    # PVE: qemu-server API2/Qemu.pm update_vm, pve-container API2/LXC/Config.pm update_vm:
    # without any of these no change is looked at; the first is the least
    "qemu": tuple(
        f"VM.Config.{word}"
        for word in ("Options", "CDROM", "Cloudinit", "CPU", "Memory", "Network", "HWType", "Disk")
    ),
    "lxc": tuple(f"VM.Config.{word}" for word in ("Options", "CPU", "Memory", "Network", "Disk")),
}
POWER: Final = "VM.PowerMgmt"
AUDIT: Final = "VM.Audit"
_MAX_NAMED: Final = 3


@dataclass(frozen=True)
class Required:
    """Any one of some privileges on a path; the first is the one to grant."""

    path: str
    any_of: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.any_of[0]} on {self.path}"


def required(
    kind: str, key: str, after: Value, before: Value, vmid: int, facts: Facts
) -> tuple[Required, ...]:
    """Given an option's text to send and the present one (ABSENT: none), return what PVE wants.

    Empty for a key that PVE does not know.
    """
    option = lookup(kind, key)
    if option is None:
        return ()
    new, old = ("" if value is ABSENT else value for value in (after, before))
    coming = Case(option, key, new, old, vmid, facts, kind)
    going = Case(option, key, old, new, vmid, facts, kind)
    found = dict.fromkeys(_by_rules(coming, going, deletes=after is ABSENT))
    guest = f"/vms/{vmid}"
    if option.privileges and (kind, option.name) not in BY_VALUE:
        found = {Required(guest, option.privileges): None, **found}
    writers = WRITERS[kind]
    if not any(need.path == guest and set(need.any_of) <= set(writers) for need in found):
        found = {Required(guest, writers): None, **found}
    return tuple(found)


def power_of(vmid: int) -> tuple[Required, ...]:
    """Given a guest, return what PVE wants for a start or a shutdown."""
    return (Required(f"/vms/{vmid}", (POWER,)),)


def lacking(needs: tuple[Required, ...], facts: Facts) -> tuple[Required, ...]:
    """Given what PVE wants, return what the token surely lacks of it; nothing where its rights are
    not known.
    """
    rights = facts.rights
    if rights is None:
        return ()
    return tuple(
        need
        for need in needs
        if _is_unseen(need, facts)
        or not (rights.on(need.path) & set(need.any_of) or _may_be_elsewhere(need, facts))
    )


def told(needs: tuple[Required, ...]) -> str:
    """Given what the token lacks, return it in one bounded line; empty if it lacks nothing."""
    if not needs:
        return ""
    named = " and ".join(map(str, needs[:_MAX_NAMED]))
    more = len(needs) - _MAX_NAMED
    said = f"the token lacks {named}" + (f" and {more} more" if more > 0 else "")
    names = [found[1] for need in needs if (found := UNKNOWN.search(need.path))]
    return said + (f" (the zone of {names[0]} is not known to it)" if names else "")


def _by_rules(coming: Case, going: Case, *, deletes: bool) -> Iterator[Required]:
    for rule in rules_of(coming.kind, coming.option):
        if not _is_in_force(rule, coming.facts):
            continue
        cases = [(going, rule.gone)] if deletes else [(going, rule.old), (coming, rule.new)]
        for case, holds in cases:
            if holds:
                yield from (Required(path, rule.any_of) for path in rule.paths(case))


def _is_in_force(rule: ValueRule, facts: Facts) -> bool:
    over = rule.until is not None and not _is_newer(rule.until, facts)
    return not (over or _is_newer(rule.since, facts))


def rules_of(kind: str, option: Option) -> Iterator[ValueRule]:
    """Given an option, yield the rules on its values."""
    yield from (r for r in RULES if kind in r.kinds and option.name in r.options)


def _is_newer(since: Since, facts: Facts) -> bool:
    """Return whether the node's PVE surely does not have that yet."""
    if installed := facts.packages.get(since.package):
        return numbers(installed) < numbers(since.version)
    return bool(facts.version) and facts.version < numbers(since.pve)


def _is_unseen(need: Required, facts: Facts) -> bool:
    """Return whether the path is of a network that the token does not see, and so may not use,
    whatever a rule farther up gives.
    """
    found = UNKNOWN.search(need.path)
    return found is not None and facts.bridges is not None and found[1] not in facts.bridges


def _may_be_elsewhere(need: Required, facts: Facts) -> bool:
    """Return whether the path may be another one: a bridge may be a virtual network of a zone that
    the token cannot ask for, and use all the same.
    """
    zone, _, bridge = need.path.removeprefix("/sdn/zones/").partition("/")
    if facts.bridges is not None or zone != "localnetwork" or not bridge or facts.rights is None:
        return False
    others = (p for p in facts.rights.paths if p.startswith("/sdn/zones/"))
    return bridge.partition("/")[0] not in facts.zones and any(
        "SDN.Use" in facts.rights.paths[path]
        for path in others
        if path.split("/")[3] != "localnetwork"
    )
