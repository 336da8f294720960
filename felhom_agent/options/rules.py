"""Why two values of an option are equal or not: the rules in words, each with where PVE has it.

For people: `felhom-agent explain` says them, and docs/equality.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from felhom_agent.model import Kind
from felhom_agent.options import addresses, special
from felhom_agent.options.propstring import PropertyString
from felhom_agent.options.table import Option
from felhom_agent.options.types import Boolean, Choice, Number, NumberSet, OptionType, Text, Words

_SCHEMA: Final = "pve-common JSONSchema.pm"
PROPERTY_STRING: Final = f"{_SCHEMA} parse_property_string"
_QEMU: Final = "qemu-server QemuServer.pm"
_QEMU_FILE: Final = f"{_QEMU} parse_vm_config"
_LXC_FILE: Final = "pve-container LXC/Config.pm parse_pct_config"


@dataclass(frozen=True)
class Rule:
    """A rule of comparing, and the file of PVE's that makes it so."""

    text: str
    source: str
    compares: bool = True
    """Whether it tells how values compare, and not what is done about a difference."""

    def __str__(self) -> str:
        return f"{self.text} ({self.source})"


# The first that fits; so a class stands before the one that it is made of.
_BY_TYPE: Final[tuple[tuple[type, Rule], ...]] = (
    (
        Boolean,
        Rule(
            "true or false; of PVE's answer 1, on, yes and true are one", f"{_SCHEMA} parse_boolean"
        ),
    ),
    (special.Bytes, Rule("a size: 1G and 1024M are one", f"{_SCHEMA} parse_size")),
    (Number, Rule("a number: 2, 02 and 2.0 are one", f"{_SCHEMA} check_type")),
    (Choice, Rule("one of a list of words; case counts", f"{_SCHEMA} check_prop")),
    (
        NumberSet,
        Rule("a set of numbers: ranges and order do not count", "pve-common CpuSet.pm"),
    ),
    (special.Hotplug, Rule("a set: 1 is network, disk and usb, 0 is none", _QEMU)),
    (
        addresses.Addresses,
        Rule("a list: order counts; addresses are compared, not their spelling", _SCHEMA),
    ),
    (addresses.Address, Rule("an address is compared, not its spelling", _SCHEMA)),
    (
        addresses.MachineType,
        Rule("a version without +pve is that with +pve0", "qemu-server QemuServer/Machine.pm"),
    ),
    (addresses.StartDate, Rule("a date alone is its midnight", _QEMU)),
    (
        special.Description,
        Rule("a text without what PVE adds or cuts at its end", _QEMU_FILE),
    ),
    (
        special.Unquoted,
        Rule("a text without blanks and quotes around it", f"{_QEMU} check_type"),
    ),
    (
        special.SshKeys,
        Rule("keys, one a line, percent-encoded or not", "pve-common Tools.pm"),
    ),
    (
        special.Startup,
        Rule("order, up and down; the number alone is the order", f"{_SCHEMA} startup order"),
    ),
    (
        special.GenerationId,
        Rule("1 is any id that PVE makes, 0 is none", "qemu-server API2/Qemu.pm"),
    ),
    (
        special.Environment,
        Rule("a set of NAME=value: order does not count", "pve-container LXC/Config.pm"),
    ),
    (
        special.RawLines,
        Rule("the lines of the key in their order", "pve-container LXC/Config.pm"),
    ),
)
_NEW_VOLUME: Final = "STORAGE:SIZE is any volume of that size there; a size is never changed"
_MEDIA: Final = Rule(
    "without media=cdrom it is a disk, an ISO too", "qemu-server QemuServer/Drive.pm"
)
_PRESENCE: Final = Rule(
    "blank is none, absent is the host's or the image's own: the two differ",
    "qemu-server Cloudinit.pm, pve-container LXC/Setup/Base.pm",
)
TAGS: Final = Rule(
    "PVE lower-cases tags, unless tag-style has case-sensitive=1",
    "pve-guest-common GuestHelpers.pm",
)

RESERVED: Final = Rule(
    "a tag that begins with felhom- makes no difference, stays, and is not declared",
    "felhom-agent",
)
PARTS: Final = Rule(
    "parts in any order; one that equals its default is as good as none", PROPERTY_STRING
)
NEWER_PARTS: Final = Rule("parts of a newer PVE count as equal and are kept", "felhom-agent")
# Where PVE has for containers what it has for VMs elsewhere.
_OF_CONTAINERS: Final = {_QEMU: _LXC_FILE, _QEMU_FILE: _LXC_FILE}


def rules_of(kind: str, option: Option) -> tuple[Rule, ...]:
    """Given a guest's kind and an option, return the rules by which its values are compared."""
    return tuple(in_kind(kind, rule) for rule in _rules(option))


def in_kind(kind: str, rule: Rule) -> Rule:
    """Given a rule, return it with where PVE has it for guests of that kind."""
    if kind != Kind.LXC:
        return rule
    return replace(rule, source=_OF_CONTAINERS.get(rule.source, rule.source))


def new_volume(kind: PropertyString) -> Rule:
    """Given the type of a drive or mount point, return the rule of a volume that is asked for."""
    is_container = kind.default_key == "volume"
    source = "pve-container LXC.pm create_disks" if is_container else "qemu-server API2/Qemu.pm"
    return Rule(_NEW_VOLUME, source)


def filled_in(*keys: str) -> Rule:
    """Given parts of a property string, return the rule that they are PVE's."""
    return Rule(f"PVE fills in {', '.join(keys)}: kept where not declared", _SCHEMA)


def _rules(option: Option) -> Iterator[Rule]:
    yield from of_type(option.type)
    if option.name == "tags":
        yield TAGS
        yield RESERVED
    if option.presence:
        yield _PRESENCE
    if option.secret:
        yield Rule("PVE answers with a mask: it is never compared", "API2/Qemu.pm")
    if option.read_only:
        yield Rule("fixed when the guest was made: compared, never sent", "LXC/Config.pm", False)
    if option.token_never:
        yield Rule(f"compared, never sent: {option.token_never}", "PVE's check of root@pam", False)


def of_type(kind: OptionType) -> Iterator[Rule]:
    """Given an option's type, yield what it alone makes equal, as PVE has it for VMs."""
    if isinstance(kind, PropertyString):
        yield from _of_parts(kind)
        return
    found = next((rule for cls, rule in _BY_TYPE if isinstance(kind, cls)), None)
    if found is not None:
        yield found
    elif isinstance(kind, Words):
        yield Rule(
            "a set: order does not count" if kind.unordered else "a list: order counts", _SCHEMA
        )
    elif isinstance(kind, Text) and kind.fold:
        yield Rule("a text; upper and lower case are one", _SCHEMA)
    else:
        yield Rule("a text; case counts, blanks around it do not", _QEMU)


def _of_part(kind: OptionType) -> Iterator[Rule]:
    """Yield what is to be said of a part's own values: where spellings or order do not count."""
    told = (addresses.Address, addresses.MachineType, NumberSet, Words)
    if isinstance(kind, told) or (isinstance(kind, Text) and kind.fold):
        yield from of_type(kind)


def _of_parts(kind: PropertyString) -> Iterator[Rule]:
    yield PARTS
    if kind.default_key:
        yield Rule(f"a first part without a name is {kind.default_key}", PROPERTY_STRING)
    for key, spec in sorted(kind.keys.items()):
        yield from (replace(rule, text=f"{key}: {rule.text}") for rule in _of_part(spec.type))
    owned = sorted(key for key, spec in kind.keys.items() if spec.owned)
    if owned:
        yield filled_in(*owned)
    once = sorted(key for key, spec in kind.keys.items() if spec.made_once)
    if once:
        words = ", ".join(once)
        yield Rule(f"{words}: decided when the volume was made, never sent", "OVMF.pm, Qemu.pm")
    if kind.default_key in {"file", "volume"}:
        yield new_volume(kind)
    if "media" in kind.keys:
        yield _MEDIA
    yield NEWER_PARTS
