"""Options whose meaning depends on the host or the datacenter.

`in_context` gives an option as it is in one guest on one host, with the default that it has there
(`defaults`). A registry by option name: what is not in it depends on nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from felhom_agent.options import Option
from felhom_agent.options.types import Number, Words
from felhom_agent.planning.context import Context
from felhom_agent.planning.defaults import with_default


@dataclass(frozen=True)
class Weight(Number):
    """A CPU weight: PVE brings it between two bounds when it is written."""

    lowest: int = 0
    highest: int = 0

    def meaning(self, wire: str) -> Hashable:
        value = Decimal(str(super().meaning(wire)))
        return max(Decimal(self.lowest), min(value, Decimal(self.highest)))


def in_context(option: Option, context: Context) -> Option:
    """Given an option, return it as it is in this context."""
    change = _CONDITIONS.get(option.name)
    return with_default(change(option, context) if change else option, context)


def _tags(option: Option, context: Context) -> Option:
    if not isinstance(option.type, Words):
        return option
    return replace(option, type=replace(option.type, fold=not context.case_sensitive_tags))


def _cpuunits(option: Option, context: Context) -> Option:
    # PVE: pve-common CGroup.pm clamp_cpu_shares
    second = context.cgroup == 2
    weight = Weight(
        *_bounds(option), integer=True, lowest=0 if second else 2,
        highest=10000 if second else 500000,
    )  # fmt: skip
    return replace(option, type=weight, default="100" if second else "1024")


def _bounds(option: Option) -> tuple[int | None, int | None]:
    kind = option.type
    return (kind.minimum, kind.maximum) if isinstance(kind, Number) else (None, None)


_CONDITIONS: Final[Mapping[str, Callable[[Option, Context], Option]]] = {
    "tags": _tags,
    "cpuunits": _cpuunits,
}
