"""Whether a declared value can ever be brought about, asked when a guest file is loaded.

Refused here: what PVE would answer with 400, what PVE keeps for itself, and what PVE makes another
value of. What only root may set, or nobody any more, may be declared: it is compared, and told
where it differs. Each refusal says so in words for the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from felhom_agent.model import DeclaredValue
from felhom_agent.options import words
from felhom_agent.options.bounds import refuse_unbounded
from felhom_agent.options.formats import UNKNOWN_PART, Invalid
from felhom_agent.options.lxc import LXC, raw_line
from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.qemu import QEMU
from felhom_agent.options.refusal import for_good, reserved
from felhom_agent.options.settling import never_settles
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
    if kind == "lxc" and key.startswith("lxc."):
        return raw_line(key)
    return TABLES[kind].lookup(key)


def keys(kind: str) -> tuple[str, ...]:
    """Given a kind of guest, return the names of its options; numbered ones as "net[n]"."""
    return tuple(option.name for option in TABLES[kind].options)


def declared(kind: str, key: str, value: DeclaredValue) -> str:
    """Given a declared value, return its wire text. Raise `Invalid` if it can never be so."""
    option, wire = understood(kind, key, value)
    if reason := for_good(option, wire) or never_settles(option, wire) or reserved(option, wire):
        raise Invalid(reason)
    return wire


def understood(kind: str, key: str, value: DeclaredValue) -> tuple[Option, str]:
    """Given a declared value, return its option and its wire text.

    Raise `Invalid` if it may not be declared, or PVE's schema does not take it.
    """
    option = _declarable(kind, key)
    refuse_unbounded(option, value)
    wire: str | None = None
    try:
        wire = option.type.wire(value)
        if isinstance(option.type, PropertyString):
            for part in sorted(option.type.unknown(wire)):
                raise Invalid(UNKNOWN_PART, words.unknown_part(option.type, part))
        option.type.check(wire)
    except Invalid as error:
        raise Invalid(words.refusal(option, value, error, wire)) from None
    return option, wire


def _declarable(kind: str, key: str) -> Option:
    """Return the option if anybody may declare it at all."""
    option = lookup(kind, key)
    if key in _PARAMETERS:
        raise Invalid("is a parameter of PVE's calls, not an option of a guest; take it out")
    if option is None:
        other = lookup("lxc" if kind == "qemu" else "qemu", key)
        raise Invalid(words.no_such_option(kind, other))
    if option.server_owned:
        raise Invalid("PVE itself keeps it; it cannot be declared, take it out")
    if key == "cdrom":
        raise Invalid("is an old name of ide2; declare ide2")
    return option
