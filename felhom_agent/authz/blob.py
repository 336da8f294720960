"""One signed operation on a guest: what is to be done, to which, in which state, until when.

What is signed is the canonical JSON (`canonical.py`) of one `SignedOperation`, and nothing else.
Every key must be there and none besides, so that nothing is added later that an older agent would
not mind. `volumes` and `snapshots` are all that the guest has, in their order: the list of what can
be lost. Either the signer chose the times (`issued`, `not_before`, `expires`; whole seconds since
the epoch), or the agent gave out the `challenge` and measures the time itself. `requester` is the
key of who asked for it, where somebody else must approve; it is one of those that sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from felhom_agent.authz.canonical import encode, is_integer
from felhom_agent.authz.form import (
    COMMON,
    SCHEMA,
    Check,
    SignedTimes,
    is_flag,
    is_plain,
    is_second,
    is_second_or_none,
    matches,
    require,
    times_json,
    times_of,
)
from felhom_agent.authz.hostblob import HOST_ACTS
from felhom_agent.authz.refusals import NotCanonical
from felhom_agent.model import Kind
from felhom_agent.planning.gate import DESTRUCTIVE

MAX_LISTED: Final = 500
"""How many volumes, and how many snapshots, an operation may list."""

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
    requester: str = ""
    shown: str = ""

    @property
    def guest(self) -> str:
        """Its guest, as people call it: "101 web"."""
        return f"{self.vmid} {self.name}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "act": self.act, "born": self.born, "challenge": self.challenge, "digest": self.digest,
            "host": self.host, "identity": self.identity, **times_json(self.times),
            "kind": str(self.kind), "name": self.name, "nonce": self.nonce,
            "params": dict(self.params), "requester": self.requester,
            "resume": self.resume, "schema": SCHEMA, "shown": self.shown,
            "snapshots": [{"name": s.name, "snaptime": s.snaptime} for s in self.snapshots],
            "stop": self.stop, "vmid": self.vmid,
            "volumes": [{"key": v.key, "size": v.size, "volid": v.volid} for v in self.volumes],
        }  # fmt: skip

    def encode(self) -> bytes:
        """Return the bytes that are signed. Raise NotCanonical if it is no operation."""
        found = self.to_json()
        from_json(found)
        return encode(found)

    def unseen(self) -> SignedOperation:
        """Return it without what follows from the rest of it."""
        return replace(self, shown="")


def from_json(found: Mapping[str, Any]) -> SignedOperation:
    """Given a JSON object, return it as an operation. Raise NotCanonical if it is none."""
    require(found, _FIELDS)
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
        times=times_of(found),
        challenge=found["challenge"],
        requester=found["requester"],
        shown=found["shown"],
    )


def is_snapshot_name(value: object) -> bool:
    """Return whether it can be a snapshot's name; "current" is PVE's word for none."""
    return isinstance(value, str) and bool(_SNAPSHOT.fullmatch(value)) and value != "current"


def _volume(found: Any) -> SignedVolume:
    require(found, _VOLUME, "a volume's ")
    return SignedVolume(found["key"], found["volid"], found["size"])


def _snapshot(found: Any) -> SignedSnapshot:
    require(found, _SNAPSHOT_FIELDS, "a snapshot's ")
    return SignedSnapshot(found["name"], found["snaptime"])


def _text(name: str, *, or_empty: bool = True) -> Check:
    return lambda value: is_plain(value, _TEXT[name]) and (or_empty or bool(value))


def _listed(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LISTED


def _params(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _WORD.fullmatch(key) and (isinstance(each, bool) or is_plain(each, _TEXT["volid"]))
        for key, each in value.items()
    )


_FIELDS: Final[Mapping[str, Check]] = {
    **COMMON,
    "act": lambda value: isinstance(value, str) and value in DESTRUCTIVE - HOST_ACTS,
    "vmid": lambda value: is_integer(value, 100, 999_999_999),
    "kind": lambda value: isinstance(value, str) and value in frozenset(Kind),
    "name": _text("name"),
    "identity": _text("identity", or_empty=False),
    "born": is_second_or_none,
    "digest": matches(_DIGEST),
    "volumes": _listed,
    "snapshots": _listed,
    "params": _params,
    "stop": is_flag,
    "resume": is_flag,
}
_VOLUME: Final[Mapping[str, Check]] = {
    "key": matches(_OPTION),
    "volid": _text("volid", or_empty=False),
    "size": _text("size"),
}
_SNAPSHOT_FIELDS: Final[Mapping[str, Check]] = {
    "name": is_snapshot_name,
    "snaptime": is_second,
}
