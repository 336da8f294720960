"""Whether a declared value can ever be brought about, asked when a guest file is loaded.

Refused here: what PVE would answer with 400, what PVE keeps for itself, what does harm, and what
an agent on an API token can never set. Each refusal says so in words for the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felhom_agent.model import DeclaredValue
from felhom_agent.options.bounds import refuse_unbounded
from felhom_agent.options.formats import UNDEFINED, Invalid
from felhom_agent.options.lxc import LXC
from felhom_agent.options.qemu import QEMU
from felhom_agent.options.refusal import beyond_token, for_good, harm
from felhom_agent.options.table import Option, Table

TABLES: Final[Mapping[str, Table]] = {"qemu": QEMU, "lxc": LXC}

# Parameters of PVE's calls that sit beside the options in its schema.
_PARAMETERS: Final = frozenset(
    {"background_delay", "delete", "force", "import-working-storage", "node", "revert", "skiplock",
     "vmid"}
)  # fmt: skip


def lookup(kind: str, key: str) -> Option | None:
    """Given a kind of guest and a key, return its option.

    Return `None` for a key that PVE does not know, or a number beyond the highest.
    """
    return TABLES[kind].lookup(key)


def keys(kind: str) -> tuple[str, ...]:
    """Given a kind of guest, return the names of its options; numbered ones as "net[n]"."""
    return tuple(option.name for option in TABLES[kind].options)


def declared(kind: str, key: str, value: DeclaredValue) -> str:
    """Given a declared value, return its wire text. Raise `Invalid` if it can never be set."""
    option = _settable(kind, key)
    refuse_unbounded(option, value)
    wire = option.type.wire(value)
    option.type.check(wire)
    reason = harm(option, wire) or for_good(option, wire) or beyond_token(option, key, wire)
    if reason:
        raise Invalid(reason)
    return wire


def _settable(kind: str, key: str) -> Option:
    """Return the option if anybody may declare it at all."""
    option = lookup(kind, key)
    if key in _PARAMETERS:
        raise Invalid(f"{key!r} is a parameter of PVE's calls, not an option of a guest")
    if option is None:
        raise Invalid(UNDEFINED)
    if option.server_owned:
        raise Invalid(f"PVE itself keeps {key!r}; it cannot be declared")
    if option.read_only:
        # recorded: 11-lxc-roundtrip/141
        raise Invalid(f"unable to modify read-only option: '{key}'")
    if key == "cdrom":
        raise Invalid("'cdrom' is an old name of ide2; declare ide2")
    return option
