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
from felhom_agent.authz.blob import SignedOperation
from felhom_agent.authz.canonical import refuse_beyond_bounds
from felhom_agent.authz.clock import SignedClock
from felhom_agent.authz.endorsement import Endorsement, refuse_too_few
from felhom_agent.authz.form import NAMESPACE, hash_of
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, HostOperation
from felhom_agent.authz.keymaterial import PublicKey
from felhom_agent.authz.ledger import Ledger
from felhom_agent.authz.observed import (
    ObservedGuest,
    refuse_other_guest,
    refuse_other_identity,
    refuse_other_state,
)
from felhom_agent.authz.operation import Operation, parse
from felhom_agent.authz.parameters import refuse_parameters, refuse_unsupported
from felhom_agent.authz.refusals import (
    BadSignature,
    ForeignSignature,
    NonceSpent,
    OperationRefused,
    OutOfBounds,
    OutsideTime,
    SignersExpired,
    UnknownKey,
    WrongHost,
    WrongNamespace,
    WrongParameters,
    WrongRole,
)
from felhom_agent.authz.rotation import (
    refuse_keys,
    refuse_lock_out,
    refuse_other_version,
    rehearsal_of,
    set_of,
)
from felhom_agent.authz.signerline import Role, Signer, roles_for
from felhom_agent.authz.signers import SignerSet
from felhom_agent.authz.words import shown_hash
from felhom_agent.config.settings import MAX_SIGNATURES, AuthzConfig
from felhom_agent.journal.signed import NonceTaken
from felhom_agent.printable import moment_text

HUB: Final = "hub"
"""What the source of a job begins with that a hub has carried."""


@dataclass(frozen=True)
class SignedJob:
    """A job as it was received: the signed bytes, the files of 1 to 8 signatures over them, and
    which way it came ("hub:ID": by a hub, which calls it ID).
    """

    blob: bytes
    signatures: tuple[bytes, ...]
    source: str = ""

    @property
    def hash(self) -> str:
        """The SHA-256 of the signed bytes: what a job is called before anybody believes it."""
        return hash_of(self.blob)

    @property
    def is_from_hub(self) -> bool:
        """Whether a hub has carried it."""
        return self.source.partition(":")[0] == HUB


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
    signatures, the clock, the memory of nonces, and what the owner wants of signers.
    """

    host: str
    signers: Callable[[], SignerSet]
    verifier: Verifier
    clock: SignedClock
    facts: Ledger
    policy: AuthzConfig


@dataclass
class Progress:
    """What is known of a job by now, stage by stage; `proven` tells that the signatures are good.
    `strangers` are signatures by keys that are not on the list: a rotation brings keys that are
    not yet, and `rehearsed` are those of its set that were found good. Belongs to the thread that
    examines it.
    """

    job: SignedJob
    means: Dependencies
    observe: Observe
    signatures: tuple[SshSignature, ...] = ()
    signers: SignerSet | None = None
    endorsements: tuple[Endorsement, ...] = ()
    strangers: tuple[tuple[SshSignature, bytes], ...] = ()
    rehearsed: tuple[Endorsement, ...] = ()
    proven: bool = False
    operation: Operation | None = None
    guest: ObservedGuest | None = None
    until: float = 0.0

    def known(self) -> tuple[SignerSet, tuple[Endorsement, ...]]:
        """Return what is known once the keys are."""
        if self.signers is None or not self.endorsements:
            raise BadSignature("its key was not looked for")
        return self.signers, self.endorsements

    def whose(self) -> tuple[Role, str]:
        """Return in which role it was signed, and by whose keys, once the signatures are good."""
        _, endorsements = self.known()
        able = [
            each for each in endorsements if self.operation and each.signer.may(self.operation.act)
        ]
        keys = (each.signer.key.fingerprint for each in (*endorsements, *self.rehearsed))
        return (able or endorsements)[0].signer.role, ",".join(dict.fromkeys(keys))

    def read(self) -> Operation:
        """Return the operation, once it was parsed."""
        if self.operation is None:
            raise BadSignature("it was not parsed")
        return self.operation

    def guests(self) -> tuple[SignedOperation, ObservedGuest] | None:
        """Return the operation and its guest, once that was observed; None if it is the host's."""
        operation = self.read()
        if isinstance(operation, HostOperation):
            return None
        if self.guest is None:
            raise WrongHost("its guest was not looked for")
        return operation, self.guest


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
    count = len(found.job.signatures)
    if not 1 <= count <= MAX_SIGNATURES:
        raise OutOfBounds(f"it has {count} signatures, 1 to {MAX_SIGNATURES} are taken")
    for armor in found.job.signatures:
        refuse_beyond_armor(armor)
    refuse_beyond_bounds(found.job.blob)


def _armor(found: Progress) -> None:
    found.signatures = tuple(open_armor(armor) for armor in found.job.signatures)


def _namespace(found: Progress) -> None:
    for signature in found.signatures:
        if signature.namespace != NAMESPACE:
            name = signature.namespace[:60]
            raise WrongNamespace(f"the signature is for {name!r}, not for {NAMESPACE}")


def _key(found: Progress) -> None:
    found.signers = found.means.signers()
    strangers: list[tuple[SshSignature, bytes]] = []
    known: list[Endorsement] = []
    unknown: UnknownKey | None = None
    for signature, armor in zip(found.signatures, found.job.signatures, strict=True):
        try:
            known.append(Endorsement(signature, armor, found.signers.signer(signature.key)))
        except UnknownKey as error:
            strangers.append((signature, armor))
            unknown = unknown or error
    if unknown is not None and not known:
        raise unknown
    found.endorsements, found.strangers = tuple(known), tuple(strangers)


def _revocation(found: Progress) -> None:
    signers, _ = found.known()
    for signature in found.signatures:
        signers.refuse_revoked(signature.key)


def _signature(found: Progress) -> None:
    signers, endorsements = found.known()
    for each in endorsements:
        each.refuse_untouched(found.means.policy.touch_required)
        _verify(found, each, signers.revoked)
    found.proven = True


def _verify(found: Progress, each: Endorsement, revoked: tuple[PublicKey, ...]) -> None:
    now = found.means.clock.latest()
    found.means.verifier.verify(found.job.blob, each.armor, each.signer, revoked, now)


def _form(found: Progress) -> None:
    # Only now: the bytes are an operator's.
    found.operation = parse(found.job.blob)


def _role(found: Progress) -> None:
    _, endorsements = found.known()
    act = found.read().act
    able = [each for each in endorsements if each.signer.may(act)]
    # Keys of the other role sign a rotation, too: that they can is what is rehearsed.
    if not able or (len(able) < len(endorsements) and act != ROTATION):
        wrong = next(each.signer for each in endorsements if not each.signer.may(act))
        needed = " or ".join(roles_for(act)) or "other"
        raise WrongRole(f"a key of role {wrong.role} does not sign {act}; one of {needed} does")
    refuse_unsupported(act)


def _threshold(found: Progress) -> None:
    signers, endorsements = found.known()
    operation, policy = found.read(), found.means.policy
    able = [each for each in endorsements if each.signer.may(operation.act)]
    # One recovery key is enough to take a key back: a stolen one must not wait for a second person.
    keys = 1 if operation.act == REVOCATION else policy.keys_for(operation.act)
    separate = policy.separate_requester and operation.act != REVOCATION
    refuse_too_few(operation, able, keys, separate=separate)
    if isinstance(operation, HostOperation) and operation.act == ROTATION:
        new = set_of(operation)
        refuse_lock_out(new, signers.revoked, policy, found.means.clock.latest())
        rehearsed = rehearsal_of(new, endorsements, found.strangers, keys)
        for each in rehearsed:
            each.refuse_untouched(policy.touch_required)
            _verify(found, each, (*signers.revoked, *new.revoked))
        found.rehearsed = rehearsed
    elif found.strangers:
        raise ForeignSignature.by(found.strangers[0][0].key)


def _host(found: Progress) -> None:
    operation = found.read()
    if operation.host != found.means.host:
        raise WrongHost(
            f"it is for the host {operation.host}, and this one is {found.means.host}; make the "
            f"request on this host"
        )
    if isinstance(operation, HostOperation):
        return
    guest = found.observe(operation)
    refuse_other_guest(operation, guest)
    found.guest = guest


def _time(found: Progress) -> None:
    operation, (signers, _) = found.read(), found.known()
    if found.job.is_from_hub and not operation.challenge:
        raise OutsideTime(
            "a job that a hub carries must have a challenge of this agent's; sign its request "
            "without --for"
        )
    found.until = found.means.clock.until(operation)
    if not isinstance(operation, HostOperation) and signers.is_over(found.means.clock.latest()):
        raise SignersExpired(
            f"it waits: the set of signers has ended at {moment_text(signers.expires or 0.0)}; "
            f"rotate it, or let root provision another"
        )


def _identity(found: Progress) -> None:
    if guests := found.guests():
        refuse_other_identity(*guests)


def _state(found: Progress) -> None:
    operation = found.read()
    if guests := found.guests():
        refuse_other_state(*guests)
    elif isinstance(operation, HostOperation) and operation.act == ROTATION:
        refuse_other_version(operation, found.known()[0])


def _parameters(found: Progress) -> None:
    operation = found.read()
    if isinstance(operation, SignedOperation):
        refuse_parameters(operation)
    elif operation.act == REVOCATION:
        refuse_keys(operation)
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
    Stage("threshold", "one key of several, stolen or forced", _threshold),
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
