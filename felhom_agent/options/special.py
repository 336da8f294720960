"""The option types that follow rules of their own.

One class per kind of value that PVE treats with code of its own instead of its schema; each
names where. The promises are those of `types`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from urllib.parse import quote, unquote

from felhom_agent.model import DeclaredValue
from felhom_agent.options.formats import (
    UNDEFINED,
    UUID,
    Invalid,
    parse_size,
    split_list,
    urlencoded,
)
from felhom_agent.options.propstring import Parts, PropertyString
from felhom_agent.options.types import OptionType, Text, Words, joined, one, scalar_text

MASK: Final = "*" * 10
RESERVED_TAG: Final = "felhom-"
_STARTUP: Final = re.compile(r"(?:(order|up|down)=)?([0-9]{1,30})")


@dataclass(frozen=True)
class Description(Text):
    """A guest's notes. `newline` says whether PVE ends them with a newline (LXC does)."""

    newline: bool = False

    def meaning(self, wire: str) -> Hashable:
        # recorded: 14-fixpoints/001: QEMU cuts all trailing white space, LXC only newlines
        return wire.rstrip("\n") if self.newline else wire.rstrip()


@dataclass(frozen=True)
class Tags(Words):
    """A guest's tags. Those that begin with `RESERVED_TAG` are set in PVE, by hand, for the agent
    to read: they make no difference, and are carried along when others are written.
    """

    def meaning(self, wire: str) -> Hashable:
        words = super().meaning(wire)
        return frozenset(w for w in words if not is_reserved(w))  # type: ignore[attr-defined]  # a set

    def carried(self, wire: str, actual: str) -> str:
        kept = self.reserved(actual)
        return self.separator.join([*split_list(wire), *kept]) if kept else wire

    def reserved(self, text: str) -> list[str]:
        """Given a list of tags, return the reserved ones."""
        return [word for word in split_list(text) if is_reserved(word)]


def is_reserved(tag: str) -> bool:
    """Return whether a tag is set in PVE for the agent to read."""
    return tag.lower().startswith(RESERVED_TAG)


@dataclass(frozen=True)
class Unsettable(Text):
    """What PVE answers but takes from nobody."""

    def check(self, wire: str) -> None:
        del wire  # recorded: 10-qemu-roundtrip/184: no value is taken
        raise Invalid(UNDEFINED)


@dataclass(frozen=True)
class Startup(OptionType):
    """Boot order and delays: "order=1,up=30,down=60", where the number alone is the order."""

    def check(self, wire: str) -> None:
        # PVE: JSONSchema.pm pve_parse_startup_order: the text "0" alone is no startup order
        # although "order=0" is.
        if wire in {"", "0"} or self._unknown(wire):
            raise Invalid("invalid format - unable to parse startup options\n")

    def wire(self, value: DeclaredValue) -> str:
        return scalar_text(one(value))

    def meaning(self, wire: str) -> Hashable:
        self.check(wire)
        return self._known(wire)

    def same(self, desired: str, actual: str) -> bool:
        """A part that this version does not know, in PVE's text, makes no difference."""
        self._readable(actual)
        return self.meaning(desired) == self._known(actual)

    def carried(self, wire: str, actual: str) -> str:
        try:
            self._readable(actual)
        except Invalid:
            return wire
        return ",".join([wire, *self._unknown(actual)])

    def parts(self, text: str) -> dict[str, int]:
        """Given a text, return its known parts: `order`, and `up` and `down` in seconds."""
        # PVE: JSONSchema.pm pve_parse_startup_order: the last of equal keys wins
        found = (_STARTUP.fullmatch(part) for part in text.split(","))
        return {m[1] or "order": int(m[2]) for m in found if m}

    def _known(self, text: str) -> Hashable:
        return frozenset(self.parts(text).items())

    def _unknown(self, text: str) -> list[str]:
        parts = text.split(",")
        return [part for part in parts if part.strip() and not _STARTUP.fullmatch(part)]

    def _readable(self, text: str) -> None:
        """Raise `Invalid` unless what is unknown in a text looks like parts of a newer PVE."""
        named = re.compile(r"(?!(?:order|up|down)=)[a-z][\w-]*=.+")
        if text in {"", "0"} or not all(map(named.fullmatch, self._unknown(text))):
            raise Invalid("invalid format - unable to parse startup options\n")


@dataclass(frozen=True)
class Hotplug(Words):
    """The device classes that are plugged into a running guest; "1" is PVE's default, "0" none."""

    def check(self, wire: str) -> None:
        for word in self._features(wire):
            if word not in {"network", "disk", "cpu", "memory", "usb", "cloudinit"}:
                raise Invalid(f"invalid format - invalid hotplug feature '{word}'\n")

    def wire(self, value: DeclaredValue) -> str:
        text = str(int(value)) if isinstance(value, bool) else super().wire(value)
        # An empty text means none, like 0; sent as 0, it is never taken for absence
        return text if text.strip() else "0"

    def meaning(self, wire: str) -> Hashable:
        return frozenset(self._features(wire))

    def _features(self, text: str) -> list[str]:
        # PVE: qemu-server QemuServer.pm parse_hotplug_features
        named = {"0": "", "1": "network,disk,usb"}
        return split_list(named.get(text, text))


@dataclass(frozen=True)
class GenerationId(Text):
    """A VM generation id: "1" asks PVE to make one, "0" is none."""

    def same(self, desired: str, actual: str) -> bool:
        if desired == "1":
            return re.fullmatch(f"{UUID}|1", actual) is not None
        return super().same(desired, actual)


@dataclass(frozen=True)
class Bytes(OptionType):
    """A disk size; "32G" and "32768M" are the same."""

    def check(self, wire: str) -> None:
        if parse_size(wire) is None:
            raise Invalid(f"invalid format - value does not look like a valid disk size: {wire}\n")

    def wire(self, value: DeclaredValue) -> str:
        return scalar_text(one(value))

    def meaning(self, wire: str) -> Hashable:
        self.check(wire)
        return parse_size(wire)


@dataclass(frozen=True)
class SshKeys(OptionType):
    """SSH public keys, one per line, percent-encoded on the wire.

    Declared plain, they are encoded here, if each line holds a key that OpenSSH could read;
    anything else stays as it is, for PVE to refuse.
    """

    def check(self, wire: str) -> None:
        Text(urlencoded).check(wire)
        # PVE: pve-common Tools.pm validate_ssh_public_keys
        if not all(_holds_key(line) for line in self._lines(wire)):
            raise Invalid("SSH public key validation error\n")

    def wire(self, value: DeclaredValue) -> str:
        text = joined(value, "\n", r"[\r\n]") if isinstance(value, tuple) else scalar_text(value)
        plain = [line for line in text.splitlines() if line.strip()]
        # %20 and not +: PVE's check knows no plus sign (recorded by drift case H368)
        return quote(text, safe="") if plain and all(_holds_key(line) for line in plain) else text

    def meaning(self, wire: str) -> Hashable:
        return tuple(self._lines(wire))

    def _lines(self, wire: str) -> list[str]:
        return [line.strip() for line in unquote(wire).splitlines() if line.strip()]


def _holds_key(line: str) -> bool:
    """Return whether a line holds an SSH public key: a type, and a blob that names that type."""
    words = line.split()
    return any(_is_blob(*pair) for pair in pairwise(words))


def _is_blob(kind: str, blob: str) -> bool:
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    length = int.from_bytes(raw[:4], "big")
    return len(raw) > 4 + length and raw[4 : 4 + length] == kind.encode()


@dataclass(frozen=True)
class Environment(Text):
    """The environment of a container's first process: NAME=value, NUL between them."""

    def check(self, wire: str) -> None:
        assignment = r"\w+=[^\x00-\x08\x0a-\x1f\x7f]*"
        if re.fullmatch(rf"{assignment}(?:\0{assignment})*", wire, re.ASCII) is None:
            raise Invalid("value does not match the regex pattern")

    def wire(self, value: DeclaredValue) -> str:
        return joined(value, "\0", "\0") if isinstance(value, tuple) else scalar_text(value)

    def meaning(self, wire: str) -> Hashable:
        # PVE: pve-container LXC/Config.pm parse_pct_config: one line each, cut at its end
        return frozenset(filter(None, (line.strip() for line in wire.split("\0"))))


@dataclass(frozen=True)
class Unquoted(Text):
    """A text of no format: PVE takes the quotes around it away."""

    def meaning(self, wire: str) -> Hashable:
        # PVE: qemu-server QemuServer.pm check_type, when it is written and when it is read
        text = wire.strip()
        while len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1].strip()
        return text


@dataclass(frozen=True)
class RawLines(Text):
    """The values of one key of LXC's own, one per line in the order of the file."""

    def wire(self, value: DeclaredValue) -> str:
        return joined(value, "\n", r"\n") if isinstance(value, tuple) else scalar_text(value)

    def meaning(self, wire: str) -> Hashable:
        return tuple(line.strip() for line in wire.split("\n"))


@dataclass(frozen=True)
class Boot(PropertyString):
    """The boot order; a declared list is the order of the devices."""

    def wire(self, value: DeclaredValue) -> str:
        if isinstance(value, tuple):
            return "order=" + joined(value, ";", r"[,;\s]") if value else ""
        return super().wire(value)


@dataclass(frozen=True)
class PciAddresses(Text):
    """Host PCI devices, `;` between them; the domain is 0000 where none is named."""

    def meaning(self, wire: str) -> Hashable:
        words = wire.lower().split(";")
        return tuple(word if word.count(":") > 1 else f"0000:{word}" for word in words)


@dataclass(frozen=True)
class UsbDevice(Text):
    """A host USB device by id or port, or `spice`; hexadecimal digits with or without 0x."""

    def meaning(self, wire: str) -> Hashable:
        return ":".join(word.removeprefix("0x") for word in wire.lower().split(":"))


def agent_meaning(parts: Parts) -> Parts:
    """Given the parts of `agent`, return what they mean: a disabled agent has no settings."""
    # PVE: qemu-server Agent.pm parse_guest_agent
    return parts if parts.get("enabled") is True else {}


def virtiofs_meaning(parts: Parts) -> Parts:
    """Given the parts of `virtiofs[n]`, return what they mean: ACLs bring attributes along."""
    # PVE: qemu-server QemuServer/Virtiofs.pm $virtiofs_fmt, expose-acl
    return parts | {"expose-xattr": True} if parts.get("expose-acl") is True else parts


def boot_meaning(parts: Parts) -> Parts:
    """Given the parts of `boot`, return what they mean: `legacy` wins over `order`."""
    # PVE: qemu-server QemuServer.pm device_bootorder
    return {"legacy": parts["legacy"]} if "legacy" in parts else parts


def smbios_meaning(parts: Parts) -> Parts:
    """Given the parts of `smbios1`, return them decoded if `base64` says that they are encoded."""
    encoded = parts.get("base64") is True
    plain = {key: value for key, value in parts.items() if key != "base64"}
    if not encoded:
        return plain
    return {key: value if key == "uuid" else _decoded(value) for key, value in plain.items()}


def _decoded(value: Hashable) -> Hashable:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value
