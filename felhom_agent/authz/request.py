"""What a host hands to a desk to be signed: the operation, and what a person wants to know besides.

    {"schema":"felhom-request-v1","operation":{...},"circumstances":{...}}

The operation is what will be signed. The circumstances (latest backup, time since start, HA) are
for the decision alone; they are not signed, since they change by themselves. Whoever handles the
file on its way can change them, and not the operation: the host compares that with the guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

from felhom_agent.authz.blob import Param, SignedOperation
from felhom_agent.authz.canonical import decode, encode, is_integer, refuse_beyond_bounds
from felhom_agent.authz.challenge import random_id
from felhom_agent.authz.form import SignedTimes, is_plain
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, HostOperation, HostParam
from felhom_agent.authz.observed import ObservedGuest, refuse_locked
from felhom_agent.authz.operation import Operation, operation_of
from felhom_agent.authz.parameters import refuse_parameters, refuse_unsupported
from felhom_agent.authz.refusals import NotCanonical, OtherIdentity
from felhom_agent.authz.rotation import refuse_keys, set_of
from felhom_agent.authz.words import shown_hash, with_words, words_of
from felhom_agent.printable import moment_text

REQUEST_SCHEMA: Final = "felhom-request-v1"
UNKNOWN_BACKUP: Final = "unknown"
_O = TypeVar("_O", bound=Operation)


@dataclass(frozen=True)
class Circumstances:
    """What helps a person to decide: the node's name, the latest backup ("unknown", none, or
    when and where), since how many seconds the guest runs (None: it does not, or nobody knows),
    how HA has it (empty: not at all), and until when the request is good (seconds since the epoch).
    """

    node: str = ""
    backup: str = UNKNOWN_BACKUP
    uptime: int | None = None
    ha: str = ""
    expires: int = 0


@dataclass(frozen=True)
class SignedRequest:
    """A request: what would be signed, and what helps to decide."""

    operation: Operation
    circumstances: Circumstances = Circumstances()

    def encode(self) -> bytes:
        """Return the bytes of the request's file."""
        c = self.circumstances
        told = {
            "backup": c.backup, "expires": c.expires, "ha": c.ha, "node": c.node,
            "uptime": c.uptime,
        }  # fmt: skip
        return encode(
            {
                "schema": REQUEST_SCHEMA,
                "operation": self.operation.to_json(),
                "circumstances": told,
            }
        )

    def lines(self) -> tuple[str, ...]:
        """Return in plain words what will happen, how far it reaches, and what helps to decide."""
        told = _circumstances(self.circumstances)
        if isinstance(self.operation, SignedOperation):
            told = (f"Latest backup: {self.circumstances.backup}", *told)
        return (*words_of(self.operation), *told)


def compose(
    act: str,
    guest: ObservedGuest,
    host: str,
    challenge: str,
    *,
    params: Mapping[str, Param] = MappingProxyType({}),
    stop: bool = False,
    resume: bool = False,
) -> SignedOperation:
    """Given an act on a guest as it is now, this host's id and a challenge of its own, return the
    operation that is to be signed.

    Raise NotSupported or WrongParameters if it could not be done, OtherIdentity if nobody can tell
    which guest it is, GuestLocked while PVE works on it, NotCanonical if the guest has what cannot
    be signed.
    """
    refuse_unsupported(act)
    refuse_locked(guest)
    if not guest.identity:
        raise OtherIdentity(f"guest {guest.vmid} has nothing to know it by; nothing can be signed")
    found = SignedOperation(
        act=act,
        vmid=guest.vmid,
        kind=guest.kind,
        name=guest.name,
        host=host,
        identity=guest.identity,
        born=guest.born,
        digest=guest.digest,
        nonce=random_id(),
        volumes=guest.volumes,
        snapshots=guest.snapshots,
        params=MappingProxyType(dict(params)),
        stop=stop,
        resume=resume,
        challenge=challenge,
    )
    refuse_parameters(found)
    made = with_words(found)
    made.encode()
    return made


def compose_for_host(
    act: str, params: Mapping[str, HostParam], host: str, challenge: str
) -> HostOperation:
    """Given an act on the host, its parameters, the host's id and a challenge of its own, return
    the operation that is to be signed.

    Raise NotSupported or WrongParameters if it could not be done, NotCanonical if it cannot be
    signed.
    """
    refuse_unsupported(act)
    found = HostOperation(
        act, host, random_id(), MappingProxyType(dict(params)), challenge=challenge
    )
    found.encode()
    _refuse_odd(found)
    return with_words(found)


def with_times(operation: _O, now: int, seconds: int) -> _O:
    """Given an operation, the desk's time and for how many seconds it shall be good, return it with
    times in the place of a challenge.
    """
    return with_words(replace(operation, challenge="", times=SignedTimes(now, now, now + seconds)))


def asked_for_by(operation: _O, fingerprint: str) -> _O:
    """Given an operation and a key's fingerprint, return it with that key as who asks for it."""
    return with_words(replace(operation, requester=fingerprint))


def refuse_misdescribed(operation: Operation) -> None:
    """Raise NotCanonical, NotSupported or WrongParameters if no host would do an operation that
    somebody hands to a signer.
    """
    if operation.shown != shown_hash(operation):
        raise NotCanonical(
            "the host describes this operation in other words than this program; use the same "
            "version of felhom-agent on both"
        )
    refuse_unsupported(operation.act)
    _refuse_odd(operation)


def _refuse_odd(operation: Operation) -> None:
    if isinstance(operation, SignedOperation):
        refuse_parameters(operation)
    elif operation.act == ROTATION:
        set_of(operation)
    elif operation.act == REVOCATION:
        refuse_keys(operation)


def parse_request(data: bytes) -> SignedRequest:
    """Given the bytes of a request's file, return it. Raise OutOfBounds or NotCanonical if they are
    none, or its words are not those that it would be signed with; NotSupported or WrongParameters
    if no host would do it.
    """
    refuse_beyond_bounds(data)
    found = decode(data)
    operation, told = found.get("operation"), found.get("circumstances")
    if found.keys() != {"schema", "operation", "circumstances"}:
        raise NotCanonical("it is no request: it has not schema, operation and circumstances")
    if found["schema"] != REQUEST_SCHEMA:
        raise NotCanonical(f"it is no request of the form {REQUEST_SCHEMA}")
    if not isinstance(operation, dict) or not isinstance(told, dict):
        raise NotCanonical("its operation, or its circumstances, are no object")
    request = SignedRequest(operation_of(operation), _circumstances_of(told))
    refuse_misdescribed(request.operation)
    return request


def _circumstances_of(told: Mapping[str, object]) -> Circumstances:
    if told.keys() != {"node", "backup", "uptime", "ha", "expires"}:
        raise NotCanonical("its circumstances are not the ones that this version knows")
    texts = [told["node"], told["backup"], told["ha"]]
    uptime, expires = told["uptime"], told["expires"]
    if not all(is_plain(text, 200) for text in texts):
        raise NotCanonical("its circumstances hold what cannot be shown")
    if not (uptime is None or is_integer(uptime)) or not is_integer(expires, 0, 253_370_764_800):
        raise NotCanonical("its circumstances have times that are none")
    node, backup, ha = map(str, texts)
    seconds = int(str(uptime)) if uptime is not None else None
    return Circumstances(node, backup, seconds, ha, int(str(expires)))


def _circumstances(told: Circumstances) -> tuple[str, ...]:
    lines = [f"Node: {told.node}"] if told.node else []
    if told.uptime is not None:
        lines.append(f"Runs since: {told.uptime // 3600} h {told.uptime % 3600 // 60} min")
    lines += [f"HA: {told.ha}"] if told.ha else []
    if told.expires:
        lines.append(f"The request ends at {moment_text(told.expires)}")
    return tuple(lines)
