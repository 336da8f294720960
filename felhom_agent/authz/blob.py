"""One signed operation: what is to be done, to which guest, in which state, until when.

What is signed is the canonical JSON (`canonical.py`) of one `SignedOperation`, and nothing else.
Every key must be there and none besides, so that nothing is added later that an older agent would
not mind. `volumes` and `snapshots` are all that the guest has, in their order: the list of what can
be lost. Either the signer chose the times (`issued`, `not_before`, `expires`; whole seconds since
the epoch), or the agent gave out the `challenge` and measures the time itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from felhom_agent.authz.canonical import decode, encode, is_integer
from felhom_agent.authz.refusals import NotCanonical
from felhom_agent.model import Kind
from felhom_agent.planning.gate import DESTRUCTIVE
from felhom_agent.printable import printable

NAMESPACE: Final = "felhom-op-v1"
"""What SSHSIG calls the purpose of a signature."""
SCHEMA: Final = 1
MAX_LISTED: Final = 500
"""How many volumes, and how many snapshots, an operation may list."""

_HEX_32 = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{40}")
_WORD = re.compile(r"[a-z][a-z_]{0,39}")
_OPTION = re.compile(r"[a-z][a-z0-9]{0,39}")
# PVE: pve-common JSONSchema.pm pve-configid, and GuestImport's snapshot names, 40 at most
_SNAPSHOT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_TEXT = {"name": 255, "identity": 4000, "volid": 1000, "size": 40}

Param = str | bool
"""What a parameter may be."""


@dataclass(frozen=True, order=True)
class SignedVolume:
    """One volume of a guest: its key, its name, and its size as PVE shows it (empty: unknown)."""

    key: str
    volid: str
    size: str = ""


@dataclass(frozen=True, order=True)
class SignedSnapshot:
    """One snapshot of a guest, with when it was made (PVE's clock, seconds since the epoch)."""

    name: str
    snaptime: int


@dataclass(frozen=True)
class SignedTimes:
    """What the signer says of time, in seconds since the epoch."""

    issued: int
    not_before: int
    expires: int


@dataclass(frozen=True)
class SignedOperation:
    """What an operator signs.

    `act` is one of `planning.gate.DESTRUCTIVE`, `host` the agent's own id (`hostid.py`). `identity`
    is `planning.identity.identity_of` the guest, `born` what the task list said of its vmid (None:
    the list could not be read), `digest` its configuration's version. `stop` lets a running guest
    be stopped first, `resume` lets the agent go on with the guest afterwards. `times` is None where
    the agent's own `challenge` is there. `shown` is the SHA-256 of the words that the signer was
    shown (`words.py`).
    """

    act: str
    vmid: int
    kind: Kind
    name: str
    host: str
    identity: str
    born: int | None
    digest: str
    nonce: str
    volumes: tuple[SignedVolume, ...] = ()
    snapshots: tuple[SignedSnapshot, ...] = ()
    params: Mapping[str, Param] = field(default_factory=lambda: MappingProxyType({}))
    stop: bool = False
    resume: bool = False
    times: SignedTimes | None = None
    challenge: str = ""
    shown: str = ""

    @property
    def guest(self) -> str:
        """Its guest, as people call it: "101 web"."""
        return f"{self.vmid} {self.name}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        times = self.times
        return {
            "act": self.act, "born": self.born, "challenge": self.challenge, "digest": self.digest,
            "expires": times.expires if times else None, "host": self.host,
            "identity": self.identity, "issued": times.issued if times else None,
            "kind": str(self.kind), "name": self.name, "nonce": self.nonce,
            "not_before": times.not_before if times else None, "params": dict(self.params),
            "resume": self.resume, "schema": SCHEMA, "shown": self.shown,
            "snapshots": [{"name": s.name, "snaptime": s.snaptime} for s in self.snapshots],
            "stop": self.stop, "vmid": self.vmid,
            "volumes": [{"key": v.key, "size": v.size, "volid": v.volid} for v in self.volumes],
        }  # fmt: skip

    def encode(self) -> bytes:
        """Return the bytes that are signed. Raise NotCanonical if it is no operation."""
        data = encode(self.to_json())
        parse(data)
        return data

    def unseen(self) -> SignedOperation:
        """Return it without what follows from the rest of it."""
        return replace(self, shown="")


def hash_of(blob: bytes) -> str:
    """Given bytes, return their SHA-256 in hex."""
    return hashlib.sha256(blob).hexdigest()


def parse(blob: bytes) -> SignedOperation:
    """Given the signed bytes, return what they say. Raise NotCanonical if they are not the one form
    of an operation.
    """
    return from_json(decode(blob))


def from_json(found: Mapping[str, Any]) -> SignedOperation:
    """Given a JSON object, return it as an operation. Raise NotCanonical if it is none."""
    _require(found, _FIELDS, "")
    volumes = tuple(_volume(each) for each in found["volumes"])
    snapshots = tuple(_snapshot(each) for each in found["snapshots"])
    if list(volumes) != sorted(set(volumes)) or len({v.key for v in volumes}) < len(volumes):
        raise NotCanonical("its volumes are not in order, each once")
    if list(snapshots) != sorted(set(snapshots)) or len({s.name for s in snapshots}) < len(
        snapshots
    ):
        raise NotCanonical("its snapshots are not in order, each once")
    return SignedOperation(
        act=found["act"],
        vmid=found["vmid"],
        kind=Kind(found["kind"]),
        name=found["name"],
        host=found["host"],
        identity=found["identity"],
        born=found["born"],
        digest=found["digest"],
        nonce=found["nonce"],
        volumes=volumes,
        snapshots=snapshots,
        params=MappingProxyType(dict(found["params"])),
        stop=found["stop"],
        resume=found["resume"],
        times=_times(found),
        challenge=found["challenge"],
        shown=found["shown"],
    )


def is_plain(value: object, longest: int) -> bool:
    """Return whether it is a text that may be shown and be passed on: one line, bounded, nothing
    hidden in it, and nothing that a command would take for an option.
    """
    return (
        isinstance(value, str)
        and len(value) <= longest
        and printable(value, max(longest, 3)) == value
        and not value.startswith("-")
    )


def is_snapshot_name(value: object) -> bool:
    """Return whether it can be a snapshot's name; "current" is PVE's word for none."""
    return isinstance(value, str) and bool(_SNAPSHOT.fullmatch(value)) and value != "current"


def _times(found: Mapping[str, Any]) -> SignedTimes | None:
    given = [found[key] for key in ("issued", "not_before", "expires")]
    if found["challenge"]:
        if any(each is not None for each in given):
            raise NotCanonical("it has a challenge, and times of the signer's; one of them counts")
        return None
    if any(each is None for each in given):
        raise NotCanonical("it has neither a challenge nor issued, not_before and expires")
    return SignedTimes(*given)


def _volume(found: Any) -> SignedVolume:
    _require(found, _VOLUME, "a volume's ")
    return SignedVolume(found["key"], found["volid"], found["size"])


def _snapshot(found: Any) -> SignedSnapshot:
    _require(found, _SNAPSHOT_FIELDS, "a snapshot's ")
    return SignedSnapshot(found["name"], found["snaptime"])


_Check = Callable[[Any], bool]


def _require(found: Any, fields: Mapping[str, _Check], whose: str) -> None:
    """Raise NotCanonical unless an object has exactly these fields, each as it must be."""
    if not isinstance(found, dict):
        raise NotCanonical(f"{whose or 'the '}form is no object")
    for key in found:
        if key not in fields:
            raise NotCanonical(f"it has {whose}{key!r}, which this version does not know")
    for key, check in fields.items():
        if key not in found:
            raise NotCanonical(f"it has no {whose}{key}")
        if not check(found[key]):
            raise NotCanonical(f"{whose}{key} is not as it must be: {found[key]!r:.80}")


def _hex(pattern: re.Pattern[str], *, or_empty: bool = False) -> _Check:
    return lambda value: (
        isinstance(value, str) and bool(pattern.fullmatch(value) or (or_empty and not value))
    )


def _text(name: str, *, or_empty: bool = True) -> _Check:
    return lambda value: is_plain(value, _TEXT[name]) and (or_empty or bool(value))


def _listed(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LISTED


def _params(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _WORD.fullmatch(key) and (isinstance(each, bool) or is_plain(each, _TEXT["volid"]))
        for key, each in value.items()
    )


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _second(value: Any) -> bool:
    return is_integer(value, 0, 253_370_764_800)


def _second_or_none(value: Any) -> bool:
    return value is None or _second(value)


_FIELDS: Final[Mapping[str, _Check]] = {
    "schema": lambda value: is_integer(value) and value == SCHEMA,
    "act": lambda value: isinstance(value, str) and value in DESTRUCTIVE,
    "vmid": lambda value: is_integer(value, 100, 999_999_999),
    "kind": lambda value: isinstance(value, str) and value in frozenset(Kind),
    "name": _text("name"),
    "host": _hex(_HEX_32),
    "identity": _text("identity", or_empty=False),
    "born": _second_or_none,
    "digest": _hex(_DIGEST),
    "nonce": _hex(_HEX_32),
    "volumes": _listed,
    "snapshots": _listed,
    "params": _params,
    "stop": _flag,
    "resume": _flag,
    "issued": _second_or_none,
    "not_before": _second_or_none,
    "expires": _second_or_none,
    "challenge": _hex(_HEX_32, or_empty=True),
    "shown": _hex(_HASH, or_empty=True),
}
_VOLUME: Final[Mapping[str, _Check]] = {
    "key": _hex(_OPTION),
    "volid": _text("volid", or_empty=False),
    "size": _text("size"),
}
_SNAPSHOT_FIELDS: Final[Mapping[str, _Check]] = {
    "name": is_snapshot_name,
    "snaptime": _second,
}
