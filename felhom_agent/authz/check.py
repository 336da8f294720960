"""The examination of one job: a state machine whose stages are drawn in the room's docstring.

No file, no network, no process of its own: what it needs of them is passed in. Each stage is one
function that adds to what is known, or raises its own error (`refusals.py`). `STAGES` is the order,
and there is no other way through it.

Threads: an examiner may be asked from any thread. It keeps nothing of a job; what it is given
guards itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from felhom_agent.authz.armor import SshSignature, open_armor, refuse_beyond_armor
from felhom_agent.authz.blob import NAMESPACE, SignedOperation, hash_of, parse
from felhom_agent.authz.canonical import refuse_beyond_bounds
from felhom_agent.authz.clock import SignedClock
from felhom_agent.authz.keymaterial import PublicKey
from felhom_agent.authz.ledger import Ledger
from felhom_agent.authz.observed import (
    ObservedGuest,
    refuse_other_guest,
    refuse_other_identity,
    refuse_other_state,
)
from felhom_agent.authz.parameters import refuse_parameters, refuse_unsupported
from felhom_agent.authz.refusals import (
    BadSignature,
    NonceSpent,
    OperationRefused,
    WrongHost,
    WrongNamespace,
    WrongParameters,
    WrongRole,
)
from felhom_agent.authz.signerline import Signer, roles_for
from felhom_agent.authz.signers import SignerSet
from felhom_agent.authz.words import shown_hash
from felhom_agent.journal.signed import NonceTaken


@dataclass(frozen=True)
class SignedJob:
    """A job as it was received: the signed bytes, the signature's file, and which way it came."""

    blob: bytes
    armor: bytes
    source: str = ""

    @property
    def hash(self) -> str:
        """The SHA-256 of the signed bytes: what a job is called before anybody believes it."""
        return hash_of(self.blob)


Observe = Callable[[SignedOperation], ObservedGuest | None]
"""Returns the operation's guest as it is now, None if it is not on this host. May raise what
stands in the way; then nothing is known, and nothing happens."""


class Verifier(Protocol):
    """Finds out whether a signature is good (see `sshkeygen.SshKeygen`)."""

    def verify(
        self,
        blob: bytes,
        armor: bytes,
        signer: Signer,
        revoked: tuple[PublicKey, ...] = (),
        now: float | None = None,
    ) -> None:
        """Return if it is good. Raise BadSignature or VerifierFailed."""
        ...


@dataclass(frozen=True)
class Dependencies:
    """What an examination rests on: this host's id, who may sign (read anew each time), who checks
    signatures, the clock, and the memory of nonces.
    """

    host: str
    signers: Callable[[], SignerSet]
    verifier: Verifier
    clock: SignedClock
    facts: Ledger


@dataclass
class Progress:
    """What is known of a job by now, stage by stage; `proven` tells that the signature is good.
    Belongs to the thread that examines it.
    """

    job: SignedJob
    means: Dependencies
    observe: Observe
    signature: SshSignature | None = None
    signers: SignerSet | None = None
    signer: Signer | None = None
    proven: bool = False
    operation: SignedOperation | None = None
    guest: ObservedGuest | None = None
    until: float = 0.0

    def known(self) -> tuple[SshSignature, SignerSet, Signer]:
        """Return what is known once the key is."""
        if self.signature is None or self.signers is None or self.signer is None:
            raise BadSignature("its key was not looked for")
        return self.signature, self.signers, self.signer

    def read(self) -> SignedOperation:
        """Return the operation, once it was parsed."""
        if self.operation is None:
            raise BadSignature("it was not parsed")
        return self.operation

    def seen(self) -> ObservedGuest:
        """Return the guest, once it was observed."""
        if self.guest is None:
            raise WrongHost("its guest was not looked for")
        return self.guest


@dataclass(frozen=True)
class Stage:
    """One stage: its name, the attack that it stops, and the check."""

    name: str
    attack: str
    check: Callable[[Progress], None]


def progress(found: Progress) -> Iterator[Stage]:
    """Given a job, yield each stage once the job has passed it. Raise its error at the first that
    it does not pass.
    """
    for stage in STAGES:
        stage.check(found)
        yield stage


def _bounds(found: Progress) -> None:
    refuse_beyond_armor(found.job.armor)
    refuse_beyond_bounds(found.job.blob)


def _armor(found: Progress) -> None:
    found.signature = open_armor(found.job.armor)


def _namespace(found: Progress) -> None:
    name = found.signature.namespace if found.signature else ""
    if name != NAMESPACE:
        raise WrongNamespace(f"the signature is for {name[:60]!r}, not for {NAMESPACE}")


def _key(found: Progress) -> None:
    found.signers = found.means.signers()
    if found.signature is not None:
        found.signer = found.signers.signer(found.signature.key)


def _revocation(found: Progress) -> None:
    signature, signers, _ = found.known()
    signers.refuse_revoked(signature.key)


def _signature(found: Progress) -> None:
    signature, signers, signer = found.known()
    if signature.touched is False:
        raise BadSignature("nobody touched the security key; it must be set up to want a touch")
    now = found.means.clock.latest()
    job = found.job
    found.means.verifier.verify(job.blob, job.armor, signer, signers.revoked, now)
    found.proven = True


def _form(found: Progress) -> None:
    # Only now: the bytes are an operator's.
    found.operation = parse(found.job.blob)


def _role(found: Progress) -> None:
    _, _, signer = found.known()
    act = found.read().act
    if not signer.may(act):
        needed = " or ".join(roles_for(act)) or "other"
        raise WrongRole(f"a key of role {signer.role} does not sign {act}; one of {needed} does")
    refuse_unsupported(act)


def _host(found: Progress) -> None:
    operation = found.read()
    if operation.host != found.means.host:
        raise WrongHost(
            f"it is for the host {operation.host}, and this one is {found.means.host}; make the "
            f"request on this host"
        )
    guest = found.observe(operation)
    refuse_other_guest(operation, guest)
    found.guest = guest


def _time(found: Progress) -> None:
    found.until = found.means.clock.until(found.read())


def _identity(found: Progress) -> None:
    refuse_other_identity(found.read(), found.seen())


def _state(found: Progress) -> None:
    refuse_other_state(found.read(), found.seen())


def _parameters(found: Progress) -> None:
    operation = found.read()
    refuse_parameters(operation)
    if operation.shown != shown_hash(operation):
        raise WrongParameters("what the signer was shown is not what this operation does")


def _nonce(found: Progress) -> None:
    try:
        found.means.facts.refuse_spent(found.read().nonce, found.job.hash)
    except NonceTaken as error:
        raise NonceSpent(str(error)) from None


STAGES: Final[tuple[Stage, ...]] = (
    Stage("bounds", "endless or too many data", _bounds),
    Stage("armor", "bytes nobody signed", _armor),
    Stage("namespace", "a signature made for something else", _namespace),
    Stage("key", "a stranger's key", _key),
    Stage("revocation", "a stolen key", _revocation),
    Stage("signature", "a changed blob", _signature),
    Stage("form", "one text that is read in two ways", _form),
    Stage("role", "a key used beyond its purpose", _role),
    Stage("host", "a job for another host, or for a copy of it", _host),
    Stage("time", "a hoarded blob, a clock set back", _time),
    Stage("identity", "the right vmid, another guest", _identity),
    Stage("state", "the right guest, changed since", _state),
    Stage("parameters", "the right act, aimed elsewhere", _parameters),
    Stage("nonce", "a replay", _nonce),
)


def refused_at(error: OperationRefused) -> Stage:
    """Given a refusal, return the stage that it is of."""
    return next(stage for stage in STAGES if stage.name == error.stage)
