"""Who may sign now: root's lists, or a set that came by signature since, and the keys taken back.

Root's set in /etc begins; each set after it was brought by a job that the threshold of the set
before it and its own have signed (`rotation.py`). That chain is checked from root's set on, with
real signatures, when the agent begins and whenever root's set has changed; a set that does not
follow is not used, and then nobody's signature counts. A higher version in /etc is root's word: it
wins over whatever was kept, and is logged as a provisioning by root.

The version in force, and each revocation, stands in the journal, too. Where the journal and what is
kept here tell different things, one of them was put back from an older copy: nobody's signature
counts until root provisions a higher version. A crash between the two is told from that by the
burnt nonce of the job, and is completed.

Threads: `_lock` guards what was found, for moments. `_changing` is held for the length of a check
of the chain, or of a change with its writes, so that of two jobs for one version one is refused;
who only asks takes it where root's set has changed. Nothing is called with `_lock` held.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol

from felhom_agent.authz.armor import open_armor
from felhom_agent.authz.check import SignedJob, Verifier
from felhom_agent.authz.endorsement import Endorsement, refuse_too_few
from felhom_agent.authz.hostblob import REVOCATION, ROTATION, HostOperation, lines_in, text_in
from felhom_agent.authz.keptsets import REVOKED_DIRECTORY, KeptSets, KeptTrust
from felhom_agent.authz.keymaterial import PublicKey
from felhom_agent.authz.operation import parse
from felhom_agent.authz.refusals import (
    OperationRefused,
    SignersUnreadable,
    UnknownKey,
    WrongVersion,
)
from felhom_agent.authz.rotation import keys_of, refuse_other_version, rehearsal_of, set_of
from felhom_agent.authz.setfile import FIRST_VERSION, SET, set_text
from felhom_agent.authz.signers import ALLOWED, REVOKED, SignerSet
from felhom_agent.config.settings import AuthzConfig
from felhom_agent.journal.signed import KnownSigners
from felhom_agent.model import Place, Problem
from felhom_agent.printable import printable
from felhom_agent.service.events import SIGNERS_CHANGED
from felhom_agent.service.logging import fields

_log = logging.getLogger(__name__)

_REMEDY: Final = "root provisions anew: felhom-agent signers init --force"


class TrustFacts(Protocol):
    """What is remembered of signers (see `journal.signed.SignedFacts`)."""

    def signers(self) -> KnownSigners:
        """Return the set that was in force last."""
        ...

    def remember_signers(self, known: KnownSigners) -> None:
        """Return when it is durable. Raise JournalError if it cannot be kept."""
        ...

    def revocations(self) -> frozenset[str]:
        """Return the SHA-256 of each job by which keys were taken back."""
        ...

    def remember_revocation(self, blob: str, at: float) -> None:
        """Return when it is durable. Raise JournalError if it cannot be kept."""
        ...

    def forget_revocation(self, blob: str, at: float) -> None:
        """Return when that is durable. Raise JournalError if it cannot be kept."""
        ...


@dataclass(frozen=True)
class _Found:
    """What was kept, checked against one set of root's: the newest set that follows it (None: none
    does), the keys taken back, and why nothing of it counts (empty: it does).
    """

    root: SignerSet | None = None
    rotated: SignerSet | None = None
    revoked: tuple[PublicKey, ...] = ()
    trouble: str = ""


def _tell(text: str, what: object) -> None:
    _log.warning(text, what, extra=fields(SIGNERS_CHANGED))


class Trust:
    """The signers of this host. `root` reads root's set; `burnt` tells whether a job's nonce was
    burnt, by the SHA-256 of its bytes; `now` tells seconds since the epoch; `tell` logs what has
    changed, by a text and what it is of.
    """

    def __init__(
        self,
        root: Callable[[], SignerSet],
        kept: KeptSets,
        facts: TrustFacts,
        verifier: Verifier,
        policy: AuthzConfig,
        now: Callable[[], float],
        burnt: Callable[[str], bool],
        tell: Callable[[str, object], None] = _tell,
    ) -> None:
        self._tell = tell
        self._root, self._kept, self._facts = root, kept, facts
        self._verifier, self._policy, self._now, self._burnt = verifier, policy, now, burnt
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._found = _Found()

    def current(self) -> SignerSet:
        """Return the set in force, with all that is wrong with it. Raise SignersUnreadable,
        VerifierFailed or JournalError if that cannot be found out now.
        """
        root = self._root()
        if root.problems or not root.present:
            return root
        with self._lock:
            found = self._found
        if not _is_same(found.root, root):
            found = self._checked(root)
        rotated = found.rotated
        chosen = rotated if rotated is not None and rotated.version > root.version else root
        trouble = found.trouble or self._remembered(chosen)
        if trouble:
            problem = Problem(Place(printable(str(self._kept.directory), 300)), trouble)
            return replace(chosen, problems=(problem,))
        # What root or a recovery key has taken back is taken back in any set.
        taken = (*root.revoked, *(chosen.revoked if chosen.is_rotated else ()), *found.revoked)
        return replace(chosen, revoked=taken)

    def known(self) -> KnownSigners:
        """Return the set that was in force last."""
        return self._facts.signers()

    def has(self, blob: str) -> bool:
        """Given the SHA-256 of a job, return whether what it changes of the signers is kept. Raise
        SignersUnreadable if that cannot be read.
        """
        try:
            jobs = [*self._kept.versions().values(), *self._kept.revocations()]
        except OSError as error:
            raise self._unreadable(error) from None
        return any(job.hash == blob for job in jobs)

    def rotate(self, job: SignedJob, operation: HostOperation) -> None:
        """Given an authorized rotation, put its set in force once it is durable. Raise WrongVersion
        if another came first, JournalError if it cannot be kept.
        """
        with self._changing:
            root = self._root()
            before = self._in_force(root)
            refuse_other_version(operation, before)
            new = set_of(operation, self._kept.path_of(before.version + 1))
            kept = KeptTrust(job.blob, job.signatures)
            self._kept.keep(str(new.version), kept, _texts(operation, new.version))
            self._facts.remember_signers(KnownSigners(new.version, job.hash, self._now()))
            with self._lock:
                self._found = replace(self._found, root=root, rotated=new)
        self._tell("version %d of the signers is in force, by a signed rotation", new.version)

    def revoke(self, job: SignedJob, operation: HostOperation) -> None:
        """Given an authorized revocation, take its keys back once that is durable. Raise
        JournalError if it cannot be kept.
        """
        keys = keys_of(operation)
        with self._changing:
            kept = KeptTrust(job.blob, job.signatures)
            text = "".join(f"{line}\n" for line in lines_in(operation, "keys"))
            self._kept.keep(f"{REVOKED_DIRECTORY}/{job.hash}", kept, {REVOKED: text})
            with self._lock:
                self._found = replace(self._found, revoked=(*self._found.revoked, *keys))
            # Last: what is kept counts at the next start, whether the journal takes this or not.
            self._facts.remember_revocation(job.hash, self._now())
        for key in keys:
            self._tell("key %s was taken back, by a signed revocation", key.fingerprint)

    def _in_force(self, root: SignerSet) -> SignerSet:
        """Return the set in force; `_changing` is held, and it was asked for just before. Raise
        WrongVersion if root has changed it since.
        """
        with self._lock:
            known, rotated = self._found.root, self._found.rotated
        if root.problems or not _is_same(known, root):
            raise WrongVersion("root has changed the signers meanwhile; make a new request")
        return rotated if rotated is not None and rotated.version > root.version else root

    def _checked(self, root: SignerSet) -> _Found:
        """Check what is kept against root's present set; return what was found."""
        with self._changing:
            with self._lock:
                found = self._found
            if _is_same(found.root, root):
                return found  # another thread did it meanwhile
            found = self._check(root)
            with self._lock:
                self._found = found
            return found

    def _check(self, root: SignerSet) -> _Found:
        rotated: SignerSet | None = None
        try:
            revoked = self._taken_back(root)
            base = root
            for version, job in self._kept.versions().items():
                if version > root.version:
                    base = rotated = self._follows(base, version, job)
            self._complete(rotated)
        except OSError as error:
            raise self._unreadable(error) from None
        except OperationRefused as error:
            if error.temporary:
                raise
            return _Found(root, trouble=f"what is kept does not follow: {error}; {_REMEDY}")
        return _Found(root, rotated, revoked)

    def _unreadable(self, error: OSError) -> SignersUnreadable:
        why = f"{self._kept.directory}: cannot be read: {error.strerror or error}"
        return SignersUnreadable(why)

    def _follows(self, before: SignerSet, version: int, job: KeptTrust) -> SignerSet:
        """Given the set before and a job that is kept, return the set that it brings. Raise
        OperationRefused if it does not follow.
        """
        operation = parse(job.blob)
        if not isinstance(operation, HostOperation) or operation.act != ROTATION:
            raise WrongVersion(f"version {version} was brought by no rotation")
        refuse_other_version(operation, before)
        new = set_of(operation, self._kept.path_of(version))
        if new.version != version:
            raise WrongVersion(f"what is kept as version {version} is version {new.version}")
        known, strangers = [], []
        for armor in job.signatures:
            signature = open_armor(armor)
            try:
                known.append(Endorsement(signature, armor, before.signer(signature.key)))
            except UnknownKey:
                strangers.append((signature, armor))
        able = [each for each in known if each.signer.may(ROTATION)]
        keys = self._policy.keys_for(ROTATION)
        refuse_too_few(operation, able, keys, separate=False)
        for each in (*able, *rehearsal_of(new, known, strangers, keys)):
            # When it was taken its keys were good in time; what they are now changes nothing.
            lasting = replace(each.signer, valid_after="", valid_before="")
            self._verifier.verify(job.blob, each.armor, lasting)
        return new

    def _taken_back(self, root: SignerSet) -> tuple[PublicKey, ...]:
        """Return the keys that signed jobs took back; complete what a crash has cut off. A higher
        version of root's than was known ends what the journal and the kept jobs disagree on.
        """
        kept = {job.hash: job for job in self._kept.revocations()}
        known = self._facts.revocations()
        by_root = root.version > self._facts.signers().version
        if missing := known - kept.keys():
            self._forget(missing, by_root=by_root)
        found: list[PublicKey] = []
        for hash_, job in kept.items():
            operation = parse(job.blob)
            if not isinstance(operation, HostOperation) or operation.act != REVOCATION:
                raise WrongVersion(f"{REVOKED_DIRECTORY}/{hash_} is no revocation")
            if hash_ not in known:
                if not by_root and not self._burnt(hash_):
                    raise WrongVersion(
                        f"the journal does not know the revocation {hash_[:12]}: one of both was "
                        f"put back from a copy"
                    )
                self._facts.remember_revocation(hash_, self._now())
            found.extend(keys_of(operation))
        return tuple(found)

    def _forget(self, missing: Collection[str], *, by_root: bool) -> None:
        """Given revocations that the journal knows and that are not kept, look for them no more if
        root has provisioned since. Raise WrongVersion if not.
        """
        one = len(missing) == 1
        count, are = ("1 revocation", "is") if one else (f"{len(missing)} revocations", "are")
        if not by_root:
            raise WrongVersion(f"{count} that the journal knows {are} gone")
        for blob in missing:
            self._facts.forget_revocation(blob, self._now())
        self._tell("%s gone; take those keys back again", f"{count} that the journal knew {are}")

    def _complete(self, rotated: SignerSet | None) -> None:
        """Remember a set that was kept, and whose agent ended before it was remembered."""
        known = self._facts.signers()
        if rotated is None or rotated.version <= known.version:
            return
        if not self._burnt(rotated.made_by):
            raise WrongVersion(
                f"version {rotated.version} is kept, and the journal knows version "
                f"{known.version}: one of both was put back from a copy"
            )
        self._facts.remember_signers(KnownSigners(rotated.version, rotated.made_by, self._now()))

    def _remembered(self, chosen: SignerSet) -> str:
        """Return why the set cannot be the one in force, by what was in force last; empty if it
        can. A higher version of root's is remembered, and told.
        """
        known = self._facts.signers()
        if (chosen.version, chosen.made_by) == (known.version, known.blob):
            return ""
        if chosen.version > known.version and not chosen.is_rotated:
            return self._provisioned(chosen, known)
        by = "a rotation" if known.blob else "root"
        return (
            f"version {chosen.version} was found, and version {known.version} by {by} was in force "
            f"before: one was put back from a copy, or two have the same number; provision version "
            f"{known.version + 1} (felhom-agent signers init --force)"
        )

    def _provisioned(self, root: SignerSet, known: KnownSigners) -> str:
        with self._changing:
            if self._facts.signers() != known:
                return ""  # another thread has told it
            self._facts.remember_signers(KnownSigners(root.version, "", self._now()))
        if root.version > FIRST_VERSION:
            self._tell("root has provisioned version %d of the signers", root.version)
        return ""


def _is_same(before: SignerSet | None, root: SignerSet) -> bool:
    """Return whether root's set is the one that was checked: a chain follows from its keys."""
    return before is not None and (before.version, before.signers) == (root.version, root.signers)


def _texts(operation: HostOperation, version: int) -> dict[str, str]:
    texts = {
        ALLOWED: text_in(operation, "allowed_signers"),
        SET: set_text(version, text_in(operation, "expires")),
    }
    if revoked := text_in(operation, "revoked_keys"):
        texts[REVOKED] = revoked
    return texts
