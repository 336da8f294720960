"""Who may sign on this host, as a command finds it: beside a running agent, and without writing.

Root's lists are public; what came by signature, and what the journal knows of it, only root and the
agent's own user can read. Others are shown root's lists, and told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from felhom_agent.authz.keptsets import KeptSets
from felhom_agent.authz.signers import SignerSet, load, owner_by
from felhom_agent.authz.sshkeygen import SshKeygen
from felhom_agent.authz.trust import Trust
from felhom_agent.config.settings import AuthzConfig
from felhom_agent.durable.line import Record
from felhom_agent.errors import FelhomError
from felhom_agent.journal.content import NAME
from felhom_agent.journal.repair import inspect
from felhom_agent.journal.signed import (
    KnownSigners,
    burnt_blobs_of,
    known_signers_of,
    revocations_of,
)


class JournaledSigners:
    """What a journal knows of signers; what is remembered here is forgotten with it."""

    def __init__(self, records: Iterable[Record]) -> None:
        found = tuple(records)
        self._known = known_signers_of(found)
        self._revoked = revocations_of(found)

    def signers(self) -> KnownSigners:
        """Return the set that was in force last."""
        return self._known

    def remember_signers(self, known: KnownSigners) -> None:
        self._known = known

    def revocations(self) -> frozenset[str]:
        """Return the SHA-256 of each job by which keys were taken back."""
        return self._revoked

    def remember_revocation(self, blob: str, at: float) -> None:  # noqa: ARG002  # as asked
        self._revoked |= {blob}

    def forget_revocation(self, blob: str, at: float) -> None:  # noqa: ARG002  # as asked
        self._revoked -= {blob}


@dataclass(frozen=True)
class TrustLook:
    """The set in force as far as it could be found out, the next version that root may provision,
    and what could not be looked at (empty: nothing).
    """

    signers: SignerSet
    next_version: int
    unseen: str = ""


def look(settings: Path, wanted: AuthzConfig, journal: Path) -> TrustLook:
    """Given agent.toml, its [authz] and the journal's directory, return who may sign. Raises
    nothing.
    """
    root = load(wanted.signers, owner_by(settings))
    kept = KeptSets(wanted.kept_beside(journal))
    try:
        path = journal / NAME
        records = inspect(path)[0].records if path.exists() else ()
        versions = list(kept.versions())
        facts, burnt = JournaledSigners(records), burnt_blobs_of(records)
        known = facts.signers().version
        trust = Trust(
            lambda: root, kept, facts, SshKeygen(), wanted, time.time, lambda blob: blob in burnt,
            lambda *_: None,  # what has changed is the agent's to tell
        )  # fmt: skip
        found = trust.current()
    except (OSError, FelhomError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        return TrustLook(root, root.version + 1, f"what came by signature cannot be read: {why}")
    return TrustLook(found, max([root.version, known, *versions]) + 1)
