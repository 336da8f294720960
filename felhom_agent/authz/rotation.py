"""A set of signers that comes by signature: what it must be to take the place of another.

As in TUF: the next version exactly, signed by the threshold of the old set and by that of the new.
And rehearsed: each role of the new set must have shown, by a good signature over this very job,
that its keys can sign on this host. So nobody is locked out by a list that nobody can use, and a
stolen key cannot jump ahead to a version that no honest set reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from felhom_agent.authz.armor import SshSignature
from felhom_agent.authz.endorsement import Endorsement
from felhom_agent.authz.form import hash_of
from felhom_agent.authz.hostblob import (
    HostOperation,
    lines_in,
    number_in,
    text_in,
)
from felhom_agent.authz.keymaterial import MalformedKey, PublicKey, from_text
from felhom_agent.authz.refusals import (
    ForeignSignature,
    TooFewSigners,
    WrongParameters,
    WrongVersion,
)
from felhom_agent.authz.setfile import end_of
from felhom_agent.authz.signerline import Role, roles_for
from felhom_agent.authz.signers import ALLOWED, REVOKED, SignerSet, judge, judge_revoked
from felhom_agent.config.settings import SIGNED_ACTS, AuthzConfig, KeyRole


def set_of(operation: HostOperation, directory: Path = Path()) -> SignerSet:
    """Given a rotation, and where its set is kept, return the set that it brings. Raise
    WrongParameters if a fault is in it.
    """
    signers, wrong = judge(ALLOWED, text_in(operation, "allowed_signers"))
    revoked: tuple[PublicKey, ...] = ()
    if text := text_in(operation, "revoked_keys"):
        revoked, more = judge_revoked(REVOKED, text)
        wrong = (*wrong, *more)
    if wrong:
        raise WrongParameters(f"the new set cannot be used: {wrong[0]}")
    try:
        expires = end_of(text_in(operation, "expires"))
    except ValueError as error:
        raise WrongParameters(f"the new set cannot be used: expires {error}") from None
    return SignerSet(
        directory,
        present=True,
        signers=signers,
        revoked=revoked,
        version=number_in(operation, "version"),
        expires=expires,
        made_by=hash_of(operation.encode()),
    )


def keys_of(operation: HostOperation) -> tuple[PublicKey, ...]:
    """Given a revocation, return the keys that it takes back. Raise WrongParameters if one is
    none.
    """
    found = []
    for line in lines_in(operation, "keys"):
        kind, _, text = line.partition(" ")
        try:
            found.append(from_text(kind, text))
        except MalformedKey as error:
            raise WrongParameters(f"a key that is taken back: {error}") from None
    return tuple(found)


def refuse_keys(operation: HostOperation) -> None:
    """Raise WrongParameters unless what a revocation takes back are keys."""
    keys_of(operation)


def refuse_other_version(operation: HostOperation, signers: SignerSet) -> None:
    """Given a rotation and the set in force, raise WrongVersion unless it brings the next one."""
    version = number_in(operation, "version")
    if version != signers.version + 1:
        raise WrongVersion(
            f"it brings version {version} of the signers, and version {signers.version} is in "
            f"force: the next one is {signers.version + 1}"
        )


def rehearsal_of(
    new: SignerSet,
    endorsements: Sequence[Endorsement],
    strangers: Sequence[tuple[SshSignature, bytes]],
    keys: int,
) -> tuple[Endorsement, ...]:
    """Given the set that a rotation brings, and the signatures by keys of the set in force and by
    others, return the signatures of the new set, each as that set has its key; they are still to be
    verified. `keys` is how many recovery keys of the new set must have signed.

    Raise TooFewSigners if they are not enough of the new set's recovery keys, or none is of an
    operational one, ForeignSignature if a key of neither set has signed.
    """
    given = [*((each.signature, each.armor) for each in endorsements), *strangers]
    theirs = {each.key.material: each for each in new.signers}
    for signature, _ in strangers:
        if signature.key.material not in theirs:
            raise ForeignSignature.by(signature.key)
    found = [
        Endorsement(signature, armor, theirs[signature.key.material])
        for signature, armor in given
        if signature.key.material in theirs
    ]
    _refuse_unrehearsed(new, found, keys)
    return tuple(found)


def _refuse_unrehearsed(new: SignerSet, found: Sequence[Endorsement], keys: int) -> None:
    signed = {each.signer.key.material for each in found}
    recovery = signed & new.keys_of(Role.RECOVERY)
    if len(recovery) < keys:
        raise TooFewSigners(
            f"of the new set's recovery keys {keys} must sign it, too; {len(recovery)} did"
        )
    if not signed & new.keys_of(Role.OPERATIONAL):
        raise TooFewSigners(
            "an operational key of the new set must sign it, too: so it is known that the set can "
            "be used"
        )


def refuse_lock_out(
    new: SignerSet, revoked: Sequence[PublicKey], policy: AuthzConfig, now: float
) -> None:
    """Given a set, the keys taken back by now, what this host wants of signers, and the time
    (seconds since the epoch), raise WrongParameters if the set has too few keys for it, or has
    ended.
    """
    if new.is_over(now):
        raise WrongParameters("the new set has ended already")
    new = replace(new, revoked=(*new.revoked, *revoked))
    for role in Role:
        acts = [act for act in SIGNED_ACTS if role in roles_for(act)]
        # Who asks is a signer, too, and is not counted.
        needed = max(map(policy.keys_for, acts)) + policy.separate_requester
        able = new.keys_of(role, touched=KeyRole(role) in policy.touch_required)
        if len(able) < needed:
            raise WrongParameters(
                f"the new set would lock you out: it has {len(able)} {role} keys that count, and "
                f"{needed} must sign on this host"
            )
