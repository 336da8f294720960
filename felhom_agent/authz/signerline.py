"""One line of a list of signers: a role, options, a key.

OpenSSH's own format, and of it only what cannot be misread: one role and no pattern in the place of
the principals; of the options the purpose, and from when until when the key is good; no certificate
authority. What is handed to ssh-keygen is made anew of what was understood here, so that there are
not two readers of one text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from felhom_agent.authz.form import NAMESPACE
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.keymaterial import KEY_TYPES, MalformedKey, PublicKey, from_text
from felhom_agent.printable import printable


class Role(StrEnum):
    """What a key is for."""

    OPERATIONAL = "operational"
    """Signs what is done to one guest."""
    RECOVERY = "recovery"
    """Signs which keys are for what, and the end of a freeze; nothing that is done to a guest."""


_ACTS: Final[Mapping[Role, frozenset[str]]] = MappingProxyType(
    {
        Role.OPERATIONAL: frozenset(
            {
                "guest_destroy",
                "snapshot_rollback",
                "snapshot_delete",
                "force_stop",
                "disk_detach",
                "storage_wipe",
                "restore_overwrite",
            }
        ),
        Role.RECOVERY: frozenset({*HOST_ACTS, "decommission"}),
    }
)

_LINE = re.compile(
    r'(?P<role>[^\s"]+)[ \t]+'
    r'(?:(?P<options>[a-z-]+(?:="[^"]*")?(?:,[a-z-]+(?:="[^"]*")?)*)[ \t]+)?'
    r"(?P<type>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+)[ \t]+(?P<key>\S+)(?:[ \t]+(?P<comment>.*))?"
)
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?')
_MOMENTS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_MAX_LINE = 16_384


class LineRefused(ValueError):
    """A line is none of a signer's; `str()` says why, in words."""


@dataclass(frozen=True)
class Signer:
    """A key that may sign, with its role, and from when until when, in OpenSSH's form (empty: no
    end). `comment` is for people.
    """

    role: Role
    key: PublicKey
    comment: str = ""
    valid_after: str = ""
    valid_before: str = ""

    @property
    def line(self) -> str:
        """Its line for ssh-keygen, without its end."""
        options = [f'namespaces="{NAMESPACE}"']
        options += [f'valid-after="{self.valid_after}"'] if self.valid_after else []
        options += [f'valid-before="{self.valid_before}"'] if self.valid_before else []
        return f"{self.role} {','.join(options)} {self.key.text}"

    def may(self, act: str) -> bool:
        """Return whether its role signs acts of this class."""
        return act in _ACTS[self.role]

    def __str__(self) -> str:
        since = f" from {self.valid_after}" if self.valid_after else ""
        until = f" until {self.valid_before}" if self.valid_before else ""
        named = f" {self.comment}" if self.comment else ""
        return f"{self.role} {self.key.type} {self.key.fingerprint}{named}{since}{until}"


def roles_for(act: str) -> tuple[Role, ...]:
    """Given a class of acts, return the roles that sign it."""
    return tuple(role for role in Role if act in _ACTS[role])


def is_blank(line: str) -> bool:
    """Return whether a line says nothing."""
    return not line.strip(" \t") or line.lstrip(" \t").startswith("#")


def parse_signer(line: str) -> Signer:
    """Given a line, return its signer. Raise LineRefused if it is none, or none that may sign."""
    if len(line) > _MAX_LINE:
        raise LineRefused(f"the line has more than {_MAX_LINE} characters")
    if "\r" in line:
        raise LineRefused("the line ends as Windows writes it; remove the carriage return")
    if "\0" in line:
        raise LineRefused("the line holds a zero byte")
    found = _LINE.fullmatch(line.strip(" \t"))
    if found is None:
        raise LineRefused(_why_no_line(line))
    role = _role(found["role"])
    options = _options(found["options"] or "")
    key = _key(found["type"], found["key"])
    return Signer(
        role,
        key,
        printable(found["comment"] or "", 80),
        options.get("valid-after", ""),
        options.get("valid-before", ""),
    )


def _why_no_line(line: str) -> str:
    if "PRIVATE KEY" in line:
        return "it is a private key; it belongs on nobody's host: use the .pub file"
    words = line.split()
    if words and words[0] in KEY_TYPES:
        return f'the role is missing in front; write "{Role.OPERATIONAL} {words[0]} ..."'
    return f'it is no line like "{Role.OPERATIONAL} ssh-ed25519 AAAA... comment"'


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        known = " or ".join(Role)
    if any(c in text for c in "*?!,"):
        raise LineRefused(f"{text[:40]!r} is a pattern, and would mean many; write {known}")
    raise LineRefused(f"{text[:40]!r} is no role; write {known}")


def _options(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for option in _OPTION.finditer(text):
        name, value = option[1], option[2]
        if name == "cert-authority":
            raise LineRefused("a certificate authority would let any key sign; list each key")
        if name not in ("namespaces", "valid-after", "valid-before") or value is None:
            raise LineRefused(f"the option {name[:40]!r} is not known here; remove it")
        if name in found:
            raise LineRefused(f"the option {name} is there twice")
        if name == "namespaces" and value != NAMESPACE:
            raise LineRefused(f'the key is for another purpose; write namespaces="{NAMESPACE}"')
        if name != "namespaces":
            _refuse_no_moment(name, value)
        found[name] = value
    _refuse_never(found)
    return found


def _refuse_no_moment(name: str, value: str) -> None:
    digits = value.removesuffix("Z")
    try:
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError
        datetime.strptime(digits, _MOMENTS[len(digits)])
    except (ValueError, KeyError):
        raise LineRefused(f"{name} is no time; write YYYYMMDD or YYYYMMDDHHMMSSZ") from None


def _refuse_never(options: Mapping[str, str]) -> None:
    after, before = options.get("valid-after", ""), options.get("valid-before", "")
    if (
        after
        and before
        and after.removesuffix("Z").ljust(14, "0") >= before.removesuffix("Z").ljust(14, "0")
    ):
        raise LineRefused("the key is never good: valid-after is not before valid-before")


def _key(kind: str, text: str) -> PublicKey:
    try:
        key = from_text(kind, text)
    except MalformedKey as error:
        raise LineRefused(str(error)) from None
    if key.weak:
        raise LineRefused(key.weak)
    return key


def text_of(signers: Iterable[Signer]) -> str:
    """Given signers, return the list of them as `allowed_signers` has it, comments and all."""
    head = (
        "# Who may sign operations on this host (docs/signed-operations.md). Root's file.\n"
        "# One key a line; a line with a mistake makes the whole list count for nothing.\n"
    )
    return head + "".join(f"{s.line}{f' {s.comment}' if s.comment else ''}\n" for s in signers)
