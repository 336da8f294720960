"""What of an existing guest can be declared as it is, and why the rest of it is not.

Each key of its configuration becomes an `Entry`: values in which an operator would write it, the
best first, or none and a reason. What PVE fills in by itself (a card's MAC address, a volume's
name) is left out of a value and told beside it, so that the declaration still holds where PVE fills
in another. Whether a value really stands is asked by whoever writes it down (`desired/adoption`).

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from felhom_agent.model import ABSENT, EMPTY, ActualGuest, DeclaredValue
from felhom_agent.options import Invalid, Option, PropertyString, holds_secrets, keys, lookup
from felhom_agent.options.addresses import Addresses
from felhom_agent.options.formats import split_list
from felhom_agent.options.special import (
    Boot,
    Description,
    GenerationId,
    RawLines,
    SshKeys,
    Tags,
    Unsettable,
)
from felhom_agent.options.types import Boolean, Number, OptionType, truth
from felhom_agent.planning.context import Context
from felhom_agent.planning.rawlines import raw_lines
from felhom_agent.planning.rights import roots_alone
from felhom_agent.planning.volumes import has_volume

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\.[0-9]{1,6}")


class Why(StrEnum):
    """Why something of a guest is written as a comment."""

    MAC = "MACs"
    VOLUME = "volumes"
    ROOT = "that only root can set"
    PVES = "that PVE keeps itself"
    SECRET = "secrets"
    WAITS = "that wait for a restart"
    OTHER = "that cannot be declared"


@dataclass(frozen=True)
class Remark:
    """Why a key, or a part of its value, is not declared."""

    why: Why
    text: str


@dataclass(frozen=True)
class Entry:
    """A key of a guest's configuration.

    `forms` are the values in which it may be declared, the best first; none where it is not.
    `shown` is the value that a comment shows instead; `None` where it shows none.
    """

    key: str
    forms: tuple[DeclaredValue, ...] = ()
    shown: DeclaredValue | None = None
    remarks: tuple[Remark, ...] = ()


def entries_of(guest: ActualGuest, only: Collection[str] = ()) -> Iterator[Entry]:
    """Given a guest that was read, yield its keys in their order; with `only`, the keys of these
    names or families ("net0", "net"). A volume is to be declared only where it is named there.
    """
    present = _present(guest)
    for key in sorted(present, key=_order):
        if not only or _is_named(guest, key, only):
            yield _entry(guest, key, present[key], named=bool(only))


def is_known_name(name: str) -> bool:
    """Given a name for `only`, return whether an option or a family of any kind has it."""
    return any(
        lookup(kind, name) or f"{name}[n]" in keys(kind) or name == "lxc"
        for kind in ("qemu", "lxc")
    )


def _present(guest: ActualGuest) -> Mapping[str, object]:
    """Return the keys that are set, and those that go at the next restart."""
    config = dict(guest.config or EMPTY)
    lines = config.pop("lxc", None)
    for pair in lines if isinstance(lines, list) else ():
        config[str(pair[0])] = raw_lines(guest, str(pair[0]))
    return config | {key: ABSENT for key in guest.pending if key not in config and key != "lxc"}


def _order(key: str) -> tuple[str, int, str]:
    """Return by what keys are sorted: a family in the order of its numbers."""
    family = key.rstrip("0123456789")
    number = key.removeprefix(family)
    return family, len(number), number


def _is_named(guest: ActualGuest, key: str, only: Collection[str]) -> bool:
    option = lookup(guest.kind, key)
    family = "lxc" if key.startswith("lxc.") else option.family if option else key
    return key in only or family in only


def _entry(guest: ActualGuest, key: str, value: object, *, named: bool) -> Entry:
    option = lookup(guest.kind, key)
    if option is not None and holds_secrets(option):
        what = "a secret" if option.secret else "may be a secret"
        return _not(key, Why.SECRET, f"{what}; it is never written into a file by this command")
    if value is ABSENT:
        return _not(key, Why.WAITS, "goes at the next restart", _text(guest.pending[key]))
    text = _text(value)
    if option is None:
        return _not(key, Why.OTHER, "this version of felhom-agent does not know it", text)
    if option.read_only:
        return _not(key, Why.PVES, "fixed when the guest was made", text)
    if reason := _pves_own(option):
        return _not(key, Why.PVES, reason, None if key == "digest" else text)
    if key in guest.pending:
        present = guest.pending[key]
        nothing = present in (None, "")
        now = "it is not in effect" if nothing else f"{_text(present)} is in effect"
        return _not(key, Why.WAITS, f"waits for a restart; {now}", text)
    try:
        return _declarable(guest, option, key, text, named=named)
    except Invalid as error:
        return _not(key, Why.OTHER, str(error).strip(), text)


def _not(key: str, why: Why, text: str, shown: str | None = None) -> Entry:
    return Entry(key, shown=shown, remarks=(Remark(why, text),))


def _pves_own(option: Option) -> str:
    if option.server_owned or isinstance(option.type, Unsettable | GenerationId):
        return "PVE's own"
    return ""


def _declarable(guest: ActualGuest, option: Option, key: str, text: str, *, named: bool) -> Entry:
    """Return the entry of an option that may be declared. Raise Invalid if it cannot be read."""
    kept, remarks = _without_pves(option, text)
    forms = tuple(_forms(option.type, kept))
    context = Context(vmid=guest.vmid, config=guest.config or EMPTY)
    shown = forms[0]
    if why := roots_alone(option, key, text, "", context):
        return Entry(key, shown=shown, remarks=(Remark(Why.ROOT, why), *remarks))
    if option.also.endswith(" on /"):
        remark = Remark(Why.ROOT, f"needs {option.also} besides; better set by hand")
        return Entry(key, shown=shown, remarks=(remark, *remarks))
    if has_volume(option) and not named:
        said = "; ".join(remark.text for remark in remarks)
        reason = "its volume is moved and exchanged by hand"
        remark = Remark(Why.VOLUME, f"{reason}; {said}" if said else reason)
        return Entry(key, shown=shown, remarks=(remark,))
    if remarks and not kept:
        return Entry(key, remarks=remarks)
    return Entry(key, forms, shown, remarks)


def _without_pves(option: Option, text: str) -> tuple[str, tuple[Remark, ...]]:
    """Return a text without what PVE, or a newer PVE, fills in by itself, and what that is."""
    kind = option.type
    if isinstance(kind, Tags) and (reserved := kind.reserved(text)):
        others = [word for word in split_list(text) if word not in reserved]
        remark = Remark(Why.PVES, f"{', '.join(reserved)}: set in PVE, and never declared")
        return kind.separator.join(others), (remark,)
    if not isinstance(kind, PropertyString):
        return text, ()
    parts = kind.split(text)
    owned = {part: parts[part] for part in parts if part in kind.keys and kind.keys[part].owned}
    unknown = {part: parts[part] for part in sorted(kind.unknown(text))}
    if not owned and not unknown:
        return text, ()
    kept = kind.print({p: t for p, t in parts.items() if p not in owned and p not in unknown})
    remarks = [_owned(part, value) for part, value in owned.items() if part != "type"]
    remarks += [
        Remark(Why.OTHER, f"{part}={value} stays: this version of felhom-agent does not know it")
        for part, value in unknown.items()
    ]
    return kept, tuple(remarks)


def _owned(part: str, value: str) -> Remark:
    if part in ("macaddr", "hwaddr"):
        return Remark(Why.MAC, f"MAC {value}, PVE's own")
    return Remark(Why.PVES, f"{part} {value}, PVE's own")


def _forms(kind: OptionType, text: str) -> Iterator[DeclaredValue]:
    """Yield the values that a person might write for a text, ending with the text itself."""
    if isinstance(kind, PropertyString) and kind.default_key and "=" not in text:
        yield from _simple(kind.keys[kind.default_key].type, text)
    if isinstance(kind, Description) and text.endswith("\n"):
        yield text.rstrip("\n")
    yield from _listed(kind, text)
    yield from _simple(kind, text)
    yield text


def _simple(kind: OptionType, text: str) -> Iterator[DeclaredValue]:
    if isinstance(kind, Boolean) and (found := truth(text.strip())) is not None:
        yield found
    elif isinstance(kind, Number):
        if _INTEGER.fullmatch(text):
            yield int(text)
        elif _DECIMAL.fullmatch(text):
            yield float(text)


def _listed(kind: OptionType, text: str) -> Iterator[DeclaredValue]:
    words: list[str] = []
    match kind:
        case Boot():
            parts = kind.split(text)
            words = split_list(parts.get("order", "")) if parts.keys() == {"order"} else []
        case Tags() | Addresses():
            words = split_list(text)
        case SshKeys():
            words = unquote(text).splitlines()
        case RawLines():
            words = text.split("\n")
    if words:
        yield tuple(words)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
