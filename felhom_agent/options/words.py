"""What an option's value must be, in words for who declares it.

PVE's own words say which check failed ("type check ('integer') failed"); an operator wants to know
what to write. So a refused declaration is told as "must be a whole number from 1, not "many"",
which follows the option's name. PVE's own stay with the types, for whoever must speak as PVE does.

No value of an option that may hold a secret is ever quoted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from felhom_agent.model import DeclaredValue
from felhom_agent.options import formats, special
from felhom_agent.options.formats import UNKNOWN_PART, Format, Invalid, split_list
from felhom_agent.options.propstring import Key, PropertyString, one_word
from felhom_agent.options.table import Option
from felhom_agent.options.types import Boolean, Choice, Number, NumberSet, OptionType, Text, Words

MAX_NAMED: Final = 3
"""How many parts that are wrong are told of one value."""

_HOLD_SECRETS: Final = frozenset({"cipassword", "env"})
_MISTAKEN: Final = frozenset({"sshkeys"})
"""Right values are public; a wrong one may be a private key."""
# lxc.container.conf(5), ENVIRONMENT VARIABLES: lxc.environment, and .runtime and .hooks below it
_RAW_ENVIRONMENT: Final = re.compile(r"lxc\.environment(\.|$)")

_OF_FORMAT: Final[Mapping[Format, str]] = {
    formats.mac_address: "a unicast MAC address like BC:24:11:00:00:01",
    formats.dns_name: "a DNS name: letters, digits and dashes, dots between",
    formats.tag: "a tag of letters, digits and _ - + .",
    formats.config_id: "a name: a letter, then letters, digits, dashes and underscores",
    formats.bridge_id: "a bridge like vmbr0",
    formats.urlencoded: "text that is percent-encoded (%20 for a blank)",
    formats.storage_id: "a storage's name like local-lvm",
    formats.volume_id: "a volume like local-lvm:vm-101-disk-0",
    formats.volume_or_path: "a volume like local-lvm:vm-101-disk-0, an absolute path, or none",
    formats.volume_or_absolute_path: "a volume like local:import/a.qcow2, or an absolute path",
    formats.mount_path: "a path without .. in it",
    formats.device_path: "a device's path like /dev/ttyUSB0",
    formats.boot_device: "a device like scsi0 or net0",
    formats.boot_disk: "a drive like scsi0",
    formats.ipv4: "an IPv4 address like 192.0.2.1",
    formats.ipv6: "an IPv6 address like 2001:db8::1",
    formats.address: "an IP address or a DNS name",
    formats.link_local_ip: "an IP address",
    formats.ipv4_config: "an IPv4 address with its length like 192.0.2.10/24, dhcp or manual",
    formats.ipv6_config: "an IPv6 address with its length like fd00::1/64, auto, dhcp or manual",
    formats.phys_bits: "a whole number from 8 to 64, or host",
    formats.timezone: "UTC, host, or a time zone by its region like Europe/Berlin",
}
_OF_CLASS: Final[tuple[tuple[type[OptionType], str], ...]] = (
    (special.Unsettable, "left to PVE, which takes no value for it"),
    (special.Startup, "like order=1,up=30,down=60, or a number from 1 alone"),
    (special.Hotplug, "a list of network, disk, cpu, memory, usb and cloudinit, or 0 for none"),
    (special.Bytes, "a size like 32G"),
    (special.SshKeys, "SSH public keys, one a line, as a .pub file has them"),
    (special.Environment, "a list of texts like NAME=value"),
)


def holds_secrets(option: Option) -> bool:
    """Return whether an option's right values may be secrets, and so are shown nowhere."""
    named = option.name in _HOLD_SECRETS or _RAW_ENVIRONMENT.match(option.name) is not None
    return option.secret or named


def may_be_secret(option: Option) -> bool:
    """Return whether what somebody typed as an option's value, right or wrong, may be a secret."""
    return holds_secrets(option) or option.name in _MISTAKEN


def spoken(key: str, why: str) -> str:
    """Given an option's key and what is wrong with its value, return them as one sentence."""
    return f"{key} {why}" if why.startswith("must ") else f"{key}: {why}"


def refusal(option: Option, value: DeclaredValue, error: Invalid, wire: str | None = None) -> str:
    """Given an option, a declared value and PVE's refusal of it, return the operator's words.

    `wire` is the text that was refused, if the value could be put into one.
    """
    if error.words:
        return error.words
    kind = option.type
    if isinstance(kind, PropertyString):
        return _of_parts(kind, value, wire) or str(error).strip()
    must = f"must be {must_be(kind)}"
    if may_be_secret(option):
        return must
    return f"{must}, not {_given(kind, value)}{_guess(kind, value)}"


def unknown_part(kind: PropertyString, part: str) -> str:
    """Given a part of a property string that this version does not know, return so in words."""
    if part in kind.dropped:
        return f"{part}: PVE forgets it, and refuses it since 9.0; take it out"
    return f"{one_word(part)[1:-1]}: {UNKNOWN_PART}{_meant(part, kind.keys)}"


def no_such_option(kind: str, other: Option | None) -> str:
    """Given a kind of guest that has no such option, and the option as another kind's, if it is
    one, return so in words.
    """
    noun, others = ("VM", "container") if kind == "qemu" else ("container", "VM")
    if other is None:
        return f"PVE knows no such option of a {noun}; take it out, or see docs/equality.md"
    return f"is an option of a {others}, and this guest is a {noun}; take it out"


def must_be(kind: OptionType, *, part: bool = False) -> str:
    """Given a type, return what its values are, as it follows "must be"; with `part`, as a part
    of a property string.
    """
    for cls, words in _OF_CLASS:
        if isinstance(kind, cls):
            return words
    if isinstance(kind, Boolean):
        return "0 or 1" if part else "true or false"
    if isinstance(kind, Number):
        return _number(kind)
    if isinstance(kind, Choice):
        return _one_of(kind.values)
    if isinstance(kind, NumberSet):
        return f"numbers and ranges like 0-3{kind.separator}8"
    if isinstance(kind, Words):
        each = _OF_FORMAT.get(kind.format, "a word") if kind.format else "a word"
        return kind.words or f"a list of which each element is {each}"
    if isinstance(kind, Text):
        return _text(kind)
    return 'text of the form "key=value,key=value"'


def _number(kind: Number) -> str:
    noun = "a whole number" if kind.integer else "a number"
    if kind.minimum is None:
        return noun if kind.maximum is None else f"{noun} up to {kind.maximum}"
    upto = "" if kind.maximum is None else f" to {kind.maximum}"
    return f"{noun} from {kind.minimum}{upto}"


def _text(kind: Text) -> str:
    known = _OF_FORMAT.get(kind.format, "") if kind.format else ""
    noun = kind.words or known or "text"
    return f"{noun}, of at most {kind.longest} characters" if kind.longest else noun


def _one_of(words: tuple[str, ...]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{'' if len(words) == 2 else 'one of '}{', '.join(words[:-1])} or {words[-1]}"


def _given(kind: OptionType, value: DeclaredValue) -> str:
    """Return a declared value as it is shown: what was typed, as far as it can be seen."""
    if isinstance(value, tuple):
        bad = _bad_word(kind, value)
        return one_word(bad) if bad else "a list"
    if isinstance(value, str):
        if isinstance(kind, Text) and kind.longest and len(value) > kind.longest:
            return f"{len(value)}"
        bad = _bad_word(kind, tuple(split_list(value)))
        return one_word(bad or value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _bad_word(kind: OptionType, words: tuple[object, ...]) -> str:
    """Return the first element of a list that is not of the list's format; empty if none is."""
    if not isinstance(kind, Words) or kind.format is None:
        return ""
    for word in map(str, words):
        try:
            kind.format(word)
        except Invalid:
            return word
    return ""


def _guess(kind: OptionType, value: DeclaredValue) -> str:
    if isinstance(kind, Choice) and isinstance(value, str):
        return _meant(value, dict.fromkeys(kind.values))
    return ""


def _meant(word: str, known: Mapping[str, object]) -> str:
    """Return a guess at what was meant by a wrong word, to be added to a sentence."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word[:60].lower(), list(folded), n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _of_parts(kind: PropertyString, value: DeclaredValue, wire: str | None) -> str:
    """Return what is wrong with the parts of a property string; empty if no part alone is wrong."""
    if not isinstance(value, str):
        words = must_be(kind.keys[kind.default_key].type) if kind.default_key else must_be(kind)
        return f"must be {words}, not {_given(kind, value)}"
    found = list(_wrong_parts(kind, kind.split(value if wire is None else wire)))
    if not found and kind.longest and len(value) > kind.longest:
        return f"must be text of at most {kind.longest} characters, not {len(value)}"
    if len(found) > MAX_NAMED:
        found[MAX_NAMED:] = [f"and {len(found) - MAX_NAMED} more"]
    return "; ".join(found)


def _wrong_parts(kind: PropertyString, parts: Mapping[str, str]) -> Iterator[str]:
    for key, spec in kind.keys.items():
        if key not in parts:
            if spec.required:
                yield f"must have {key}: {must_be(spec.type, part=True)}"
        elif spec.needs and spec.needs not in parts:
            yield f"{key} needs {spec.needs} beside it"
        elif _is_refused(spec, parts[key]):
            alone = key == kind.default_key and len(parts) == 1
            yield f"{'' if alone else f'{key} '}{_of_part(spec, parts[key], alone=alone)}"


def _of_part(spec: Key, text: str, *, alone: bool) -> str:
    words = must_be(spec.type, part=not alone)
    return f"must be {words}, not {_given(spec.type, text)}{_guess(spec.type, text)}"


def _is_refused(spec: Key, text: str) -> bool:
    try:
        spec.type.check(text)
    except Invalid:
        return True
    return False
