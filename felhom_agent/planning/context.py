"""The words of a comparison: what it found, and what besides the two values it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from felhom_agent.model import EMPTY, Actual, ActualGuest, DeclaredValue, DesiredGuest


class Verdict(StrEnum):
    """What comparing a declared value with PVE's answer came to."""

    EQUAL = "equal"
    """PVE, given the one, would answer with the other."""
    DRIFT = "drift"
    """A real difference, and a configuration write mends it."""
    REJECT = "reject"
    """The declaration is wrong: PVE would refuse it, or it would do harm."""
    INCOMPARABLE = "incomparable"
    """PVE does not tell; never a reason to write."""
    UNFIXABLE = "unfixable"
    """A real difference that no configuration write mends."""
    FORBIDDEN = "forbidden"
    """A real difference, but writing it would put a volume aside or make another one."""
    PENDING = "pending"
    """Equal in the configuration, in effect after a restart."""


@dataclass(frozen=True)
class Comparison:
    """A verdict, and why, in words for an operator."""

    verdict: Verdict
    why: str = ""


EQUAL = Comparison(Verdict.EQUAL)


@dataclass(frozen=True)
class Context:
    """What a comparison depends on besides the two values; the defaults are PVE's.

    * `config`: the guest's whole configuration as read, for defaults that other keys decide.
    * `declared`: all that is declared of the guest, for what two keys may not both have.
    * `others`: the node's guests by vmid, for volumes that another one holds.
    * `arch`: the host's processor architecture, as PVE names it.
    * `version`: PVE's version on the node, as numbers; empty where it is not known.
    * `devices`: the devices that the guest has or is to get; `None` where that is not known.
    * `case_sensitive_tags`: `case-sensitive=1` in the datacenter's tag-style.
    * `cgroup`: the host's cgroup version, 1 or 2.
    * `pending`: whether PVE holds this key's value back until the guest restarts.
    * `before`: what the key held before a write whose result is being compared; empty where
      no write came between.
    """

    vmid: int = 0
    config: Mapping[str, object] = field(default_factory=lambda: EMPTY)
    declared: Mapping[str, DeclaredValue] = field(default_factory=lambda: MappingProxyType({}))
    others: Mapping[int, ActualGuest] = field(default_factory=lambda: MappingProxyType({}))
    arch: str = "x86_64"
    version: tuple[int, ...] = ()
    devices: frozenset[str] | None = None
    case_sensitive_tags: bool = False
    cgroup: int = 2
    pending: bool = False
    before: str = ""


def context_of(desired: DesiredGuest, guest: ActualGuest, actual: Actual) -> Context:
    """Given a declaration, its guest and the snapshot that holds it, return the context."""
    config, facts = guest.config or EMPTY, actual.facts
    return Context(
        vmid=guest.vmid,
        config=config,
        declared=desired.config,
        others=actual.guests,
        arch=facts.arch,
        version=facts.version,
        devices=frozenset(config) | frozenset(desired.config),
        case_sensitive_tags=facts.case_sensitive_tags,
        cgroup=facts.cgroup,
    )
