"""One signed operation on the host itself: who may sign from now on, which keys are taken back, the
end of a freeze.

Canonical JSON like an operation on a guest (`blob.py`), with the fields that a host has: no guest,
no state of one. What a rotation brings is in it as a whole, list by list, so that nobody who
carries it can put another list in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

from felhom_agent.authz.canonical import encode, is_integer
from felhom_agent.authz.form import (
    COMMON,
    SCHEMA,
    Check,
    SignedTimes,
    is_plain,
    require,
    times_json,
    times_of,
)
from felhom_agent.authz.refusals import NotCanonical

ROTATION: Final = "key_rotation"
"""Another set of signers comes in the place of the one in force."""
REVOCATION: Final = "key_revocation"
"""Keys are taken back."""
THAW: Final = "thaw"
"""The freeze of the host ends."""
HOST_ACTS: Final = frozenset({ROTATION, REVOCATION, THAW})
MAX_KEYS: Final = 100
"""How many keys one revocation may take back."""
MAX_VERSION: Final = 1_000_000_000
_MAX_LIST: Final = 40_000
_MAX_KEY_LINE: Final = 16_384

HostParam = str | int | tuple[str, ...]
"""What a parameter may be: a text, a number, lines."""


@dataclass(frozen=True)
class HostOperation:
    """What an operator signs for a host. `act` is one of `HOST_ACTS`, `host` the agent's own id;
    the rest is as in `blob.SignedOperation`.

    A rotation has `version` (one more than the one in force), `allowed_signers` and `revoked_keys`
    (the lists' texts; the latter may be empty) and `expires` (YYYYMMDD or YYYYMMDDHHMMSS, UTC;
    empty: never). A revocation has `keys`, one public key a line.
    """

    act: str
    host: str
    nonce: str
    params: Mapping[str, HostParam] = field(default_factory=lambda: MappingProxyType({}))
    times: SignedTimes | None = None
    challenge: str = ""
    requester: str = ""
    shown: str = ""

    vmid: ClassVar[int] = 0
    name: ClassVar[str] = ""
    digest: ClassVar[str] = ""

    @property
    def guest(self) -> str:
        """What it is done to, in words."""
        return "this host"

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        params = {k: list(v) if isinstance(v, tuple) else v for k, v in self.params.items()}
        return {
            "act": self.act, "challenge": self.challenge, "host": self.host, "nonce": self.nonce,
            "params": params, "requester": self.requester, "schema": SCHEMA, "shown": self.shown,
            **times_json(self.times),
        }  # fmt: skip

    def encode(self) -> bytes:
        """Return the bytes that are signed. Raise NotCanonical if it is no operation."""
        found = self.to_json()
        host_from_json(found)
        return encode(found)

    def unseen(self) -> HostOperation:
        """Return it without what follows from the rest of it."""
        return replace(self, shown="")


def host_from_json(found: Mapping[str, Any]) -> HostOperation:
    """Given a JSON object, return it as an operation. Raise NotCanonical if it is none."""
    require(found, _FIELDS)
    require(found["params"], _PARAMS[found["act"]], "a parameter ")
    params = {k: tuple(v) if isinstance(v, list) else v for k, v in found["params"].items()}
    return HostOperation(
        act=found["act"],
        host=found["host"],
        nonce=found["nonce"],
        params=MappingProxyType(params),
        times=times_of(found),
        challenge=found["challenge"],
        requester=found["requester"],
        shown=found["shown"],
    )


def is_host_form(found: Mapping[str, Any]) -> bool:
    """Return whether an object is to be read as an operation on the host."""
    act = found.get("act")
    return isinstance(act, str) and act in HOST_ACTS


def number_in(operation: HostOperation, name: str) -> int:
    """Return a parameter that is a number. Raise NotCanonical if it is none."""
    value = operation.params.get(name)
    if not isinstance(value, int):
        raise NotCanonical(f"its parameter {name} is no number")
    return value


def text_in(operation: HostOperation, name: str) -> str:
    """Return a parameter that is a text. Raise NotCanonical if it is none."""
    value = operation.params.get(name)
    if not isinstance(value, str):
        raise NotCanonical(f"its parameter {name} is no text")
    return value


def lines_in(operation: HostOperation, name: str) -> tuple[str, ...]:
    """Return a parameter that is lines. Raise NotCanonical if it is none."""
    value = operation.params.get(name)
    if not isinstance(value, tuple):
        raise NotCanonical(f"its parameter {name} is no list")
    return value


def _is_list_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= _MAX_LIST
        and all(line.isprintable() for line in value.replace("\t", " ").split("\n"))
    )


def _are_keys(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MAX_KEYS
        and all(is_plain(line, _MAX_KEY_LINE) and line for line in value)
    )


_FIELDS: Final[Mapping[str, Check]] = {
    **COMMON,
    "act": lambda value: isinstance(value, str) and value in HOST_ACTS,
    "params": lambda value: isinstance(value, dict),
}
_PARAMS: Final[Mapping[str, Mapping[str, Check]]] = {
    ROTATION: {
        "version": lambda value: is_integer(value, 2, MAX_VERSION),
        "allowed_signers": _is_list_text,
        "revoked_keys": _is_list_text,
        "expires": lambda value: is_plain(value, 15),
    },
    REVOCATION: {"keys": _are_keys},
    THAW: {},
}
