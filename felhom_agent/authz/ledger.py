"""What the examination needs of durable memory; `journal/signed.py` and `journal/audit.py` have it.

Protocols, so that the examination holds no file and no lock: whatever they promise to keep is
durable when they return, and raises JournalError where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from felhom_agent.journal.audit import AuditEntry
from felhom_agent.journal.signed import Challenge, Decision, Spent


class Ledger(Protocol):
    """Nonces, challenges, the highest time ever seen (see `journal.signed.SignedFacts`)."""

    def highest(self) -> float:
        """Return the highest time ever seen, in seconds since the epoch; 0 if there is none."""
        ...

    def see(self, now: float, *, at_least: float = 0.0) -> None:
        """Given the time, remember it durably if it is the highest by `at_least` seconds."""
        ...

    def remember(self, challenge: Challenge) -> None:
        """Given a new challenge, return when it is durable. Raise JobRefused if there are too
        many.
        """
        ...

    def challenge(self, challenge_id: str) -> Challenge | None:
        """Return the challenge of that id; None if it is not good any more, or never was."""
        ...

    def refuse_spent(self, nonce: str, blob: str) -> None:
        """Given a nonce and its blob's SHA-256, raise NonceTaken if it cannot be burnt."""
        ...

    def burn(self, spending: Spent, decide: Callable[[], Decision]) -> Spent:
        """Given a nonce to be burnt, and what makes the decision durable, return when both are.
        Raise NonceTaken if it was burnt before, or is being burnt.
        """
        ...

    def check(self) -> None:
        """Raise JournalError if nothing can be kept any more."""
        ...


class Audit(Protocol):
    """The log of decisions (see `journal.audit.AuditLog`)."""

    def append(self, entry: AuditEntry) -> Decision:
        """Given a decision, return its line once it is durable."""
        ...
